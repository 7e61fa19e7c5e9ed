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

from schemas.config import Read
from schemas.work import Columns, InputFile
from transforms.cut import Cut, cut
from transforms.read import InputChangedError, read_item

PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
CHUNK = 4096
CONFIG = Read(max_line_bytes=20_000)


def planned(path: Path, format: str = "jsonl", codec: str = "none") -> InputFile:
    return InputFile(7, path.name, str(path), format, codec, path.stat().st_size, "", Columns("text", "id"))


def rows_of(parts: Cut, chunk_bytes: int, config: Read = CONFIG) -> tuple[list[Any], list[Any]]:
    chunks = [chunk for item in parts.items for chunk in read_item(item, config, chunk_bytes)]
    return [r for c in chunks for r in c.rows.to_pylist()], [r for c in chunks for r in c.rejects.to_pylist()]


def check(path: Path, staging: Path, format: str = "jsonl", codec: str = "none", chunk_bytes: int = CHUNK) -> Cut:
    """The parts hold what the whole does, and the digest is the file's."""
    file = planned(path, format, codec)
    parts = cut(file, str(staging), CONFIG, chunk_bytes)
    one = cut(file, str(staging / "unused"), CONFIG, 1 << 26)
    assert [item.id for item in parts.items] == [f"00000007-{k:06d}" for k in range(len(parts.items))]
    assert [item.whole for item in one.items] == [True]
    assert one.digest == ""
    assert rows_of(parts, chunk_bytes) == rows_of(one, 1 << 24)
    if parts.items[0].whole:
        assert (len(parts.items), parts.digest) == (1, "")
    else:
        assert parts.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    return parts


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
    folder = tmp_path_factory.mktemp("cut")
    data = PACK[codec](b"\xef\xbb\xbf" * mark + b"\n".join(rows) + b"\n" * end)
    (folder / "a").write_bytes(data[: max(len(data) - 7 * torn, 1)] if codec != "none" else data)
    check(folder / "a", folder / "staging", codec=codec)


@pytest.mark.parametrize("codec", list(PACK))
def test_parts_are_of_a_size(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(PACK[codec](b"".join(b'{"text":"%s"}\n' % os.urandom(200).hex().encode() for _ in range(500))))
    parts = check(path, tmp_path / "staging", codec=codec)
    assert len(parts.items) > 40
    assert all(CHUNK - 420 < item.bytes <= CHUNK for item in parts.items[:-1])
    # Each is one chunk when it is read.
    assert all(len(list(read_item(item, CONFIG, CHUNK))) == 1 for item in parts.items)
    if codec != "none":
        assert sorted(p.name for p in (tmp_path / "staging" / "blocks").iterdir()) == [
            f"{item.id}.jsonl" for item in parts.items
        ]


def test_a_small_file_that_declares_to_be_large_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(zstandard.compress(b'{"text":"a"}\n' * 2_000))
    assert path.stat().st_size < CHUNK // 4
    assert len(check(path, tmp_path / "staging", codec="zstd").items) > 5


def test_a_long_line_leaves_little_in_the_staging_area(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(b'{"text":"a"}\n{"text":"' + b"a" * (20 << 20) + b'"}\n{"text":"b"}\n'))
    parts = check(path, tmp_path / "staging", codec="gzip")
    assert sum(p.stat().st_size for p in (tmp_path / "staging" / "blocks").iterdir()) < 21_000
    good, bad = rows_of(parts, CHUNK)
    assert [row["row"] for row in good] == [1, 3]
    assert [(row["row"], row["rule"]) for row in bad] == [(2, "too_long")]


@pytest.mark.parametrize("codec", [codec for codec in PACK if codec != "none"])
def test_a_break_is_told_to_the_last_part_only(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a"
    data = PACK[codec](b"".join(b'{"text":"%s"}\n' % os.urandom(200).hex().encode() for _ in range(500)))
    path.write_bytes(data[:-9])
    parts = check(path, tmp_path / "staging", codec=codec)
    assert [bool(item.broken) for item in parts.items] == [False] * (len(parts.items) - 1) + [True]
    assert [row["rule"] for row in rows_of(parts, CHUNK)[1]] == ["truncated"]


def test_nothing_readable_is_one_empty_part(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\x1f\x8b\x08" + bytes(3_000))
    parts = check(path, tmp_path / "staging", codec="gzip")
    assert len(parts.items) == 1
    assert [(row["row"], row["rule"]) for row in rows_of(parts, CHUNK)[1]] == [(1, "corrupt")]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a"
    pq.write_table(pa.table({"text": [os.urandom(50).hex() for _ in range(1_000)]}), path, row_group_size=10)
    parts = check(path, tmp_path / "staging", "parquet")
    assert len(parts.items) > 10
    assert parts.items[-1].end == 100
    path.write_bytes(path.read_bytes()[:-1])  # no footer
    assert len(check(path, tmp_path / "staging", "parquet").items) == 1


def test_text_is_one_part(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a" * 100_000)
    assert len(check(path, tmp_path / "staging", "text").items) == 1


def test_a_file_that_changed_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\n" * 100_000)
    file = dataclasses.replace(planned(path), size=99_999)
    with pytest.raises(InputChangedError):
        cut(file, str(tmp_path / "staging"), CONFIG, CHUNK)


def test_blocks_are_the_same_when_cut_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(os.urandom(30_000).hex().encode()))
    file = planned(path, codec="gzip")
    assert cut(file, str(tmp_path / "s"), CONFIG, CHUNK) == cut(file, str(tmp_path / "s"), CONFIG, CHUNK)
