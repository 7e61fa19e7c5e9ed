"""Exchange through files: rows that must be regrouped go into segments of a file; Beam groups only their slices.

A segment holds the rows of one destination partition as one Arrow IPC message, without the schema, which both sides
know. All segments of a task lie in one file, one behind the other; each is read back with one ranged read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import xxhash

from schemas.work import Slice
from transforms import storage

# Text: zstd at level -1 writes at 400 MB/s, reads at 1,600 and leaves a third of the bytes. Segments of numbers are
# too small and too random to gain from compression.
_CODEC = pa.Codec("zstd", -1)

# Before a segment stands the size of its message when decompressed, 0 if it is not compressed.
_HEAD_BYTES = 8


class DamagedError(RuntimeError):
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


class Segments:
    """Writes an exchange file: `add` batches, each for a channel and partition; `slices` says where they went."""

    def __init__(self, file: BinaryIO, uri: str) -> None:
        self._file = file
        self._uri = uri
        self._offset = 0
        self.slices: list[tuple[str, int, Slice]] = []

    def add(self, channel: str, partition: int, batch: pa.RecordBatch, compress: bool = False) -> None:
        """Appends one segment; a batch of no rows leaves no trace."""
        if not batch.num_rows:
            return
        message = batch.serialize()
        head = (message.size if compress else 0).to_bytes(_HEAD_BYTES, "little")
        body = _CODEC.compress(message) if compress else message
        checksum = xxhash.xxh3_64(head)
        checksum.update(body)
        self._file.write(head)
        self._file.write(body)
        size = _HEAD_BYTES + body.size
        self.slices.append(
            (channel, partition, Slice(self._uri, self._offset, size, batch.num_rows, checksum.intdigest()))
        )
        self._offset += size

    def scatter(self, channel: str, batch: pa.RecordBatch, partition: np.ndarray, compress: bool = False) -> None:
        """Adds the rows of `batch` to the segments of their partitions; rows keep their order within each."""
        if not batch.num_rows:
            return
        if (partition == partition[0]).all():
            self.add(channel, int(partition[0]), batch, compress)
            return
        if (partition[1:] < partition[:-1]).any():
            order = np.argsort(partition, kind="stable")
            batch, partition = batch.take(pa.array(order)), partition[order]
        starts = np.append(0, np.flatnonzero(partition[1:] != partition[:-1]) + 1)
        ends = np.append(starts[1:], len(partition))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            self.add(channel, int(partition[start]), batch.slice(start, end - start), compress)


def read_slice(part: Slice, staging: str, schema: pa.Schema) -> pa.RecordBatch:
    """The rows of a segment. Raises DamagedError when the bytes are not those that were written."""
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
    return pa.ipc.read_record_batch(_CODEC.decompress(body, size) if size else body, schema)


def in_order(parts: Iterable[Slice]) -> list[Slice]:
    """Slices in the order of (file, offset), whatever the order in which Beam brings them."""
    return sorted(parts, key=lambda part: (part.uri, part.offset))


def read_slices(parts: Iterable[Slice], staging: str, schema: pa.Schema) -> pa.Table:
    """All rows of a partition, in the order of file and offset."""
    return pa.Table.from_batches([read_slice(part, staging, schema) for part in in_order(parts)], schema)
