"""JSON lines to documents: blocks of bytes, compiled scan, strings copied straight into Arrow columns."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from malmungchi.schemas.config import Read
from malmungchi.schemas.document import REJECT, concat
from malmungchi.schemas.work import ROLES, Columns, WorkItem
from malmungchi.transforms.formats.rows import Part, Rows, assemble, keep_in_metadata, nulls, parse_dates, rejects_of
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


def lines_of(block: Block, stream: Decompressed, item: WorkItem, limit: int, chunk_bytes: int) -> Iterator[Lines]:
    """The item's lines in `block`, about `chunk_bytes` of them at a time; they are gone when the next are asked for."""
    starts, ends = np.empty(MAX_ROWS, np.int64), np.empty(MAX_ROWS, np.int64)
    row, want = item.first_row + 1, chunk_bytes
    begun = item.start > 0
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


def read_jsonl(
    item: WorkItem, config: Read, chunk_bytes: int, stream: Decompressed, mine: Callable[[int], bool]
) -> Iterator[Part | None]:
    """The lines of `stream`, about `chunk_bytes` of input at a time; None for each part whose number is not `mine`,
    which costs its decompression and no more.

    Holds at most `chunk_bytes` or one line, and passes over what is longer than `max_line_bytes` without holding it. A
    break in the stream is one reject, at the line where it is; with `strict`, BrokenError is raised instead.
    """
    block = Block.of(chunk_bytes)
    for number, lines in enumerate(lines_of(block, stream, item, config.max_line_bytes, chunk_bytes)):
        if not mine(number):
            yield None
            continue
        broken = block.broken if lines.last else None
        rows, whole = _parse(item, config, block, lines)
        found: list[tuple[int, str, str, str | None]] = []
        row = lines.first + len(lines.starts)
        if lines.long:
            found.append((row, *_too_long(config)))
        if broken:
            if lines.torn and not whole:  # the break is inside this line
                row -= 1
                rows = _before(rows, row)
            if config.strict:
                raise BrokenError(broken.rule, f"{item.file.name}, line {row}: {broken.cause}")
            found.append((row, broken.rule, broken.cause, None))
        good, rejects = assemble(rows, config)
        if found:
            rejects = concat([rejects, rejects_of(item.file, found)], REJECT)
        yield Part(good, rejects, lines.last, lines.size)


def _too_long(config: Read) -> tuple[str, str, str]:
    return "too_long", "line longer than read.max_line_bytes", str(config.max_line_bytes)


def _before(rows: Rows, row: int) -> Rows:
    """The rows before `row`, which is the last if it is there."""
    n = int(np.searchsorted(rows.row, row))
    cut = {field.name: getattr(rows, field.name)[:n] for field in dataclasses.fields(rows) if field.name != "file"}
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

    def json(self, role: str, row: int) -> bytes:
        """A value as JSON text."""
        w = self.names.index(getattr(self.columns, role))
        quote = 1 if self.kinds[row, w] in (jsonl.STRING, jsonl.ESCAPED) else 0
        place = slice(self.spans[row, w, 0] - quote, self.spans[row, w, 1] + quote)
        text = np.append(self.data[place], np.zeros(jsonl.PAD, np.uint8))
        jsonl.replace_lone(text, 0, len(text) - jsonl.PAD)
        return text[: -jsonl.PAD].tobytes()


def _parse(item: WorkItem, config: Read, block: Block, lines: Lines) -> tuple[Rows, bool]:
    """(the lines as rows, has the last its own verdict even if the file breaks off there); blank lines are no rows."""
    n, starts, ends = len(lines.starts), lines.starts, lines.ends
    columns = item.file.columns
    names = list(dict.fromkeys(name for role in ROLES if (name := getattr(columns, role))))
    encoded = [name.encode() for name in names]
    name_bytes = np.frombuffer(b"".join(encoded), np.uint8).copy()
    name_offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    codes, errors = np.empty(n, np.uint8), np.empty(n, np.int64)
    kinds, spans = np.empty((n, len(names)), np.uint8), np.zeros((n, len(names), 2), np.int64)
    meta, offsets = np.empty(int((ends - starts).sum()) + jsonl.PAD, np.uint8), np.empty(n + 1, np.int32)
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
    for role in ROLES[1:]:
        kind = members.kind(role)
        odd = kind > jsonl.NUMBER  # true, false, objects and arrays name nothing and are no dates
        values[role] = members.strings(role, np.where(odd, jsonl.ABSENT, kind).astype(np.uint8))
        if role in ("published_at", "collected_at"):
            values[role], bad = parse_dates(values[role])
            odd = odd | bad
        json = functools.partial(members.json, role)
        metadata = keep_in_metadata(metadata, np.flatnonzero(odd), getattr(columns, role), json)
    kind = members.kind("text")
    wrong = kind >= jsonl.NUMBER
    text = members.strings("text", np.where(wrong, jsonl.ABSENT, kind).astype(np.uint8))
    verdict = _verdict(codes, errors, long, config)
    return Rows(item.file, number, text, wrong, *verdict, **values, metadata=metadata), whole


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
