"""Input that nobody should have to read: each file ends in the right rows and rejects, or in an error before any work."""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
import lzma
import os
import random
import subprocess
import sys
import threading
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines import verify
from pipelines.build import Job, build
from pipelines.cli import main
from pipelines.plan import InputError, make_plan
from pipelines.runner import StageError
from schemas.config import Config, Execution, Read
from schemas.release import Manifest
from tests import corpus
from tests.conftest import ROOT
from transforms import storage
from transforms.columns import ColumnsError

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "zst": zstandard.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
SOURCE = random.Random(4)
NUMBER = itertools.count()


def text() -> str:
    """A new Korean document, like no other."""
    return f"{next(NUMBER)}. {corpus.text(SOURCE, 4)}"


def row(**members: Any) -> bytes:
    """A good line of JSON with these members besides, or instead."""
    return json.dumps({"text": text(), **members}, ensure_ascii=False).encode()


def rows(count: int, **members: Any) -> bytes:
    return b"".join(row(**members) + b"\n" for _ in range(count))


class InProcess(Job):
    """A job without worker processes, whatever its size."""

    workers = 0


def make(inputs: list[Any], output: Path, **settings: Any) -> Manifest:
    """Builds a release in this process, and verifies it."""
    execution = Execution(**{k: settings.pop(k) for k in ("chunk_bytes",) if k in settings})
    plan = make_plan([str(uri) for uri in inputs], Config(read=Read(**settings), execution=execution))
    manifest = build(InProcess(plan, str(output)))
    assert verify.verify(str(output)) == 0
    assert not [path for path in output.rglob("*") if path.name.endswith(".part")]
    return manifest


Found = dict[str, tuple[list[int], list[tuple[int, str]]]]


def fates(release: Path) -> Found:
    """By file: rows kept, and rows rejected with their rules."""
    found: Found = defaultdict(lambda: ([], []))
    if (release / "data").exists():
        for entry in ds.dataset(release / "data").to_table(columns=["file", "row"]).to_pylist():
            found[entry["file"]][0].append(entry["row"])
    if (release / "rejects").exists():
        for entry in ds.dataset(release / "rejects").to_table().to_pylist():
            found[entry["file"]][1].append((entry["row"], entry["rule"]))
            assert entry["value"], entry
    for kept, rejects in found.values():
        kept.sort()
        rejects.sort()
    return dict(found)


LONG = b"a" * (17 << 20)
NFC, NFD = (unicodedata.normalize(form, "한글 이름.jsonl") for form in ("NFC", "NFD"))
KEYS = row()[:-1] + b"," + b",".join(b'"k%d":0' % i for i in range(1_000_000)) + b"}\n"

