"""PUBLISH: packing shards, judging rows, writing files."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.schemas.config import Shards
from malmungchi.schemas.document import REJECT
from malmungchi.schemas.exchange import VERDICT
from malmungchi.schemas.release import LEDGER
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.segments import Segments
from malmungchi.transforms.shards import write as publish
from malmungchi.transforms.shards.pack import Shard
from malmungchi.transforms.shards.write import WriteRejects, WriteShard, _parquet, _pieces, judge
from malmungchi.transforms.text import steps


def _staged(ids: list[str], keys: list[int]) -> pa.Table:
    count = len(ids)
    values = {"ordinal": range(count), "id": ids, "text": ["글"] * count, "file": ["f"] * count, "row": range(count),
              "language": ["ko"] * count, "language_detector": ["script"] * count, "hangul_share": [1.0] * count,
              "chars": [1] * count, "letters": [1] * count, "key": keys,
              "url": [f"https://example.org/{row}" for row in range(count)], "license": ["CC0-1.0"] * count,
              "content_hash": [bytes([i]) * 16 for i in range(count)]}  # fmt: skip
    return pa.Table.from_arrays(
        [pa.array(values.get(field.name, [None] * count), field.type) for field in steps.staged()],
        schema=steps.staged(),
    )


def test_rows_are_judged_and_ordered_by_key_id_and_place() -> None:
    rows = _staged(["b", "a", "a", "c"], [5, 5, 5, 1])
    verdicts = pa.Table.from_pylist(
        [
            {"ordinal": 2, "bytes": 3, "kept": False, "duplicate_count": 0, "cluster_id": b"\x01" * 16, "kept_id": "a",
             "rule": "exact_duplicate", "score": 1.0},
            {"ordinal": 1, "bytes": 3, "kept": True, "duplicate_count": 2, "cluster_id": b"\x01" * 16, "kept_id": "a"},
        ],
        VERDICT,
    )  # fmt: skip
    published, ledger = judge(rows, verdicts)
    assert published.schema.equals(steps.published())
    assert ledger.schema.equals(LEDGER)
    assert published.select(["id", "row", "duplicate_count"]).to_pylist() == [
        {"id": "c", "row": 3, "duplicate_count": 1},
        {"id": "a", "row": 1, "duplicate_count": 2},
        {"id": "b", "row": 0, "duplicate_count": 1},
    ]
    place = {"url": "https://example.org/2", "license": "CC0-1.0"}
    assert ledger.select(["url", "license"]).to_pylist() == [place]
    assert published["cluster_id"][1].as_py() == ledger["cluster_id"][0].as_py() == "01" * 16
    assert ledger.select(["dropped_id", "kept_id", "row"]).to_pylist() == [
        {"dropped_id": "a", "kept_id": "a", "row": 2}
    ]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 100))
def test_row_groups_cover_all_rows_in_order(sizes: list[int], target: int) -> None:
    table = pa.table({"n": range(len(sizes))})
    pieces = list(_pieces(table, np.array(sizes), target))
    assert pa.concat_tables(pieces).equals(table)
    assert all(piece.num_rows for piece in pieces)


def test_a_file_carries_its_schema_checksum_and_page_index(tmp_path: Path) -> None:
    uri = str(tmp_path / "data" / "x.parquet")
    table, _ = judge(_staged(["a", "b"], [1, 2]), pa.Table.from_batches([], VERDICT))
    with _parquet(uri, steps.published(), 3, {"malmungchi.schema_version": "1"}) as (writer, sink):
        writer.write_table(table)
    data = Path(uri).read_bytes()
    assert (sink.bytes, sink.sha256.hexdigest()) == (len(data), hashlib.sha256(data).hexdigest())
    file = pq.ParquetFile(uri)
    assert file.schema_arrow.equals(steps.published())
    assert file.schema_arrow.metadata[b"malmungchi.schema_version"] == b"1"
    column = file.metadata.row_group(0).column(steps.published().get_field_index("id"))
    assert column.has_column_index
    assert column.has_offset_index
    assert column.compression == "ZSTD"
    text = file.metadata.row_group(0).column(steps.published().get_field_index("text"))
    assert not text.is_stats_set


def test_a_flipped_bit_is_seen_by_readers(tmp_path: Path) -> None:
    """Pages carry checksums: a reader that looks at them never gets another text in silence."""
    uri = str(tmp_path / "x.parquet")
    table, _ = judge(_staged([f"id-{n}" for n in range(200)], [*range(200)]), pa.Table.from_batches([], VERDICT))
    text = pa.array([f"글 {n}: {hashlib.sha256(b'%d' % n).hexdigest()}" for n in range(200)])
    table = table.set_column(table.schema.get_field_index("text"), table.schema.field("text"), text)
    with _parquet(uri, steps.published(), 3, {}) as (writer, _):
        writer.write_table(table)
    whole = Path(uri).read_bytes()
    place = pq.ParquetFile(uri).metadata.row_group(0).column(table.schema.get_field_index("text"))
    start = place.dictionary_page_offset or place.data_page_offset
    assert pq.read_table(uri, page_checksum_verification=True).equals(table)
    for at in range(start, start + place.total_compressed_size, 97):
        Path(uri).write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with contextlib.suppress(OSError, pa.ArrowException):
            assert pq.read_table(uri, page_checksum_verification=True).equals(table), at


def _rejects(file: str, rows: Iterable[int]) -> pa.RecordBatch:
    values = [{"file": file, "row": row, "step": "read", "rule": "no_text", "value": "v" * (row % 50)} for row in rows]
    return pa.RecordBatch.from_pylist(values, REJECT)


def _digest(record: dict[str, Any]) -> list[str]:
    return [file["sha256"] for file in record["files"]]


def test_rejects_are_in_order_whatever_the_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "_REJECT_ROWS", 300)
    found: list[list[str]] = []
    for step in (7, 90, 1000):
        staging, parts = str(tmp_path / str(step)), []
        for number, file in enumerate(["a", "b"]):
            for start in range(0, 1000, step):
                batch = _rejects(file, reversed(range(start, min(start + step, 1000))))

                def write(segments: Segments, batch: pa.RecordBatch = batch) -> dict[str, int]:
                    segments.add("rejects", 0, batch, compress=True)
                    return {}

                parts += [part for _, _, part in records.run(staging, f"refine/{number}.{start:06d}", write).slices]
        parts.reverse()  # Beam brings them in any order
        found.append(_digest(WriteRejects(staging, staging, Shards(), "", 1)(0, parts)))
        file = pq.ParquetFile(f"{staging}/rejects/rejects-00000-of-00001.parquet")
        assert [file.metadata.row_group(i).num_rows for i in range(7)] == [300] * 6 + [200]
        read = file.read()
        assert read["row"].to_pylist() == [*range(1000)] * 2
        assert read["file"].to_pylist() == ["a"] * 1000 + ["b"] * 1000
    assert found[0] == found[1] == found[2]


def test_the_ledger_is_written_partition_by_partition(tmp_path: Path) -> None:
    staging = str(tmp_path)

    def write(segments: Segments) -> dict[str, int]:
        for partition, dropped in enumerate([[], [1], [0, 1], []]):
            rows = _staged(["a", "b"], [1, 2])
            places = pa.array([10 * partition, 10 * partition + 1], pa.uint64())
            rows = rows.set_column(0, steps.staged().field("ordinal"), places)
            verdicts = [
                {"ordinal": 10 * partition + row, "bytes": 3, "kept": False, "duplicate_count": 0,
                 "cluster_id": b"c" * 16, "kept_id": "k", "rule": "exact_duplicate", "score": 1.0} for row in dropped
            ]  # fmt: skip
            segments.add("rows", partition, rows.combine_chunks().to_batches()[0])
            segments.add("verdicts", partition, pa.RecordBatch.from_pylist(verdicts, VERDICT))
        return {}

    parts = [(number, (channel, part)) for channel, number, part in records.run(staging, "refine/0", write).slices]
    work = WriteShard(staging, staging, Shards(), "")
    record = work(Shard(0, 2, (0, 1, 2)), parts[:-1])
    assert [(file["path"], file["rows"]) for file in record["files"]] == [
        ("data/train-00000-of-00002.parquet", 3), ("duplicates/pairs-00000-of-00002.parquet", 3)
    ]  # fmt: skip
    assert record["dropped"] == [["exact_duplicate", "", 3]]
    ledger = pq.ParquetFile(tmp_path / record["files"][1]["path"])
    assert [ledger.metadata.row_group(i).num_rows for i in range(ledger.num_row_groups)] == [1, 2]
    assert ledger.read()["dropped_id"].to_pylist() == ["b", "a", "b"]
    for file in record["files"]:
        data = (tmp_path / file["path"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    last = work(Shard(1, 2, (3,)), parts[-1:])
    assert [file["path"] for file in last["files"]] == ["data/train-00001-of-00002.parquet"]
    assert last["dropped"] == []


def test_a_partition_that_is_cut_gives_each_row_once(tmp_path: Path) -> None:
    """Two shards share a partition; ids that clash across the cut are counted, and its dropped rows are listed once."""
    staging = str(tmp_path)

    def write(segments: Segments) -> dict[str, int]:
        for partition in (0, 1):
            rows = _staged([f"{partition}-{n // 2}" for n in range(6)], [n // 2 for n in range(6)])
            places = pa.array([10 * partition + n for n in range(6)], pa.uint64())
            rows = rows.set_column(0, steps.staged().field("ordinal"), places)
            verdict = {"ordinal": 10 * partition, "bytes": 3, "kept": False, "duplicate_count": 0,
                       "cluster_id": b"c" * 16, "kept_id": "k", "rule": "exact_duplicate", "score": 1.0}  # fmt: skip
            segments.add("rows", partition, rows.combine_chunks().to_batches()[0])
            segments.add("verdicts", partition, pa.RecordBatch.from_pylist([verdict], VERDICT))
        return {}

    parts = [(number, (channel, part)) for channel, number, part in records.run(staging, "refine/0", write).slices]
    work = WriteShard(staging, staging, Shards(), "")
    second = [part for part in parts if part[0] == 1]
    # Kept of each partition: ids 0, 1, 1, 2, 2; the second is cut between its 1 and 1.
    made = [work(Shard(0, 3, (0, 1), 0, 2), parts), work(Shard(1, 3, (1,), 2, 4), second),
            work(Shard(2, 3, (1,), 4), second)]  # fmt: skip
    shards = [pq.read_table(tmp_path / record["files"][0]["path"])["id"].to_pylist() for record in made]
    assert shards == [["0-0", "0-1", "0-1", "0-2", "0-2", "1-0", "1-1"], ["1-1", "1-2"], ["1-2"]]
    assert [record["clashes"] for record in made] == [2, 1, 1]
    assert [record["kept"] for record in made] == [7, 2, 1]
    assert [[file["path"][:5] for file in record["files"]] for record in made] == [
        ["data/", "dupli"],
        ["data/"],
        ["data/"],
    ]
