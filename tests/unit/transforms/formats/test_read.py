"""Reading: what good files give, and that nothing bad is lost, silent, or held in memory."""

from __future__ import annotations

import base64
import bz2
import dataclasses
import datetime
import gzip
import hashlib
import json
import lzma
import os
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from malmungchi.pipelines.plan import discover
from malmungchi.pipelines.plan.planner import format_of, make_plan
from malmungchi.schemas.chunk import Chunk, ChunkCoder
from malmungchi.schemas.config import Config, Read
from malmungchi.schemas.document import DOCUMENT, REJECT, ROW_BITS
from malmungchi.schemas.work import Columns, InputFile, WorkItem
from malmungchi.transforms.formats import footer, paragraphs, table
from malmungchi.transforms.formats import parquet as parquet_module
from malmungchi.transforms.formats import read as read_module
from malmungchi.transforms.formats.base import InputError
from malmungchi.transforms.formats.columns import ColumnsError, guess_columns
from malmungchi.transforms.formats.read import MAX_ROWS, ReadDocuments, read_item
from malmungchi.transforms.formats.rows import default_source, parse_dates
from malmungchi.transforms.formats.source import InputChangedError, Source, open_unchanged
from malmungchi.transforms.formats.table import _values
from malmungchi.transforms.io.decompress import EXTENSIONS, BrokenError, expansion
from malmungchi.transforms.io.storage import StorageError, open_input
from tests.support.reading import columns_of

CHUNK = 1 << 20
ROLES = Columns("text", "id", "url", "source", "license", "published_at", "collected_at")
PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def whole(path: Path, format: str = "jsonl", codec: str = "none", columns: Columns = ROLES) -> WorkItem:
    size = path.stat().st_size
    file = InputFile(3, path.name, str(path), format, codec, size, "", columns)
    return WorkItem("00000003-000000", file, 0, -1, 0, size, True)


def read(item: WorkItem, config: Read | None = None, chunk_bytes: int = CHUNK) -> list[Chunk]:
    chunks = list(read_item(item, Config(read=config or Read()), chunk_bytes))
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    for chunk in chunks:
        assert (chunk.item, chunk.rows.schema, chunk.rejects.schema) == (item.id, DOCUMENT, REJECT)
        chunk.rows.validate(full=True)
        chunk.rejects.validate(full=True)
    if item.whole:
        assert chunks[-1].digest == hashlib.sha256(Path(item.file.uri).read_bytes()).hexdigest()
    return chunks


def documents(chunks: Sequence[Chunk]) -> list[dict[str, Any]]:
    return [row for chunk in chunks for row in chunk.rows.to_pylist()]


def rejects(chunks: Sequence[Chunk]) -> list[tuple[int, str]]:
    return [(row["row"], row["rule"]) for chunk in chunks for row in chunk.rejects.to_pylist()]


def jsonl(tmp_path: Path, data: bytes, name: str = "뉴스.v1.jsonl", **settings: Any) -> list[Chunk]:
    path = tmp_path / name
    path.write_bytes(data)
    return read(whole(path), Read(**settings))


def test_a_document_in_full(tmp_path: Path) -> None:
    row = {
        "text": "가\n나\x00😀", "id": 17, "url": "http://a", "source": "신문", "license": "CC0", "n": [1.50, None],
        "published_at": "2020-02-29T12:30:00+09:00", "collected_at": 1_600_000_000, "x": "\ud800",
    }  # fmt: skip
    [chunk] = jsonl(tmp_path, json.dumps(row).encode() + b"\n")
    [document] = documents([chunk])
    assert document["metadata"] == '{"n": [1.5, null],"x": "\\ufffd"}'
    del document["metadata"]
    utc = datetime.UTC
    assert document == {
        "ordinal": 3 << ROW_BITS | 1, "copies": None, "id": "17",
        "text": "가\n나\x00😀", "url": "http://a", "source": "신문",
        "license": "CC0", "published_at": datetime.datetime(2020, 2, 29, 3, 30, tzinfo=utc),
        "collected_at": datetime.datetime.fromtimestamp(1_600_000_000, utc), "file": "뉴스.v1.jsonl", "row": 1,
    }  # fmt: skip
    assert ChunkCoder().decode(ChunkCoder().encode(chunk)).rows == chunk.rows


def test_what_is_missing_is_made_from_the_place(tmp_path: Path) -> None:
    data = b'{"text":"a"}\n\n \r\n{"id":null,"text":"b","source":null}\r\n{"id":"","source":"","text":"c"}'
    found = documents(jsonl(tmp_path, data))
    assert [(d["id"], d["source"], d["row"], d["text"]) for d in found] == [
        ("뉴스.v1.jsonl:1", "뉴스.v1", 1, "a"),
        ("뉴스.v1.jsonl:4", "뉴스.v1", 4, "b"),
        ("뉴스.v1.jsonl:5", "뉴스.v1", 5, "c"),
    ]
    assert {d["metadata"] for d in found} == {None}


