"""JSON lines: blocks of bytes, a compiled scan, strings copied straight into Arrow columns."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.schemas.config import Read
from malmungchi.schemas.document import REJECT, concat
from malmungchi.schemas.work import ROLES, Columns, InputFile
from malmungchi.transforms.formats import json_document, paragraphs
from malmungchi.transforms.formats.base import Base, Broken, InputError, Rows, Split
from malmungchi.transforms.formats.columns import may_have_a_role
from malmungchi.transforms.formats.rows import Fields, documents, joined, keep_in_metadata, nulls, parse_dates, reject
from malmungchi.transforms.formats.source import Source
from malmungchi.transforms.io.decompress import BrokenError, Decompressed
from malmungchi.transforms.kernels import jsonl

# Rows of a chunk, at most: the columns that are added to a row (id, file, evidence) weigh more than a tiny line.
MAX_ROWS = 1 << 15
_PIECE = 256 << 10
_BOM = b"\xef\xbb\xbf"


@dataclasses.dataclass
class Block:
    """Decompressed bytes that are not yet parsed: `data[:size]`, with room behind them."""

    data: np.ndarray
    size: int = 0
    broken: BrokenError | None = None
    ended: bool = False

    @classmethod
    def of(cls, chunk_bytes: int) -> Block:
        """An empty block with room for that much."""
        return cls(np.empty(chunk_bytes + jsonl.PAD, np.uint8))

    def append(self, piece: bytes) -> None:
        """Adds bytes at the end."""
        need = self.size + len(piece) + jsonl.PAD
        if need > len(self.data):
            grown = np.empty(max(need, len(self.data) * 3 // 2), np.uint8)
            grown[: self.size] = self.data[: self.size]
            self.data = grown
        self.data[self.size : self.size + len(piece)] = np.frombuffer(piece, np.uint8)
        self.size += len(piece)

    def fill(self, stream: Decompressed, want: int) -> None:
        """Reads until there are `want` bytes, or the stream ends or breaks."""
        short = False
        while not self.ended and (self.size < want or short):
            ask = min(max(want - self.size, 1), _PIECE)
            try:
                piece = stream.read(ask)
            except BrokenError as broken:
                self.broken, piece = broken, b""
            self.ended, short = not piece, len(piece) < ask  # a short piece may be the last: ask once more
            self.append(piece)
        self.data[self.size : self.size + jsonl.PAD] = 0

    def drop(self, count: int) -> None:
        """Forgets the first `count` bytes."""
        self.data[: self.size - count] = self.data[count : self.size].copy()
        self.size -= count
        self.data[self.size : self.size + jsonl.PAD] = 0


@dataclasses.dataclass(frozen=True)
class Lines:
    """Lines of a block, the first of which is row `first` of the file."""

    starts: np.ndarray
    ends: np.ndarray
    first: int
    size: int  # of all of them, with their line ends
    torn: bool  # the last has no line end: the stream ended, or broke, inside or behind it
    long: bool  # behind them comes a line that is too long
    last: bool


def lines_of(block: Block, stream: Decompressed, split: Split, limit: int, chunk_bytes: int) -> Iterator[Lines]:
    """The part's lines in `block`, about `chunk_bytes` of them at a time; they are gone when the next are asked for."""
    starts, ends = np.empty(MAX_ROWS, np.int64), np.empty(MAX_ROWS, np.int64)
    row, want = split.first_row + 1, chunk_bytes
    begun = split.start > 0
    skipping = last = False
    while not last:
        block.fill(stream, want)
        if not begun and block.data[: min(block.size, 3)].tobytes() == _BOM:
            block.drop(3)
        begun = True
        if skipping:
            n, behind = jsonl.lines(block.data, 0, block.size, starts[:1], ends[:1])
            block.drop(behind if n else block.size)
            skipping = n == 0
            if skipping and not block.ended:
                continue
        n, behind = jsonl.lines(block.data, 0, block.size, starts, ends)
        rest = block.size - behind if n < MAX_ROWS else 0
        torn = block.ended and rest > 0
        long = not block.ended and rest > limit + 1  # 1 for the \r of a line end
        if torn:
            starts[n], ends[n] = behind, block.size
            n += 1
            behind = block.size
        size, behind = behind, block.size if long else behind
        last = block.ended and behind == block.size
        if not (n or long or last):  # inside a long line
            want = min(2 * max(block.size, chunk_bytes), limit + 2 + _PIECE)
            continue
        yield Lines(starts[:n], ends[:n], row, size, torn, long, last)
        row, skipping, want = row + n + long, long, chunk_bytes
        block.drop(behind)


