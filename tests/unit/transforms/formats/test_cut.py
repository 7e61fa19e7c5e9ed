"""Cutting: the parts of a file together are the file, whatever its format and however it ends."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import hashlib
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from malmungchi.pipelines.plan.shares import shares
from malmungchi.schemas.config import Config, Read
from malmungchi.schemas.exchange import layout
from malmungchi.schemas.plan import Plan
from malmungchi.schemas.work import Columns, InputFile, Share, WorkItem
from malmungchi.transforms.formats.read import read_item
from malmungchi.transforms.formats.source import InputChangedError
from malmungchi.transforms.formats.split import bundles, cut, expected_bytes, stripes
from malmungchi.transforms.io.decompress import BrokenError

PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
CHUNK = 4096
CONFIG = Config(read=Read(max_line_bytes=20_000))


def planned(path: Path, format: str = "jsonl", codec: str = "none") -> InputFile:
    return InputFile(7, path.name, str(path), format, codec, path.stat().st_size, "", Columns("text", "id"))


def rows_of(items: list[WorkItem], chunk_bytes: int) -> tuple[list[Any], list[Any]]:
    """(rows, rejects) of some items, which may be stripes, in the order of the file."""
    chunks = [chunk for item in items for chunk in read_item(item, CONFIG, chunk_bytes)]
    chunks.sort(key=lambda chunk: (chunk.item, chunk.sequence))
    names = [(chunk.item, chunk.sequence) for chunk in chunks]
    assert len(set(names)) == len(names)
    return [r for c in chunks for r in c.rows.to_pylist()], [r for c in chunks for r in c.rejects.to_pylist()]


def check(path: Path, format: str = "jsonl", codec: str = "none", chunk_bytes: int = CHUNK) -> list[WorkItem]:
    """The parts hold what the whole does, and the digest is the file's."""
    file = planned(path, format, codec)
    parts = cut(file, CONFIG, chunk_bytes)
    one = cut(file, CONFIG, 1 << 26)
    first = 0 if parts.items[0].whole else 1
    assert [item.id for item in parts.items] == [f"00000007-{k:06d}" for k in range(first, first + len(parts.items))]
    assert [item.whole for item in one.items] == [True]
    assert one.digest == ""
    items = [part for item in parts.items for part in stripes(item, chunk_bytes, 3)]
    assert rows_of(items, chunk_bytes) == rows_of(one.items, 1 << 24)
    if parts.items[0].whole:
        assert (len(parts.items), parts.digest) == (1, "")
        digests = [chunk.digest for item in items for chunk in read_item(item, CONFIG, chunk_bytes) if chunk.last]
    else:
        digests = [parts.digest]
    assert digests == [hashlib.sha256(path.read_bytes()).hexdigest()]
    return items