# name -> (content, rows kept, rows rejected)
LINES: dict[str, tuple[bytes, list[int], list[tuple[int, str]]]] = {
    "empty.jsonl": (b"", [], []),
    "empty.jsonl.gz": (b"", [], []),
    "packed-nothing.jsonl.gz": (gzip.compress(b""), [], []),
    "blank.jsonl": (b"\n \n\t\r\n", [], []),
    "one.jsonl": (row(), [1], []),
    "nothing-kept.jsonl": (b'{"text":"Not a word of Korean in here, sorry."}\n', [], [(1, "not_korean")]),
    "crlf.jsonl": (rows(3).replace(b"\n", b"\r\n"), [1, 2, 3], []),
    "lone-cr.jsonl": (rows(3).replace(b"\n", b"\r"), [], [(1, "invalid_json")]),
    "bom.jsonl": (b"\xef\xbb\xbf" + rows(2), [1, 2], []),
    "bom-alone.jsonl": (b"\xef\xbb\xbf", [], []),
    "bom-inside.jsonl": (rows(1) + b"\xef\xbb\xbf" + rows(2), [1, 3], [(2, "invalid_json")]),
    "nul-raw.jsonl": (rows(1) + b'{"text":"a\0b"}\n\0\n' + rows(1), [1, 4], [(2, "invalid_json"), (3, "invalid_json")]),
    "nul-only.jsonl": (b"\0" * 5000, [], [(1, "invalid_json")]),
    "nul-escaped.jsonl": (row().replace(b". ", b".\\u0000 "), [1], []),
    "surrogate-escaped.jsonl": (row().replace(b". ", b".\\ud83d "), [1], []),
    "surrogate-raw.jsonl": (rows(1) + b'{"text":"\xed\xa0\xbd"}\n', [1], [(2, "not_utf8")]),
    "utf-16.jsonl": ('{"text":"가"}\n'.encode("utf-16"), [], [(1, "not_utf8"), (2, "invalid_json")]),
    "cp949.jsonl": (rows(1) + '{"text":"가나다라"}\n'.encode("cp949"), [1], [(2, "not_utf8")]),
    "deep.jsonl": (
        row(x=0).replace(b"0}", b'{"a":' * 500 + b"1" + b"}" * 501) + b"\n"
        + b'{"text":' + b"[" * 1_000_000 + b"\n" + b'{"a":' * 1_000_000 + b"\n" + b"[" * 600 + b"]" * 600,
        [1], [(2, "too_deep"), (3, "too_deep"), (4, "too_deep")],
    ),
    "a-million-keys.jsonl.gz": (gzip.compress(KEYS + rows(1)), [1, 2], []),
    "huge-number.jsonl": (row()[:-1] + b',"n":' + b"9" * 100_000 + b"}\n", [1], []),
    "one-id.jsonl": (rows(3, id="same"), [1, 2, 3], []),
    "one-id-again.jsonl": (rows(2, id="same"), [1, 2], []),
    "nulls.jsonl": (
        rows(1, id=None, url=None, source=None, license=None, published_at=None) + b'{"text":null,"id":null}\n',
        [1], [(2, "no_text")],
    ),
    "mixed-types.jsonl": (
        rows(1, id=1) + rows(1, id={"a": 1}, url=[2], source=True, license=1.5, published_at={}) + rows(1, id="x")
        + b'{"text":1}\n{"text":["a"]}\n{"text":{"a":"b"}}\n{"text":true}\n[1]\n"text"\n3\nnull\n{}\n{"text":""}\nNaN\n',
        [1, 2, 3],
        [(4, "wrong_type"), (5, "wrong_type"), (6, "wrong_type"), (7, "wrong_type"), (8, "not_object"),
         (9, "not_object"), (10, "not_object"), (11, "not_object"), (12, "no_text"), (13, "empty_text"),
         (14, "invalid_json")],
    ),
    "long-text.jsonl.gz": (gzip.compress(rows(1) + b'{"text":"' + LONG[: 5 << 20] + b'"}\n'), [1], [(2, "too_long")]),
    "long-line.jsonl.gz": (gzip.compress(rows(1) + b'{"text":"' + LONG + b'"}\n' + rows(1)), [1, 3], [(2, "too_long")]),
    "long-line-first.jsonl.gz": (
        gzip.compress(b'{"text":"' + LONG + b'"}\n' + rows(2).replace(b'"text"', '"본문"'.encode())), [2, 3],
        [(1, "too_long")],
    ),
    "named-so-only.jsonl.gz": (rows(2), [1, 2], []),
    "packed-unnamed.jsonl": (gzip.compress(rows(2)), [1, 2], []),
    "no-gzip-at-all.jsonl.gz": (b"\x01\x02\x03\x04" * 99, [], [(1, "corrupt")]),
    "--quiet.jsonl": (rows(1), [1], []),
    "줄\n바꿈 and blanks .jsonl": (rows(1), [1], []),
    "[a]*?#%20&.jsonl": (rows(1), [1], []),
    NFC: (rows(1), [1], []),
    NFD: (rows(2), [1, 2], []),
    "deeper/" * 30 + "one.jsonl": (rows(1), [1], []),
    "essay.txt": (text().encode(), [1], []),
    "essay-cp949.txt": ("가나다라".encode("cp949"), [], [(1, "not_utf8")]),
    "essay-empty.txt": (b"", [], [(1, "empty_text")]),
    "essay-nul.txt": (b"\0" * 100, [], [(1, "empty")]),
    "no-parquet.parquet": (b"PAR1 and no more", [], [(0, "corrupt")]),
    "empty.parquet": (b"", [], [(0, "corrupt")]),
}  # fmt: skip
for kind, compress in PACK.items():
    blob = b'{"x":"' + os.urandom(40_000).hex().encode() + b'"}\n'
    torn, tail = compress(rows(3) + blob + rows(1)), compress(rows(2))[:-2]
    LINES |= {
        # What stands before a break is lost as far as the codec's blocks go: bz2's are 900 kB, zstd's 128 KiB.
        f"torn.jsonl.{kind}": (torn[: len(torn) // 2], *(
            ([], [(1, "truncated")]) if kind in ("bz2", "zst") else ([1, 2, 3], [(4, "truncated")]))),
        f"torn-at-once.jsonl.{kind}": (torn[:9], [], [(1, "truncated")]),
        f"members.jsonl.{kind}": (compress(rows(3)) + compress(b"") + compress(rows(2)), [1, 2, 3, 4, 5], []),
        f"members-torn.jsonl.{kind}": (compress(rows(3)) + tail, *(
            ([1, 2, 3], [(4, "truncated")]) if kind == "zst" else ([1, 2, 3, 4, 5], [(6, "truncated")]))),
        f"trailing.jsonl.{kind}": (compress(rows(3)) + b"something else", [1, 2, 3], [(4, "corrupt")]),
        # A member of 16 MiB over and over. What is decoded before the bomb is known to be one is a line of 256 MiB.
        f"bomb.jsonl.{kind}": (compress(bytes(16 << 20)) * 70, [], [(1, "too_long"), (2, "corrupt")]),
    }  # fmt: skip


