"""How fast the fingerprint kernels are on one core: `python -m benchmarks.minhash [FILES]`, JSONL, also .zst or .gz.

Without files: the labelled near-duplicates below ../shared/data, or MALMUNGCHI_DATA. Megabytes are those of UTF-8
text; times are CPU time, the best of three. "Korean" repeats the figures for the documents that are mostly Hangul,
where one shingle stands for more bytes.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from datasketch import MinHash

from benchmarks.exact_pairs import shingle_sets
from malmungchi.transforms.kernels.minhash import band_hashes, permutations, signatures, sketches
from malmungchi.transforms.kernels.shingles import fold
from malmungchi.transforms.kernels.utf8 import string_buffers

N = 5
SAMPLE_BYTES = 300_000  # what datasketch is timed on


def texts_of(paths: list[str]) -> list[str]:
    """The texts of JSONL files, in NFC."""
    texts = []
    for path in paths:
        codec = {".zst": "zstd", ".gz": "gzip"}.get(Path(path).suffix)
        with pa.OSFile(path) as file:
            data = (pa.CompressedInputStream(file, codec) if codec else file).read()
        texts += [
            unicodedata.normalize("NFC", orjson.loads(line)["text"]) for line in data.split(b"\n") if line.strip()
        ]
    return texts


def seconds(work: Callable[[], Any], repeat: int = 3) -> float:
    """The least CPU time of a call, after one that compiles."""
    work()
    times = []
    for _ in range(repeat):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def report(name: str, texts: list[str]) -> None:
    """Prints the rates of each kernel on `texts`."""
    column = pa.array(texts, pa.string())
    data, offsets = string_buffers(column)
    size = int(offsets[-1] - offsets[0]) / 1e6
    codepoints, starts = fold(data, offsets)
    print(f"\n{name}: {len(texts)} documents, {size:.1f} MB, {len(codepoints) / 1e6:.1f} M letters and digits")

    def line(what: str, took: float) -> float:
        print(f"  {what:<28} {took:7.3f} s {size / took:9.0f} MB/s")
        return took

    folding = line("fold", seconds(lambda: fold(data, offsets)))
    for num_perm in (64, 110, 128, 256):
        a, b = permutations(num_perm, 1)
        took = line(f"signatures, {num_perm}", seconds(functools.partial(signatures, codepoints, starts, N, a, b)))
        line(f"fold + signatures, {num_perm}", folding + took)
    signature = signatures(codepoints, starts, N, *permutations(110, 1))
    line("bands 22 x 5", seconds(lambda: band_hashes(signature, 22, 5)))
    line("sketches", seconds(lambda: sketches(signature)))

    end = max(1, int(np.searchsorted(offsets, offsets[0] + SAMPLE_BYTES)))
    part = codepoints[: starts[end]], starts[: end + 1]
    hashes, at = shingle_sets(*part, N)
    mixed = [hashes[at[d] : at[d + 1]] >> np.uint64(32) for d in range(end)]

    def with_datasketch() -> None:
        for values in mixed:
            MinHash(num_perm=128, seed=1, scheme="affine32", hashfunc=int).update_batch(values)

    theirs = seconds(with_datasketch, 1)
    ours = seconds(lambda: signatures(*part, N, *permutations(128, 1)))
    sample = (offsets[end] - offsets[0]) / 1e6
    print(
        f"  on {sample:.2f} MB of them, 128: {sample / ours:.0f} MB/s, datasketch {sample / theirs:.1f} MB/s"
        f" (shingles and their hashes given), {theirs / ours:.0f} times as fast"
    )


def main(paths: list[str]) -> None:
    """Measures the files, or the labelled documents."""
    if not paths:
        root = Path(os.environ.get("MALMUNGCHI_DATA", Path(__file__).parents[2] / "shared" / "data"))
        paths = [str(root / "labels" / "neardup_dev_docs.jsonl.zst")]
    texts = texts_of(paths)
    report("all", texts)
    korean = [text for text in texts if 2 * sum("가" <= c <= "힣" for c in text[:2000]) > len(text[:2000].strip())]
    if korean:
        report("Korean", korean)


if __name__ == "__main__":
    main(sys.argv[1:])