class _Parsed:
    """Lines of a block as rows. They are parsed when they are asked for, if they are."""

    def __init__(self, source: Source, block: Block, lines: Lines) -> None:
        self._source = source
        self._block = block
        self._lines = lines
        self.size = lines.size
        self.count = len(lines.starts)
        # Whether the stream breaks inside of the last line, which then is no row.
        self.torn = False

    def documents(self) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """(document rows, rejects) of the lines."""
        source, lines = self._source, self._lines
        rows, whole = _parse(source, self._block, lines)
        if lines.last and self._block.broken and lines.torn and not whole:
            self.torn = True
            rows = _before(rows, lines.first + self.count - 1)
        good, rejects = documents(rows, source)
        if lines.long:
            long = reject(source.file, lines.first + self.count, *_too_long(source.read))
            rejects = concat([rejects, long], REJECT)
        return good, rejects


class JsonLines(Base):
    """JSON lines: an object on each line is a row."""

    name: ClassVar[str] = "jsonl"
    extensions: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".json")
    unit: ClassVar[str] = "line"
    # Each stripe decompresses the whole file, and beyond so many all of them together do hardly anything else. The
    # steps behind take some 10 ms for each MB, a decoder from 0.6 (zstd) to 30 (bz2).
    stripes: ClassVar[dict[str, int]] = {"zstd": 16, "gzip": 4, "xz": 2, "bz2": 2}

    def columns(self, source: Source) -> list[str]:
        """Names of the members of the first rows. Raises InputError for one JSON document instead of lines."""
        block, opening = head(source.stream(), source.read.max_line_bytes)
        names = member_names(block, source.read)
        _check_lines(source.file, opening, object_count(block))
        return names

    def split(self, source: Source, target: int) -> list[Split]:
        """Byte ranges that end at line ends; the lines before each are counted on the way."""
        return line_ranges(source.stream(), target)

    def read(self, split: Split, source: Source, target: int) -> Iterator[Rows | Broken]:
        """The lines, about `target` bytes at a time.

        Holds at most `target` or one line, and passes over what is longer than `max_line_bytes` without holding it.
        """
        block, stream = Block.of(target), source.stream(split.start, split.end)
        for lines in lines_of(block, stream, split, source.read.max_line_bytes, target):
            parsed = _Parsed(source, block, lines)
            yield parsed
            if lines.last and block.broken:
                yield Broken(lines.first + parsed.count - parsed.torn, block.broken.rule, block.broken.cause)


def _check_lines(file: InputFile, opening: bytes, rows: int) -> None:
    """Raises InputError for one JSON document instead of lines, by its first bytes and how many objects its first lines
    are."""
    kind, member = json_document.kind_of(opening, rows)
    if kind:
        raise InputError(json_document.advice(file, kind, member))


def line_ranges(stream: Decompressed, target: int) -> list[Split]:
    """Parts of about `target` bytes that end at line ends; a longer line is a part of its own."""
    found: list[Split] = []
    at = rows = 0  # bytes and lines read
    start = first_row = 0  # where the next part begins
    best = best_row = 0  # the last line end at which it can stop

    def add(stop: int) -> None:
        found.append(Split(start, stop, first_row, stop - start))

    while piece := stream.read(1 << 20):
        stops = np.flatnonzero(np.frombuffer(piece, np.uint8) == 10) + at + 1
        while True:
            n = int(np.searchsorted(stops, start + target, side="right"))
            if n and stops[n - 1] > start:
                best, best_row = int(stops[n - 1]), rows + n
            if n == len(stops):
                break
            if best == start:  # a line longer than a part
                best, best_row = int(stops[n]), rows + n + 1
            add(best)
            start, first_row = best, best_row
        at, rows = at + len(piece), rows + len(stops)
    if at - start > target and start < best < at:  # a last line without a line end
        add(best)
        start, first_row = best, best_row
    if start < at:
        add(at)
    return found


# Of the first rows, so much is looked at for the names of columns.
PEEK_BYTES = 1 << 20
PEEK_ROWS = 1000
PASS_BYTES = 1 << 30  # of lines that are too long
MAX_NAMES = 10_000
_OPENING = 64 << 10


def head(stream: Decompressed, limit: int) -> tuple[Block, bytes]:
    """(the first PEEK_BYTES with whole lines, or one line; the first bytes). What comes before the first line that is
    not too long is left out, as is a byte order mark."""
    block, passed = Block.of(PEEK_BYTES), 0
    block.fill(stream, PEEK_BYTES)
    opening = block.data[: min(block.size, _OPENING)].tobytes()
    if block.data[:3].tobytes() == b"\xef\xbb\xbf":
        block.drop(3)
    while not block.ended and not (block.data[: block.size] == 10).any():
        if block.size <= limit:
            block.fill(stream, min(2 * block.size, limit + 2))
            continue
        while passed < PASS_BYTES and not block.ended:
            passed += block.size
            block.drop(block.size)
            block.fill(stream, PEEK_BYTES)
            ends = np.flatnonzero(block.data[: block.size] == 10)
            if len(ends):
                block.drop(int(ends[0]) + 1)
                block.fill(stream, PEEK_BYTES)
                break
        else:
            block.drop(block.size)
    return block, opening


