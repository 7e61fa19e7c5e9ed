"""Files that are not what their names say: each is recognised, and no text is taken for one of them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.schemas.config import Config, Read
from malmungchi.schemas.work import WorkItem
from malmungchi.transforms.formats.base import InputError
from malmungchi.transforms.formats.contents import HEAD, recognise, stranger
from malmungchi.transforms.formats.read import read_item
from malmungchi.transforms.io.decompress import BrokenError

LINE = json.dumps({"text": "봄이 오면 산에 들에 진달래가 핀다"}, ensure_ascii=False).encode() + b"\n"


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["꽃이 진다"]}), sink)
    return sink.getvalue()


def feather() -> bytes:
    sink = io.BytesIO()
    pyarrow.feather.write_feather(pa.table({"text": ["꽃이 진다"]}), sink)
    return sink.getvalue()


def archive() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as made:
        made.writestr("a.jsonl", LINE)
    return sink.getvalue()


def tar() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as made:
        made.addfile(tarfile.TarInfo("a.jsonl"))
    return sink.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"
DENIED = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>'
PAGE = b"\n<!DOCTYPE HTML>\n<html><head><title>503 Service Unavailable</title></head></html>"
CONTENTS = {
    "Git LFS": POINTER,
    "object store": DENIED,
    "HTML": PAGE,
    "ZIP": archive(),
    "tar": tar(),
    "Arrow": feather(),
    "zero bytes": bytes(600),
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "Office": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
}


def read(path: Path, config: Config) -> tuple[list[str], list[tuple[int, str, str]]]:
    """(texts, (row, rule, value) of the rejects) of a file."""
    (file,) = make_plan([str(path)], config).files
    chunks = list(read_item(WorkItem("0-0", file, 0, -1, 0, 0, True), config, 1 << 20))
    assert chunks[-1].digest
    bad = [row for chunk in chunks for row in chunk.rejects.to_pylist()]
    texts = [text for chunk in chunks for text in chunk.rows["text"].to_pylist()]
    return texts, [(row["row"], row["rule"], row["value"]) for row in bad]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.txt", "a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_of_another_kind_is_one_reject_that_says_what_it_is(content: str, name: str, tmp_path: Path) -> None:
    if (content, name) in (("HTML", "a.txt"), ("zero bytes", "a.jsonl.gz"), ("zero bytes", "a.jsonl.zst")):
        return  # a page is a document, and zeros that someone compressed are no unfinished download
    pack: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
    packed = pack.get(Path(name).suffix, bytes)(CONTENTS[content])
    (tmp_path / name).write_bytes(packed)
    texts, [(row, rule, value)] = read(tmp_path / name, Config())
    assert (texts, row, rule) == ([], 0, "wrong_content")
    assert content in value


def test_an_error_page_that_is_called_compressed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(DENIED)
    assert "object store" in read(tmp_path / "a.jsonl.gz", Config())[1][0][2]


def test_strict_makes_it_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(POINTER)
    with pytest.raises(BrokenError, match="git lfs pull"):
        read(tmp_path / "a.jsonl", Config(Read(strict=True)))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.txt"])
def test_parquet_is_read_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(parquet())
    assert read(tmp_path / name, Config()) == (["꽃이 진다"], [])


def test_compressed_twice_and_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(gzip.compress(LINE)))
    assert "compressed twice" in read(tmp_path / "a.jsonl.gz", Config())[1][0][2]
    (tmp_path / "b.parquet").write_bytes(gzip.compress(parquet()))
    assert "compressed as a whole" in read(tmp_path / "b.parquet", Config())[1][0][2]
    (tmp_path / "c.parquet").write_bytes(LINE)
    assert "JSON, not Parquet" in read(tmp_path / "c.parquet", Config())[1][0][2]


def test_a_window_too_wide_is_told_before_the_work(tmp_path: Path) -> None:
    params = zstandard.ZstdCompressionParameters.from_level(1, window_log=30)
    packer = zstandard.ZstdCompressor(compression_params=params).compressobj(size=1 << 30)
    (tmp_path / "a.jsonl.zst").write_bytes(
        packer.compress(LINE * 100) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    )
    with pytest.raises(InputError, match=r"a\.jsonl\.zst: .*1,024 MiB.*--long=27"):
        make_plan([str(tmp_path / "a.jsonl.zst")], Config())


WORDS = [
    "ORC는 파일 형식이다",
    "LZIP",
    "EGGA 게임",
    "GIF89 그림",
    "PAR1은 이름이다",
    "<p>글</p>",
    "version 2",
    "BZh9 글",
]


@pytest.mark.parametrize("text", WORDS)
def test_no_text_is_taken_for_a_file_of_another_kind(text: str) -> None:
    assert recognise(text.encode()) is None


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])).map(str.encode))
def test_any_text_may_stand_in_any_format(text: bytes) -> None:
    line = json.dumps({"text": text.decode()}, ensure_ascii=False).encode()
    assert stranger(line[:HEAD], "none", "jsonl") is None
