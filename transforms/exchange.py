"""Exchange through files: rows that must be regrouped go into segments of a file; Beam groups only their slices.

A segment is one Arrow IPC stream of one destination partition. All segments of a task lie in one file, one behind
the other, and each is read back with one ranged read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import xxhash

from schemas.work import Slice
from transforms import storage

# Text: zstd at its fastest writes at 300 MB/s and halves the bytes. Segments of numbers are too small and too
# random to gain from compression.
COMPRESSED = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 1), use_threads=False)
PLAIN = pa.ipc.IpcWriteOptions(use_threads=False)


class DamagedError(RuntimeError):
    """A staged file is not as it was written."""

    def __init__(self, uri: str, what: str) -> None:
        super().__init__(f"{uri}: {what}")
        self.uri = uri


class Segments:
    """Writes an exchange file: `add` batches, each for a channel and partition; `slices` says where they went."""

    def __init__(self, file: object, uri: str) -> None:
        self._file = file
        self._uri = uri
        self._offset = 0
        self.slices: list[tuple[str, int, Slice]] = []

    def add(self, channel: str, partition: int, batch: pa.RecordBatch, options: pa.ipc.IpcWriteOptions) -> None:
        """Appends one segment; a batch of no rows leaves no trace."""
        if not batch.num_rows:
            return
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
            writer.write_batch(batch)
        data = sink.getvalue()
        self._file.write(data)  # type: ignore[attr-defined]
        checksum = xxhash.xxh3_64_intdigest(data)
        self.slices.append((channel, partition, Slice(self._uri, self._offset, data.size, batch.num_rows, checksum)))
        self._offset += data.size

    def scatter(
        self, channel: str, batch: pa.RecordBatch, partition: np.ndarray, options: pa.ipc.IpcWriteOptions
    ) -> None:
        """Adds the rows of `batch` to the segments of their partitions; rows keep their order within each."""
        if not batch.num_rows:
            return
        order = np.argsort(partition, kind="stable")
        numbers, starts = np.unique(partition[order], return_index=True)
        if len(numbers) == 1:
            self.add(channel, int(numbers[0]), batch, options)
            return
        ends = np.append(starts[1:], len(order))
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends.tolist(), strict=True):
            self.add(channel, number, batch.take(pa.array(order[start:end])), options)


def read_slice(part: Slice, staging: str, columns: Sequence[str] | None = None) -> pa.RecordBatch:
    """The rows of a segment, only `columns` of them if given (others are not decompressed).

    Raises DamagedError when the bytes are not those that were written.
    """
    uri = storage.join(staging, part.uri)
    try:
        data = storage.read_range(uri, part.offset, part.length)
    except (EOFError, FileNotFoundError) as error:
        raise DamagedError(part.uri, f"a staged segment is gone ({error})") from error
    if xxhash.xxh3_64_intdigest(data) != part.checksum:
        raise DamagedError(part.uri, f"checksum of {part.length} bytes at {part.offset} differs")
    options = None
    if columns is not None:
        schema = pa.ipc.open_stream(data).schema
        options = pa.ipc.IpcReadOptions(
            included_fields=[schema.get_field_index(name) for name in columns], use_threads=False
        )
    with pa.ipc.open_stream(data, options=options) as reader:
        batch = reader.read_next_batch()
    if batch.num_rows != part.rows:
        raise DamagedError(part.uri, f"{batch.num_rows} rows at {part.offset}, {part.rows} expected")
    return batch


def read_slices(
    parts: Iterable[Slice], staging: str, schema: pa.Schema, columns: Sequence[str] | None = None
) -> pa.Table:
    """All rows of a partition, in the order of (file, offset), whatever the order in which Beam brings the slices."""
    batches = [read_slice(part, staging, columns) for part in sorted(parts, key=lambda s: (s.uri, s.offset))]
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    return pa.Table.from_batches([batch.select(schema.names) for batch in batches], schema)