def test_what_does_not_fit_its_column_stays_in_the_metadata(tmp_path: Path) -> None:
    data = b'{"text":"a","url":{"b":"\\ud83d"},"id":[1],"source":true,"published_at":"someday","license":3}\n'
    [document] = documents(jsonl(tmp_path, data))
    assert (document["id"], document["url"], document["published_at"], document["license"]) == (
        "뉴스.v1.jsonl:1", None, None, "3",
    )  # fmt: skip
    kept = {"url": {"b": "\ufffd"}, "id": [1], "source": True, "published_at": "someday"}
    assert json.loads(document["metadata"]) == kept


def test_lists_of_strings_are_joined_by_line_breaks(tmp_path: Path) -> None:
    values: list[Any] = [["하나", "둘"], None, [], [None, "셋"], ["넷"], [""], ["\n", '"\\']]
    expected = ["하나\n둘", None, "", "셋", "넷", "", '\n\n"\\']
    kinds = [pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.binary()), pa.list_view(pa.string()),
             pa.list_(pa.dictionary(pa.int32(), pa.string()))]  # fmt: skip
    for kind in kinds:
        column = pa.array(values, kind)
        assert paragraphs.is_text_list(kind)
        assert paragraphs.of_lists(column).cast(pa.string()).to_pylist() == expected
        assert paragraphs.of_lists(column.slice(3, 2)).cast(pa.string()).to_pylist() == expected[3:5]
    fixed = pa.array([["가", "나"], None, ["다", None]], pa.list_(pa.string(), 2))
    assert paragraphs.of_lists(fixed).cast(pa.string()).to_pylist() == ["가\n나", None, "다"]
    nested = pa.array([[["가"], ["나", "다"]], None, [None, ["라"]]], pa.list_(pa.list_(pa.string())))
    assert paragraphs.of_lists(nested).cast(pa.string()).to_pylist() == ["가\n나\n다", None, "라"]
    assert not paragraphs.is_text_list(pa.list_(pa.int32()))

    lines = [{"text": value} for value in [*values, [["가", ["나"]], "다"], ["가", 1], [{"a": "b"}], "홀로"]]
    (tmp_path / "a.jsonl").write_bytes(
        "".join(json.dumps(line) + "\n" for line in lines).encode() + b'{"text":["\\ud800",NaN]}\n'
    )
    chunks = read(whole(tmp_path / "a.jsonl"))
    assert [row["text"] for row in documents(chunks)] == [
        "하나\n둘", "셋", "넷", '\n\n"\\', "가\n나\n다", "홀로", "\ufffd"
    ]  # fmt: skip
    assert [(row["row"], row["rule"]) for chunk in chunks for row in chunk.rejects.to_pylist()] == [
        (2, "no_text"), (3, "empty_text"), (6, "empty_text"), (9, "wrong_type"), (10, "wrong_type")
    ]  # fmt: skip
    pq.write_table(pa.table({"text": pa.array([["첫째", "둘째"]], pa.large_list(pa.string()))}), tmp_path / "a.parquet")
    (row,) = documents(read(whole(tmp_path / "a.parquet", "parquet")))
    assert row["text"] == "첫째\n둘째"
    assert row["metadata"] is None


def test_numbers_that_are_none_are_null_in_any_column(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text":"가","id":NaN,"url":-Infinity,"published_at":nan,"score":Infinity}\n'
        '{"text":"나","id":[NaN,"\\ud800"],"scores":{"a":[0.5,-Infinity],"NaN":"NaN"}}\n'
        '{"text":NaN,"id":"c"}\n',
        encoding="utf-8",
    )
    chunks = read(whole(tmp_path / "a.jsonl"))
    first, second = documents(chunks)
    assert (first["id"], first["url"], first["published_at"]) == ("a.jsonl:1", None, None)
    assert json.loads(first["metadata"]) == {"score": None}
    assert second["metadata"] == '{"scores":{"a":[0.5,null],"NaN":"NaN"},"id":[null,"\\ufffd"]}'
    assert [(row["row"], row["rule"]) for row in chunks[-1].rejects.to_pylist()] == [(3, "no_text")]


def test_every_bad_row_is_a_reject_with_its_cause(tmp_path: Path) -> None:
    rows = [
        (b'{"text":"good"}', ""), (b"", ""), (b"{", "invalid_json"), (b"[1]", "not_object"), (b'"x"', "not_object"),
        (b"{}", "no_text"), (b'{"text":null}', "no_text"), (b'{"text":""}', "empty_text"),
        (b'{"text":1}', "wrong_type"), (b'{"text":{}}', "wrong_type"), (b'{"text":"\xff"}', "not_utf8"),
        (b'{"text":"a"} {}', "invalid_json"),
        (b'{"text":"' + b"a" * 600 + b'"}', "too_long"), (b'{"text":"a\rb"}', "invalid_json"),
        (b'{"a":"' + b"a" * 1100 + b'"}', "too_long"), (b" " * 1100, "too_long"), (b'{"text":NaN}', "no_text"),
        (b'{"text":"a"}\r{"text":"b"}', "invalid_json"), (b'{"text":"a","x":' + b"[" * 512, "too_deep"),
        (b'{"text":"end"}', ""),
    ]  # fmt: skip
    chunks = jsonl(tmp_path, b"\n".join(row for row, _ in rows), max_text_bytes=500, max_line_bytes=1024)
    assert rejects(chunks) == [(i, rule) for i, (_, rule) in enumerate(rows, 1) if rule]
    assert [d["row"] for d in documents(chunks)] == [1, len(rows)]
    for row in (row for chunk in chunks for row in chunk.rejects.to_pylist()):
        assert (row["file"], row["source"], row["step"]) == ("뉴스.v1.jsonl", "뉴스.v1", "read")
        assert row["value"]
        assert (row["threshold"] is not None) == (row["rule"] in ("too_long", "too_deep"))
    invalid = chunks[0].rejects.to_pylist()[0]
    assert invalid["value"] == "the line ends inside a value at byte 2"


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b" "])
def test_empty_files_give_one_empty_chunk(tmp_path: Path, data: bytes) -> None:
    [chunk] = jsonl(tmp_path, data)
    assert (chunk.rows.num_rows, chunk.rejects.num_rows) == (0, 0)


