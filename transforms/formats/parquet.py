"""Parquet to documents, row group by row group in small batches."""

from __future__ import annotations

import base64
import datetime
import itertools
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from malmungchi.schemas.config import Read
from malmungchi.schemas.document import DOCUMENT, REJECT, ROW_BITS, TIMESTAMP, concat, empty
from malmungchi.schemas.work import WorkItem
from malmungchi.transforms.formats import footer
from malmungchi.transforms.formats.footer import ERRORS, Footer
from malmungchi.transforms.formats.jsonl import MAX_ROWS
from malmungchi.transforms.formats.rows import Part, Rows, assemble, keep_in_metadata, nulls, parse_dates, reject
from malmungchi.transforms.io.decompress import BOMB_BYTES, BOMB_RATIO, BrokenError

BATCH_BYTES = 4 << 20
# The size of a row group is what its writer says: a batch has this many rows at most, whatever that is.
BATCH_ROWS = 1 << 13

# What a batch may grow to when the dictionaries of its columns are written out: a row of a few bits can stand for a
# value of megabytes.
_WRITTEN_OUT = 16 << 20


class _Made:
    """Bytes of rows and rejects that became of the row group that is being read.

    A bomb is looked for in each row group by itself, so that it is found, or not, however the file is cut.
    """

    def __init__(self, file_size: int) -> None:
        self.bytes = 0
        self._file_size = file_size
        self.limit = max(BOMB_BYTES, BOMB_RATIO * file_size)

    def bomb(self) -> str:
        """What is wrong, empty if nothing is."""
        if self.bytes <= self.limit:
            return ""
        return f"a decompression bomb: {self._file_size} bytes of Parquet are {self.bytes} and more"


def read_parquet(item: WorkItem, config: Read, chunk_bytes: int, raw: BinaryIO) -> Iterator[Part]:
    """(rows, rejects, are they the last) of the row groups [start, end) of a file, -1 for its last.

    A row group that cannot be read, or is a bomb, gives the rows before the damage and one reject, at the row where it
    is; the next one is read all the same. A row that cannot be converted is a reject, and so is a file without a
    footer, row 0. With `strict`, BrokenError is raised.
    """
    rows: list[pa.RecordBatch] = []
    rejects: list[pa.RecordBatch] = []
    size = count = 0
    made = _Made(item.file.size)
    for batch, row, broken in _batches(item, raw, made):
        if broken or batch is None:
            assert broken
            rejects.append(_unreadable(item, config, row, broken))
            continue
        if size >= chunk_bytes or count >= MAX_ROWS:
            yield Part(concat(rows, DOCUMENT), concat(rejects, REJECT), False, size)
            rows, rejects, size, count = [], [], 0, 0
        good, bad = _convert(item, config, batch, row)
        rows.append(good)
        rejects.append(bad)
        # Dictionaries inside of columns are written out in the metadata; a row of a bit can become a reject.
        grown = max(batch.nbytes, good.nbytes + bad.nbytes)
        size, count, made.bytes = size + grown, count + batch.num_rows, made.bytes + grown
    yield Part(concat(rows, DOCUMENT), concat(rejects, REJECT), True, size)


def _unreadable(item: WorkItem, config: Read, row: int, broken: BrokenError) -> pa.RecordBatch:
    """The reject for what cannot be read there. With `strict`, raises a BrokenError that names the place."""
    if config.strict:
        raise BrokenError(broken.rule, f"{item.file.name}, row {row}: {broken.cause}") from broken
    return reject(item.file, row, broken.rule, broken.cause)


_Batch = tuple[pa.RecordBatch | None, int, BrokenError | None]


def group_rows(part: footer.Part, group: int, before: int) -> int:
    """Rows of a row group, of which there are `before` in those before it. Raises BrokenError for absurd numbers."""
    rows: int = part.metadata(group).num_rows
    if not 0 <= rows < (1 << ROW_BITS) - before:
        raise BrokenError("corrupt", f"row group {group} is said to have {rows} rows, and this is the end of reading")
    return rows