lines = st.one_of(
    st.integers(0, 9_000).map(lambda n: json.dumps({"text": "가" * (n // 3)}, ensure_ascii=False).encode()),
    st.integers(0, 9_000).map(lambda n: b"x" * n),
    st.integers(19_980, 20_020).map(lambda n: b'{"text":"%s"}' % (b"a" * n)),
    st.sampled_from([b"", b"\r", b"{}", b'{"text":"a"}\r', b" " * 20_001, b" " * 20_000 + b"\r", b"\xef\xbb\xbf"]),
)


@given(st.lists(lines, max_size=20), st.booleans(), st.sampled_from(list(PACK)), st.integers(0, 3), st.booleans())
@settings(max_examples=100, deadline=None)
def test_json_lines(
    tmp_path_factory: pytest.TempPathFactory, rows: list[bytes], end: bool, codec: str, torn: int, mark: bool
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a"
    data = PACK[codec](b"\xef\xbb\xbf" * mark + b"\n".join(rows) + b"\n" * end)
    path.write_bytes(data[: max(len(data) - 7 * torn, 1)] if codec != "none" else data)
    check(path, codec=codec)


def many_lines() -> bytes:
    return b"".join(b'{"text":"%s"}\n' % os.urandom(200).hex().encode() for _ in range(500))


def test_ranges_are_of_a_size(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(many_lines())
    items = check(path)
    assert len(items) > 40
    assert all(CHUNK - 420 < item.bytes <= CHUNK for item in items[:-1])
    # Each is one chunk when it is read.
    assert all(len(list(read_item(item, CONFIG, CHUNK))) == 1 for item in items)


@pytest.mark.parametrize(("codec", "most"), [("gzip", 3), ("zstd", 3), ("bz2", 2), ("xz", 2)])
def test_stripes_take_turns(tmp_path: Path, codec: str, most: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(PACK[codec](many_lines()))
    items = check(path, codec=codec)
    assert [(item.id, item.stripe, item.stripes) for item in items] == [
        ("00000007-000000", (7 + n) % most, most) for n in range(most)
    ]
    numbers = [[chunk.sequence for chunk in read_item(item, CONFIG, CHUNK)] for item in items]
    assert all(number % most == item.stripe for item, found in zip(items, numbers, strict=True) for number in found)
    assert max(map(len, numbers)) - min(map(len, numbers)) <= 1


def test_as_many_stripes_as_there_are_shares(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(zstandard.compress(many_lines()))
    (item,) = cut(planned(path, codec="zstd"), CONFIG, CHUNK).items
    assert [len(stripes(item, -(-item.bytes // n), 100)) for n in (1, 2, 7, 16, 99)] == [1, 2, 7, 16, 16]
    assert stripes(item, item.bytes, 100) == [item]
    assert stripes(item, 1, 1) == [item]


def item_of(share: Share) -> WorkItem:
    return WorkItem("x", share.file, 0, -1, 0, expected_bytes(share.file), whole=True)


@given(st.integers(1, 40), st.integers(1, 9))
def test_whole_files_first_and_what_is_small_at_the_end(count: int, workers: int) -> None:
    """Items of equal files that are dealt out in turn come to loads that differ by one of the last items at most."""
    size = 64 << 20
    files = [InputFile(n, f"{n}", f"{n}", "jsonl", "zstd", size, "", Columns("text")) for n in range(count)]
    plan = Plan(Config(), files, sum(map(expected_bytes, files)), layout(1 << 30))
    found = shares(plan, workers, local=True)
    assert [share.file for share in found] == files
    parts = [len(stripes(item_of(share), share.bytes, share.most)) for share in found]
    assert parts == sorted(parts)
    assert parts[: max(0, count - 2 * workers + 1)] == [1] * max(0, count - 2 * workers + 1)
    assert parts[-1] > 1 or workers == 1
    loads = [0.0] * workers
    items = [1 / part for part in parts for _ in range(part)]
    for turn, item in enumerate(items):
        loads[turn % workers] += item
    assert max(loads) - min(loads) <= max(items[-workers:]) + 1e-9


def test_where_items_are_dealt_out_by_chance_all_files_are_alike() -> None:
    files = [InputFile(n, f"{n}", f"{n}", "jsonl", "zstd", 1 << 30, "", Columns("text")) for n in range(100)]
    plan = Plan(Config(), files, sum(map(expected_bytes, files)), layout(1 << 37))
    assert len({share.bytes for share in shares(plan, 10, local=False)}) == 1
    (share,) = {share.bytes for share in shares(plan, 0, local=False)}
    assert share == plan.input_bytes // (64 * 32)


def test_what_is_done_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(zstandard.compress(many_lines()))
    (item,) = cut(planned(path, codec="zstd"), CONFIG, CHUNK).items
    every = list(read_item(item, CONFIG, CHUNK))
    rest = list(read_item(item, CONFIG, CHUNK, lambda number: number != 1 and number + 1 < len(every)))
    assert [chunk.sequence for chunk in rest] == [1, len(every) - 1]
    assert [chunk.rows for chunk in rest] == [every[1].rows, every[-1].rows]
    assert [chunk.digest for chunk in rest] == ["", every[-1].digest]


def test_a_long_line_is_passed_over_by_every_stripe(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(b'{"text":"a"}\n{"text":"' + b"a" * (20 << 20) + b'"}\n{"text":"b"}\n'))
    good, bad = rows_of(check(path, codec="gzip"), CHUNK)
    assert [row["row"] for row in good] == [1, 3]
    assert [(row["row"], row["rule"]) for row in bad] == [(2, "too_long")]


@pytest.mark.parametrize("codec", [codec for codec in PACK if codec != "none"])
def test_a_break_is_told_by_one_stripe_only(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(PACK[codec](many_lines())[:-9])
    items = check(path, codec=codec)
    assert [row["rule"] for row in rows_of(items, CHUNK)[1]] == ["truncated"]
    strict = Config(read=dataclasses.replace(CONFIG.read, strict=True))
    failed = 0
    for item in items:
        try:
            list(read_item(item, strict, CHUNK))
        except BrokenError:
            failed += 1
    assert failed == 1


def test_nothing_readable_is_one_reject(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\x1f\x8b\x08" + bytes(3_000))
    assert [(row["row"], row["rule"]) for row in rows_of(check(path, codec="gzip"), CHUNK)[1]] == [(1, "corrupt")]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a"
    pq.write_table(pa.table({"text": [os.urandom(50).hex() for _ in range(1_000)]}), path, row_group_size=10)
    items = check(path, "parquet")
    assert len(items) > 10
    assert items[-1].end == 100
    path.write_bytes(path.read_bytes()[:-1])  # no footer
    assert len(check(path, "parquet")) == 1


def test_text_is_one_part(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a" * 100_000)
    assert len(check(path, "text")) == 1


def test_a_file_that_changed_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\n" * 100_000)
    file = dataclasses.replace(planned(path), size=99_999)
    with pytest.raises(InputChangedError):
        cut(file, CONFIG, CHUNK)


def test_every_stripe_sees_that_its_file_changed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(zstandard.compress(many_lines()))
    (item,) = cut(planned(path, codec="zstd"), CONFIG, CHUNK).items
    for part in stripes(item, CHUNK, 3):
        chunks = read_item(part, CONFIG, CHUNK)
        next(chunks)
        path.write_bytes(path.read_bytes() + b"x")
        with pytest.raises(InputChangedError):
            list(chunks)
        path.write_bytes(path.read_bytes()[:-1])


def many(sizes: list[int], where: str = "") -> list[InputFile]:
    columns = Columns("text")
    return [InputFile(n, f"{n}", f"{where}{n}", "text", "none", size, "", columns) for n, size in enumerate(sizes)]


@given(st.lists(st.sampled_from([0, 1, 100, 1024, 1025, 8192, 1 << 20]), min_size=256, max_size=600), st.booleans())
@settings(max_examples=30, deadline=None)
def test_small_files_are_read_together(sizes: list[int], elsewhere: bool) -> None:
    files = many(sizes, "s3://bucket/" if elsewhere else "")
    found = bundles(files, 8192)
    assert [file for group in found for file in group] == files
    for group in found:
        assert len(group) <= (256 if elsewhere else 1024)
        if len(group) > 1:
            assert sum(file.size for file in group) <= 8192
            assert all(file.size <= 1024 for file in group)
    assert bundles(files[:255], 8192) == [[file] for file in files[:255]]
