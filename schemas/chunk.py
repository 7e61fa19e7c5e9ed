"""The element that travels through a refine pipeline: a Chunk of document rows and its rejects."""

from __future__ import annotations

import dataclasses
import itertools
import struct
from collections.abc import Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa

from malmungchi.schemas.document import REJECT, concat, rejects


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Rows of one work item, at most about `Plan.chunk_bytes` of input, and what was rejected among them.

    A chunk never mixes work items and steps keep no state between chunks, so the same input gives the same chunks
    on every runner. `last` marks the final chunk of its work item; there `digest` is the hex sha256 of the input file,
    if the item is a whole file, or those of its files one behind the other. `input_bytes` is the decompressed input
    that the chunk was read from.
    """

    item: str
    sequence: int
    last: bool
    rows: pa.RecordBatch
    rejects: pa.RecordBatch
    digest: str = ""
    input_bytes: int = 0

    def keep(
        self,
        mask: np.ndarray,
        step: str,
        rule: pa.Array,
        value: pa.Array,
        threshold: str,
        measured: np.ndarray | None = None,
        bound: np.ndarray | float | None = None,
    ) -> Chunk:
        """Keeps the rows where `mask` is true and moves the others to the rejects.

        `rule` and `value` are string arrays over all rows; only those of dropped rows are read; `measured` and `bound`
        are numbers, as `rejects` takes them. This is the one way
        for a filter to drop a row, so that every drop has a step, rule, value and threshold.
        """
        if mask.all():
            return self
        gone = rejects(self.rows, ~mask, step, rule, value, threshold, measured, bound)
        return dataclasses.replace(
            self,
            rows=self.rows.take(pa.array(np.flatnonzero(mask))),
            rejects=concat([self.rejects, gone], REJECT),
        )

    def with_columns(self, fields: Sequence[pa.Field], columns: Sequence[pa.Array]) -> Chunk:
        """The same chunk with columns added, or replaced where the name exists."""
        rows = self.rows
        for field, column in zip(fields, columns, strict=True):
            index = rows.schema.get_field_index(field.name)
            rows = rows.append_column(field, column) if index < 0 else rows.set_column(index, field, column)
        return dataclasses.replace(self, rows=rows)


def _ipc(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _batch(data: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(data) as reader:
        return reader.read_next_batch()


class ChunkCoder(beam.coders.Coder):
    """Arrow IPC. Beam's default pickles batches, and a ten-row slice drags its whole parent buffer along."""

    _HEAD = struct.Struct("<HIBIQQ")

    def encode(self, value: Chunk) -> bytes:
        item, digest, rows, rejects = (
            value.item.encode(),
            value.digest.encode(),
            _ipc(value.rows),
            _ipc(value.rejects),
        )
        head = self._HEAD.pack(len(item), value.sequence, value.last, len(digest), value.input_bytes, len(rows))
        return head + item + digest + rows + rejects

    def decode(self, encoded: bytes) -> Chunk:
        item, sequence, last, digest, input_bytes, rows = self._HEAD.unpack_from(encoded)
        edges = list(itertools.accumulate((item, digest, rows), initial=self._HEAD.size))
        parts = [encoded[start:end] for start, end in itertools.pairwise(edges)]
        return Chunk(
            parts[0].decode(),
            sequence,
            bool(last),
            _batch(parts[2]),
            _batch(encoded[edges[-1] :]),
            parts[1].decode(),
            input_bytes,
        )

    def is_deterministic(self) -> bool:
        return True

    def estimate_size(self, value: Chunk) -> int:
        # Beam samples element sizes; its default would encode the whole chunk to measure it.
        return int(value.rows.nbytes + value.rejects.nbytes)

    def to_type_hint(self) -> type:
        return Chunk


beam.coders.registry.register_coder(Chunk, ChunkCoder)
