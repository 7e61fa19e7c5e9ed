"""Input files to work items, so that one large file keeps all workers busy: parts of it where its format can split it,
stripes where it must be read from the start."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from malmungchi.schemas.config import Config
from malmungchi.schemas.work import InputFile, WorkItem
from malmungchi.transforms.formats import base
from malmungchi.transforms.formats.source import Source, open_unchanged
from malmungchi.transforms.io.decompress import expansion


@dataclasses.dataclass(frozen=True)
class Cut:
    """The work items of a file, in order. `digest` is the hex sha256 of its bytes; "" if its reader finds it."""

    items: list[WorkItem]
    digest: str


def expected_bytes(file: InputFile) -> int:
    """The decompressed size of a file, about."""
    return file.size * max(base.get(file.format).expansion, expansion(file.codec))


def cut(file: InputFile, config: Config, chunk_bytes: int, whole_bytes: int = 0) -> Cut:
    """Cuts a file into work items of about `chunk_bytes` of decompressed input, numbered from 1; one that has at most
    `whole_bytes`, or less than two chunks, is one item, number 0: chunks of the whole and of a part never share a name.

    Raises InputChangedError if the file is not what was planned.
    """
    if file.codec == "none" and expected_bytes(file) > max(2 * chunk_bytes, whole_bytes):
        with open_unchanged(file) as raw:
            source = Source(file, raw, config)
            if items := _parts(source, chunk_bytes):
                return Cut(items, source.digest())
    return Cut([_whole(file)], "")


def parts(file: InputFile, config: Config, chunk_bytes: int) -> list[WorkItem]:
    """The same work items, however small the file, without the digest, for which all of it is read."""
    with open_unchanged(file) as raw:
        splits = _parts(Source(file, raw, config), chunk_bytes) if file.codec == "none" else []
    return splits or [_whole(file)]


def _parts(source: Source, chunk_bytes: int) -> list[WorkItem]:
    """Those of a file that its format can split."""
    splits = [] if source.stranger else base.get(source.file.format).split(source, chunk_bytes)
    return [_item(source.file, number, split) for number, split in enumerate(splits, 1)]


def _whole(file: InputFile) -> WorkItem:
    return _item(file, 0, base.Split(bytes=file.size * expansion(file.codec)), whole=True)


# From so many files on, small ones are read together, so many at most: of one that is read alone its task costs
# milliseconds, and few files are as many tasks as there are workers. Stores answer one request after the other.
_MANY = 256
_TOGETHER = 4096
_TOGETHER_ELSEWHERE = 256


def bundles(files: Sequence[InputFile], chunk_bytes: int) -> list[list[InputFile]]:
    """Consecutive files that one task reads: small ones, up to a chunk together; any other one alone."""
    if len(files) < _MANY:
        return [[file] for file in files]
    found: list[list[InputFile]] = []
    room = -1
    for file in files:
        size = expected_bytes(file)
        most = _TOGETHER_ELSEWHERE if "://" in file.uri else _TOGETHER
        is_small = size <= chunk_bytes // 8
        if not is_small or size > room or len(found[-1]) >= most:
            found.append([])
            room = chunk_bytes if is_small else -1
        found[-1].append(file)
        room -= size
    return found


def bundled(files: Sequence[InputFile]) -> WorkItem:
    """The one item that several whole files are."""
    item = _item(files[0], 0, base.Split(bytes=sum(file.size * expansion(file.codec) for file in files)), whole=True)
    return dataclasses.replace(item, more=list(files[1:]))


def _item(file: InputFile, number: int, split: base.Split, whole: bool = False) -> WorkItem:
    name = f"{file.ordinal:08d}-{number:06d}"
    return WorkItem(name, file, split.start, split.end, split.first_row, split.bytes, whole)


def stripes(item: WorkItem, share: int, most: int) -> list[WorkItem]:
    """The items that read a file side by side of which each must be read from its start: one for each `share` bytes, at
    most `most`, and at most as many as its format says; any other item by itself.

    Which stripes there are changes no chunk: their limits, numbers and names are those of the file as one item. The
    first one, which may have a chunk more than the others, comes first for some files only: runners deal items in turn.
    """
    count = 1
    if item.whole and not item.more:
        allowed = base.get(item.file.format).stripes.get(item.file.codec, 1)
        count = max(1, min(-(-item.bytes // max(1, share)), most, allowed))
    turned = [(number + item.file.ordinal) % count for number in range(count)]
    return [dataclasses.replace(item, stripe=stripe, stripes=count) for stripe in turned]