class _Group(NamedTuple):
    """What the footer says of a row group, which need not be true.

    The footer's columns are not asked: where what it says of one is absurd, pyarrow ends the process (it does not catch
    what C++ throws there). What reads a column does catch it.
    """

    number: int
    rows: int
    size: int  # bytes without compression

    @property
    def risky(self) -> bool:
        """Whether it could become large, if every row had the largest value that can be."""
        return self.rows * self.size > _WRITTEN_OUT


def _group(part: footer.Part, number: int, before: int) -> _Group:
    """Raises BrokenError for a number of rows that cannot be."""
    return _Group(number, group_rows(part, number, before), max(part.metadata(number).total_byte_size, 0))


def _batches(item: WorkItem, raw: BinaryIO, made: _Made) -> Iterator[_Batch]:
    """(batch, its first row, None), or (None, row, what is wrong there)."""
    row = item.first_row + 1
    try:
        file = Footer(raw)
        end = file.groups if item.end < 0 else item.end
        for part in file.parts(item.start, end):
            numbers = range(max(part.start, item.start), min(part.end, end))
            last = yield from _part(item, raw, part, numbers, row, made)
            if last is None:
                return
            row = last
    except BrokenError as broken:
        yield None, row if row > item.first_row + 1 else 0, broken
        return
    if end == file.groups and row - 1 != file.rows:
        cause = f"the file is said to have {file.rows} rows, its row groups {row - 1}"
        yield None, row, BrokenError("corrupt", cause)


def _part(
    item: WorkItem, raw: BinaryIO, part: footer.Part, numbers: range, row: int, made: _Made
) -> Generator[_Batch, None, int | None]:
    """The batches of some row groups of a part; in the end the row behind them, None if there can be no more."""
    run: list[_Group] = []
    size = rows = 0
    for number in numbers:
        absurd: BrokenError | None = None
        try:
            run.append(_group(part, number, row + rows))
            size, rows = size + run[-1].size, rows + run[-1].rows
        except BrokenError as error:
            absurd = error
        alone = run and (run[-1].risky or run[-1].size > made.limit)
        if size < BATCH_BYTES and rows < BATCH_ROWS and number + 1 < numbers.stop and not alone and absurd is None:
            continue
        for groups in [run[:-1], run[-1:]] if alone else [run]:
            yield from _run(part, raw, groups, row, made)
            row += sum(group.rows for group in groups)
        if absurd is not None:
            yield None, row, absurd
            return None
        run, size, rows = [], 0, 0
    return row