def test_byte_order_mark_counts_only_at_the_start(tmp_path: Path) -> None:
    chunks = jsonl(tmp_path, b'\xef\xbb\xbf{"text":"a"}\n\xef\xbb\xbf{"text":"b"}\n')
    assert [d["text"] for d in documents(chunks)] == ["a"]
    assert rejects(chunks) == [(2, "invalid_json")]


lines = st.one_of(
    st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")),
    st.text(st.characters(codec="utf-8"), max_size=9_000).map(lambda text: json.dumps({"text": text, "k": 1}).encode()),
    st.integers(1_000, 60_000).map(lambda n: b'{"text":"%s"}' % (b"a" * n)),
    st.integers(20_000, 20_100).map(lambda n: b" " * n),
    st.sampled_from([b"", b"\r", b"{}", b'{"text":"a"}\r', b'{"text":"a","id":1}']),
)


@given(st.lists(lines, max_size=12), st.booleans(), st.sampled_from(list(PACK)), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_chunk_size_and_codec_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: list[bytes], end: bool, codec: str, cut: int
) -> None:
    path = tmp_path_factory.mktemp("read") / "a"
    packed = PACK[codec](b"\n".join(rows) + b"\n" * end)
    path.write_bytes(packed[: len(packed) - (0 if codec == "none" else cut * 5)])
    config = Read(max_line_bytes=20_002, max_text_bytes=15_000)
    results = []
    for chunk_bytes in (4096, 16 << 10, CHUNK):
        chunks = read(whole(path, codec=codec), config, chunk_bytes)
        results.append((documents(chunks), [row for chunk in chunks for row in chunk.rejects.to_pylist()]))
        seen = [d["row"] for d in results[-1][0]] + [r["row"] for r in results[-1][1]]
        assert len(seen) == len(set(seen))
        if codec == "none" or not cut:
            filled = [
                i for i, row in enumerate(rows, 1) if row.strip(b" \t\r") or len(row.removesuffix(b"\r")) > 20_002
            ]
            assert sorted(seen) == filled
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("codec", [codec for codec in PACK if codec != "none"])
def test_a_break_is_one_reject_behind_the_good_rows(tmp_path: Path, codec: str) -> None:
    rng = np.random.default_rng(1)
    data = b"".join(b'{"text":"%s"}\n' % rng.bytes(40).hex().encode() for _ in range(20_000))
    packed, path = PACK[codec](data), tmp_path / "a"
    path.write_bytes(packed[: len(packed) // 2])
    chunks = read(whole(path, codec=codec))
    good = documents(chunks)
    assert rejects(chunks) == [(len(good) + 1, "truncated")]
    assert codec == "bz2" or 8_000 < len(good) < 12_000  # bz2: 900 kB or nothing
    with pytest.raises(BrokenError, match=f"truncated: a, line {len(good) + 1}"):
        read(whole(path, codec=codec), Read(strict=True))
    path.write_bytes(packed + b"garbage")
    chunks = read(whole(path, codec=codec))
    assert (len(documents(chunks)), rejects(chunks)) == (20_000, [(20_001, "corrupt")])


def test_a_last_line_that_is_whole_survives_the_break_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(b'{"text":"a"}\n{"text":"b"}') + b"garbage")
    chunks = read(whole(path, codec="gzip"))
    assert [d["text"] for d in documents(chunks)] == ["a", "b"]
    assert rejects(chunks) == [(3, "corrupt")]


def test_a_very_long_line_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(zstandard.compress(b'{"text":"a"}\n{"text":"' + b"a" * (60 << 20) + b'"}\n{"text":"b"}'))
    pa_before = pa.total_allocated_bytes()
    chunks = read(whole(path, codec="zstd"), Read(max_line_bytes=1 << 20))
    assert [d["row"] for d in documents(chunks)] == [1, 3]
    assert rejects(chunks) == [(2, "too_long")]
    assert pa.total_allocated_bytes() - pa_before < 4 << 20


def test_chunks_of_tiny_lines_have_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"{}\n" * 150_000)
    chunks = read(whole(path))
    assert [chunk.rejects.num_rows for chunk in chunks] == [*[MAX_ROWS] * (150_000 // MAX_ROWS), 150_000 % MAX_ROWS]


def test_a_file_that_changed_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text":"a"}\n')
    item = whole(path)
    path.write_bytes(b'{"text":"abc"}\n')
    with pytest.raises(InputChangedError, match=r"a\.jsonl has 15 bytes; when the job was planned it had 13"):
        read(item)
    path.unlink()
    with pytest.raises(InputChangedError, match=r"a\.jsonl .* gone"):
        read(item)


def test_text_files(tmp_path: Path) -> None:
    def text(data: bytes, codec: str = "none", **settings: Any) -> tuple[list[dict[str, Any]], list[tuple[int, str]]]:
        path = tmp_path / "폴더 이름.txt"
        path.write_bytes(data)
        chunks = read(whole(path, "text", codec, Columns("text")), Read(**settings))
        return documents(chunks), rejects(chunks)

    [document], none = text("\ufeff가\r\n나".encode())
    assert (document["text"], document["id"], document["source"]) == ("가\r\n나", "폴더 이름.txt", "폴더 이름")
    assert (document["row"], none) == (1, [])
    assert text(gzip.compress(b"abc"), "gzip")[0][0]["text"] == "abc"
    assert text(gzip.compress(b"abc")[:-1], "gzip") == ([], [(1, "truncated")])
    assert text("가".encode("cp949")) == ([], [(1, "not_utf8")])
    assert text(b"") == ([], [(1, "empty_text")])
    assert text(b"abcd", max_text_bytes=3) == ([], [(1, "too_long")])
    assert text(b"\xef\xbb\xbfabc", max_text_bytes=3)[1] == []


STRINGS = ["가나다", None, "", "end"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(STRINGS),
        pa.array(STRINGS, pa.large_string()),
        pa.array(STRINGS, pa.string_view()),
        pa.array(STRINGS).dictionary_encode(),
        pa.array([s and s.encode() for s in STRINGS], pa.binary()),
        pa.array([s and s.encode() for s in STRINGS], pa.large_binary()),
    ],
    ids=lambda column: str(column.type),
)
def test_parquet_text_of_any_string_type(tmp_path: Path, column: pa.Array) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": column, "id": pa.array([1, 2, 3, 4])}), path)
    chunks = read(whole(path, "parquet"))
    assert [(d["id"], d["text"], d["row"]) for d in documents(chunks)] == [("1", "가나다", 1), ("4", "end", 4)]
    assert rejects(chunks) == [(2, "no_text"), (3, "empty_text")]


def test_parquet_rows_in_full(tmp_path: Path) -> None:
    path, day = tmp_path / "a.parquet", datetime.date(2020, 2, 29)
    table = pa.table(
        {
            "text": pa.array([b"a", b"\xff", b"\xea\xb0\x80"], pa.binary()),
            "url": pa.array([None, "u", "v"]),
            "source": pa.array([{"a": 1}, None, {"a": 2}]),
            "published_at": pa.array([day, None, day]),
            "collected_at": pa.array(["2020.2.29", "x", "soon"]),
            "b": pa.array([b"\xff", None, b"c"], pa.binary()),
            "t": pa.array([datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), None, None]),
            "m": pa.array([[("k", 1.5)], None, None], pa.map_(pa.string(), pa.float64())),
            "none": pa.nulls(3),
        }
    )
    pq.write_table(table, path)
    chunks = read(whole(path, "parquet"))
    first, second = documents(chunks)
    stamp = datetime.datetime(2020, 2, 29, tzinfo=datetime.UTC)
    assert (first["published_at"], first["collected_at"], first["id"]) == (stamp, stamp, "a.parquet:1")
    assert json.loads(first["metadata"]) == {
        "source": {"a": 1}, "b": "/w==", "t": "2020-01-01T00:00:00Z", "m": [["k", 1.5]],
    }  # fmt: skip
    assert (second["text"], second["url"], second["collected_at"]) == ("가", "v", None)
    assert json.loads(second["metadata"]) == {"source": {"a": 2}, "b": "c", "collected_at": "soon"}
    assert rejects(chunks) == [(2, "not_utf8")]