def table(count: int = 2, **columns: Any) -> pa.Table:
    return pa.table({"text": [text() for _ in range(count)], **columns})


def tables() -> dict[str, tuple[pa.Table, list[int], list[tuple[int, str]]]]:
    three = [text() for _ in range(3)]
    return {
        "dictionary": (pa.table({"text": pa.array(three).dictionary_encode()}), [1, 2, 3], []),
        "large-string": (pa.table({"본문": pa.array([text(), None], pa.large_string())}), [1], [(2, "no_text")]),
        "binary": (pa.table({"text": pa.array([text().encode(), b"\xff"])}), [1], [(2, "not_utf8")]),
        "null-text": (pa.table({"text": pa.nulls(2)}), [], [(1, "no_text"), (2, "no_text")]),
        "null-columns": (table(id=pa.nulls(2), url=pa.nulls(2), published_at=pa.nulls(2), x=pa.nulls(2)), [1, 2], []),
        "numbers": (pa.table({"text": [1, None]}), [], [(1, "wrong_type"), (2, "no_text")]),
        "lists": (pa.table({"text": [["가"], []]}), [], [(1, "wrong_type"), (2, "wrong_type")]),
        "nested-ids": (table(id=[{"a": 1}, None], source=[[1], None]), [1, 2], []),
        "no-rows": (pa.table({"text": pa.array([], pa.string())}), [], []),
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    for name, (data, _, _) in LINES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for name, (data, _, _) in tables().items():
        pq.write_table(data, folder / f"{name}.parquet")
    return folder


@pytest.mark.parametrize("chunk_bytes", [16 << 20, 4 << 10])
def test_all_of_it_in_one_job(inputs: Path, tmp_path: Path, chunk_bytes: int) -> None:
    patterns = [f"{inputs}/**/*.jsonl*", f"{inputs}/*.txt", f"{inputs}/*.parquet"]
    manifest = make(
        patterns, tmp_path / "out", max_line_bytes=16 << 20, max_text_bytes=4 << 20, chunk_bytes=chunk_bytes
    )
    expected = {name: (kept, rejects) for name, (_, kept, rejects) in LINES.items()}
    expected |= {f"{name}.parquet": (kept, rejects) for name, (_, kept, rejects) in tables().items()}
    found = fates(tmp_path / "out")
    assert {item["name"] for item in manifest.inputs} == set(expected)
    nothing: tuple[list[int], list[tuple[int, str]]] = ([], [])
    for name, wanted in expected.items():
        assert (name, found.get(name, nothing)) == (name, wanted)
    assert set(found) <= set(expected)
