"""Work items to chunks of documents: the one place where bytes become rows, and bad ones become rejects."""

from __future__ import annotations

import dataclasses
import functools
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
from malmungchi.transforms.formats.places import within
from malmungchi.transforms.formats.rows import reject
from malmungchi.transforms.formats.sample import sampled
from malmungchi.transforms.formats.source import Source, check_unchanged, open_unchanged
from malmungchi.transforms.io.decompress import BrokenError
from malmungchi.transforms.io.private import Private

# Rows of a chunk, at most: the columns that are added to a row (id, file, evidence) weigh more than a tiny line.
MAX_ROWS = 1 << 15


@dataclasses.dataclass
class _Filling:
    """A chunk while rows are added to it: those that are asked for, by the sample of their file, and whose places have
    a hash of at most `largest`."""

    largest: int | None = None
    rows: list[pa.RecordBatch] = dataclasses.field(default_factory=list)
    rejects: list[pa.RecordBatch] = dataclasses.field(default_factory=list)
    size: int = 0
    count: int = 0
    waiting: list[text.File] = dataclasses.field(default_factory=list)

    def has_room(self, rows: base.Rows, chunk_bytes: int) -> bool:
        """Whether some more rows go in."""
        fits = self.size + rows.size <= chunk_bytes and self.count + rows.count <= MAX_ROWS
        return fits or not (self.size or self.count)

    def add(self, rows: base.Rows, source: Source) -> None:
        """Adds rows of a file. Files that are a row each wait for others, with which they are made to documents."""
        if self.waiting and not (isinstance(rows, text.File) and text.are_alike(self.waiting[0], rows)):
            self._make(self.waiting[0].source, *text.documents_of(self.waiting))
            self.waiting = []
        if isinstance(rows, text.File):
            self.waiting.append(rows)
        else:
            self._make(source, *rows.documents())

    def _make(self, source: Source, good: pa.RecordBatch, bad: pa.RecordBatch) -> None:
        self.rows.append(sampled(good, source.read.share))
        self.rejects.append(sampled(bad, source.read.share))

    def chunk(self, item: WorkItem, number: int, last: bool, digest: str = "") -> Chunk:
        """What has been added."""
        if self.waiting:
            self._make(self.waiting[0].source, *text.documents_of(self.waiting))
        rows, rejects = concat(self.rows, DOCUMENT), concat(self.rejects, REJECT)
        if self.largest is not None:
            rows, rejects = within(rows, self.largest), within(rejects, self.largest)
        return Chunk(item.id, number, last, rows, rejects, digest, self.size)


def read_item(
    item: WorkItem,
    config: Config,
    chunk_bytes: int,
    done: Callable[[int], bool] = lambda number: False,
    largest: int | None = None,
) -> Iterator[Chunk]:
    """The documents of a work item, in order, as chunks of about `chunk_bytes` of input.

    Chunks of which the number is `done`, or another stripe's, are passed over. The last one of the file's part says
    so; if that is the whole file it also has the sha256 of its bytes. Rows that are no documents are in the chunks'
    rejects (step "read"), each with its row and cause, as is the place where the file breaks off. Of both there is only
    the sample that `read.sample` asks for, and with `largest` what has a place with a hash of at most that. Memory is
    bounded by `chunk_bytes`, one line or one Parquet page.

    Raises InputChangedError if the file is not what was planned, and BrokenError where it breaks off if it does and
    `read.strict` is set.
    """

    def mine(number: int) -> bool:
        return number % item.stripes == item.stripe and not done(number)

    split = Split(item.start, item.end, item.first_row, item.bytes)
    filling, number, digests = _Filling(largest), 0, []
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
                    filling, number = _Filling(largest), number + 1
                if mine(number):
                    filling.add(part, source)
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


def finished(staging: str, task: Callable[[int], str], first: int) -> Callable[[int], bool]:
    """Says which chunks of an item an earlier attempt has done, by the names of their tasks. They are asked for one by
    one only where the `first` one is there: items are started far more often than they are resumed."""
    if not staging or records.load(staging, task(first)) is None:
        return lambda number: False
    return lambda number: records.load(staging, task(number)) is not None


def _read(item: WorkItem, config: Config, chunk_bytes: int, staging: str, largest: int | None) -> Iterator[Chunk]:
    task = functools.partial(records.chunk_task, item.id)
    return read_item(item, config, chunk_bytes, finished(staging, task, item.stripe), largest)


@dataclasses.dataclass
class ReadDocuments(beam.PTransform):
    """PCollection[WorkItem] -> PCollection[Chunk]. Chunks that are staged below `staging` already are left out, and
    with `largest` rows whose places have a larger hash."""

    config: Config
    chunk_bytes: int
    staging: str = ""
    largest: int | None = None

    def expand(self, items: beam.PCollection) -> beam.PCollection:
        read = beam.FlatMap(Private(_read, self.config, self.chunk_bytes, self.staging, self.largest))
        return items | read.with_output_types(Chunk)