@pytest.mark.parametrize("column", [[1, 2], [[1], [2]], [True, None]])
def test_parquet_text_of_another_type(tmp_path: Path, column: list[Any]) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": column}), path)
    last = (2, "wrong_type" if column[1] is not None else "no_text")
    assert rejects(read(whole(path, "parquet"))) == [(1, "wrong_type"), last]
    pq.write_table(pa.table({"other": column}), path)
    assert rejects(read(whole(path, "parquet"))) == [(1, "no_text"), (2, "no_text")]


def test_parquet_nanoseconds_are_what_they_are_whether_there_is_pandas_or_not() -> None:
    stamps = pa.array([1_600_000_000_123_456_000, 1_600_000_000_123_456_789, None], pa.timestamp("ns"))
    whole_micro = datetime.datetime(2020, 9, 13, 12, 26, 40, 123456)
    found = _values(stamps)
    assert found == [whole_micro, "2020-09-13 12:26:40.123456789", None]
    assert type(found[0]) is datetime.datetime


def test_parquet_invalid_utf8_under_a_string_column(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    bad = pa.array([b"a", b"\xff\xfe", b"b"], pa.binary()).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"text": bad, "note": bad}), path)
    chunks = read(whole(path, "parquet"))
    assert rejects(chunks) == [(2, "not_utf8")]
    assert [d["metadata"] for d in documents(chunks)] == ['{"note":"a"}', '{"note":"b"}']


