"""Rows of a file, as columns by role or as an Arrow table, to document rows and rejects."""

from __future__ import annotations

import dataclasses
import posixpath
import unicodedata
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.schemas.document import DOCUMENT, ROW_BITS, TIMESTAMP, rejects
from malmungchi.schemas.work import InputFile
from malmungchi.transforms.formats import base
from malmungchi.transforms.formats.nothing import told, told_value
from malmungchi.transforms.formats.source import Source
from malmungchi.transforms.io.decompress import EXTENSIONS
from malmungchi.transforms.kernels import dates
from malmungchi.transforms.kernels.utf8 import string_buffers

STEP = "read"


@dataclasses.dataclass
class Fields:
    """`n` rows of a file as columns by role, of length n; all but `row` are strings, null where there is nothing.

    `wrong` is true where there is a text of another type than string. `rule`, `value` and `threshold` are null for
    the rows that are good so far.
    """

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
    copies: pa.Array  # as strings


def nulls(n: int) -> pa.Array:
    """n null strings."""
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
    """What the input says, else the file's name without folder and without the extensions of format and compression."""
    if source := told_value(unicodedata.normalize("NFC", file.source)):
        return source
    name = uncompressed(file.name)
    stem, extension = posixpath.splitext(name)
    return stem if extension.lower() in base.extensions() else name


def uncompressed(name: str) -> str:
    """A file's name without folder and without the extension of a compression."""
    plain = posixpath.basename(name)
    stem, extension = posixpath.splitext(plain)
    return stem if extension.lower() in EXTENSIONS else plain


def parse_dates(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """(timestamp[s, UTC], true where there is something that is no date) of a string column."""
    filled = pc.fill_null(told(column), "")
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


def _copies(column: pa.Array) -> pa.Array:
    """Numbers from 1 as int32; null for one, and for what is none."""
    if column.null_count == len(column):
        return pa.nulls(len(column), pa.int32())
    number = pc.match_substring_regex(column, r"^[0-9]{1,9}$")
    found = pc.if_else(number, column, None).cast(pa.int32())
    return pc.if_else(pc.greater(found, 1), found, None)


def joined(given: pa.Array, metadata: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """(metadata objects of two columns of JSON in one, true where `given` is no object)."""
    odd = np.zeros(len(given), bool)
    objects = metadata.to_pylist()
    for row, (text, more) in enumerate(zip(given.to_pylist(), objects, strict=True)):
        if not text:
            continue
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            odd[row] = True
        elif found:
            objects[row] = f"{text.strip()[:-1]},{more[1:]}" if more else text.strip()
    return pa.array(objects, pa.string()), odd


def _or(column: pa.Array, otherwise: pa.Array | pa.Scalar) -> pa.Array:
    """The column with `otherwise` where it is null or empty."""
    there = pc.greater(pc.fill_null(pc.binary_length(column), 0), 0)
    return column if pc.all(there, min_count=0).as_py() else pc.if_else(there, column, otherwise)


def _strings(values: Sequence[str | None], n: int) -> pa.Array:
    """A string for each of n rows, or one for all of them."""
    return pa.repeat(pa.scalar(values[0], pa.string()), n) if len(values) == 1 else pa.array(values, pa.string())


def _date_or(column: pa.Array, otherwise: Sequence[str]) -> pa.Array:
    """The column with the dates `otherwise`, as far as they are dates, where it is null."""
    if not any(otherwise):
        return column
    return pc.coalesce(column, parse_dates(_strings(otherwise, len(column)))[0])


def _with_members(metadata: pa.Array, members: Sequence[Mapping[str, str]]) -> pa.Array:
    """The metadata objects with some more members."""
    if not any(members):
        return metadata
    begin = _strings([orjson.dumps(each).decode()[:-1] if each else None for each in members], len(metadata))
    rest = pc.utf8_slice_codeunits(metadata, 1)
    both = pc.binary_join_element_wise(begin, rest, ",")
    alone = pc.binary_join_element_wise(begin, "}", "")
    return pc.coalesce(both, alone, metadata)


def _nfc(column: pa.Array) -> pa.Array:
    """Names in the form in which they are compared: what looks the same is the same."""
    if pc.all(pc.string_is_ascii(column), min_count=0).as_py():
        return column
    values = column.to_pylist()  # Arrow's utf8_normalize takes Hangul apart for NFC too
    if all(value is None or unicodedata.is_normalized("NFC", value) for value in values):
        return column
    return pa.array([value and unicodedata.normalize("NFC", value) for value in values], pa.string())


def documents(rows: Fields, *sources: Source) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """(document rows, rejects), after the rules that hold for all formats; the rows are of one file, or each of one of
    its own, all of one input.

    A text that is missing, of another type, empty or longer than `max_text_bytes` is rejected. Ids that are missing
    or empty are the file's name and the row, sources that are, what `default_source` says. Sources, addresses and
    licences that say nothing ("N/A", 없음) count as missing. Ids and sources are in NFC.
    """
    n = len(rows.row)
    files = [source.file for source in sources]
    config, numbers, names = sources[0].read, pa.array(rows.row), _strings([file.name for file in files], n)
    ordinals = np.array([file.ordinal << ROW_BITS for file in files], np.uint64)
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
    place = pc.binary_join_element_wise(names, numbers.cast(pa.string()), ":")
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(rows.row.astype(np.uint64) | ordinals),
            _or(_nfc(rows.id), place),
            rows.text,
            _or(told(_nfc(rows.source)), _strings(list(map(default_source, files)), n)),
            _or(told(rows.url), pa.scalar(None, pa.string())),
            _or(told(rows.license), _strings([told_value(file.license) or None for file in files], n)),
            _date_or(rows.published_at, [file.published_at for file in files]),
            _date_or(rows.collected_at, [file.collected_at for file in files]),
            names,
            numbers,
            _with_members(rows.metadata, [file.metadata for file in files]),
            _copies(rows.copies),
        ],
        names=DOCUMENT.names,
    )
    too_long = lengths > config.max_text_bytes
    measured = np.where(too_long & ~good, lengths, np.nan) if too_long.any() else None
    rejected = rejects(batch, ~good, STEP, rule, value, threshold, measured)
    kept = batch if good.all() else batch.filter(pa.array(good))
    kept = pa.RecordBatch.from_arrays(kept.columns, schema=DOCUMENT)
    if config.media_type:
        kept = payloads(kept, config.media_type, input=files[0].input)
    return kept, rejected


# What a row has besides, if its text has yet to be made of something: what that is, as far as is known.
PAYLOAD = (
    pa.field("payload", pa.binary()),
    pa.field("media_type", pa.string()),
    pa.field("charset", pa.string()),
    pa.field("input", pa.int32()),  # whose settings hold for extractors
)


def payloads(rows: pa.RecordBatch, media_type: str, charset: str | None = None, input: int = -1) -> pa.RecordBatch:
    """The rows, of an input, with their texts as payloads of a media type: the step `extract` makes the texts."""
    n, text = rows.num_rows, rows["text"]
    rows = rows.set_column(rows.schema.get_field_index("text"), DOCUMENT.field("text"), pa.array([""] * n, pa.string()))
    same = ([media_type], [charset], [input])
    columns = [pa.array(value * n, field.type) for value, field in zip(same, PAYLOAD[1:], strict=True)]
    values = (text.cast(pa.binary()), *columns)
    for field, column in zip(PAYLOAD, values, strict=True):
        rows = rows.append_column(field, column)
    return rows
