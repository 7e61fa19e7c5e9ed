"""STAGE: a finished chunk into one exchange file, its rows grouped by where they are needed next."""

from __future__ import annotations

import dataclasses
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Deduplicate, Fingerprint
from malmungchi.schemas.document import ROW_BITS
from malmungchi.schemas.exchange import EXACT, KEY, Layout, band_schema
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.counts import Counts
from malmungchi.transforms.exchange.segments import Segments
from malmungchi.transforms.io.private import Private
from malmungchi.transforms.io.progress import report
from malmungchi.transforms.kernels import minhash, strings
from malmungchi.transforms.kernels.utf8 import string_buffers
from malmungchi.transforms.text import steps


def nodes(content_hash: pa.FixedSizeBinaryArray) -> np.ndarray:
    """uint64 first half of each content hash."""
    hashes = np.frombuffer(content_hash.buffers()[1], np.uint64, 2 * len(content_hash), 16 * content_hash.offset)
    return hashes[::2]


def exact_rows(rows: pa.RecordBatch, partition: np.ndarray, config: Deduplicate) -> pa.RecordBatch:
    """EXACT rows of staged rows. `priority` is the place of the source in the configured list, `licensed` whether the
    document says its licence, whatever that is."""
    count = rows.num_rows
    known = pa.array(config.priority, pa.string())
    priority = pc.fill_null(pc.index_in(rows["source"], known), len(known)) if len(known) else np.zeros(count, np.int32)
    columns = [
        pa.array(nodes(rows["content_hash"])),
        rows["content_hash"],
        rows["ordinal"],
        pa.array(partition.astype(np.int32)),
        rows["id"],
        priority,
        rows["license"].is_valid(),
        rows["chars"],
        pa.array(np.diff(string_buffers(rows["text"])[1])),
        rows["published_at"].cast(pa.int64()),
        rows["copies"],
    ]
    return pa.RecordBatch.from_arrays([pa.array(c) if isinstance(c, np.ndarray) else c for c in columns], schema=EXACT)


def _reasons(rejects: pa.RecordBatch) -> dict[tuple[str, str, str, str], int]:
    """Rejects by (step, rule, language or "", source)."""
    language = pc.if_else(
        pc.equal(rejects["step"], "language"),
        pc.list_element(pc.split_pattern(pc.fill_null(rejects["value"], ""), " ", max_splits=1), 0),
        "",
    )
    table = pa.table([rejects["step"], rejects["rule"], language, pc.fill_null(rejects["source"], "")],
                     ["step", "rule", "language", "source"])  # fmt: skip
    counted = table.group_by(table.column_names).aggregate([([], "count_all")])
    return {(row["step"], row["rule"], row["language"], row["source"]): row["count_all"] for row in counted.to_pylist()}


