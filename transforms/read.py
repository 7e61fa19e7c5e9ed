"""Work items to chunks of documents: the one place where bytes become rows, and bad ones become rejects."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import BinaryIO, cast

import apache_beam as beam
import numpy as np
import pyarrow as pa

from schemas.chunk import DOCUMENT, TIMESTAMP, Chunk, empty
from schemas.config import Read
from schemas.work import InputFile, WorkItem
from transforms.decompress import BrokenError, open_decompressed
from transforms.documents import Part, Rows, assemble, nulls, reject
from transforms.read_jsonl import read_jsonl
from transforms.read_parquet import read_parquet
from transforms.storage import open_input

_PIECE = 1 << 20


class InputChangedError(RuntimeError):
    """An input file is gone, or not as long as when the job was planned."""


def open_unchanged(file: InputFile) -> BinaryIO:
    """The file's raw bytes. Raises InputChangedError if it is gone or of another size than planned."""
    try:
        raw = open_input(file.uri)
        size = raw.seek(0, 2)
    except FileNotFoundError as error:
        raise InputChangedError(f"{file.name} was there when the job was planned, and is gone ({file.uri})") from error
    if size != file.size:
        raw.close()
        raise InputChangedError(
            f"{file.name} has {size} bytes; when the job was planned it had {file.size} ({file.uri})"
        )
    raw.seek(0)
    return raw


class Hashed:
    """Raw bytes of a work item, from `start` to `end` (-1: all), hashed on their way."""

    def __init__(self, raw: BinaryIO, start: int = 0, end: int = -1) -> None:
        self._raw = raw
        self._left = end - start if end >= 0 else 1 << 62
        self._hash = hashlib.sha256()
        self.count = 0
        raw.seek(start)

    def read(self, size: int = _PIECE) -> bytes:
        data = self._raw.read(min(size, self._left))
        self._left -= len(data)
        self._hash.update(data)
        self.count += len(data)
        return data

    def digest(self, file: InputFile) -> str:
        """Hex sha256 of all, what was not read yet included. Raises InputChangedError if it is not the planned size."""
        while self.read():
            pass
        if self.count != file.size:
            raise InputChangedError(f"{file.name} changed while it was read: {self.count} bytes, {file.size} planned")
        return self._hash.hexdigest()


def _read_text(item: WorkItem, config: Read, source: Hashed) -> Iterator[Part]:
    """One document for the whole file, in UTF-8; its id is the file's name."""
    stream, parts, size = open_decompressed(cast(BinaryIO, source), item.codec), [], 0
    found: tuple[str, str, str | None] | None = None
    while size <= config.max_text_bytes + 3:  # 3 for a byte order mark
        try:
            part = stream.read(_PIECE)
        except BrokenError as broken:
            if config.strict:
                raise BrokenError(broken.rule, f"{item.file.name}: {broken.cause}") from broken
            found = (broken.rule, broken.cause, None)
            break
        if not part:
            break
        parts.append(part)
        size += len(part)
    data = b"".join(parts).removeprefix(b"\xef\xbb\xbf")
    text = None
    if found is None and len(data) > config.max_text_bytes:
        found = ("too_long", "text longer than read.max_text_bytes", str(config.max_text_bytes))
    if found is None:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            found = ("not_utf8", f"not valid UTF-8 at byte {error.start + 1}", None)
    if found is not None:
        yield Part(empty(DOCUMENT), reject(item.file, 1, *found), True, size)
        return
    none, never = nulls(1), pa.nulls(1, TIMESTAMP)
    name = pa.array([item.file.name], pa.string())
    row = np.ones(1, np.int64)
    rows = Rows(
        item.file, row, pa.array([text], pa.string()), np.zeros(1, bool), none, none, none,
        name, none, none, none, never, never, none,
    )  # fmt: skip
    yield Part(*assemble(rows, config), True, size)


def read_item(item: WorkItem, config: Read, chunk_bytes: int) -> Iterator[Chunk]:
    """The documents of a work item, in order, as chunks of about `chunk_bytes` of input.

    There is at least one chunk, and the last says so; if the item is a whole file it also has the sha256 of its
    bytes. Rows that are no documents are in the chunks' rejects (step "read"), each with its row and cause, as is the
    place where the file breaks off. Memory is bounded by `chunk_bytes`, one line or one Parquet page.

    Raises InputChangedError if the file is not what was planned, and BrokenError where it breaks off if it does and
    `config.strict` is set.
    """
    with open_unchanged(item.file) if item.uri == item.file.uri else open_input(item.uri) as raw:
        if item.file.format == "parquet":
            source = Hashed(raw)
            parts = read_parquet(item, config, chunk_bytes, raw)
        elif item.file.format == "text":
            source = Hashed(raw)
            parts = _read_text(item, config, source)
        else:
            source = Hashed(raw, item.start, item.end)
            parts = read_jsonl(item, config, chunk_bytes, open_decompressed(cast(BinaryIO, source), item.codec))
        for sequence, (rows, rejects, last, size) in enumerate(parts):
            digest = ""
            if last and item.whole:
                if item.file.format == "parquet":  # read here and there, so hashed in a pass of its own
                    source = Hashed(raw)
                digest = source.digest(item.file)
            yield Chunk(item.id, sequence, last, rows, rejects, digest, size)


class _Read(beam.DoFn):
    def __init__(self, config: Read, chunk_bytes: int) -> None:
        self._config = config
        self._chunk_bytes = chunk_bytes

    def process(self, item: WorkItem) -> Iterator[Chunk]:
        yield from read_item(item, self._config, self._chunk_bytes)


@dataclasses.dataclass
class ReadDocuments(beam.PTransform):
    """PCollection[WorkItem] -> PCollection[Chunk]."""

    config: Read
    chunk_bytes: int

    def expand(self, items: beam.PCollection) -> beam.PCollection:
        return items | beam.ParDo(_Read(self.config, self.chunk_bytes)).with_output_types(Chunk)
