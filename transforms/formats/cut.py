"""Input files to work items, so that one large file keeps all workers busy: ranges of it where its format has them,
stripes where it must be read from the start."""

from __future__ import annotations

import dataclasses

import numpy as np

from malmungchi.schemas.work import InputFile, WorkItem
from malmungchi.transforms.formats.footer import Footer
from malmungchi.transforms.formats.parquet import group_rows
from malmungchi.transforms.formats.read import Hashed, open_unchanged
from malmungchi.transforms.io.decompress import BrokenError, expansion

_PIECE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Cut:
    """The work items of a file, in order. `digest` is the hex sha256 of its bytes; "" if its reader finds it."""

    items: list[WorkItem]
    digest: str


# As many stripes at most, by codec: each decompresses the whole file, and beyond so many all of them together do
# hardly anything else. The steps behind take some 10 ms for each MB, a decoder from 0.6 (zstd) to 30 (bz2).
_STRIPES = {"zstd": 16, "gzip": 4, "xz": 2, "bz2": 2}


def _item(file: InputFile, k: int, start: int, end: int, first_row: int, size: int, whole: bool = False) -> WorkItem:
    return WorkItem(f"{file.ordinal:08d}-{k:06d}", file, start, end, first_row, size, whole)


def cut(file: InputFile, chunk_bytes: int, whole_bytes: int = 0) -> Cut:
    """Cuts a file into work items of about `chunk_bytes` of decompressed input, numbered from 1; one that has at most
    `whole_bytes`, or less than two chunks, is one item, number 0: chunks of the whole and of a part never share a name.

    Plain JSON lines and Parquet are given as ranges. All else is one item, the whole file. Raises InputChangedError if
    the file is not what was planned.
    """
    small = max(2 * chunk_bytes, whole_bytes)
    if file.format == "jsonl" and file.codec == "none" and file.size > small:
        return _ranges(file, chunk_bytes)
    if file.format == "parquet" and file.size > 2 * chunk_bytes:
        ranges = _row_groups(file, chunk_bytes)
        if ranges is not None:
            return ranges
    return Cut([_item(file, 0, 0, -1, 0, file.size * expansion(file.codec), whole=True)], "")


def stripes(item: WorkItem, share: int, most: int) -> list[WorkItem]:
    """The items that read a compressed file of JSON lines side by side: one for each `share` bytes, at most `most`;
    any other item by itself.

    Which stripes there are changes no chunk: their limits, numbers and names are those of the file as one item. The
    first one, which may have a chunk more than the others, comes first for some files only: runners deal items in turn.
    """
    count = 1
    if item.file.format == "jsonl":
        count = max(1, min(-(-item.bytes // max(1, share)), most, _STRIPES.get(item.file.codec, 1)))
    turned = [(number + item.file.ordinal) % count for number in range(count)]
    return [dataclasses.replace(item, stripe=stripe, stripes=count) for stripe in turned]


def _ranges(file: InputFile, chunk_bytes: int) -> Cut:
    """Byte ranges that end at line ends; the lines before each are counted on the way."""
    items: list[WorkItem] = []
    at = rows = 0  # bytes and lines read
    start = first_row = 0  # where the next item begins
    best = best_row = 0  # the last line end at which it can stop

    def add(stop: int) -> None:
        items.append(_item(file, len(items) + 1, start, stop, first_row, stop - start))

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
                        items.append(_item(file, len(items) + 1, start, group + 1, first_row, size))
                        start, size, first_row = group + 1, 0, rows
        except BrokenError:
            return None
        return Cut(items, Hashed(raw).digest(file)) if len(items) > 1 else None
