"""Rows of documents and of rejects, and the one way to make a reject."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# A document's ordinal says where it came from: file ordinal in the plan << ROW_BITS | row within the file. Files
# are numbered in the order of their relative names, so ordinals order documents by (file, row) on every run.
ROW_BITS = 40

TIMESTAMP = pa.timestamp("s", tz="UTC")

# What a reader yields. `ordinal` is internal and never leaves the staging area, and so is `copies`: how many documents
# of an earlier release one stands for, itself included; null for one.
DOCUMENT = pa.schema(
    [
        pa.field("ordinal", pa.uint64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("url", pa.string()),
        pa.field("license", pa.string()),
        pa.field("published_at", TIMESTAMP),
        pa.field("collected_at", TIMESTAMP),
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("metadata", pa.string()),
        pa.field("copies", pa.int32()),
    ]
)

# What the language step adds: the verdict, the evidence, and who decided.
LANGUAGE = [
    pa.field("language", pa.string(), nullable=False),
    pa.field("language_detector", pa.string(), nullable=False),
    pa.field("language_score", pa.float32()),
    pa.field("hangul_share", pa.float32(), nullable=False),
    pa.field("chars", pa.int32(), nullable=False),
    pa.field("letters", pa.int32(), nullable=False),
]

# One row for each input row that did not become a document, or was dropped by a filter. `row` counts from 1 (lines
# of a text file, rows of a Parquet file); 0 means the file as a whole.
REJECT = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("url", pa.string()),
        pa.field("license", pa.string()),
        pa.field("step", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("value", pa.string()),
        pa.field("threshold", pa.string()),
        # The same as numbers, where they are: what a rule measured, and the bound that it was held against.
        pa.field("measured", pa.float64()),
        pa.field("bound", pa.float64()),
    ]
)


# A text that says a number and nothing else.
_NUMBER = r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$"


def empty(schema: pa.Schema) -> pa.RecordBatch:
    """A batch of no rows."""
    return pa.RecordBatch.from_pylist([], schema=schema)


def concat(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """One batch of all rows, in order; an empty one when there is none."""
    full = [batch for batch in batches if batch.num_rows]
    if len(full) == 1:
        return full[0]
    return pa.concat_batches(full) if full else empty(schema)


def rejects(
    rows: pa.RecordBatch,
    dropped: np.ndarray,
    step: str,
    rule: pa.Array | str,
    value: pa.Array | str,
    threshold: pa.Array | str | None,
    measured: np.ndarray | None = None,
    bound: np.ndarray | float | None = None,
) -> pa.RecordBatch:
    """REJECT rows of those of `rows` (file, row, id, source, whatever else) where the bool array `dropped` is true.

    Rule, value and threshold are string arrays over all rows, of which only those of dropped rows are read, or one for
    all. `measured` and `bound` are the same as numbers, float64 over all rows, NaN where there is none; if they are not
    given, they are read from texts that are nothing but a number. Every reject is made here, so that each has a step, a
    rule, the value seen and the threshold.
    """
    picked = pa.array(np.flatnonzero(dropped))
    absent = pa.nulls(len(picked), pa.string())

    def of(column: pa.Array | str | None) -> pa.Array:
        if column is None or isinstance(column, str):
            return pa.repeat(pa.scalar(column, pa.string()), len(picked))
        return column.take(picked)

    def number(given: np.ndarray | float | None, text: pa.Array) -> pa.Array:
        if given is None:
            plain = pc.match_substring_regex(text, _NUMBER)
            return pc.if_else(plain, text, None).cast(pa.float64())
        values = np.broadcast_to(np.asarray(given, np.float64), len(dropped))[picked.to_numpy()]
        return pa.array(values, mask=np.isnan(values))

    names = ["file", "row", "id", "source", "url", "license"]
    gone = rows.select([name for name in names if name in rows.schema.names]).take(picked)
    known = [gone[name] if name in gone.schema.names else absent for name in names]
    seen, asked = of(value), of(threshold)
    columns = [*known, of(step), of(rule), seen, asked, number(measured, seen), number(bound, asked)]
    return pa.RecordBatch.from_arrays(columns, schema=REJECT)
