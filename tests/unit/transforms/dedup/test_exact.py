"""EXACT: the order of preference, and verdicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.schemas.config import Deduplicate
from malmungchi.schemas.document import LANGUAGE
from malmungchi.schemas.exchange import CANDIDATE, EXACT, MEMBER, VERDICT, WANTED, Layout
from malmungchi.schemas.work import Slice
from malmungchi.transforms.dedup import exact
from malmungchi.transforms.dedup.exact import ResolveExact, binary_keys, preference, verdicts
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.segments import Segments, read_slices
from malmungchi.transforms.exchange.stage import exact_rows, nodes
from tests.support.chunks import documents


def exact_batch(rows: list[dict[str, object]]) -> pa.RecordBatch:
    base = {
        "node": 1, "content_hash": b"a" * 16, "partition": 0, "priority": 0, "licensed": False, "chars": 1, "bytes": 3,
        "date": None,
    }  # fmt: skip
    return pa.RecordBatch.from_pylist(
        [{**base, "ordinal": i, "id": f"d{i}", **row} for i, row in enumerate(rows)], EXACT
    )


@pytest.mark.parametrize(
    ("prefer", "rows", "expected"),
    [
        (["priority"], [{"priority": 2}, {"priority": 0}, {"priority": 1}], [1, 2, 0]),
        (["licensed"], [{}, {"licensed": True}, {}], [1, 0, 2]),
        (Deduplicate().prefer, [{"chars": 9}, {"licensed": True}, {"priority": -1}], [2, 1, 0]),
        (["longest"], [{"chars": 5}, {"chars": 9}, {"chars": 7}], [1, 2, 0]),
        (["shortest"], [{"chars": 5}, {"chars": 9}, {"chars": 3}], [2, 0, 1]),
        (["newest"], [{"date": 5}, {"date": None}, {"date": 9}], [2, 0, 1]),
        (["oldest"], [{"date": 5}, {"date": None}, {"date": 3}], [2, 0, 1]),
        (["id"], [{"id": "c"}, {"id": "a"}, {"id": "b"}], [1, 2, 0]),
        ([], [{"id": "b", "ordinal": 9}, {"id": "a", "ordinal": 8}, {"id": "a", "ordinal": 7}], [2, 1, 0]),
        (["longest", "oldest"], [{"chars": 5, "date": 2}, {"chars": 5, "date": 1}, {"chars": 6}], [2, 1, 0]),
    ],
)
def test_preference(prefer: list[str], rows: list[dict[str, object]], expected: list[int]) -> None:
    assert preference(exact_batch(rows), prefer).tolist() == expected


@given(st.permutations(range(6)), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=6, max_size=6))
def test_preference_does_not_depend_on_the_order_of_rows(shuffled: list[int], values: list[tuple[int, int]]) -> None:
    table = exact_batch([{"chars": chars, "priority": priority} for chars, priority in values])
    config = Deduplicate()
    straight = table.take(pa.array(preference(table, config.prefer)))["ordinal"]
    mixed = table.take(pa.array(shuffled))
    assert mixed.take(pa.array(preference(mixed, config.prefer)))["ordinal"].equals(straight)


def test_verdicts_say_who_covers_whom() -> None:
    table = exact_batch([{"content_hash": bytes([65 + i // 2]) * 16, "partition": i} for i in range(5)])
    # 0 covers 1 (same content) and 2 (near); 3 and 4 stand alone.
    [(rows, partition)] = verdicts(table, np.arange(5), np.array([0, 0, 0, 3, 4]), np.array([0, 1.0, 0.9, 0, 0]))
    assert partition.tolist() == [0, 1, 2]
    assert rows.select(["ordinal", "kept", "duplicate_count", "kept_id", "rule", "score"]).to_pylist() == [
        {"ordinal": 0, "kept": True, "duplicate_count": 3, "kept_id": "d0", "rule": None, "score": None},
        {"ordinal": 1, "kept": False, "duplicate_count": 0, "kept_id": "d0", "rule": "exact_duplicate", "score": 1.0},
        {"ordinal": 2, "kept": False, "duplicate_count": 0, "kept_id": "d0", "rule": "near_duplicate", "score": 0.9},
    ]
    assert set(rows["cluster_id"].to_pylist()) == {b"A" * 16}


def test_groups_without_candidates_are_decided_and_the_others_sent_on(tmp_path: object) -> None:
    staging = str(tmp_path)
    rows = exact_batch(
        [
            {"node": 7, "content_hash": b"x" * 16, "chars": 3},
            {"node": 7, "content_hash": b"x" * 16, "chars": 4},  # longer: the best of an exact group
            {"node": 8, "content_hash": b"y" * 16},  # has a near candidate: node 9
            {"node": 8, "content_hash": b"y" * 16},
            {"node": 9, "content_hash": b"z" * 16},
            {"node": 10, "content_hash": b"w" * 16},  # alone: no verdict, not sent on
        ]
    )  # fmt: skip
    members = pa.RecordBatch.from_pydict({"node": [9, 8], "component": [8, 8]}, MEMBER)

    def write(segments: Segments) -> dict[str, int]:
        segments.add("exact", 0, rows)
        segments.add("members", 0, members)
        return {}

    source = records.run(staging, "source/0", write)
    parts = {channel: [part] for channel, _, part in source.slices}
    work = ResolveExact(staging, Layout(1, 1, 1, 1), Deduplicate())
    record = records.run(staging, "exact/0", lambda segments: work(0, parts, segments))
    schemas = {"verdicts": VERDICT, "candidates": CANDIDATE, "wanted": WANTED}
    found = {channel: read_slices([part], staging, schemas[channel]).to_pylist() for channel, _, part in record.slices}
    assert [(row["ordinal"], row["kept"], row["kept_id"]) for row in found["verdicts"]] == [
        (1, True, "d1"), (0, False, "d1")
    ]  # fmt: skip
    assert {(row["ordinal"], row["best"]) for row in found["candidates"]} == {(2, True), (3, False), (4, True)}
    assert {row["ordinal"] for row in found["wanted"]} == {2, 4}
    assert record.counts["sizes"] == [("verdicts", 0, 1, 3)]


def test_many_copies_go_out_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"node": node, "content_hash": bytes([node]) * 16, "id": f"{i:04d}", "chars": i % 7, "partition": i % 3}
            for i in range(600) for node in [7 + i % 2]]  # fmt: skip
    batches = [exact_batch(rows[start : start + 100]) for start in range(0, 600, 100)]
    batches = [batch.set_column(2, EXACT.field("ordinal"), pa.array(range(100 * k, 100 * k + 100), pa.uint64()))
               for k, batch in enumerate(batches)]  # fmt: skip

    def write(segments: Segments) -> dict[str, int]:
        for batch in batches:
            segments.add("exact", 0, batch)
        segments.add("members", 0, pa.RecordBatch.from_pydict({"node": [8, 9], "component": [8, 8]}, MEMBER))
        return {}

    def found(staging: str) -> tuple[dict[str, list[dict[str, object]]], int]:
        parts: dict[str, list[Slice]] = {"exact": [], "members": []}
        for channel, _, part in records.run(staging, "source/0", write).slices:
            parts[channel].append(part)
        work = ResolveExact(staging, Layout(3, 1, 1, 1), Deduplicate())
        record = records.run(staging, "exact/0", lambda segments: work(0, parts, segments))
        schemas = {"verdicts": VERDICT, "candidates": CANDIDATE, "wanted": WANTED}
        rows = {
            channel: read_slices([part for _, part in record.channel(channel)], staging, schema)
            for channel, schema in schemas.items()
        }
        largest = max(part.rows for _, _, part in record.slices)
        return {channel: table.sort_by("ordinal").to_pylist() for channel, table in rows.items()}, largest

    at_once, _ = found(str(tmp_path / "at once"))
    monkeypatch.setattr(exact, "PIECE_ROWS", 64)
    in_pieces, largest = found(str(tmp_path / "in pieces"))
    assert in_pieces == at_once
    assert largest <= 64
    assert [len(at_once[channel]) for channel in ("verdicts", "candidates", "wanted")] == [300, 300, 1]
    [kept] = [row for row in at_once["verdicts"] if row["kept"]]
    assert (kept["ordinal"], kept["duplicate_count"]) == (6, 300)
    assert {row["kept_id"] for row in at_once["verdicts"]} == {"0006"}
    assert at_once["wanted"] == [{"ordinal": 13, "component": 8}]


def test_nodes_and_rows_of_a_staged_chunk() -> None:
    rows = documents(["하나", "두울"], source=["b", "x"], license=[None, "CC0-1.0"])
    for field, value in zip(LANGUAGE, ["ko", "script", 1.0, 1.0, 2, 2], strict=True):
        rows = rows.append_column(field, pa.array([value] * 2, field.type))
    hashes = pa.array([(1).to_bytes(8, "little") + b"h" * 8, (2).to_bytes(8, "little") + b"h" * 8], pa.binary(16))
    rows = rows.append_column(pa.field("content_hash", pa.binary(16), nullable=False), hashes)
    assert nodes(rows["content_hash"]).tolist() == [1, 2]
    assert nodes(rows.slice(1)["content_hash"]).tolist() == [2]
    staged = exact_rows(rows, np.array([4, 5]), Deduplicate(priority=["a", "b"]))
    assert staged["priority"].to_pylist() == [1, 2]
    assert staged["licensed"].to_pylist() == [False, True]
    assert staged["bytes"].to_pylist() == [6, 6]
    assert binary_keys(hashes.slice(1))[0].tobytes() == hashes[1].as_py()