def test_parquet_values_that_arrow_does_not_convert_cost_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    bad = pa.array([b"a", b"\xff-", b"b"], pa.binary()).cast(pa.string(), safe=False)
    late = pa.array([0, 1 << 50, 1000], pa.timestamp("ms"))
    meta = pa.StructArray.from_arrays([bad, late], ["title", "late"])
    tags = pa.ListArray.from_arrays([0, 1, 2, 3], bad)
    pairs = pa.MapArray.from_arrays([0, 1, 2, 3], pa.array(["k"] * 3), bad)
    table = pa.table({"text": ["글"] * 3, "meta": meta, "tags": tags, "pairs": pairs, "late": late})
    pq.write_table(table, path)
    found = [json.loads(d["metadata"]) for d in documents(read(whole(path, "parquet")))]
    assert [entry["tags"] for entry in found] == [["a"], ["\ufffd-"], ["b"]]
    assert [entry["meta"]["title"] for entry in found] == ["a", "\ufffd-", "b"]
    assert [entry["pairs"] for entry in found] == [[["k", "a"]], [["k", "\ufffd-"]], [["k", "b"]]]
    # What one row holds says nothing of how another is written.
    assert [entry["late"] for entry in found] == [entry["meta"]["late"] for entry in found]
    assert [found[0]["late"], found[2]["late"]] == ["1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"]
    pq.write_table(table.slice(0, 1), path)
    assert [json.loads(d["metadata"]) for d in documents(read(whole(path, "parquet")))] == found[:1]
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["d", "d"])
    assert _values(twice) == [[("d", 1), ("d", 2)]]


def test_parquet_columns_of_the_same_name_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    names = ["text", "note", "text", "note", "text (2)"]
    pq.write_table(pa.Table.from_arrays([pa.array([value]) for value in ("글", "a", "b", "c", "d")], names), path)
    [document] = documents(read(whole(path, "parquet")))
    assert document["text"] == "글"
    assert json.loads(document["metadata"]) == {"note": "a", "text (2)": "b", "note (2)": "c", "text (2) (2)": "d"}


def test_parquet_rows_that_cannot_be_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, documents_of = tmp_path / "a.parquet", table._documents

    def picky(source: Source, batch: pa.RecordBatch, row: Any) -> Any:
        if None in batch["note"].to_pylist():
            raise pa.ArrowInvalid("no")
        return documents_of(source, batch, row)

    monkeypatch.setattr(table, "_documents", picky)
    pq.write_table(pa.table({"text": ["글", "말", "한글"], "note": ["a", None, "b"]}), path)
    chunks = read(whole(path, "parquet"))
    assert [document["row"] for document in documents(chunks)] == [1, 3]
    assert rejects(chunks) == [(2, "corrupt")]
    with pytest.raises(BrokenError, match=r"corrupt: a\.parquet, row 2: cannot be converted"):
        read(whole(path, "parquet"), Read(strict=True))


def test_parquet_chunks_of_tiny_rows_have_a_bound(tmp_path: Path) -> None:
    path, count = tmp_path / "a.parquet", 3 * MAX_ROWS
    pq.write_table(pa.table({"text": pa.nulls(count, pa.bool_())}), path)
    assert path.stat().st_size < 10_000
    chunks = read(whole(path, "parquet"), chunk_bytes=64 << 20)
    assert max(chunk.rejects.num_rows for chunk in chunks) <= MAX_ROWS
    assert rejects(chunks) == [(row, "no_text") for row in range(1, count + 1)]
    finer = read(whole(path, "parquet"), chunk_bytes=1 << 20)  # rejects count as bytes of a chunk
    assert len(finer) > len(chunks)
    assert rejects(finer) == rejects(chunks)


def test_parquet_bombs_are_found_by_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_module, "BOMB_BYTES", 1 << 20)
    monkeypatch.setattr(parquet_module, "BOMB_RATIO", 1)
    path = tmp_path / "a.parquet"
    texts = ["글" * 30_000] * 600 + ["글"] * 3 + ["글" * 30_000] * 600 + [str(i) for i in range(300)]
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        for start, end in [(0, 600), (600, 603), (603, 1203), *[(i, i + 1) for i in range(1203, 1503)]]:
            writer.write_table(pa.table({"text": texts[start:end]}))
    item = dataclasses.replace(whole(path, "parquet"), whole=False)

    def fates(start: int, end: int, first_row: int) -> tuple[list[int], list[tuple[int, str]]]:
        chunks = read(dataclasses.replace(item, start=start, end=end, first_row=first_row))
        return [d["row"] for d in documents(chunks)], rejects(chunks)

    kept, bad = fates(0, -1, 0)
    assert [rule for _, rule in bad] == ["corrupt"] * 2
    assert 0 < len([row for row in kept if row <= 600]) < 600
    assert [row for row in kept if row > 1203] == list(range(1204, 1504))
    cut = [fates(0, 1, 0), fates(1, 3, 600), fates(3, 50, 1203), fates(50, -1, 1250)]
    assert [row for rows, _ in cut for row in rows] == kept
    assert [found for _, rejected in cut for found in rejected] == bad
    with pytest.raises(BrokenError, match="a decompression bomb"):
        read(item, Read(strict=True))


