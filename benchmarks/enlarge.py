"""Makes a corpus of any size of a small one: copies whose letters are exchanged for others, so that they are new
documents of the same shape, and a share of duplicates, half of them with a word changed.

    python -m benchmarks.enlarge FILES … --times 16 --output FOLDER [--one-file] [--duplicates 0.1]
    python -m benchmarks.enlarge FILES … --bytes 8GB --output FOLDER
    python -m benchmarks.enlarge --tiny 5000000 --output FOLDER
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from benchmarks.corpus import decompressed, lines
from malmungchi.schemas.settings import parse_bytes

_HANGUL, _SYLLABLES = 0xAC00, 11172

# Documents of which a duplicate may be made: as in a crawl, what is alike stands in many places.
_RECENT = 1000


def _alphabet(copy: int) -> np.ndarray:
    """uint32 code point for each code point. Letters of a script stay in it, and in their case."""
    table = np.arange(0x110000, dtype=np.uint32)
    source = np.random.default_rng(copy)
    table[_HANGUL : _HANGUL + _SYLLABLES] = _HANGUL + source.permutation(_SYLLABLES)
    letters = source.permutation(26)
    for first in (ord("A"), ord("a")):
        table[first : first + 26] = first + letters
    return table


def _translated(text: str, table: np.ndarray) -> str:
    return table[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)].tobytes().decode("utf-32-le")


def _changed(text: str, source: random.Random) -> str:
    """One word less: nearly the same document, unless it is short."""
    words = text.split(" ")
    del words[source.randrange(len(words))]
    return " ".join(words)


def copies(files: list[str], times: float, duplicates: float) -> Iterator[tuple[int, bytes]]:
    """(number of the copy, line) of all documents, `times` times; of the share beyond a whole number, each document
    is taken by chance. `duplicates` is their share of all lines."""
    source = random.Random(0)
    recent: list[dict[str, Any]] = []
    share = times * (1 - duplicates) / max(1, -int(-times // 1))
    for copy in range(max(1, -int(-times // 1))):
        table = _alphabet(copy) if copy else None
        for file in files:
            for rows in lines(file):
                for row in rows:
                    if source.random() >= share:
                        continue
                    if table is not None:
                        row["text"] = _translated(row["text"], table)
                    row["id"] = f"{row['id']}+{copy}"
                    yield copy, orjson.dumps(row) + b"\n"
                    recent.append(row)
                    if len(recent) > _RECENT:
                        recent[source.randrange(_RECENT)] = recent.pop()
                    if source.random() < duplicates / (1 - duplicates):
                        twin = source.choice(recent)
                        text = twin["text"] if source.random() < 0.5 else _changed(twin["text"], source)
                        yield copy, orjson.dumps({**twin, "id": f"{twin['id']}+{row['id']}", "text": text}) + b"\n"


def tiny(count: int) -> Iterator[tuple[int, bytes]]:
    """Documents of some twenty characters, a tenth of them given twice."""
    source = random.Random(0)
    syllables = "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허고노도로모보소오조초코토포호"
    for number in range(count):
        value = source.randrange(count * 9 // 10) if number % 10 else number
        text = "".join(syllables[value // 13**i % 41] for i in range(12)) + f" {value}"
        yield number * 16 // count, b'{"id":"%d","text":"%s"}\n' % (number, text.encode())


def write(documents: Iterable[tuple[int, bytes]], folder: Path, one_file: bool = False) -> list[str]:
    """JSONL.zst files, one a copy or one for all; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    out: pa.NativeFile | None = None
    current = -1
    paths: list[str] = []
    for copy, line in documents:
        if out is None or (copy != current and not one_file):
            if out is not None:
                out.close()
            paths.append(str(folder / f"part-{copy:04d}.jsonl.zst"))
            out = pa.CompressedOutputStream(paths[-1], "zstd")
        current = copy
        out.write(line)
    if out is not None:
        out.close()
    return paths


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--times", type=float, default=4)
    parser.add_argument("--bytes", type=parse_bytes, help="size when decompressed, about, instead of --times")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--one-file", action="store_true")
    parser.add_argument("--duplicates", type=float, default=0.1)
    parser.add_argument("--tiny", type=int, default=0)
    arguments = parser.parse_args()
    times = arguments.bytes / decompressed(arguments.files) if arguments.bytes else arguments.times
    made = tiny(arguments.tiny) if arguments.tiny else copies(arguments.files, times, arguments.duplicates)
    write(made, arguments.output, arguments.one_file)


if __name__ == "__main__":
    main()
