"""Exchange through files: rows that must be regrouped go into segments of a file; Beam groups only their slices.

A segment holds the rows of one destination partition as one Arrow IPC message, without the schema, which both sides
know. All segments of a task lie in one file, one behind the other; each is read back with one ranged read.

Where there are more partitions than a task may write segments, rows get there in rounds: a segment then holds the rows
of a run of partitions, with the schema and a column that tells them apart, and a task of the next round splits it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from malmungchi.schemas.document import concat
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.exchange import Layout
from malmungchi.schemas.work import Slice
from malmungchi.transforms.io import storage

# Text: lz4 writes and reads so much faster than zstd at its fastest level that a build takes an eighth less CPU time,
# for an eighth more bytes. Segments of numbers are too small and too random to gain from compression.
_CODEC = pa.Codec("lz4")

# Before a segment stands the size of its message when decompressed, 0 if it is not compressed.
_HEAD_BYTES = 8

# The column of a segment that is split further.
_PARTITION = pa.field("partition of the exchange", pa.int32(), nullable=False)


class DamagedError(MalmungchiError):
    """A staged file is not as it was written. `uri` is its place below the staging area.

    Beam tells the launcher what failed as text only; `damaged` finds such files in it.
    """

    def __init__(self, uri: str, what: str) -> None:
        super().__init__(f"damaged staged file {uri}: {what}")
        self.uri = uri
        self.what = what


_DAMAGED = re.compile(r"damaged staged file (?P<uri>[\w./-]+): (?P<what>.*?)(?: \[while running .*)?$", re.MULTILINE)


def damaged(text: str) -> DamagedError | None:
    """The last DamagedError of which the text of another error tells, if any."""
    found = list(_DAMAGED.finditer(text))
    return DamagedError(found[-1]["uri"], found[-1]["what"]) if found else None


def _size(channel: str, batch: pa.RecordBatch) -> tuple[int, int] | None:
    """(documents, bytes of text) that rows of two channels add to a partition, or take from it."""
    if channel == "rows":
        return batch.num_rows, pc.sum(pc.binary_length(batch["text"])).as_py()
    if channel == "verdicts":
        dropped = batch.filter(pc.invert(batch["kept"]))["bytes"]
        return len(dropped), pc.sum(dropped, min_count=0).as_py()
    return None


# A batch as large as that is brought into order segment by segment: all of it at once would be a second copy.
_LARGE_BYTES = 64 << 20


class Segments:
    """Writes an exchange file: `add` batches, each for a channel and partition; `slices` says where they went.

    `sizes` is [channel, partition, documents, bytes of text] of rows and verdicts that have arrived at their partition.
    """

    def __init__(self, file: BinaryIO, uri: str, layout: Layout | None = None, rounds: int = 0) -> None:
        """`rounds` counts those that the rows have behind them. Without a layout there is one in all."""
        self._file = file
        self._uri = uri
        self._layout = layout
        self._rounds = rounds
        self._offset = 0
        self.slices: list[tuple[str, int, Slice]] = []
        self.sizes: list[tuple[str, int, int, int]] = []

    def add(self, channel: str, partition: int, batch: pa.RecordBatch, compress: bool = False) -> None:
        """Appends one segment for one partition; a batch of no rows leaves no trace."""
        if not batch.num_rows:
            return
        self._append(channel, partition, batch.num_rows, batch.serialize(), compress)
        size = _size(channel, batch)
        if size:
            self.sizes.append((channel, partition, *size))

    def _append(self, channel: str, group: int, rows: int, message: pa.Buffer, compress: bool) -> None:
        head = (message.size if compress else 0).to_bytes(_HEAD_BYTES, "little")
        body = _CODEC.compress(message) if compress else message
        checksum = xxhash.xxh3_64(head)
        checksum.update(body)
        self._file.write(head)
        self._file.write(body)
        size = _HEAD_BYTES + body.size
        self.slices.append((channel, group, Slice(self._uri, self._offset, size, rows, checksum.intdigest())))
        self._offset += size

    def scatter(self, channel: str, batch: pa.RecordBatch, partition: np.ndarray, compress: bool = False) -> None:
        """Adds the rows of `batch` to the segments of their partitions; rows keep their order within each."""
        if not batch.num_rows:
            return
        stride = self._layout.strides(channel)[self._rounds] if self._layout else 1
        if stride > 1:
            batch = batch.append_column(_PARTITION, pa.array(partition.astype(np.int32)))
            partition = partition // stride
        order = None
        if (partition[1:] < partition[:-1]).any():
            order = np.argsort(partition, kind="stable")
            partition = partition[order]
            if batch.nbytes < _LARGE_BYTES:
                batch, order = batch.take(pa.array(order)), None
        starts = np.append(0, np.flatnonzero(partition[1:] != partition[:-1]) + 1)
        ends = np.append(starts[1:], len(partition))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            part = batch.slice(start, end - start) if order is None else batch.take(pa.array(order[start:end]))
            if stride > 1:
                self._append(channel, int(partition[start]), part.num_rows, _with_schema(part), compress)
            else:
                self.add(channel, int(partition[start]), part, compress)


def _with_schema(batch: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _read(part: Slice, staging: str) -> tuple[pa.Buffer, bool]:
    """(message of a segment, whether it was compressed)."""
    uri = storage.join(staging, part.uri)
    try:
        data = storage.read_range(uri, part.offset, part.length)
    except (EOFError, FileNotFoundError) as error:
        gone = "it is gone" if isinstance(error, FileNotFoundError) else "its end is gone"
        raise DamagedError(part.uri, gone) from error
    if xxhash.xxh3_64_intdigest(data) != part.checksum:
        raise DamagedError(part.uri, f"checksum of {part.length} bytes at {part.offset} differs")
    size = int.from_bytes(data[:_HEAD_BYTES], "little")
    body = pa.py_buffer(data).slice(_HEAD_BYTES)
    return (_CODEC.decompress(body, size), True) if size else (body, False)


# Requests to a store that are under way at once: each mostly waits.
REQUESTS = 16


def _messages(parts: list[Slice], staging: str) -> Iterator[tuple[pa.Buffer, bool]]:
    """`_read` of each segment, in order."""
    if storage.is_local(storage.resolve(staging)[0]):
        for part in parts:
            yield _read(part, staging)
        return
    with ThreadPoolExecutor(REQUESTS) as pool:
        ahead = deque(pool.submit(_read, part, staging) for part in parts[:REQUESTS])
        for number in range(len(parts)):
            message = ahead.popleft().result()
            if number + REQUESTS < len(parts):
                ahead.append(pool.submit(_read, parts[number + REQUESTS], staging))
            yield message


def read_batches(parts: Iterable[Slice], staging: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of segments, one after the other, in the order of `in_order`.

    Raises DamagedError when the bytes are not those that were written.
    """
    return (pa.ipc.read_record_batch(message, schema) for message, _ in _messages(in_order(parts), staging))


def split(parts: list[Slice], channel: str, staging: str, segments: Segments) -> None:
    """Reads segments of runs of partitions, in the order given, and adds their rows to those of the next round."""
    found: list[pa.RecordBatch] = []
    compress = False
    for message, compressed in _messages(parts, staging):
        compress = compressed
        found.append(pa.ipc.open_stream(message).read_next_batch())
    batch = concat(found, found[0].schema)
    del found
    last = batch.num_columns - 1
    partition = batch.column(last).to_numpy()
    batch = pa.RecordBatch.from_arrays(batch.columns[:last], schema=batch.schema.remove(last))
    segments.scatter(channel, batch, partition, compress)


def in_order(parts: Iterable[Slice]) -> list[Slice]:
    """Slices in the order of (file, offset), whatever the order in which Beam brings them. Files are in the order of
    their names, which is that of the input, in whatever sub-folder they stand."""
    return sorted(parts, key=lambda part: (part.uri.rpartition("/")[2], part.uri, part.offset))


def read_slices(parts: Iterable[Slice], staging: str, schema: pa.Schema) -> pa.Table:
    """All rows of a partition, in the order of file and offset."""
    return pa.Table.from_batches(list(read_batches(parts, staging, schema)), schema)
