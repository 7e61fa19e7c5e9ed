"""Columns of input rows, whatever their format, to document rows and rejects."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from malmungchi.schemas.config import Read
from malmungchi.schemas.document import DOCUMENT, ROW_BITS, TIMESTAMP, rejects
from malmungchi.schemas.work import InputFile
from malmungchi.transforms.io.decompress import EXTENSIONS
from malmungchi.transforms.kernels import dates
from malmungchi.transforms.kernels.utf8 import string_buffers

STEP = "read"

# The format of a file (schemas.work.FORMATS), by the extension of its name without that of a compression.
FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
}


class Part(NamedTuple):
    """What a reader yields: document rows and rejects of `size` bytes of input; `last` of its work item."""

    rows: pa.RecordBatch
    rejects: pa.RecordBatch
    last: bool
    size: int


@dataclasses.dataclass
class Rows:
    """`n` rows of a file as columns of length n; all but `row` are strings, null where there is nothing.

    `wrong` is true where there is a text of another type than string. `rule`, `value` and `threshold` are null for
    the rows that are good so far.
    """

    file: InputFile
    row: np.ndarray  # int64, from 1
    text: pa.Array
    wrong: np.ndarray
    rule: pa.Array
    value: pa.Array
    threshold: pa.Array
    id: pa.Array
    url: pa.Array
    source: pa.Array
    license: pa.Array
    published_at: pa.Array  # timestamp[s, UTC]
    collected_at: pa.Array
    metadata: pa.Array


def nulls(n: int) -> pa.Array:
    """n strings that are not there."""
    return pa.nulls(n, pa.string())


def reject(file: InputFile, row: int, rule: str, value: str, threshold: str | None = None) -> pa.RecordBatch:
    """One reject; row 0 stands for the file."""
    return rejects_of(file, [(row, rule, value, threshold)])


def rejects_of(file: InputFile, found: Sequence[tuple[int, str, str, str | None]]) -> pa.RecordBatch:
    """Rejects for (row, rule, value, threshold)."""
    rows = [row for row, *_ in found]
    places = pa.RecordBatch.from_arrays(
        [
            pa.array([file.name] * len(rows), pa.string()),
            pa.array(rows, pa.int64()),
            pa.array([f"{file.name}:{row}" if row else None for row in rows], pa.string()),
            pa.array([default_source(file)] * len(rows), pa.string()),
        ],
        names=["file", "row", "id", "source"],
    )
    rule, value, threshold = (pa.array([reason[n] for reason in found], pa.string()) for n in (1, 2, 3))
    return rejects(places, np.ones(len(rows), bool), STEP, rule, value, threshold)


def default_source(file: InputFile) -> str:
    """The file's name without folder and without the extensions of format and compression."""
    name = uncompressed(file.name)
    stem, extension = posixpath.splitext(name)
    return stem if extension.lower() in FORMATS else name


def uncompressed(name: str) -> str:
    """A file's name without folder and without the extension of a compression."""
    base = posixpath.basename(name)
    stem, extension = posixpath.splitext(base)
    return stem if extension.lower() in EXTENSIONS else base


def parse_dates(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """(timestamp[s, UTC], true where there is something that is no date) of a string column."""
    filled = pc.fill_null(column, "")
    data, offsets = string_buffers(filled)
    seconds = np.empty(len(column), np.int64)
    dates.parse(data, offsets, seconds)
    bad = seconds == dates.BAD
    stamps = pa.array(seconds, pa.int64(), mask=bad).cast(pa.timestamp("s")).cast(TIMESTAMP)
    return stamps, bad & (np.diff(offsets) > 0)


def keep_in_metadata(metadata: pa.Array, rows: np.ndarray, name: str, json_of: Callable[[int], bytes]) -> pa.Array:
    """Adds member `name` to the metadata objects of `rows`: values that have no place in their column.

    A value of the wrong type, or a date that is none, is no reason to lose a document, nor to lose the value.
    """
    if not len(rows):
        return metadata
    objects = metadata.to_pylist()
    key = orjson.dumps(name).decode()
    for row in rows:
        member = f"{key}:{json_of(int(row)).decode()}"
        before = objects[row]
        objects[row] = f"{{{member}}}" if before is None else f"{before[:-1]},{member}}}"
    return pa.array(objects, pa.string())


def _or(column: pa.Array, otherwise: pa.Array | pa.Scalar) -> pa.Array:
    """The column with `otherwise` where it is null or empty."""
    there = pc.greater(pc.fill_null(pc.binary_length(column), 0), 0)
    return column if pc.all(there, min_count=0).as_py() else pc.if_else(there, column, otherwise)


def assemble(rows: Rows, config: Read) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """(document rows, rejects), after the rules that hold for all formats.

    A text that is missing, of another type, empty or longer than `max_text_bytes` is rejected. Ids that are missing
    or empty are the file's name and the row, sources that are, what `default_source` says.
    """
    n = len(rows.row)
    file, numbers = rows.file, pa.array(rows.row)
    lengths = pc.fill_null(pc.binary_length(rows.text), -1).to_numpy(zero_copy_only=False)
    good = pc.is_null(rows.rule).to_numpy(zero_copy_only=False)
    limit = str(config.max_text_bytes)
    rules: list[tuple[np.ndarray, str, str, str | None]] = [
        (rows.wrong, "wrong_type", "the text is not a string", None),
        (lengths < 0, "no_text", "the text is missing or null", None),
        (lengths == 0, "empty_text", "the text is empty", None),
        (lengths > config.max_text_bytes, "too_long", "the text is longer than read.max_text_bytes", limit),
    ]
    rule, value, threshold = rows.rule, rows.value, rows.threshold
    for bad, name, cause, bound in rules:
        if (bad & good).any():
            mask = pa.array(bad & good)
            rule = pc.if_else(mask, name, rule)
            value = pc.if_else(mask, cause, value)
            threshold = pc.if_else(mask, pa.scalar(bound, pa.string()), threshold)
            good = good & ~bad
    place = pc.binary_join_element_wise(pa.scalar(file.name), numbers.cast(pa.string()), ":")
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(rows.row.astype(np.uint64) | np.uint64(file.ordinal << ROW_BITS)),
            _or(rows.id, place),
            rows.text,
            _or(rows.source, pa.scalar(default_source(file))),
            _or(rows.url, pa.scalar(None, pa.string())),
            _or(rows.license, pa.scalar(None, pa.string())),
            rows.published_at,
            rows.collected_at,
            pa.repeat(pa.scalar(file.name), n),
            numbers,
            rows.metadata,
        ],
        names=DOCUMENT.names,
    )
    rejected = reject_rows(batch, ~good, rule, value, threshold)
    kept = batch if good.all() else batch.filter(pa.array(good))
    return pa.RecordBatch.from_arrays(kept.columns, schema=DOCUMENT), rejected


def reject_rows(
    batch: pa.RecordBatch, mask: np.ndarray, rule: pa.Array, value: pa.Array, threshold: pa.Array
) -> pa.RecordBatch:
    """Rejects for the rows of `batch` where `mask` is true."""
    return rejects(batch, mask, STEP, rule, value, threshold)
