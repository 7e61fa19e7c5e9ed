"""Makes a larger corpus of a small one: copies whose Hangul is shifted, so that they are new documents of the same
shape, and a share of true copies.

    python -m benchmarks.enlarge FILES … --times 16 --output FOLDER [--one-file] [--duplicates 0.1]
    python -m benchmarks.enlarge --tiny 5000000 --output FOLDER
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson
import pyarrow as pa

from benchmarks.build import _lines as lines

_FIRST, _COUNT = 0xAC00, 11172


def copies(files: list[str], times: int, duplicates: float) -> Iterator[tuple[int, bytes]]:
    """(number of the copy, line) of all documents, `times` times."""
    source = random.Random(0)
    for copy in range(times):
        shift = {_FIRST + i: _FIRST + (i + 733 * copy) % _COUNT for i in range(_COUNT)}
        for file in files:
            for rows in lines(file):
                for row in rows:
                    if copy and source.random() >= duplicates:
                        row["text"] = row["text"].translate(shift)
                    row["id"] = f"{row['id']}+{copy}"
                    yield copy, orjson.dumps(row) + b"\n"


def tiny(count: int) -> Iterator[tuple[int, bytes]]:
    """Documents of some twenty characters, a tenth of them given twice."""
    source = random.Random(0)
    syllables = "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허고노도로모보소오조초코토포호"
    for number in range(count):
        value = source.randrange(count * 9 // 10) if number % 10 else number
        text = "".join(syllables[value // 13**i % 41] for i in range(12)) + f" {value}"
        yield number * 16 // count, b'{"id":"%d","text":"%s"}\n' % (number, text.encode())


def write(documents: Iterable[tuple[int, bytes]], folder: Path, one_file: bool) -> None:
    """JSONL.zst files, one a copy or one for all."""
    folder.mkdir(parents=True, exist_ok=True)
    out: pa.NativeFile | None = None
    current = -1
    for copy, line in documents:
        if out is None or (copy != current and not one_file):
            if out is not None:
                out.close()
            out = pa.CompressedOutputStream(str(folder / f"part-{copy:04d}.jsonl.zst"), "zstd")
        current = copy
        out.write(line)
    if out is not None:
        out.close()


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--one-file", action="store_true")
    parser.add_argument("--duplicates", type=float, default=0.1)
    parser.add_argument("--tiny", type=int, default=0)
    arguments = parser.parse_args()
    made = tiny(arguments.tiny) if arguments.tiny else copies(arguments.files, arguments.times, arguments.duplicates)
    write(made, arguments.output, arguments.one_file)


if __name__ == "__main__":
    main()
