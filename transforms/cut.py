"""Input files to work items of about one chunk each, so that one large file keeps all workers busy."""

from __future__ import annotations

import dataclasses
from typing import BinaryIO, cast

import numpy as np
import xxhash
import zstandard

from schemas.config import Read
from schemas.work import InputFile, WorkItem
from transforms.decompress import BrokenError, expansion, open_decompressed
from transforms.footer import Footer
from transforms.read import Hashed, open_unchanged
from transforms.read_jsonl import Block, lines_of
from transforms.read_parquet import group_rows
from transforms.storage import create, join
from transforms.task import BLOCKS, numbered

_PIECE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Cut:
    """The work items of a file, in order. `digest` is the hex sha256 of its bytes; "" if its reader finds it."""

    items: list[WorkItem]
    digest: str


def _item(
    file: InputFile,
    k: int,
    start: int,
    end: int,
    first_row: int,
    size: int,
    uri: str = "",
    codec: str = "none",
    broken: str = "",
) -> WorkItem:
    name = f"{file.ordinal:08d}-{k:06d}"
    return WorkItem(name, file, uri or file.uri, codec, start, end, first_row, size, False, broken)


def cut(file: InputFile, staging: str, config: Read, chunk_bytes: int, whole_bytes: int = 0) -> Cut:
    """Cuts a file into work items of about `chunk_bytes` of decompressed input; one that has at most `whole_bytes`, or
    less than two chunks, is one item.

    Plain JSON lines and Parquet are given as ranges; compressed JSON lines are decompressed into blocks below
    `staging`, under names that depend on the file alone; what is small, and text, is one item, the whole file. An
    item's `bytes` are decompressed ones, estimated where nothing tells them. How a compressed file breaks off is
    told to its last item (`broken`). Raises InputChangedError if the file is not what was planned.
    """
    small = max(2 * chunk_bytes, whole_bytes)
    if file.format == "jsonl" and file.codec != "none" and _is_large(file, small):
        return _blocks(file, staging, config, chunk_bytes)
    if file.format == "jsonl" and file.codec == "none" and file.size > small:
        return _ranges(file, chunk_bytes)
    if file.format == "parquet" and file.size > 2 * chunk_bytes:
        ranges = _row_groups(file, chunk_bytes)
        if ranges is not None:
            return ranges
    whole = _item(file, 0, 0, -1, 0, file.size * expansion(file.codec), codec=file.codec)
    return Cut([dataclasses.replace(whole, whole=True)], "")


def _is_large(file: InputFile, small: int) -> bool:
    if file.size * expansion(file.codec) > small:
        return True
    if file.codec != "zstd":
        return False
    with open_unchanged(file) as raw:
        try:
            return zstandard.frame_content_size(raw.read(32)) > small
        except zstandard.ZstdError:
            return False


def _ranges(file: InputFile, chunk_bytes: int) -> Cut:
    """Byte ranges that end at line ends; the lines before each are counted on the way."""
    items: list[WorkItem] = []
    at = rows = 0  # bytes and lines read
    start = first_row = 0  # where the next item begins
    best = best_row = 0  # the last line end at which it can stop

    def add(stop: int) -> None:
        items.append(_item(file, len(items), start, stop, first_row, stop - start))

    with open_unchanged(file) as raw:
        source = Hashed(raw)
        while piece := source.read(_PIECE):
            stops = np.flatnonzero(np.frombuffer(piece, np.uint8) == 10) + at + 1
            while True:
                n = int(np.searchsorted(stops, start + chunk_bytes, side="right"))
                if n and stops[n - 1] > start:
                    best, best_row = int(stops[n - 1]), rows + n
                if n == len(stops):
                    break
                if best == start:  # a line longer than an item
                    best, best_row = int(stops[n]), rows + n + 1
                add(best)
                start, first_row = best, best_row
            at, rows = at + len(piece), rows + len(stops)
        digest = source.digest(file)
    if at - start > chunk_bytes and start < best < at:  # a last line without a line end
        add(best)
        start, first_row = best, best_row
    if start < at:
        add(at)
    return Cut(items, digest)


def _row_groups(file: InputFile, chunk_bytes: int) -> Cut | None:
    """Ranges of row groups; None if there is nothing to cut, or nothing that can be read."""
    with open_unchanged(file) as raw:
        items: list[WorkItem] = []
        start = size = rows = first_row = 0
        try:
            footer = Footer(raw)
            for part in footer.parts():
                for group in range(part.start, part.end):
                    rows += group_rows(part, group, rows)
                    size += max(part.metadata(group).total_byte_size, 0)
                    if size >= chunk_bytes or group + 1 == footer.groups:
                        items.append(_item(file, len(items), start, group + 1, first_row, size))
                        start, size, first_row = group + 1, 0, rows
        except BrokenError:
            return None
        return Cut(items, Hashed(raw).digest(file)) if len(items) > 1 else None


def _blocks(file: InputFile, staging: str, config: Read, chunk_bytes: int) -> Cut:
    """Decompressed blocks of whole lines, at most `chunk_bytes` long unless a line is longer.

    Of a line longer than `max_line_bytes` only so much is written that its reader finds it too long.
    """
    whole = _item(file, 0, 0, -1, 0, 0, codec=file.codec)
    items: list[WorkItem] = []
    block = Block.of(chunk_bytes)
    with open_unchanged(file) as raw:
        source = Hashed(raw)
        stream = open_decompressed(cast(BinaryIO, source), file.codec)
        for lines in lines_of(block, stream, whole, config.max_line_bytes, chunk_bytes):
            name = f"{file.ordinal:08d}-{len(items):06d}.jsonl"
            uri = join(staging, numbered(BLOCKS, name, file.ordinal, len(items)))
            size = lines.size + (config.max_line_bytes + 2 if lines.long else 0)  # 2: beyond it, whatever its line end
            if size == 0 and items:
                continue
            checksum = xxhash.xxh3_64()
            with create(uri) as out:
                for part in (block.data[:size].data, b"\n" if lines.long else b""):
                    out.write(part)
                    checksum.update(part)
            item = _item(file, len(items), 0, -1, lines.first - 1, size + lines.long, uri)
            items.append(dataclasses.replace(item, checksum=checksum.intdigest()))
        digest = source.digest(file)
    items[-1] = dataclasses.replace(items[-1], broken=str(block.broken or ""))
    return Cut(items, digest)
