"""Parquet footers in parts: what pyarrow makes of the whole, and a reference in plain Python."""

from __future__ import annotations

import io
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from malmungchi.transforms.formats import footer
from malmungchi.transforms.formats.footer import Footer
from malmungchi.transforms.io.decompress import BrokenError
from malmungchi.transforms.kernels.footer import row_groups


def varint(number: int) -> bytes:
    """An unsigned integer as Thrift's compact protocol has it."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def of_many_groups(count: int, columns: dict[str, list[str]]) -> bytes:
    """A Parquet file with one row, which `count` row groups hold: as fast to write as its footer is long."""
    out = io.BytesIO()
    pq.write_table(
        pa.table(columns), out, compression="none", use_dictionary=False, write_statistics=False, store_schema=False
    )
    data = out.getvalue()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    head, rest = data[start:-8].split(b"\x16\x02\x19\x1c", 1)  # one row, and a list of one row group
    group, behind = rest[: rest.index(b"( parquet-cpp")], rest[rest.index(b"( parquet-cpp") :]
    whole = head + b"\x16" + varint(2 * count) + b"\x19\xfc" + varint(count) + group * count + behind
    return data[:start] + whole + len(whole).to_bytes(4, "little") + b"PAR1"


def footer_of(data: bytes) -> bytes:
    return data[len(data) - 8 - int.from_bytes(data[-8:-4], "little") : -8]


@pytest.fixture(scope="module")
def file() -> bytes:
    """Seventy row groups of columns of several kinds."""
    columns = {
        "text": [f"{i}번째 글" for i in range(140)],
        "date": pa.array(range(140), pa.timestamp("s")),
        "tags": [["가", None, f"{i}"] for i in range(140)],
        "x": [{"a": i % 2 == 0, "b": i / 3} for i in range(140)],
    }
    out = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata({"k": "v" * 300}), out, row_group_size=2)
    return out.getvalue()


class _NotWholeError(Exception):
    pass


class _Reference:
    """The same in plain Python, one value inside the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.depth = data, 0, 0

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise _NotWholeError
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise _NotWholeError

    def list_head(self) -> tuple[int, int]:
        head = self.byte()
        return (self.varint() if head >> 4 == 15 else head >> 4), head & 15

    def skip(self, kind: int) -> None:
        if kind in (9, 10, 12):
            self.inside(kind)
        elif kind in (4, 5, 6):
            self.varint()
        elif kind in (3, 7, 8):
            size = {3: 1, 7: 8}.get(kind) or self.varint()
            self.at += size
            if self.at > len(self.data):
                raise _NotWholeError
        else:
            raise _NotWholeError

    def inside(self, kind: int) -> None:
        self.depth += 1
        if self.depth > 16:
            raise _NotWholeError
        if kind == 12:
            while head := self.byte():
                if head >> 4 == 0:
                    self.varint()
                if head & 15 > 2:
                    self.skip(head & 15)
        else:
            count, element = self.list_head()
            for _ in range(count):
                self.skip(max(element, 3))
        self.depth -= 1

    def row_groups(self) -> tuple[int, list[int]]:
        at, starts, field = -1, list[int](), 0
        while head := self.byte():
            field = field + (head >> 4) if head >> 4 else self.varint() >> 1
            if field == 4 and head & 15 == 9:
                at = self.at
                count, kind = self.list_head()
                if kind != 12 or count > len(self.data) - self.at:
                    raise _NotWholeError
                starts = [self.at]
                for _ in range(count):
                    self.skip(12)
                    starts.append(self.at)
            elif head & 15 > 2:
                self.skip(head & 15)
        return at, starts


def reference(data: bytes) -> tuple[int, list[int]]:
    try:
        return _Reference(data).row_groups()
    except _NotWholeError:
        return -1, []


def found(data: bytes) -> tuple[int, list[int]]:
    at, starts = row_groups(np.frombuffer(data, np.uint8))
    return at, starts.tolist()


def test_row_groups_are_found_where_they_are(file: bytes) -> None:
    whole = footer_of(file)
    at, starts = found(whole)
    assert (at, starts) == reference(whole)
    assert len(starts) == pq.read_metadata(io.BytesIO(file)).num_row_groups + 1 == 71
    assert found(footer_of(of_many_groups(1000, {"text": ["가"]}))) == reference(
        footer_of(of_many_groups(1000, {"text": ["가"]}))
    )


def test_damaged_footers_are_told_from_whole_ones_as_the_reference_does(file: bytes) -> None:
    whole, source = footer_of(file), random.Random(1)
    for size in range(0, len(whole), 97):
        assert found(whole[:size]) == reference(whole[:size]) == (-1, [])
    outcomes = set()
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(source.randrange(1, 4)):
            damaged[source.randrange(len(whole))] = source.choice([0, 9, 12, 28, 127, 255, source.randrange(256)])
        assert found(bytes(damaged)) == reference(bytes(damaged))
        outcomes.add(found(bytes(damaged))[0] < 0)
    assert outcomes == {True, False}


@pytest.mark.parametrize("part_bytes", [1, 5_000, 1 << 20])
def test_parts_are_what_pyarrow_makes_of_the_whole(
    file: bytes, part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pq.read_metadata(io.BytesIO(file))
    monkeypatch.setattr(footer, "PART_BYTES", part_bytes)
    monkeypatch.setattr(footer, "SCHEMA_BYTES", 5_000)
    read = Footer(io.BytesIO(file))
    assert (read.groups, read.rows, read.names) == (70, 140, ["text", "date", "tags", "x"])
    for start, end in ((0, -1), (3, 11), (69, 70), (5, 5)):
        end = 70 if end < 0 else end
        numbers = []
        for part in read.parts(start, end):
            assert part.parquet.schema_arrow.equals(pq.read_schema(io.BytesIO(file)), check_metadata=True)
            for number in range(max(start, part.start), min(part.end, end)):
                assert part.metadata(number).to_dict() == whole.row_group(number).to_dict()
                rows = part.parquet.read_row_group(number - part.start)["text"].to_pylist()
                assert rows == [f"{2 * number}번째 글", f"{2 * number + 1}번째 글"]
                numbers.append(number)
        assert numbers == list(range(start, end))


def test_what_is_beyond_bounds_is_refused(file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footer, "PART_BYTES", 100)
    for name in ("SCHEMA_BYTES", "METADATA_BYTES", "MAX_FOOTER"):
        with monkeypatch.context() as patch:
            patch.setattr(footer, name, 100)
            with pytest.raises(BrokenError, match="more than 100; write the Parquet file with"):
                Footer(io.BytesIO(file))
    damaged = bytearray(file)
    damaged[-8 - len(footer_of(file)) + 60] = 255
    with pytest.raises(BrokenError, match="no readable Parquet footer"):
        Footer(io.BytesIO(bytes(damaged)))
