"""Which rows go into which shard: even ones, from what is known of the partitions before publish."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Sequence

from malmungchi.schemas.config import Shards

# Shards of as many whole partitions each are even enough if none has more rows or bytes than so many times another's.
_EVEN = 1.08

# How far from the wanted number of shards theirs may be.
_OFF = 0.25

# Text that a shard has at least, unless less is asked for: readers want shards to read side by side, but not crumbs.
_CRUMB_BYTES = 8 << 20


def file_number(index: int, of: int) -> str:
    """A file's number among so many, 00000-of-00042: their names are in the order of their numbers."""
    width = max(5, len(str(of)))
    return f"{index:0{width}d}-of-{of:0{width}d}"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One shard to write: consecutive partitions of the order of the release.

    Of the first one, the shard before has `first` of the rows that are kept; of the last one, this shard has those up
    to row `end`, all if that is -1. What is dropped of a partition goes to the ledger of the shard that has its
    first row.
    """

    index: int
    of: int
    partitions: tuple[int, ...]
    first: int = 0
    end: int = -1

    @property
    def name(self) -> str:
        """As trainers expect it: train-00000-of-00042."""
        return file_number(self.index, self.of)

    def rows_of(self, partition: int) -> tuple[int, int | None]:
        """(first, end) of the kept rows of a partition that belong here; no end for all of them."""
        first = self.first if partition == self.partitions[0] else 0
        return first, self.end if partition == self.partitions[-1] and self.end >= 0 else None


def pack(size: Sequence[int], rows: Sequence[int], config: Shards, held: Sequence[int] | None = None) -> list[Shard]:
    """Even shards of about the target size; none is empty.

    `size` and `rows` are bytes of text and documents kept, by partition; `held` the documents there with those that are
    dropped. The target shrinks where it would give fewer shards than wanted, but not below 8 MiB of text. Shards have
    whole partitions where these are even enough. Else partitions are cut between two rows, so that shards are even in
    rows and in bytes alike; a partition that is cut is read by each shard that has some of it.
    """
    total, documents = sum(size), sum(rows)
    if not documents:
        return []
    target = min(config.target_bytes, max(_CRUMB_BYTES, -(-total // config.min_shards)))
    count = min(max(1, round(total / target)), documents)
    ends = [*itertools.accumulate(rows)]
    cuts = _whole(size, rows, count) or _cuts(size, rows, count)
    shards = []
    for index, (start, end) in enumerate(itertools.pairwise(cuts)):
        first, last = bisect.bisect_right(ends, start), bisect.bisect_left(ends, end)
        inside = tuple(partition for partition in range(first, last + 1) if rows[partition])
        skipped = start - (ends[first] - rows[first])
        stop = end - (ends[last] - rows[last])
        shards.append(Shard(index, len(cuts) - 1, inside, skipped, -1 if stop == rows[last] else stop))
    return _with_dropped(shards, held if held is not None else rows)


def _whole(size: Sequence[int], rows: Sequence[int], count: int) -> list[int]:
    """Numbers of rows before each shard and behind the last, if as many partitions each make even shards; else none."""
    partitions = len(rows)
    for each in (partitions // count, partitions // count + 1):
        if not each or partitions % each or abs(partitions // each - count) > _OFF * count:
            continue
        groups = [slice(start, start + each) for start in range(0, partitions, each)]
        sums = [[sum(column[group]) for group in groups] for column in (rows, size)]
        if all(min(found) and max(found) <= _EVEN * min(found) for found in sums):
            return [0, *itertools.accumulate(sums[0])]
    return []


def _cuts(size: Sequence[int], rows: Sequence[int], count: int) -> list[int]:
    """Numbers of rows before each shard and behind the last, such that each has the same sum of its share of all rows
    and its share of all bytes: where one is above the average, the other is as much below.

    Inside of a partition rows are taken to be alike.
    """
    total, documents = max(1, sum(size)), sum(rows)
    weights = [bytes_ * documents + kept * total for bytes_, kept in zip(size, rows, strict=True)]
    before, behind = [0, *itertools.accumulate(rows)], [*itertools.accumulate(weights)]
    cuts = [0]
    for number in range(1, count):
        place = number * behind[-1] // count
        partition = bisect.bisect_right(behind, place)
        inside = place - (behind[partition] - weights[partition])
        cut = before[partition] + inside * rows[partition] // weights[partition]
        cuts.append(min(max(cut, cuts[-1] + 1), documents - (count - number)))
    return [*cuts, documents]


def _with_dropped(shards: list[Shard], held: Sequence[int]) -> list[Shard]:
    """Gives partitions that hold documents, but none that is kept, to the shard before them (or the first), for its
    part of the ledger."""
    groups = [list(shard.partitions) for shard in shards]
    owner = {partition: index for index, group in enumerate(groups) for partition in group}
    index = 0
    for partition, documents in enumerate(held):
        if partition in owner:
            index = owner[partition]
        elif documents:
            groups[index].append(partition)
    return [
        dataclasses.replace(shard, partitions=tuple(sorted(group))) for shard, group in zip(shards, groups, strict=True)
    ]