def count_values(column: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """How often each string occurs in a column; "" stands for nothing."""
    return {item["values"]: item["counts"] for item in pc.fill_null(column, "").value_counts().to_pylist()}


def stage(
    chunk: Chunk, segments: Segments, layout: Layout, fingerprint: Fingerprint, deduplicate: Deduplicate
) -> dict[str, Any]:
    """Writes the chunk's segments: `rows`, `exact`, `bands` and `rejects`; returns what its record says, among
    it its Counts, and which files have given documents and which none."""
    rows = chunk.rows
    ids, places = string_buffers(rows["id"])
    key = strings.hashes(ids, places)
    partition = strings.ranges(key, layout.partitions)
    if rows.num_rows:
        staged = rows.append_column(KEY, pa.array(key)).select(steps.staged().names)
        segments.scatter("rows", staged, partition, compress=True)
        node = nodes(rows["content_hash"])
        if deduplicate.exact or deduplicate.near:
            exact = exact_rows(rows, partition, deduplicate)
            segments.scatter("exact", exact, strings.ranges(node, layout.exact_ranges))
        if deduplicate.near:
            _stage_bands(rows, node, segments, layout, fingerprint)
    rejects, rejected = chunk.rejects, []
    if rejects.num_rows:
        place = np.asarray(rejects["row"]).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        into = strings.ranges(place, layout.reject_partitions)
        segments.scatter("rejects", rejects, into, compress=True)
        rejected = np.unique(into).tolist()
    counts = Counts() + Counts(
        kept=rows.num_rows,
        rejected=_reasons(rejects),
        sources=count_values(rows["source"]),
        languages=count_values(rows["language"]),
        stood_for=int(pc.sum(pc.subtract(rows["copies"], 1)).as_py() or 0),
        reject_partitions=frozenset(rejected),
    )
    files = np.unique(np.asarray(rows["ordinal"]) >> np.uint64(ROW_BITS))
    return {
        "last": chunk.last,
        "digest": chunk.digest,
        "files": files.tolist(),
        "lost": _lost(rows, rejects),
        **counts.to_json(),
    }


def _lost(rows: pa.RecordBatch, rejects: pa.RecordBatch) -> list[tuple[str, str, int, str]]:
    """(file, reason, rows, cause of the first) of the files that have rejects here, and no rows. Causes are what is
    said by a reader, our words, never a document's."""
    if not rejects.num_rows:
        return []
    mine = rejects.filter(pc.invert(pc.is_in(rejects["file"], pc.unique(rows["file"]))))
    table = pa.table(mine.columns, mine.schema.names).select(["file", "step", "rule", "value"])
    groups = table.group_by(["file", "step", "rule"], use_threads=False)
    return [
        (
            row["file"],
            f"{row['step']}.{row['rule']}",
            row["count_all"],
            row["value_first"] or "" if row["step"] == "read" else "",
        )
        for row in groups.aggregate([([], "count_all"), ("value", "first")]).to_pylist()
    ]


def _stage_bands(
    rows: pa.RecordBatch, node: np.ndarray, segments: Segments, layout: Layout, config: Fingerprint
) -> None:
    signature = rows["signature"]
    present = np.asarray(signature.is_valid())
    if not present.any():
        return
    values = np.frombuffer(signature.buffers()[1], np.uint32)[signature.offset * config.num_perm :]
    signatures = values.reshape(-1, config.num_perm)[: len(signature)][present]
    hashes = minhash.band_hashes(signatures, config.bands, config.rows)
    sketch = minhash.sketches(signatures)
    schema = band_schema(config.num_perm)
    # Band by band: all hashes of the first, then of the second. A band hash tells its band, so bands share partitions.
    flat = np.ascontiguousarray(hashes.T).reshape(-1)
    part = strings.ranges(flat, layout.band_partitions)
    order = np.argsort(part, kind="stable")
    document = order % len(sketch)
    column = pa.FixedSizeBinaryArray.from_buffers(
        schema.field("sketch").type, len(order), [None, pa.py_buffer(sketch[document])]
    )
    batch = pa.RecordBatch.from_arrays(
        [pa.array(flat[order]), pa.array(node[present][document]), column], schema=schema
    )
    segments.scatter("bands", batch, part[order])


def _stage_task(chunk: Chunk, staging: str, layout: Layout, fingerprint: Fingerprint, deduplicate: Deduplicate) -> str:
    name = records.chunk_task(chunk.item, chunk.sequence)
    records.run(staging, name, lambda segments: stage(chunk, segments, layout, fingerprint, deduplicate), layout)
    report("refine", chunk.rows.num_rows + chunk.rejects.num_rows, chunk.input_bytes)
    return name


@dataclasses.dataclass
class StageChunks(beam.PTransform):
    """PCollection[Chunk] with fingerprints -> PCollection[str], the names of the finished tasks."""

    staging: str
    layout: Layout
    fingerprint: Fingerprint
    deduplicate: Deduplicate

    def expand(self, pcoll: beam.PCollection[Chunk]) -> beam.PCollection[str]:
        stage_task = beam.Map(Private(_stage_task, self.staging, self.layout, self.fingerprint, self.deduplicate))
        return pcoll | stage_task.with_output_types(str)
