"""CSV and TSV, as spreadsheets and data portals write them: quoted line breaks, a BOM, `sep=`, ragged rows."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from malmungchi.schemas.settings import Section, setting
from malmungchi.transforms.formats.base import Base, Broken, InputError, Rows, Split

# The rest is imported when a file is read: the command line needs no more than the settings.
if TYPE_CHECKING:
    import pyarrow as pa

    from malmungchi.transforms.formats.source import Source
    from malmungchi.transforms.io.decompress import Decompressed

# Rows that become a batch together, and their characters.
_ROWS = 1 << 13
_CHARS = 2 << 20
_DELIMITERS = (",", "\t", ";", "|")
_PIECE = 256 << 10


@dataclasses.dataclass(frozen=True)
class CsvSettings(Section, name="csv"):
    """How CSV and TSV files are written."""

    delimiter: str = setting("", "character between columns, `tab` for a tab; empty: detected from the first line")
    quote: str = setting('"', "character around values that hold delimiters or line breaks")
    header: bool = setting(True, "the first row has the names of the columns; off: they are column_1, column_2, …")

    def __post_init__(self) -> None:
        from malmungchi.schemas.settings import require

        super().__post_init__()
        require(len(self.separator) <= 1, "csv.delimiter", self.delimiter, "one character, or tab")
        require(len(self.quote) == 1, "csv.quote", self.quote, "one character")

    @property
    def separator(self) -> str:
        """The delimiter as a character, empty if it is to be seen."""
        return "\t" if self.delimiter in ("tab", "\\t") else self.delimiter


class _Bytes(io.RawIOBase):
    """A decompressed stream for Python's own decoder of text."""

    def __init__(self, stream: Decompressed) -> None:
        self._stream = stream
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(min(len(buffer), _PIECE))
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)


class _Lines:
    """The lines of a file for `csv.reader`. Of one that is too long only that is kept; `long` says that there was."""

    def __init__(self, text: io.TextIOWrapper, limit: int) -> None:
        self._text = text
        self._limit = limit
        self.number = 0
        self.chars = 0
        self.long = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._limit)
        if not line:
            raise StopIteration
        self.number += 1
        self.chars += len(line)
        if len(line) < self._limit or line.endswith("\n"):
            return line
        self.long = True
        while line and not line.endswith("\n"):
            line = self._text.readline(_PIECE)
        return "\n"


