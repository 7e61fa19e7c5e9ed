"""Work items to chunks of documents: the one place where bytes become rows, and bad ones become rejects."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import apache_beam as beam
import pyarrow as pa

from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Config
from malmungchi.schemas.document import DOCUMENT, REJECT, concat
from malmungchi.schemas.work import WorkItem
from malmungchi.transforms.exchange import records
from malmungchi.transforms.formats import base, text
from malmungchi.transforms.formats.base import Broken, Split
from malmungchi.transforms.formats.rows import reject
from malmungchi.transforms.formats.sample import sampled
from malmungchi.transforms.formats.source import Source, check_unchanged, open_unchanged
from malmungchi.transforms.io.decompress import BrokenError
from malmungchi.transforms.io.private import Private

# Rows of a chunk, at most: the columns that are added to a row (id, file, evidence) weigh more than a tiny line.
MAX_ROWS = 1 << 15


@dataclasses.dataclass
class _Filling:
    """A chunk while rows are added to it, or the `share` of them that is asked for."""

    share: float = 1.0
    rows: list[pa.RecordBatch] = dataclasses.field(default_factory=list)
    rejects: list[pa.RecordBatch] = dataclasses.field(default_factory=list)
    size: int = 0
    count: int = 0
    waiting: list[text.File] = dataclasses.field(default_factory=list)

    def has_room(self, rows: base.Rows, chunk_bytes: int) -> bool:
        """Whether some more rows go in."""
        fits = self.size + rows.size <= chunk_bytes and self.count + rows.count <= MAX_ROWS
        return fits or not (self.size or self.count)

    def add(self, rows: base.Rows) -> None:
        """Adds rows. Files that are a row each wait for others, with which they are made to documents."""
        if self.waiting and not (isinstance(rows, text.File) and text.are_alike(self.waiting[0], rows)):
            self._make(*text.documents_of(self.waiting))
            self.waiting = []
        if isinstance(rows, text.File):
            self.waiting.append(rows)
        else:
            self._make(*rows.documents())

    def _make(self, good: pa.RecordBatch, bad: pa.RecordBatch) -> None:
        self.rows.append(sampled(good, self.share))
        self.rejects.append(sampled(bad, self.share))

    def chunk(self, item: WorkItem, number: int, last: bool, digest: str = "") -> Chunk:
        """What has been added."""
        if self.waiting:
            self._make(*text.documents_of(self.waiting))
        rows, rejects = concat(self.rows, DOCUMENT), concat(self.rejects, REJECT)
        return Chunk(item.id, number, last, rows, rejects, digest, self.size)


def read_item(
    item: WorkItem, config: Config, chunk_bytes: int, done: Callable[[int], bool] = lambda number: False
) -> Iterator[Chunk]:
    """The documents of a work item, in order, as chunks of about `chunk_bytes` of input.

    Chunks of which the number is `done`, or another stripe's, are passed over. The last one of the file's part says
    so; if that is the whole file it also has the sha256 of its bytes. Rows that are no documents are in the chunks'
    rejects (step "read"), each with its row and cause, as is the place where the file breaks off. Of both there is only
    the sample that `read.sample` asks for. Memory is bounded by
    `chunk_bytes`, one line or one Parquet page.

    Raises InputChangedError if the file is not what was planned, and BrokenError where it breaks off if it does and
    `read.strict` is set.
    """

    def mine(number: int) -> bool:
        return number % item.stripes == item.stripe and not done(number)

    split = Split(item.start, item.end, item.first_row, item.bytes)
    filling, number, digests = _Filling(config.read.share), 0, []
    for file in item.files:
        with open_unchanged(file) as raw:
            source = Source(file, raw, config)
            for part in _parts(split, source, chunk_bytes):
                if isinstance(part, Broken):
                    if mine(number):
                        filling.rejects.append(_break(source, part))
                    continue
                if not filling.has_room(part, chunk_bytes):
                    if mine(number):
                        check_unchanged(file)  # what is given out is soon staged, and stays when the job goes on
                        yield filling.chunk(item, number, last=False)
                    filling, number = _Filling(config.read.share), number + 1
                if mine(number):
                    filling.add(part)
                filling.size += part.size
                filling.count += part.count
            if item.whole and (mine(number) or item.more):
                digests.append(source.digest())
            else:
                check_unchanged(file)  # also by a stripe without a chunk
    if mine(number):
        yield filling.chunk(item, number, True, "".join(digests))
    if not item.more:
        check_unchanged(item.file)


def _parts(split: Split, source: Source, chunk_bytes: int) -> Iterator[base.Rows | Broken]:
    """What a split holds; of a file that is not what its name says, only that."""
    if source.stranger is not None:
        return iter([Broken(0, "wrong_content", source.stranger.cause)])
    return base.get(source.file.format).read(split, source, chunk_bytes)


def _break(source: Source, broken: Broken) -> pa.RecordBatch:
    """The reject for a break. Raises BrokenError instead with `read.strict`."""
    if source.read.strict:
        row = f", {base.get(source.file.format).unit} {broken.row}" if broken.row else ""
        raise BrokenError(broken.rule, f"{source.file.name}{row}: {broken.cause}")
    return reject(source.file, *broken)


def _staged(staging: str, item: WorkItem) -> Callable[[int], bool]:
    """Says which chunks of an item an earlier attempt has staged. They are only asked for one by one where the item's
    first one is there: items are started far more often than they are resumed."""
    if not staging or records.load(staging, records.chunk_task(item.id, item.stripe)) is None:
        return lambda number: False
    return lambda number: records.load(staging, records.chunk_task(item.id, number)) is not None


def _read(item: WorkItem, config: Config, chunk_bytes: int, staging: str) -> Iterator[Chunk]:
    return read_item(item, config, chunk_bytes, _staged(staging, item))


@dataclasses.dataclass
class ReadDocuments(beam.PTransform):
    """PCollection[WorkItem] -> PCollection[Chunk]. Chunks that are staged below `staging` already are left out."""

    config: Config
    chunk_bytes: int
    staging: str = ""

    def expand(self, items: beam.PCollection) -> beam.PCollection:
        read = beam.FlatMap(Private(_read, self.config, self.chunk_bytes, self.staging))
        return items | read.with_output_types(Chunk)