def test_parquet_damage_costs_its_row_group(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [os.urandom(4000).hex() for _ in range(600)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=200, use_dictionary=False, compression="zstd")
    data = bytearray(path.read_bytes())
    place = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    data[place : place + 2000] = bytes(2000)
    path.write_bytes(data)
    chunks = read(whole(path, "parquet"))
    assert rejects(chunks) == [(201, "corrupt")]
    assert [d["text"] for d in documents(chunks)] == texts[:200] + texts[400:]
    with pytest.raises(BrokenError, match=r"corrupt: a\.parquet, row 201"):
        read(whole(path, "parquet"), Read(strict=True))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(100), b"PAR1" + b"\xff\xff\xff\x7fPAR1", b"no Parquet"])
def test_parquet_without_footer(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    assert rejects(read(whole(path, "parquet"))) == [(0, "corrupt")]


def test_parquet_of_many_tiny_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [str(i) for i in range(3_000)]}), path, row_group_size=1)
    expected = [str(i) for i in range(3_000)]
    assert [d["text"] for d in documents(read(whole(path, "parquet")))] == expected
    monkeypatch.setattr(footer, "PART_BYTES", 10_000)
    assert [d["text"] for d in documents(read(whole(path, "parquet")))] == expected
    part = dataclasses.replace(whole(path, "parquet"), start=10, end=2_990, first_row=10, whole=False)
    found = documents(read(part))
    assert [d["text"] for d in found] == expected[10:2_990]
    assert [d["row"] for d in found] == list(range(11, 2_991))


def test_parts_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text":"a"}\n{"text":"b"}\n{"text":"c"}\n')
    part = dataclasses.replace(whole(path), start=13, end=26, first_row=1, whole=False)
    assert [(d["text"], d["row"]) for d in documents(read(part))] == [("b", 2)]
    pq.write_table(pa.table({"text": ["a", "b", "c"]}), tmp_path / "a.parquet", row_group_size=1)
    part = dataclasses.replace(whole(tmp_path / "a.parquet", "parquet"), start=1, end=2, first_row=1, whole=False)
    assert [(d["text"], d["row"]) for d in documents(read(part))] == [("b", 2)]


@pytest.mark.parametrize("name", ["cncf_glossary", "tldr", "statutes_small"])
def test_real_files_as_the_standard_library_reads_them(name: str, real_data: Path) -> None:
    path = real_data / "corpus" / f"{name}.jsonl.zst"
    chunks = read(whole(path, codec="zstd"))
    data = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    expected = [json.loads(line) for line in data.splitlines()]
    found = documents(chunks)
    for role in ("text", "id", "url", "source", "license"):
        assert [d[role] for d in found] == [row.pop(role) for row in expected]
    assert [json.loads(d["metadata"]) for d in found] == expected
    assert rejects(chunks) == []


def test_transform(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text":"a"}\n')
    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        chunks = pipeline | beam.Create([whole(path)]) | ReadDocuments(Config(), CHUNK)
        assert_that(chunks | beam.Map(lambda chunk: chunk.rows["text"].to_pylist()), equal_to([["a"]]))


DATES = [
    ("2020-02-29", "2020-02-29T00:00:00"),
    ("2020.2.9", "2020-02-09T00:00:00"),
    ("2020/02/29", "2020-02-29T00:00:00"),
    ("20200229", "2020-02-29T00:00:00"),
    ("2020. 2. 9.", "2020-02-09T00:00:00"),
    ("2020년 2월 9일", "2020-02-09T00:00:00"),
    ("2020-02-29T12:30", "2020-02-29T12:30:00"),
    ("2020-02-29 12:30:05.123456", "2020-02-29T12:30:05"),
    ("2020-02-29T12:30:05Z", "2020-02-29T12:30:05"),
    ("2020-02-29T12:30:05+09:00", "2020-02-29T03:30:05"),
    ("2020-02-29T12:30:05-0330", "2020-02-29T16:00:05"),
    ("2020-02-29 12:30:05 UTC", "2020-02-29T12:30:05"),
    ("2020-02-29T12:30:05+09", "2020-02-29T03:30:05"),
    ("20200229T123005Z", "2020-02-29T12:30:05"),
    ("20200229123005", "2020-02-29T12:30:05"),
    ("1582979405", "2020-02-29T12:30:05"),
    (" 2020-02-29 ", "2020-02-29T00:00:00"),
    ("1582979405123", "2020-02-29T12:30:05"),
    ("1582979405.9", "2020-02-29T12:30:05"),
    ("1969-12-31", "1969-12-31T00:00:00"),
    *((bad, None) for bad in ("2020-02-30", "2019-02-29", "2020", "2020-13-01", "12", "soon", "2020-02-29x", "-1")),
    *((bad, None) for bad in ("20201399", "2020-02-29T25:00", "2020-02-29T12", "2020-02.29", "2020년 2월", "1e9")),
    ("2020-02-29T12:30:05+9", None),
]


def test_dates() -> None:
    stamps, bad = parse_dates(pa.array([*(text for text, _ in DATES), None, "", "  "]))
    got = [stamp and stamp.isoformat().removesuffix("+00:00") for stamp in stamps.to_pylist()]
    assert got == [*(expected for _, expected in DATES), None, None, None]
    assert bad.tolist() == [*(expected is None for _, expected in DATES), False, False, False]


@given(st.lists(st.datetimes(min_value=datetime.datetime(1, 1, 2), max_value=datetime.datetime(9999, 12, 30))))
@settings(max_examples=100, deadline=None)
def test_dates_as_python_has_them(stamps: list[datetime.datetime]) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=9))
    texts = [stamp.replace(tzinfo=zone).isoformat() for stamp in stamps]
    got, _ = parse_dates(pa.array(texts, pa.string()))
    expected = [s.replace(tzinfo=zone, microsecond=0).astimezone(datetime.UTC) for s in stamps]
    assert got.to_pylist() == expected