def member_names(block: Block, read: Read) -> list[str]:
    """Names of the members of the block's objects, in the order they come.

    Of rows with more than MAX_NAMES names, only those are told behind them that could have a role.
    """
    names: dict[str, None] = {}
    told = {getattr(read, role) for role in ROLES}
    for name in _names(block, read.max_line_bytes):
        if len(names) < MAX_NAMES or name in told or may_have_a_role(name):
            names[name] = None
    return list(names)


def object_count(block: Block) -> int:
    """How many of the first lines of a block are JSON objects."""
    starts, ends = _first_lines(block)
    return int(jsonl.objects(block.data, starts, ends).sum())


def _first_lines(block: Block) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the first PEEK_ROWS lines."""
    starts, ends = np.empty(PEEK_ROWS, np.int64), np.empty(PEEK_ROWS, np.int64)
    n, behind = jsonl.lines(block.data, 0, block.size, starts, ends)
    if n < PEEK_ROWS and block.ended and behind < block.size:  # a last line without a line end
        starts[n], ends[n], n = behind, block.size, n + 1
    n = int(np.searchsorted(starts[:n], PEEK_BYTES))
    return starts[:n], ends[:n]


def _names(block: Block, limit: int) -> Iterator[str]:
    """Names of the members of the objects among the first PEEK_ROWS lines, as often as they come."""
    starts, ends = _first_lines(block)
    spans = np.empty((256, 2), np.int64)
    for row in np.flatnonzero(jsonl.objects(block.data, starts, ends) & (ends - starts <= limit)):
        at, depth = int(starts[row]), 0
        while at < ends[row]:
            count, at = jsonl.member_names(block.data, at, depth, ends[row], spans)
            depth = 1
            for first, last in spans[:count].tolist():
                name: str = json.loads(block.data[first:last].tobytes())
                yield name.encode(errors="replace").decode()


def _too_long(config: Read) -> tuple[str, str, str]:
    return "too_long", "line longer than read.max_line_bytes", str(config.max_line_bytes)


def _before(rows: Fields, row: int) -> Fields:
    """The rows before `row`, which is the last if it is there."""
    n = int(np.searchsorted(rows.row, row))
    cut = {field.name: getattr(rows, field.name)[:n] for field in dataclasses.fields(rows)}
    return dataclasses.replace(rows, **cut)


@dataclasses.dataclass(frozen=True)
class _Members:
    """Where the lines of a block have the members that have a role: kinds[n, K] and spans[n, K, 2] of names[K]."""

    data: np.ndarray
    columns: Columns
    names: list[str]
    kinds: np.ndarray
    spans: np.ndarray

    def kind(self, role: str) -> np.ndarray:
        name = getattr(self.columns, role)
        return self.kinds[:, self.names.index(name)] if name else np.full(len(self.kinds), jsonl.ABSENT, np.uint8)

    def strings(self, role: str, kind: np.ndarray) -> pa.Array:
        """The values where `kind` is a string's or number's, null elsewhere."""
        name = getattr(self.columns, role)
        return jsonl.extract(self.data, self.spans[:, self.names.index(name)], kind) if name else nulls(len(kind))

    def text(self) -> tuple[pa.Array, np.ndarray]:
        """(texts, true where there is one of another type); lists of strings are joined."""
        kind = self.kind("text")
        wrong = kind >= jsonl.NUMBER
        text = self.strings("text", np.where(wrong, jsonl.ABSENT, kind).astype(np.uint8))
        nested = np.flatnonzero(kind == jsonl.NESTED)
        if len(nested):
            joined = [paragraphs.of_json(self.json("text", row)) for row in nested.tolist()]
            wrong[nested] = [value is None for value in joined]
            mask = kind == jsonl.NESTED
            text = pc.replace_with_mask(text, pa.array(mask), pa.array(joined, pa.string()))
        return text, wrong

    def metadata(self, more: pa.Array) -> pa.Array:
        """The objects of the member that has metadata, as JSON or as a string of it, with `more` behind them."""
        kind = self.kind("metadata")
        there = np.flatnonzero((kind != jsonl.ABSENT) & (kind != jsonl.NULL)).tolist()
        given: list[str | None] = [None] * len(kind)
        for row in there:
            value = self.json("metadata", row).decode()
            given[row] = orjson.loads(value) if kind[row] in (jsonl.STRING, jsonl.ESCAPED) else value
        found, odd = joined(pa.array(given, pa.string()), more)
        json = functools.partial(self.json, "metadata")
        return keep_in_metadata(found, np.flatnonzero(odd), self.columns.metadata, json)

    def json(self, role: str, row: int) -> bytes:
        """A value as JSON text."""
        w = self.names.index(getattr(self.columns, role))
        quote = 1 if self.kinds[row, w] in (jsonl.STRING, jsonl.ESCAPED) else 0
        place = slice(self.spans[row, w, 0] - quote, self.spans[row, w, 1] + quote)
        value = np.append(self.data[place], np.zeros(jsonl.PAD, np.uint8))
        text = np.empty(jsonl.room(len(value)), np.uint8)
        end = jsonl.null_numbers(value, 0, len(value) - jsonl.PAD, text, 0)
        jsonl.replace_lone(text, 0, end)
        return text[:end].tobytes()


def _parse(source: Source, block: Block, lines: Lines) -> tuple[Fields, bool]:
    """(the lines as rows, has the last its own verdict even if the file breaks off there); blank lines are no rows."""
    n, starts, ends = len(lines.starts), lines.starts, lines.ends
    columns, config = source.file.columns, source.read
    roles = [getattr(columns, role) for role in (*ROLES, "metadata", "copies")]
    names = list(dict.fromkeys(name for name in (*roles, *columns.left) if name))
    encoded = [name.encode() for name in names]
    name_bytes = np.frombuffer(b"".join(encoded), np.uint8).copy()
    name_offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    codes, errors = np.empty(n, np.uint8), np.empty(n, np.int64)
    kinds, spans = np.empty((n, len(names)), np.uint8), np.zeros((n, len(names), 2), np.int64)
    meta, offsets = np.empty(jsonl.room(int((ends - starts).sum())), np.uint8), np.empty(n + 1, np.int32)
    jsonl.scan(block.data, starts, ends, name_bytes, name_offsets, codes, errors, kinds, spans, meta, offsets)
    number = np.arange(lines.first, lines.first + n)
    long = ends - starts > config.max_line_bytes
    whole = bool(n) and bool(codes[-1] == jsonl.OK or long[-1])
    kinds[long] = jsonl.ABSENT
    seen = (codes != jsonl.BLANK) | long
    if not seen.all():
        codes, errors, kinds, spans, number, long = (x[seen] for x in (codes, errors, kinds, spans, number, long))
        offsets = np.append(offsets[:-1][seen], offsets[-1])  # a blank line has no metadata
    there = pa.py_buffer(np.packbits(np.diff(offsets) > 0, bitorder="little"))
    metadata = pa.StringArray.from_buffers(len(codes), pa.py_buffer(offsets), pa.py_buffer(meta), there)
    members = _Members(block.data, columns, names, kinds, spans)
    values: dict[str, pa.Array] = {}
    if columns.metadata:
        metadata = members.metadata(metadata)
    for role in (*ROLES[1:], "copies"):
        kind = members.kind(role)
        odd = kind > jsonl.NUMBER  # true, false, objects and arrays name nothing and are no dates
        values[role] = members.strings(role, np.where(odd, jsonl.ABSENT, kind).astype(np.uint8))
        if role in ("published_at", "collected_at"):
            values[role], bad = parse_dates(values[role])
            odd = odd | bad
        json = functools.partial(members.json, role)
        metadata = keep_in_metadata(metadata, np.flatnonzero(odd), getattr(columns, role), json)
    text, wrong = members.text()
    verdict = _verdict(codes, errors, long, config)
    return Fields(number, text, wrong, *verdict, **values, metadata=metadata), whole


def _verdict(
    codes: np.ndarray, errors: np.ndarray, long: np.ndarray, config: Read
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """(rule, value, threshold) of the lines that are no JSON objects or too long, null for the others."""
    rule = value = threshold = nulls(len(codes))
    bad = codes != jsonl.OK
    if bad.any():
        pick = pa.array(codes, mask=~bad)
        rule = _RULES.take(pick)
        value = pc.binary_join_element_wise(_CAUSES.take(pick), pa.array(errors + 1).cast(pa.string()), " at byte ")
        threshold = pc.if_else(pa.array(codes == jsonl.TOO_DEEP), str(jsonl.MAX_DEPTH), threshold)
    if long.any():
        mask = pa.array(long)
        rule, value, threshold = (
            pc.if_else(mask, new, old) for new, old in zip(_too_long(config), (rule, value, threshold), strict=True)
        )
    return rule, value, threshold


_RULES, _CAUSES = (
    pa.array([jsonl.RULES.get(code, (None, None))[i] for code in range(max(jsonl.RULES) + 1)], pa.string())
    for i in (0, 1)
)
