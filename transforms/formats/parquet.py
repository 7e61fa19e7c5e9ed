"""Parquet: row group by row group in small batches."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, ClassVar, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from malmungchi.schemas.document import ROW_BITS
from malmungchi.transforms.formats import footer
from malmungchi.transforms.formats.base import Base, Broken, Rows, Split
from malmungchi.transforms.formats.footer import Footer
from malmungchi.transforms.formats.source import Source
from malmungchi.transforms.formats.table import ERRORS, Table, cause, decoded
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


class Parquet(Base):
    """Parquet: its row groups are read in small batches."""

    name: ClassVar[str] = "parquet"
    extensions: ClassVar[tuple[str, ...]] = (".parquet", ".pq")
    streams: ClassVar[bool] = False
    # Only used to size the layout.
    expansion: ClassVar[int] = 3

    def columns(self, source: Source) -> list[str]:
        """The schema's."""
        try:
            return list(dict.fromkeys(Footer(source.raw).names))
        except BrokenError:
            return []  # the reader will say what is wrong with it

    def split(self, source: Source, target: int) -> list[Split]:
        """Ranges of row groups; none if there is nothing to cut, or nothing that can be read."""
        found: list[Split] = []
        start = size = rows = first_row = 0
        try:
            file = Footer(source.raw)
            for part in file.parts():
                for group in range(part.start, part.end):
                    rows += group_rows(part, group, rows)
                    size += max(part.metadata(group).total_byte_size, 0)
                    if size >= target or group + 1 == file.groups:
                        found.append(Split(start, group + 1, first_row, size))
                        start, size, first_row = group + 1, 0, rows
        except BrokenError:
            return []
        return found if len(found) > 1 else []

    def read(self, split: Split, source: Source, target: int) -> Iterator[Rows | Broken]:
        """The rows of the row groups [start, end).

        A row group that cannot be read, or is a bomb, gives the rows before the damage and one break, at the row where
        it is; the next one is read all the same. A file without a footer is a break at row 0.
        """
        made = _Made(source.file.size)
        for batch, row, broken in _batches(split, source.raw, made):
            if broken or batch is None:
                assert broken
                yield Broken(row, broken.rule, broken.cause)
                continue
            table = Table(source, batch, row)
            table.documents()  # its size tells whether this is a bomb, and where the chunk ends
            made.bytes += table.size
            yield table


_Batch = tuple[pa.RecordBatch | None, int, BrokenError | None]


def group_rows(part: footer.Part, group: int, before: int) -> int:
    """Rows of a row group, of which there are `before` in those before it. Raises BrokenError for absurd numbers."""
    rows: int = part.metadata(group).num_rows
    if not 0 <= rows < (1 << ROW_BITS) - before:
        raise BrokenError("corrupt", f"row group {group} claims to have {rows} rows, and this is the end of reading")
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


def _batches(split: Split, raw: BinaryIO, made: _Made) -> Iterator[_Batch]:
    """(batch, its first row, None), or (None, row, what is wrong there)."""
    row = split.first_row + 1
    try:
        file = Footer(raw)
        end = file.groups if split.end < 0 else split.end
        for part in file.parts(split.start, end):
            numbers = range(max(part.start, split.start), min(part.end, end))
            last = yield from _part(raw, part, numbers, row, made)
            if last is None:
                return
            row = last
    except BrokenError as broken:
        yield None, row if row > split.first_row + 1 else 0, broken
        return
    if end == file.groups and row - 1 != file.rows:
        cause = f"the file claims to have {file.rows} rows, its row groups {row - 1}"
        yield None, row, BrokenError("corrupt", cause)


def _part(
    raw: BinaryIO, part: footer.Part, numbers: range, row: int, made: _Made
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
        wrong = f"a decompression bomb: row group {groups[0].number} is said to be {size} bytes"
        yield None, row, BrokenError("corrupt", wrong)
        return
    length = max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(size, 1)))
    done = grown = made.bytes = 0
    wrong = ""
    try:
        if groups[0].risky:
            length = max(1, min(length, _WRITTEN_OUT // _largest_row(part, raw, groups[0])))
        numbers = [group.number - part.start for group in groups]
        batches: Iterable[Any] = map(decoded, part.parquet.iter_batches(length, row_groups=numbers, use_threads=False))
        if len(groups) > 1:  # nothing is given out before all of it is good
            batches = _held(batches, rows)
        for batch in batches:
            yield batch, row + done, None
            done, grown = done + batch.num_rows, grown + batch.nbytes
            if done < rows and (groups[0].risky or grown > _WRITTEN_OUT):
                wrong = made.bomb()
            if wrong:
                break
        if done != rows and not wrong:
            wrong = f"row group {groups[0].number} claims to have {rows} rows, and {done} are there"
    except ERRORS as error:
        if len(groups) > 1:
            for group in groups:
                yield from _run(part, raw, [group], row, made)
                row += group.rows
            return
        wrong = f"rows {row + done} to {row + rows - 1} cannot be read: {cause(error)}"
    if wrong:
        yield None, row + done, BrokenError("corrupt", wrong)


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