WAYS_OF_DAYS = ("%Y-%m-%d", "%Y.%m.%d", "%Y. %m. %d.", "%Y/%m/%d", "%Y%m%d", "%Y년 %m월 %d일", "%Y년%m월%d일")
WAYS_OF_TIMES = (" %H:%M:%S", " %H:%M:%S.%f", " %H%M%S")
ZONES = {"": 0, "Z": 0, " UTC": 0, "+09:00": 9, "+0900": 9, " +09": 9, "-05:00": -5}


@given(
    st.datetimes(min_value=datetime.datetime(1000, 1, 2), max_value=datetime.datetime(9999, 12, 30)),
    st.sampled_from(WAYS_OF_DAYS),
    st.sampled_from(WAYS_OF_TIMES),
    st.sampled_from(sorted(ZONES)),
)
@settings(max_examples=300, deadline=None)
def test_dates_in_every_way_that_people_write_them(stamp: datetime.datetime, day: str, time: str, zone: str) -> None:
    got, bad = parse_dates(pa.array([stamp.strftime(day + time) + zone, stamp.strftime(day)]))
    midnight = datetime.datetime(stamp.year, stamp.month, stamp.day, tzinfo=datetime.UTC)
    there = stamp.replace(microsecond=0, tzinfo=datetime.timezone(datetime.timedelta(hours=ZONES[zone])))
    assert got.to_pylist() == [there, midnight]
    assert not bad.any()


@given(st.lists(st.one_of(st.text(max_size=30), st.text("0123456789-:. TZ+/년월일", max_size=25))))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_date_or_not(texts: list[str]) -> None:
    assert len(parse_dates(pa.array([t.encode(errors="replace").decode() for t in texts], pa.string()))[0]) == len(
        texts
    )


def test_columns_are_guessed() -> None:
    names = ["Title", "rawContent", "doc-id", "URI", "출처", "라이선스", "Date", "crawled_at", "x"]
    assert guess_columns(names, Read(), "f") == Columns(
        "rawContent", "doc-id", "URI", "출처", "라이선스", "Date", "crawled_at"
    )
    assert guess_columns(["본문", "text"], Read(), "f").text == "text"
    assert guess_columns(["본문", "x"], Read(), "f").text == "본문"
    assert guess_columns([], Read(), "f").text == "text"
    assert guess_columns(["text", "x", "id"], Read(text="x", id="key"), "f") == Columns("x", "key")
    with pytest.raises(ColumnsError, match=r"f: which column is the text\? It has: a, b\. Set read\.text"):
        guess_columns(["a", "b"], Read(), "f")
    with pytest.raises(ColumnsError, match=r"f: no column 'x' \(read\.text\); it has: text"):
        guess_columns(["text"], Read(text="x"), "f")


def test_columns_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def peek(data: bytes, format: str = "jsonl", codec: str = "none") -> list[str]:
        return columns_of(data, format, codec)

    assert peek(b'\xef\xbb\xbf{"a":1,"b":2}\n[1]\nbroken\n{"c":1}') == ["a", "b", "c"]
    assert peek(gzip.compress(b'{"a":1}\n')[:-3], codec="gzip") == ["a"]
    assert peek(b'{"a":"' + b"x" * (3 << 20) + b'"}\n{"b":1}') == ["a"]
    assert peek(b"") == []
    assert peek(b"", "parquet") == []
    pq.write_table(pa.table({"한글": [1], "x": [2]}), path)
    assert peek(path.read_bytes(), "parquet") == ["한글", "x"]


# ---- names, and what is refused before anything is read


@pytest.mark.parametrize(
    ("name", "source"),
    [("v1.0-news.jsonl", "v1.0-news"), ("d/v1.1-law.jsonl.zst", "v1.1-law"), ("a.JSON.GZ", "a"), ("a.gzip", "a"),
     ("a.b.gz.jsonl", "a.b.gz"), ("2024.01.parquet", "2024.01"), ("a.txt.txt", "a.txt"), (".txt", ".txt")],
)  # fmt: skip
def test_a_source_is_the_name_without_known_extensions(name: str, source: str) -> None:
    assert default_source(InputFile(0, name, name, "jsonl", "none", 1, "", ROLES)) == source


@pytest.mark.parametrize("ending", EXTENSIONS)
def test_every_known_compression_is_known_everywhere(ending: str) -> None:
    assert format_of(f"folder/a.b.jsonl{ending.upper()}", b"").name == "jsonl"
    assert format_of(f"a.txt{ending}", b"").name == "text"
    assert expansion(EXTENSIONS[ending]) > expansion("none") == 1
    with pytest.raises(InputError, match=r"x\.parquet.*decompress this file first"):
        format_of(f"x.parquet{ending}", b"")
    with pytest.raises(InputError, match=r"unknown kind of file '\(no extension\)'"):
        format_of(f"x{ending}", b"")


