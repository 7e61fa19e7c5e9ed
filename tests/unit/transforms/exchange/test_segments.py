"""Exchange files, storage and tasks: whole or absent, checked when read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.schemas.work import Slice
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.segments import DamagedError, Segments, read_slices
from malmungchi.transforms.io import storage
from malmungchi.transforms.kernels import strings
from malmungchi.transforms.kernels.utf8 import string_buffers

SCHEMA = pa.schema([pa.field("n", pa.int64()), pa.field("s", pa.string())])


def _batch(count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(range(count)), pa.array([f"글 {i}" for i in range(count)])], schema=SCHEMA
    )


def _written(folder: Path) -> records.Record:
    def work(segments: Segments) -> dict[str, int]:
        segments.scatter("numbers", _batch(100), np.arange(100) % 7, compress=True)
        segments.scatter("more", _batch(10), np.zeros(10, np.int64))
        segments.add("none", 0, _batch(0))
        return {"rows": 110}

    return records.run(str(folder), "stage/one", work)


def test_rows_come_back_by_partition_in_their_order(tmp_path: Path) -> None:
    record = _written(tmp_path)
    assert {channel for channel, _, _ in record.slices} == {"numbers", "more"}
    for partition, part in record.channel("numbers"):
        expected = [i for i in range(100) if i % 7 == partition]
        assert read_slices([part], str(tmp_path), SCHEMA)["n"].to_pylist() == expected
    parts = [part for _, part in record.channel("numbers")]
    table = read_slices(reversed(parts), str(tmp_path), SCHEMA)
    assert table.equals(read_slices(parts, str(tmp_path), SCHEMA))
    assert sorted(table["n"].to_pylist()) == list(range(100))
    assert read_slices([], str(tmp_path), SCHEMA).num_rows == 0


def test_a_task_is_done_once(tmp_path: Path) -> None:
    record = _written(tmp_path)
    before = (tmp_path / "stage" / "one.arrow").stat().st_mtime_ns

    def never(_: Segments) -> dict[str, int]:
        raise AssertionError("done again")

    assert records.run(str(tmp_path), "stage/one", never) == record
    assert (tmp_path / "stage" / "one.arrow").stat().st_mtime_ns == before
    assert records.tasks(str(tmp_path), "stage") == ["stage/one"]


def test_a_failed_task_leaves_nothing(tmp_path: Path) -> None:
    def fails(segments: Segments) -> dict[str, int]:
        segments.add("numbers", 0, _batch(3))
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        records.run(str(tmp_path), "stage/two", fails)
    assert records.load(str(tmp_path), "stage/two") is None
    assert list((tmp_path / "stage").iterdir()) == []


def test_damage_is_noticed(tmp_path: Path) -> None:
    record = _written(tmp_path)
    part = next(record.channel("numbers"))[1]
    file = tmp_path / "stage" / "one.arrow"
    data = bytearray(file.read_bytes())
    data[part.offset + part.length // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedError, match="checksum"):
        read_slices([part], str(tmp_path), SCHEMA)
    file.write_bytes(data[: part.offset + 1])
    with pytest.raises(DamagedError, match="gone"):
        read_slices([part], str(tmp_path), SCHEMA)
    with pytest.raises(DamagedError, match="gone"):
        read_slices([Slice("stage/other.arrow", 0, 1, 1, 0)], str(tmp_path), SCHEMA)


def test_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    for base in (str(tmp_path), "memory://storage-test"):
        uri = storage.join(base, "folder", "file")
        with pytest.raises(RuntimeError), storage.create(uri) as file:  # noqa: PT012
            file.write(b"half")
            raise RuntimeError
        assert not storage.exists(uri)
        storage.write_bytes(uri, b"whole")
        assert storage.read_bytes(uri) == b"whole"
        assert storage.read_range(uri, 1, 3) == b"hol"
        with pytest.raises(EOFError):
            storage.read_range(uri, 3, 9)
        assert storage.names(storage.join(base, "folder")) == ["file"]
        assert storage.names(storage.join(base, "nowhere")) == []
        storage.remove(storage.join(base, "folder"))
        assert not storage.exists(uri)


def test_credentials_in_an_address_are_refused() -> None:
    with pytest.raises(storage.StorageError, match="environment"):
        storage.resolve("s3://key:secret@bucket/path")
    with pytest.raises(storage.StorageError, match="nosuch"):
        storage.resolve("nosuch://bucket/path")


def _reference(text: str) -> int:
    mask = (1 << 64) - 1
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 & mask
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & mask
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & mask
    return h ^ h >> 33


@given(st.lists(st.text(max_size=12), max_size=10), st.integers(1, 1000))
def test_hash_and_range_of_strings(values: list[str], count: int) -> None:
    hashes = strings.hashes(*string_buffers(pa.array(values, pa.string())))
    assert hashes.tolist() == [_reference(value) for value in values]
    assert strings.ranges(hashes, count).tolist() == [(h >> 32) * count >> 32 for h in hashes.tolist()]