class _Reader:
    """The rows of a file as lists of strings, and what is wrong with those that are none."""

    def __init__(self, source: Source) -> None:
        from malmungchi.transforms.io.decompress import BrokenError

        self._broken_error = BrokenError
        settings: CsvSettings = source.settings
        self.bytes = _Bytes(source.stream())
        # Bytes that are not UTF-8 come through as surrogates, so that the row they are in can be told.
        text = io.TextIOWrapper(
            io.BufferedReader(self.bytes, _PIECE), encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        self.lines = _Lines(text, source.read.max_line_bytes)
        self._first = ""
        self.broken: BrokenError | None = None
        separator = settings.separator
        try:
            self._first = next(self.lines, "")
            if said := re.fullmatch(r"sep=(.)[\r\n]*", self._first):  # as Excel writes it, and nothing else
                separator, self._first = separator or said[1], next(self.lines, "")
        except BrokenError as broken:
            self.broken = broken
        separator = separator or _seen(self._first, source.file.name, settings.quote)
        csv.field_size_limit(source.read.max_line_bytes)
        self._rows = csv.reader(self._all(), delimiter=separator, quotechar=settings.quote)
        self.header: list[str] = []
        if settings.header:
            found = next(self.rows(), None)
            self.header = [_shown(name).strip() for name in found] if isinstance(found, list) else []

    def _all(self) -> Iterator[str]:
        if self._first:
            yield self._first
        yield from self.lines

    def rows(self) -> Iterator[list[str] | tuple[str, str]]:
        """Rows, or (rule, cause) for what is none. Blank lines are no rows."""
        while self.broken is None:
            begun = self.lines.number
            try:
                row = next(self._rows)
            except StopIteration:
                return
            except csv.Error as error:
                rule = "too_long" if "limit" in str(error) else "invalid_csv"
                yield rule, f"line {begun + 1}: {error}"
                continue
            except self._broken_error as broken:
                self.broken = broken
                return
            if self.lines.long:
                self.lines.long = False
                yield "too_long", f"line {self.lines.number}: longer than read.max_line_bytes"
            elif row:
                yield row


def _shown(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _seen(line: str, name: str, quote: str) -> str:
    """The delimiter that a first line shows; a comma, or by the name a tab, where it shows none."""
    bare = re.sub(f"{re.escape(quote)}[^{re.escape(quote)}]*{re.escape(quote)}", "", line)
    usual = "\t" if ".tsv" in name.lower() or ".tab" in name.lower() else ","
    counts = {delimiter: bare.count(delimiter) for delimiter in _DELIMITERS}
    return usual if counts[usual] or not any(counts.values()) else max(counts, key=lambda each: counts[each])


@dataclasses.dataclass
class _Batch:
    """Rows as they were read, with their numbers, and rejects among them."""

    source: Source
    names: list[str]
    rows: list[list[str]] = dataclasses.field(default_factory=list)
    numbers: list[int] = dataclasses.field(default_factory=list)
    rejects: list[tuple[int, str, str, str | None]] = dataclasses.field(default_factory=list)
    size: int = 0

    @property
    def count(self) -> int:
        """Rows and rejects."""
        return len(self.rows) + len(self.rejects)

    def documents(self) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """(document rows, rejects)."""
        import numpy as np
        import pyarrow as pa

        from malmungchi.schemas.document import REJECT, concat
        from malmungchi.transforms.formats.rows import rejects_of
        from malmungchi.transforms.formats.table import Table

        columns = [_column(values) for values in zip(*self.rows, strict=True)] if self.rows else []
        columns = columns or [pa.array([], pa.string()) for _ in self.names]
        table = Table(self.source, pa.RecordBatch.from_arrays(columns, self.names), np.array(self.numbers, np.int64))
        good, bad = table.documents()
        return good, concat([bad, rejects_of(self.source.file, self.rejects)], REJECT)


def _column(values: tuple[str, ...]) -> pa.Array:
    """Strings, as bytes where some are not UTF-8; what is empty is nothing."""
    import pyarrow as pa

    kept = [value or None for value in values]
    try:
        return pa.array(kept, pa.string())
    except UnicodeEncodeError:
        encoded = [None if value is None else value.encode(errors="surrogateescape") for value in kept]
        return pa.array(encoded, pa.binary())


class Csv(Base):
    """A row is a document; the first row has the names of the columns."""

    name: ClassVar[str] = "csv"
    extensions: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".tab")
    settings: ClassVar[type[Section] | None] = CsvSettings
    # Quoted line breaks: only who reads from the start knows where a row begins. Parsing is a small part of the work.
    stripes: ClassVar[dict[str, int]] = {"none": 4, "zstd": 4, "gzip": 4, "xz": 2, "bz2": 2}

    def columns(self, source: Source) -> list[str]:
        """Those of the header, or as many as the first row has."""
        from malmungchi.transforms.formats.table import unique

        reader = _Reader(source)
        if not source.settings.header:
            found = next(reader.rows(), [])
            return [f"column_{number}" for number in range(1, len(found) + 1)] if isinstance(found, list) else []
        if reader.header and not any(reader.header):
            raise InputError(f"{source.file.name}: the first row names no column; set csv.header to false")
        return unique(reader.header)

    def read(self, split: Split, source: Source, target: int) -> Iterator[Rows | Broken]:
        """The rows, numbered from 1 behind the header. One that has another number of columns, or cannot be read as
        CSV, is a reject that names its line."""
        from malmungchi.transforms.formats.table import unique

        reader = _Reader(source)
        names = unique(reader.header)
        batch, number, before = _Batch(source, names), 0, 0
        begun = reader.lines.chars
        for row in reader.rows():
            number += 1
            if not names and isinstance(row, list):
                names = batch.names = [f"column_{n}" for n in range(1, len(row) + 1)]
            if isinstance(row, tuple):
                batch.rejects.append((number, *row, None))
            elif len(row) != len(names):
                cause = f"line {reader.lines.number}: {len(row)} columns, the header has {len(names)}"
                batch.rejects.append((number, "ragged_row", cause, str(len(names))))
            else:
                batch.rows.append(row)
                batch.numbers.append(number)
            if batch.count >= _ROWS or reader.lines.chars - begun >= min(_CHARS, target // 3):
                batch.size = reader.bytes.count - before
                yield batch
                before, begun, batch = reader.bytes.count, reader.lines.chars, _Batch(source, names)
        batch.size = reader.bytes.count - before
        if batch.count:
            yield batch
        if reader.broken is not None:
            yield Broken(number + 1, reader.broken.rule, reader.broken.cause)