def _run(part: footer.Part, raw: BinaryIO, groups: Sequence[_Group], row: int, made: _Made) -> Iterator[_Batch]:
    """The batches of some row groups: of small ones together, of which each is tried alone if that fails.

    Only of a group that is risky, or is more than `_WRITTEN_OUT` when decoded, it is asked whether it is a bomb: such
    a one is always read alone.
    """
    if not groups:
        return
    size, rows = sum(group.size for group in groups), sum(group.rows for group in groups)
    if len(groups) == 1 and size > made.limit:
        cause = f"a decompression bomb: row group {groups[0].number} is said to be {size} bytes"
        yield None, row, BrokenError("corrupt", cause)
        return
    length = max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(size, 1)))
    done = decoded = made.bytes = 0
    cause = ""
    try:
        if groups[0].risky:
            length = max(1, min(length, _WRITTEN_OUT // _largest_row(part, raw, groups[0])))
        numbers = [group.number - part.start for group in groups]
        batches: Iterable[Any] = map(_decoded, part.parquet.iter_batches(length, row_groups=numbers, use_threads=False))
        if len(groups) > 1:  # nothing is given out before all of it is good
            batches = _held(batches, rows)
        for batch in batches:
            yield batch, row + done, None
            done, decoded = done + batch.num_rows, decoded + batch.nbytes
            if done < rows and (groups[0].risky or decoded > _WRITTEN_OUT):
                cause = made.bomb()
            if cause:
                break
        if done != rows and not cause:
            cause = f"row group {groups[0].number} is said to have {rows} rows, and {done} are there"
    except ERRORS as error:
        if len(groups) > 1:
            for group in groups:
                yield from _run(part, raw, [group], row, made)
                row += group.rows
            return
        cause = f"rows {row + done} to {row + rows - 1} cannot be read: {footer.cause(error)}"
    if cause:
        yield None, row + done, BrokenError("corrupt", cause)


def _held(batches: Iterable[pa.RecordBatch], rows: int) -> list[pa.RecordBatch]:
    """All batches. Raises ValueError unless they have so many rows and at most `_WRITTEN_OUT` bytes."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size > _WRITTEN_OUT:
            raise ValueError("larger than small row groups are")
    if sum(batch.num_rows for batch in held) != rows:
        raise ValueError("another number of rows")
    return held


def _largest_row(part: footer.Part, raw: BinaryIO, group: _Group) -> int:
    """Bytes of a row that has the largest value of each dictionary of a row group, at least 1."""
    parquet, number = part.parquet, group.number - part.start
    coded = [i for i in range(len(parquet.schema)) if parquet.schema.column(i).physical_type == "BYTE_ARRAY"]
    if not coded:
        return 1
    paths = [parquet.schema.column(i).path for i in coded]
    probe = pq.ParquetFile(raw, metadata=parquet.metadata, read_dictionary=paths, pre_buffer=False)
    [batch] = itertools.islice(probe.iter_batches(1, row_groups=[number], columns=paths, use_threads=False), 1)
    head = part.metadata(group.number)
    # These columns were read, and may be asked. A column of lists has more values than rows.
    lists = [i for i in coded if parquet.schema.column(i).max_repetition_level]
    values = max([-(-head.column(i).num_values // group.rows) for i in lists], default=1)
    return max(1, values * sum(map(_largest_value, batch.columns)))


def _largest_value(column: pa.Array) -> int:
    """Bytes of the largest values in the dictionaries of a column, nested or not."""
    if pa.types.is_dictionary(column.type):
        return pc.max(pc.binary_length(column.dictionary)).as_py() or 0
    if pa.types.is_struct(column.type):
        return sum(map(_largest_value, column.flatten()))
    if pa.types.is_map(column.type):
        return _largest_value(column.keys) + _largest_value(column.items)
    return _largest_value(column.values) if pa.types.is_nested(column.type) else 0


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


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(list(map(_plain, batch.columns)), _unique(batch.schema.names))


def _unique(names: Sequence[str]) -> list[str]:
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


def _convert(item: WorkItem, config: Read, batch: pa.RecordBatch, row: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """(document rows, rejects) of a batch; row by row where one of them holds what Arrow cannot convert."""
    try:
        return _documents(item, config, batch, row)
    except (*ERRORS, TypeError, RecursionError) as error:  # the last two are said of what is nested too deeply
        if batch.num_rows == 1:
            broken = BrokenError("corrupt", f"cannot be converted: {footer.cause(error)}")
            return empty(DOCUMENT), _unreadable(item, config, row, broken)
    rows = [_convert(item, config, batch.slice(i, 1), row + i) for i in range(batch.num_rows)]
    return concat([good for good, _ in rows], DOCUMENT), concat([bad for _, bad in rows], REJECT)


def _documents(item: WorkItem, config: Read, batch: pa.RecordBatch, row: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    n, roles = batch.num_rows, item.file.columns
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    used = {roles.text}
    text, bad, wrong = nulls(n), np.zeros(n, bool), np.zeros(n, bool)
    given = columns.get(roles.text)
    if given is not None:
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
    rest = [name for name in columns if name not in used]
    metadata = _metadata(rest, [columns[name] for name in rest], n)
    for name, rows in odd:
        found = dict(zip(rows.tolist(), map(_json, _values(columns[name].take(pa.array(rows)))), strict=True))
        metadata = keep_in_metadata(metadata, rows, name, found.__getitem__)
    mask = pa.array(bad)
    none = nulls(n)
    rule = pc.if_else(mask, "not_utf8", none) if bad.any() else none
    value = pc.if_else(mask, "not valid UTF-8", none) if bad.any() else none
    number = np.arange(row, row + n)
    return assemble(Rows(item.file, number, text, wrong, rule, value, none, metadata=metadata, **values), config)
