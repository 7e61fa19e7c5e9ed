"""Arrow tables to documents: what columns hold, whatever its type, by the role that the column has."""

from __future__ import annotations

import base64
import datetime
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.schemas.document import DOCUMENT, REJECT, TIMESTAMP, concat, empty
from malmungchi.transforms.formats import paragraphs
from malmungchi.transforms.formats.rows import Fields, documents, joined, keep_in_metadata, nulls, parse_dates, reject
from malmungchi.transforms.formats.source import Source
from malmungchi.transforms.io.decompress import BrokenError

# What Arrow raises for bytes that are not what they should be.
ERRORS = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError)


def cause(error: BaseException) -> str:
    """What an error of Arrow says, in a line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class Table:
    """Rows of a file as an Arrow batch; `row` has the number of each, or is that of the first, from 1."""

    def __init__(self, source: Source, batch: pa.RecordBatch, row: int | np.ndarray) -> None:
        self._source = source
        self._batch = batch
        self._row = np.arange(row, row + batch.num_rows) if isinstance(row, int) else row
        self._made: tuple[pa.RecordBatch, pa.RecordBatch] | None = None

    @property
    def size(self) -> int:
        """Bytes of the batch, or of what it has become if that is known and more: dictionaries inside of columns are
        written out in the metadata, and a row of a bit can become a reject."""
        made = sum(batch.nbytes for batch in self._made) if self._made else 0
        return int(max(self._batch.nbytes, made))

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self._batch.num_rows)

    def documents(self) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """(document rows, rejects); row by row where one of them holds what Arrow cannot convert."""
        if self._made is None:
            self._made = _convert(self._source, self._batch, self._row)
        return self._made


def _convert(source: Source, batch: pa.RecordBatch, row: np.ndarray) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    try:
        return _documents(source, batch, row)
    except (*ERRORS, TypeError, RecursionError) as error:  # the last two are said of what is nested too deeply
        if batch.num_rows == 1:
            what = f"cannot be converted: {cause(error)}"
            if source.read.strict:
                raise BrokenError("corrupt", f"{source.file.name}, row {row[0]}: {what}") from error
            return empty(DOCUMENT), reject(source.file, int(row[0]), "corrupt", what)
    rows = [_convert(source, batch.slice(i, 1), row[i : i + 1]) for i in range(batch.num_rows)]
    return concat([good for good, _ in rows], DOCUMENT), concat([bad for _, bad in rows], REJECT)


def _plain(column: pa.Array) -> pa.Array:
    """Without dictionaries and views."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if isinstance(column.type, pa.UuidType):
        return _uuids(column.storage)
    if isinstance(column.type, pa.BaseExtensionType):
        return _plain(column.storage)
    if column.type in (pa.string_view(), pa.large_string()):
        return column.cast(pa.string())
    if pa.types.is_fixed_size_binary(column.type) or column.type in (pa.binary_view(), pa.large_binary()):
        return column.cast(pa.binary())
    return column


def _uuids(column: pa.Array) -> pa.Array:
    """The usual 36 characters of 16 bytes."""
    there = [value or b"" for value in column.to_pylist()]
    digits = pa.array([value.hex() for value in there], pa.string())
    parts = [pc.utf8_slice_codeunits(digits, *bounds) for bounds in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))]
    return pc.if_else(column.is_valid(), pc.binary_join_element_wise(*parts, "-"), None)


def decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Without dictionaries and views, and with names that are there once."""
    return pa.RecordBatch.from_arrays(list(map(_plain, batch.columns)), unique(batch.schema.names))


def unique(names: Sequence[str]) -> list[str]:
    """The names of columns; one that has been there already, as Parquet allows, gets its number: "text (2)"."""
    found: dict[str, None] = {}
    times: Counter[str] = Counter()
    for name in names:
        other = name
        while other in found:
            times[name] += 1
            other = f"{name} ({times[name] + 1})"
        found[other] = None
    return list(found)


def _text(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """(strings, true where there are bytes that are not UTF-8) of a string or binary column."""
    bad = np.zeros(len(column), bool)
    strings = column.cast(pa.string(), safe=False) if column.type == pa.binary() else column
    try:
        strings.validate(full=True)
        return strings, bad
    except pa.ArrowInvalid:  # Arrow says only that there is one
        values = column.cast(pa.binary()).to_pylist()
        for i, value in enumerate(values):
            try:
                _ = value is None or value.decode()
            except UnicodeDecodeError:
                bad[i], values[i] = True, None
        return pa.array(values, pa.binary()).cast(pa.string()), bad


def _stamps(column: pa.Array) -> tuple[pa.Array, np.ndarray] | None:
    """(timestamp[s, UTC], true where there is something that is no date); None for a type that has no dates."""
    kind = column.type
    none = np.zeros(len(column), bool)
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp(kind.unit, "UTC")).cast(TIMESTAMP, safe=False), none
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("s" if pa.types.is_date32(kind) else "ms")).cast(
            pa.timestamp("s"), safe=False
        ).cast(TIMESTAMP), none  # fmt: skip
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_finite(column), column, None).cast(pa.int64(), safe=False)
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64()).cast(pa.int64(), safe=False)
    if pa.types.is_integer(column.type):
        return parse_dates(column.cast(pa.string()))
    if column.type in (pa.string(), pa.binary()):
        return parse_dates(_text(column)[0])
    return None


def _default(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return str(value)


_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=_default, option=_OPTIONS)


def _value(value: pa.Scalar) -> Any:
    """A value that Arrow does not convert: bytes of a string that are not UTF-8 become U+FFFD, a date that Python does
    not have a string."""
    if not value.is_valid:
        return None
    kind = value.type
    if pa.types.is_struct(kind):
        members = [(kind[i].name, _value(value[i])) for i in range(len(kind))]
        return dict(members) if len(dict(members)) == len(members) else members  # a name may be there twice
    if pa.types.is_map(kind):
        return [(_value(entry["key"]), _value(entry["value"])) for entry in value.values]
    if pa.types.is_nested(kind):
        return [_value(member) for member in value.values]
    if pa.types.is_dictionary(kind):
        return _value(value.value)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return value.as_buffer().to_pybytes().decode(errors="replace")
    try:
        return value.as_py()
    except (ValueError, OverflowError, ArithmeticError):
        return str(value.cast(pa.string()))


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # what Arrow makes of it depends on pandas
        micro = column.cast(pa.timestamp("us", column.type.tz), safe=False)
        exact = pc.fill_null(pc.equal(micro.cast(column.type), column), True).to_pylist()
        texts = column.cast(pa.string()).to_pylist()
        return [value if same else text for value, same, text in zip(micro.to_pylist(), exact, texts, strict=True)]
    try:
        return column.to_pylist()
    except (ValueError, OverflowError, ArithmeticError):  # by value, so that the others are what they always are
        return [_value(value) for value in column]


def _metadata(names: Sequence[str], columns: Sequence[pa.Array], n: int) -> pa.Array:
    """What has no role as one JSON object a row, without nulls; null where nothing is left."""
    objects: list[dict[str, Any]] = [{} for _ in range(n)]
    for name, column in zip(names, columns, strict=True):
        if column.null_count == n:
            continue
        for entry, value in zip(objects, _values(column), strict=True):
            if value is not None:
                entry[name] = value
    return pa.array([_json(entry).decode() if entry else None for entry in objects], pa.string())


def _documents(source: Source, batch: pa.RecordBatch, row: np.ndarray) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    n, roles = batch.num_rows, source.file.columns
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    used = {roles.text}
    text, bad, wrong = nulls(n), np.zeros(n, bool), np.zeros(n, bool)
    given = columns.get(roles.text)
    if given is not None:
        if paragraphs.is_text_list(given.type):
            given = paragraphs.of_lists(given)
        if given.type in (pa.string(), pa.binary()):
            text, bad = _text(given)
        else:
            wrong = given.is_valid().to_numpy(zero_copy_only=False)
    values: dict[str, pa.Array] = {}
    odd: list[tuple[str, np.ndarray]] = []
    for role in ("id", "url", "source", "license"):
        column = columns.get(getattr(roles, role))
        values[role] = nulls(n)
        if column is None or pa.types.is_nested(column.type) or pa.types.is_boolean(column.type):
            continue  # what names nothing stays in the metadata
        used.add(getattr(roles, role))
        if column.type in (pa.string(), pa.binary()):
            values[role], strange = _text(column)
            odd.append((getattr(roles, role), np.flatnonzero(strange)))
        else:
            values[role] = column.cast(pa.string())
    for role in ("published_at", "collected_at"):
        column = columns.get(getattr(roles, role))
        values[role] = pa.nulls(n, TIMESTAMP)
        stamps = _stamps(column) if column is not None else None
        if stamps is not None:
            values[role] = stamps[0]
            used.add(getattr(roles, role))
            odd.append((getattr(roles, role), np.flatnonzero(stamps[1])))
    copies = columns.get(roles.copies)
    values["copies"] = nulls(n)
    if copies is not None and not pa.types.is_nested(copies.type):
        values["copies"] = copies.cast(pa.string())
    used |= {roles.copies, *roles.left}
    given = columns.get(roles.metadata)
    if given is not None and given.type == pa.string():
        used.add(roles.metadata)
    else:
        given = None
    rest = [name for name in columns if name not in used]
    metadata = _metadata(rest, [columns[name] for name in rest], n)
    if given is not None:
        metadata, strange = joined(given, metadata)
        odd.append((roles.metadata, np.flatnonzero(strange)))
    for name, rows in odd:
        found = dict(zip(rows.tolist(), map(_json, _values(columns[name].take(pa.array(rows)))), strict=True))
        metadata = keep_in_metadata(metadata, rows, name, found.__getitem__)
    mask = pa.array(bad)
    none = nulls(n)
    rule = pc.if_else(mask, "not_utf8", none) if bad.any() else none
    value = pc.if_else(mask, "not valid UTF-8", none) if bad.any() else none
    return documents(Fields(row, text, wrong, rule, value, none, metadata=metadata, **values), source)