def test_a_file_of_unknown_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{}")
    info = discover._info
    monkeypatch.setattr(discover, "_info", lambda fs, path: {**info(fs, path), "size": None})
    with pytest.raises(InputError, match=r"a\.jsonl: the server does not say how large this file is; download it"):
        make_plan([str(tmp_path / "a.jsonl")], Config())


ROW = {"text": "가", "id": 1}


@pytest.mark.parametrize("codec", ["none", "zstd"])
@pytest.mark.parametrize(
    ("data", "member"),
    [
        (json.dumps([ROW, ROW]), ""),
        (json.dumps([ROW, ROW], indent=2), ""),
        ("\ufeff\n [" + ",\n".join([json.dumps(ROW)] * 3) + "]", ""),
        ("[\r\n" + ",\r\n".join([json.dumps(ROW)] * 3) + "\r\n]\r\n", ""),  # its last element is a good row
        (json.dumps({"document": [ROW]}, indent=1), "document"),
    ],
)
def test_a_json_document_is_refused_with_what_to_do(tmp_path: Path, data: str, member: str, codec: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(PACK[codec](data.encode()))
    begin = "`zstd -dc < " if codec == "zstd" else "`python3 -c "
    with pytest.raises(InputError, match=r"a\.json: a JSON document, not JSON lines: ") as error:
        make_plan([str(path)], Config())
    assert begin in str(error.value)
    assert (f".get('{member}')" in str(error.value)) == bool(member)


def test_a_column_that_no_input_has(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "가", "license": "CC0"}\n', encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"text": "가", "id": "b"}\n', encoding="utf-8")
    (tmp_path / "c.txt").write_text("다", encoding="utf-8")
    pattern = str(tmp_path / "*")
    make_plan([pattern], Config(read=Read(license="license", id="id")))
    with pytest.raises(
        ColumnsError, match=r"no input has a column 'licence' \(read\.license\); did you mean 'license'"
    ):
        make_plan([pattern], Config(read=Read(license="licence")))


@pytest.mark.parametrize("first", ["", "[1]", "[", "{", "{}", "[broken", "\x00"])
def test_a_bad_first_line_is_only_a_reject(tmp_path: Path, first: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(f"{first}\n{json.dumps(ROW)}\n", encoding="utf-8")
    assert make_plan([str(path)], Config()).files[0].columns == Columns("text", "id")


def test_ids_that_are_uuids_or_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    ids = [uuid.UUID(int=n << 64 | 0xFFFE) for n in range(3)]
    table = {"id": pa.array([one.bytes for one in ids[:2]] + [None], pa.uuid()), "text": ["가"] * 3}
    pq.write_table(pa.table(table), path)
    chunks = read(whole(path, "parquet", columns=Columns("text", "id")))
    assert [row["id"] for row in documents(chunks)] == [str(ids[0]), str(ids[1]), "a.parquet:3"]
    assert rejects(chunks) == []
    pq.write_table(pa.table({**table, "id": pa.array([one.bytes for one in ids], pa.binary(16))}), path)
    rows = documents(read(whole(path, "parquet", columns=Columns("text", "id"))))
    assert [row["id"] for row in rows] == ["a.parquet:1", "a.parquet:2", "a.parquet:3"]
    assert [base64.b64decode(json.loads(row["metadata"])["id"]) for row in rows] == [one.bytes for one in ids]


def test_a_row_group_said_to_be_a_bomb_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(path, schema, use_dictionary=False, compression="none") as writer:
        for rows, size in ((10, 100), (2, 60_000), (10, 100)):
            writer.write_table(pa.table({"text": ["x" * size] * rows}, schema))
    monkeypatch.setattr(parquet_module, "BOMB_BYTES", 100_000)
    monkeypatch.setattr(parquet_module, "BOMB_RATIO", 0)
    chunks = read(whole(path, "parquet", columns=Columns("text")))
    assert [row["row"] for row in documents(chunks)] == [*range(1, 11), *range(13, 23)]
    assert rejects(chunks) == [(11, "corrupt")]


def test_no_chunk_of_a_changed_file_is_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text":"a"}\n' * 10_000)
    info = os.stat(path)
    item = whole(path)
    item = dataclasses.replace(item, file=dataclasses.replace(item.file, version=f"{info.st_size}:{info.st_mtime}"))
    opened = open_unchanged

    def swapped(file: InputFile) -> BinaryIO:
        raw = opened(file)
        path.write_bytes(b'{"text":"b"}\n' * 10_000)
        return raw

    monkeypatch.setattr(read_module, "open_unchanged", swapped)
    with pytest.raises(InputChangedError):
        next(read_item(item, Config(), 1 << 12))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file whose reads fail")
def test_a_disk_that_fails_is_no_fault_of_the_file() -> None:
    with open_input("/proc/self/mem") as raw, pytest.raises(StorageError, match="/proc/self/mem: cannot be read"):
        raw.read(10)
