"""Shards are even: in rows and in bytes, at any size, from what is known before they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.schemas.config import Shards
from malmungchi.transforms.shards.pack import Shard, file_number, pack


def rows_of(shards: list[Shard], rows: list[int]) -> list[list[tuple[int, int]]]:
    """(partition, row) of each shard's kept rows, in order."""
    found = []
    for shard in shards:
        ranges = [(partition, *shard.rows_of(partition)) for partition in shard.partitions]
        found.append([(p, row) for p, first, end in ranges for row in range(first, rows[p] if end is None else end)])
    return found


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), max_size=60), st.integers(1, 20))
def test_each_row_is_in_one_shard_and_no_shard_is_empty(partitions: list[tuple[int, int]], wanted: int) -> None:
    rows = [kept for _, kept in partitions]
    size = [bytes_ << 20 if kept else 0 for bytes_, kept in partitions]
    held = [kept + (number % 2) for number, kept in enumerate(rows)]
    shards = pack(size, rows, Shards(target_bytes=64 << 20, min_shards=wanted), held)
    found = rows_of(shards, rows)
    assert all(found)
    assert [place for each in found for place in each] == [(p, n) for p, kept in enumerate(rows) for n in range(kept)]
    assert [shard.index for shard in shards] == list(range(len(shards)))
    assert all(shard.of == len(shards) for shard in shards)
    # Each partition with documents has its ledger in one shard, the one that begins it.
    owners = [p for shard in shards for p in shard.partitions if not shard.rows_of(p)[0]]
    assert sorted(owners) == [p for p, documents in enumerate(held) if documents and shards]
    assert all(list(shard.partitions) == sorted(set(shard.partitions)) for shard in shards)


@pytest.mark.parametrize("of", [1, 42, 100_000, 100_001, 1_000_000])
def test_names_are_in_the_order_of_their_numbers(of: int) -> None:
    numbers = sorted({0, of // 2, of // 10, of - 1})
    names = [file_number(number, of) for number in numbers]
    assert sorted(names) == names
    assert file_number(0, 42) == "00000-of-00042"


def test_shards_aim_at_the_target_and_the_wanted_number() -> None:
    assert len(pack([1 << 20] * 100, [1000] * 100, Shards(target_bytes=10 << 20))) == 10
    assert len(pack([4 << 20] * 64, [1000] * 64, Shards(target_bytes=16 << 20))) == 16
    assert len(pack([4 << 20] * 64, [1000] * 64, Shards())) == 8
    assert len(pack([1000] * 64, [1000] * 64, Shards())) == 1
    assert pack([], [], Shards()) == []


def test_a_few_long_documents_are_made_up_for_by_rows() -> None:
    """Half of the bytes in a tenth of the partitions: shards that hold them have fewer rows."""
    rows, size = [1000] * 64, [1 << 20] * 64
    for partition in range(0, 64, 10):
        size[partition] *= 9
    shards = pack(size, rows, Shards())
    shares = []
    for shard in shards:
        parts = [(p, (rows[p] if (end := shard.rows_of(p)[1]) is None else end) - shard.rows_of(p)[0])
                 for p in shard.partitions]  # fmt: skip
        shares.append(sum(n / sum(rows) + size[p] * n / rows[p] / sum(size) for p, n in parts) / 2)
    assert max(shares) / min(shares) < 1.01
