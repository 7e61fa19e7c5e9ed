"""Work items to chunks of documents: the one place where bytes become rows, and bad ones become rejects."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

import apache_beam as beam
import numpy as np
import pyarrow as pa
from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Read
from malmungchi.schemas.document import DOCUMENT, TIMESTAMP, empty
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.work import InputFile, WorkItem
from malmungchi.transforms.exchange import records
from malmungchi.transforms.formats.jsonl import read_jsonl
from malmungchi.transforms.formats.parquet import read_parquet
from malmungchi.transforms.formats.rows import Part, Rows, assemble, nulls, reject
from malmungchi.transforms.io.decompress import BrokenError, open_decompressed
from malmungchi.transforms.io.private import Private
from malmungchi.transforms.io.storage import open_input, resolve, shown

_PIECE = 1 << 20


class InputChangedError(MalmungchiError):
    """An input file is gone, or not what it was when the job was planned."""


def version_of(info: dict[str, Any]) -> str:
    """What changes when a file's content may have: the entity tag, or size and time of change, of fsspec's `info`."""
    for key in ("ETag", "etag", "checksum", "md5"):
        if info.get(key):
            return str(info[key])
    changed = info.get("mtime", info.get("LastModified", info.get("last_modified", info.get("updated", ""))))
    return f"{info.get('size')}:{changed}"


def check_unchanged(file: InputFile) -> None:
    """Raises InputChangedError if the file is gone, or of another size or version than planned."""
    fs, path = resolve(file.uri)
    fs.invalidate_cache(path)
    try:
        info = fs.info(path)
    except FileNotFoundError as error:
        raise InputChangedError(
            f"{file.name} was there when the job was planned, and is gone ({shown(file.uri)}){_TO_DO}"
        ) from error
    if info["size"] not in (None, file.size):
        raise InputChangedError(
            f"{file.name} has {info['size']} bytes; when the job was planned it had {file.size} ({shown(file.uri)})"
            + _TO_DO
        )
    if file.version and version_of(info) != file.version:
        raise InputChangedError(f"{file.name} was written again after the job was planned ({shown(file.uri)}){_TO_DO}")


_TO_DO = "; put it back as it was, or use --restart to read it as it is now"


def open_unchanged(file: InputFile) -> BinaryIO:
    """The file's raw bytes. Raises InputChangedError if it is not what was planned."""
    check_unchanged(file)
    return open_input(file.uri)


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
        """Hex sha256 of all, what was not read yet included. Raises InputChangedError if it is not the planned file."""
        while self.read():
            pass
        if self.count != file.size:
            raise InputChangedError(f"{file.name} had {file.size} bytes when planned, but {self.count} came{_TO_DO}")
        check_unchanged(file)
        return self._hash.hexdigest()


def _read_text(item: WorkItem, config: Read, source: Hashed) -> Iterator[Part]:
    """One document for the whole file, in UTF-8; its id is the file's name."""
    stream, parts, size = open_decompressed(cast(BinaryIO, source), item.file.codec), [], 0
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


def _only(parts: Iterator[Part], mine: Callable[[int], bool]) -> Iterator[Part | None]:
    """None for each part whose number is not `mine`."""
    return (part if mine(number) else None for number, part in enumerate(parts))


def read_item(
    item: WorkItem, config: Read, chunk_bytes: int, done: Callable[[int], bool] = lambda number: False
) -> Iterator[Chunk]:
    """The documents of a work item, in order, as chunks of about `chunk_bytes` of input.

    Chunks of which the number is `done`, or another stripe's, are passed over. The last one of the file's part says
    so; if that is the whole file it also has the sha256 of its bytes. Rows that are no documents are in the chunks'
    rejects (step "read"), each with its row and cause, as is the place where the file breaks off. Memory is bounded by
    `chunk_bytes`, one line or one Parquet page.

    Raises InputChangedError if the file is not what was planned, and BrokenError where it breaks off if it does and
    `config.strict` is set.
    """

    def mine(number: int) -> bool:
        return number % item.stripes == item.stripe and not done(number)

    with open_unchanged(item.file) as raw:
        source = Hashed(raw)
        parts: Iterator[Part | None]
        if item.file.format == "parquet":
            parts = _only(read_parquet(item, config, chunk_bytes, raw), mine)
        elif item.file.format == "text":
            parts = _only(_read_text(item, config, source), mine)
        else:
            source = Hashed(raw, item.start, item.end)
            stream = open_decompressed(cast(BinaryIO, source), item.file.codec)
            parts = read_jsonl(item, config, chunk_bytes, stream, mine)
        for number, part in enumerate(parts):
            if part is None:
                continue
            digest = ""
            if part.last and item.whole:
                if item.file.format == "parquet":  # read here and there, so hashed in a pass of its own
                    source = Hashed(raw)
                digest = source.digest(item.file)
            else:
                check_unchanged(item.file)  # what is given out is soon staged, and stays when the job goes on
            yield Chunk(item.id, number, part.last, part.rows, part.rejects, digest, part.size)
        check_unchanged(item.file)  # also by a stripe without a chunk


def _staged(staging: str, item: WorkItem) -> Callable[[int], bool]:
    """Says which chunks of an item an earlier attempt has staged. They are only asked for one by one where the item's
    first one is there: an item is begun anew far more often than it is gone on with."""
    if not staging or records.load(staging, records.chunk_task(item.id, item.stripe)) is None:
        return lambda number: False
    return lambda number: records.load(staging, records.chunk_task(item.id, number)) is not None


def _read(item: WorkItem, config: Read, chunk_bytes: int, staging: str) -> Iterator[Chunk]:
    return read_item(item, config, chunk_bytes, _staged(staging, item))


@dataclasses.dataclass
class ReadDocuments(beam.PTransform):
    """PCollection[WorkItem] -> PCollection[Chunk]. Chunks that are staged below `staging` already are left out."""

    config: Read
    chunk_bytes: int
    staging: str = ""

    def expand(self, items: beam.PCollection) -> beam.PCollection:
        read = beam.FlatMap(Private(_read, self.config, self.chunk_bytes, self.staging))
        return items | read.with_output_types(Chunk)
