"""Judges deduplication by the exact pairs of near-duplicates, in any language.

    python -m benchmarks.duplicates DOCS.jsonl[.zst] [--pairs PAIRS.parquet] [--threshold 0.8] [--workers 2] [SETTINGS]

Each line of the documents has `id` and `text`. They are built into a release as a user would do it, only that nothing
is dropped for its language; SETTINGS are passed on to `malmungchi build`. What was kept is judged by id:

    pair recall        share of the pairs (benchmarks.exact_pairs) of which not both were kept
    removal precision  share of the dropped documents that are a pair with a kept one

PAIRS has columns a, b (ids) and jaccard, and must reach down to the threshold; without it the pairs are computed.
Seconds of the build are given as a whole, and without those that a build of a few lines takes with as many workers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from benchmarks.build import TINY, build
from benchmarks.corpus import decompressed
from benchmarks.exact_pairs import exact_pairs
from benchmarks.language import chunks, read

Pair = tuple[str, str]
Measured = dict[str, Any]


def compute_pairs(file: str, threshold: float) -> list[Pair]:
    """Ids of all pairs of a file's documents with a similarity of at least `threshold`."""
    documents = read(file)
    ids = np.array([str(document["id"]) for document in documents], object)
    found = exact_pairs(chunks(documents), threshold)
    return list(zip(ids[found.left].tolist(), ids[found.right].tolist(), strict=True))


def read_pairs(file: str, threshold: float) -> list[Pair]:
    """Ids of the pairs of a Parquet file with a similarity of at least `threshold`."""
    table = pq.read_table(file, columns=["a", "b", "jaccard"])
    table = table.filter(pc.greater_equal(table["jaccard"], threshold))
    return list(zip(table["a"].to_pylist(), table["b"].to_pylist(), strict=True))


def judge(ids: Iterable[str], kept: set[str], pairs: Iterable[Pair]) -> Measured:
    """What was missed and what was removed without need. Ids given twice count once; those never given do not count."""
    every = set(ids)
    dropped = every - kept
    total = missed = 0
    covered: set[str] = set()
    for a, b in pairs:
        total += 1
        missed += a in kept and b in kept
        covered.update(([b] if a in kept else []) + ([a] if b in kept else []))
    unjustified = sorted(dropped - covered)
    return {
        "documents": len(every),
        "kept": len(every & kept),
        "dropped": len(dropped),
        "pairs": total,
        "missed_pairs": missed,
        "pair_recall": 1 - missed / max(1, total),
        "unjustified": len(unjustified),
        "removal_precision": 1 - len(unjustified) / max(1, len(dropped)),
        "examples": unjustified[:5],
    }


def ids_of(file: str) -> list[str]:
    """The ids of a file of documents."""
    with pa.input_stream(file, compression="detect") as stream:
        return [str(orjson.loads(line)["id"]) for line in stream.read().splitlines() if line.strip()]


def kept_ids(release: Path) -> set[str]:
    """The ids in data/ of a release."""
    folder = release / "data"
    return set(ds.dataset(folder).to_table(columns=["id"])["id"].to_pylist()) if folder.is_dir() else set()


def release(file: str, output: Path, threshold: float, workers: int | None, extra: Sequence[str] = ()) -> Measured:
    """Builds a release of the documents that drops nothing but duplicates; figures as of `benchmarks.build.build`."""
    columns = ("--read-id", "id", "--read-text", "text")
    rules = ("--no-language-drop", "--deduplicate-threshold", str(threshold))
    return build([file], str(output), workers, (*columns, *rules, *extra))


def measure(file: str, pairs: list[Pair], threshold: float, workers: int, extra: Sequence[str] = ()) -> Measured:
    """All figures for a file."""
    with tempfile.TemporaryDirectory(prefix="malmungchi-judge-") as name:
        folder = Path(name)
        tiny = folder / "tiny.jsonl"
        tiny.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in TINY))
        release(str(tiny), folder / "warm", threshold, workers, extra)  # kernels compile once
        start = release(str(tiny), folder / "start", threshold, workers, extra)["wall"]
        whole = release(file, folder / "release", threshold, workers, extra)["wall"]
        figures = judge(ids_of(file), kept_ids(folder / "release"), pairs)
        counts = json.loads((folder / "release" / "manifest.json").read_text())["counts"]
    return {
        **figures,
        "rejected": counts["rejected"],
        "input_mb": decompressed([file]) / 1e6,
        "workers": workers,
        "build_s": whole,
        "start_s": start,
        "build_without_start_s": whole - start,
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("documents", metavar="DOCS")
    parser.add_argument("--pairs", help="exact pairs, computed before")
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", help="write all figures here")
    arguments, extra = parser.parse_known_args()
    began = time.perf_counter()
    if arguments.pairs:
        pairs = read_pairs(arguments.pairs, arguments.threshold)
    else:
        pairs = compute_pairs(arguments.documents, arguments.threshold)
        print(f"{len(pairs):,} exact pairs found in {time.perf_counter() - began:.1f} s")
    figures = measure(arguments.documents, pairs, arguments.threshold, arguments.workers, extra)
    print(f"{arguments.documents}: threshold {arguments.threshold:g}")
    for name, value in figures.items():
        print(f"  {name:<22}", f"{value:.5f}" if name in ("pair_recall", "removal_precision") else
              f"{value:.2f}" if isinstance(value, float) else value)  # fmt: skip
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
