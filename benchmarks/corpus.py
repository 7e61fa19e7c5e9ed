"""The corpus beside the project, which is what is measured with by default, and how its files are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

CORPUS = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "corpus" / "*.jsonl.zst"


def decompressed(files: list[str]) -> int:
    """Bytes of the files when read."""
    total = 0
    for file in files:
        with pa.input_stream(file, compression=_codec(file)) as stream:
            while block := stream.read(1 << 22):
                total += len(block)
    return total


def _codec(file: str) -> str | None:
    return {".zst": "zstd", ".gz": "gzip", ".bz2": "bz2"}.get(os.path.splitext(file)[1])


def lines(file: str) -> Iterator[list[dict[str, Any]]]:
    """The documents of a file, some at a time."""
    rest = b""
    with pa.input_stream(file, compression=_codec(file)) as stream:
        while block := stream.read(1 << 24):
            *lines, rest = (rest + block).split(b"\n")
            yield [orjson.loads(line) for line in lines if line]
    if rest:
        yield [orjson.loads(rest)]
