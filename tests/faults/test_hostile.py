"""Hostile input: every file ends in the right rows and rejects, or in an error before any work."""

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

from malmungchi.pipelines.cli.main import main
from malmungchi.pipelines.job.build import build
from malmungchi.pipelines.job.job import Job
from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.pipelines.release import verify
from malmungchi.pipelines.runners.causes import StageError
from malmungchi.schemas.config import Config, Execution, Read
from malmungchi.schemas.release import Manifest
from malmungchi.transforms.formats.base import InputError
from malmungchi.transforms.io import storage
from tests.faults.test_faults import unprivileged
from tests.faults.test_fuzz import parquet, parquet_file
from tests.support import ROOT, corpus
from tests.unit.transforms.formats.test_footer import of_many_groups
from tests.unit.transforms.formats.test_read import read, whole

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
    assert manifest is not None
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
    "bom.jsonl": (b"\xef\xbb\xbf" + rows(2), [1, 2], []),
    "bom-alone.jsonl": (b"\xef\xbb\xbf", [], []),
    "bom-inside.jsonl": (rows(1) + b"\xef\xbb\xbf" + rows(2), [1, 3], [(2, "invalid_json")]),
    "nul-raw.jsonl": (rows(1) + b'{"text":"a\0b"}\n\0\n' + rows(1), [1, 4], [(2, "invalid_json"), (3, "invalid_json")]),
    "nul-only.jsonl": (b"\0" * 5000, [], [(0, "wrong_content")]),
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
        + b'{"text":1}\n{"text":["a",1]}\n{"text":{"a":"b"}}\n{"text":true}\n'
        + b'[1]\n"text"\n3\nnull\n{}\n{"text":""}\nNaN\n',
        [1, 2, 3],
        [(4, "wrong_type"), (5, "wrong_type"), (6, "wrong_type"), (7, "wrong_type"), (8, "not_object"),
         (9, "not_object"), (10, "not_object"), (11, "not_object"), (12, "no_text"), (13, "empty_text"),
         (14, "not_object")],
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
    "essay-nul.txt": (b"\0" * 100, [], [(0, "wrong_content")]),
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
        "lists": (pa.table({"text": [["가"], []]}), [1], [(2, "empty_text")]),
        "lists-of-numbers": (pa.table({"text": [[1], []]}), [], [(1, "wrong_type"), (2, "wrong_type")]),
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
    assert {item.name for item in manifest.inputs} == set(expected)
    nothing: tuple[list[int], list[tuple[int, str]]] = ([], [])
    for name, wanted in expected.items():
        assert (name, found.get(name, nothing)) == (name, wanted)
    assert set(found) <= set(expected)


# ---- what is said before any work


def refused(arguments: list[Any], output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line says when it refuses to begin."""
    code: Any
    try:
        code = main(["build", *map(str, arguments), "--output", str(output), "--quiet"])
    except SystemExit as stopped:
        code = stopped.code
    said = capsys.readouterr().err
    assert code in (1, 2)
    assert "Traceback" not in said
    assert not output.exists()
    return said


def test_what_is_no_file_is_said_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "nowhere.jsonl").symlink_to("gone")
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "linked-pipe.jsonl").symlink_to("pipe.jsonl")
    unreadable = tmp_path / os.fsdecode(b"\xc7\xd1.jsonl")  # CP949
    unreadable.write_bytes(rows(1))
    (tmp_path / "other.jsonl").write_bytes(b'{"headline":"a","n":1}\n')
    pq.write_table(pa.table({"headline": ["a"], "n": [1]}), tmp_path / "other.parquet")
    (tmp_path / "--quiet.jsonl").write_bytes(rows(1))
    cases = [
        ("missing.jsonl", "missing.jsonl: there is no such file"),
        ("missing*.jsonl", "no file matches"),
        ("missing/*.jsonl", "no file matches"),
        ("folder.jsonl", "this is a folder; name its files"),
        ("nowhere.jsonl", "nowhere.jsonl: this symbolic link leads nowhere"),
        ("now*.jsonl", "nowhere.jsonl: this symbolic link leads nowhere"),
        ("loop.jsonl", "loop.jsonl: Too many levels of symbolic links"),
        ("loo*.jsonl", "loop.jsonl: Too many levels of symbolic links"),
        ("pipe.jsonl", "pipe.jsonl: this is a pipe"),
        ("pip*.jsonl", "pipe.jsonl: this is a pipe"),
        ("linked-pipe.jsonl", "linked-pipe.jsonl: this is a pipe"),
        (unreadable.name, "\\xc7\\xd1.jsonl: the name is not valid UTF-8; rename the file"),
        ("?.jsonl", "no file matches"),
        ("??.jsonl", "\\xc7\\xd1.jsonl: the name is not valid UTF-8"),
        ("other.jsonl", "other.jsonl: which column is the text? It has: headline, n. Set read.text"),
        ("other.parquet", "other.parquet: which column is the text? It has: headline, n. Set read.text"),
    ]
    for name, words in cases:
        assert words in refused(["--input", tmp_path / name], tmp_path / "out", capsys), name
    monkeypatch.chdir(tmp_path)
    assert "expected one argument" in refused(["--input", "--quiet.jsonl"], tmp_path / "out", capsys)
    assert [file.name for file in make_plan(["--quiet.jsonl"], Config()).files] == ["--quiet.jsonl"]


def test_what_may_not_be_read_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "closed" / "a.jsonl"
    path.parent.mkdir()
    path.write_bytes(rows(1))

    def forbid(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "open_input", forbid)
        with pytest.raises(InputError, match=r"a\.jsonl: no permission to read it"):
            make_plan([str(path)], Config())
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", forbid)
        with pytest.raises(InputError, match="closed: no permission to read it"):
            make_plan([str(path.parent / "*.jsonl")], Config())


def test_the_systems_own_permissions(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.jsonl"
    path.parent.mkdir()
    path.write_bytes(rows(1))
    path.chmod(0)
    with unprivileged(path.parent), pytest.raises(InputError, match=r"a\.jsonl: no permission"):
        make_plan([str(path)], Config())
    path.parent.chmod(0o100)
    with unprivileged(path.parent), pytest.raises(InputError, match="no permission"):
        make_plan([str(path.parent / "*.jsonl")], Config())


def test_links_are_followed_and_no_file_is_read_twice(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "disk").mkdir()
    for name in ("in/a.jsonl", "in/deep/b.jsonl", "disk/c.jsonl"):
        (tmp_path / name).write_bytes(rows(1))
    (tmp_path / "in" / "deep" / "up").symlink_to("..")
    (tmp_path / "in" / "deep" / "up-again").symlink_to("..")
    (tmp_path / "in" / "deep" / "self").symlink_to(".")
    (tmp_path / "in" / "disk").symlink_to("../disk")
    (tmp_path / "in" / "latest.jsonl").symlink_to("a.jsonl")

    def names(*patterns: str) -> list[str]:
        return [file.name for file in make_plan([str(tmp_path / pattern) for pattern in patterns], Config()).files]

    assert names("in/**/*.jsonl") == ["a.jsonl", "deep/b.jsonl", "disk/c.jsonl"]
    assert names("in/*/*.jsonl") == ["deep/b.jsonl", "disk/c.jsonl"]
    assert names("in/latest.jsonl", "in/a.jsonl") == ["a.jsonl"]


# ---- what happens between plan and read


@pytest.mark.parametrize("chunk_bytes", [16 << 20, 4 << 10])
@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet"])
def test_a_file_that_changes_stops_the_job(tmp_path: Path, kind: str, chunk_bytes: int) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(table(50), path, row_group_size=1)
    else:
        path.write_bytes(gzip.compress(rows(50)) if kind == "jsonl.gz" else rows(50))
    config = Config(execution=Execution(chunk_bytes=chunk_bytes))
    plan = make_plan([str(path)], config)
    data = path.read_bytes()

    def rewrite() -> None:
        path.write_bytes(data)
        os.utime(path, (1, 1))

    changes: list[tuple[Callable[[], object], str]] = [
        (lambda: path.write_bytes(data + b"\n"), f"has {len(data) + 1} bytes; when the job was planned it had"),
        (rewrite, "was written again after the job was planned"),
        (path.unlink, "was there when the job was planned, and is gone"),
    ]
    for number, (change, words) in enumerate(changes):
        change()
        output = tmp_path / f"out-{number}"
        with pytest.raises(StageError, match=words):
            build(InProcess(plan, str(output)))
        assert not (output / "manifest.json").exists()
        assert not (output / "data").exists()


# ---- Parquet that says what is not so


def varint(number: int) -> bytes:
    """A number as Thrift's compact protocol has it."""
    number, out = number << 1, bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def test_a_footer_that_lies(tmp_path: Path) -> None:
    path, count = tmp_path / "a.parquet", 12_345
    pq.write_table(pa.table({"text": list(map(str, range(count))), "x": range(count)}), path, use_dictionary=False)
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    parts = data[start:-8].split(varint(count))
    assert len(parts) > 4  # rows of the file and of the row group, values of both columns
    for said in (0, 12_000, 13_000, 1 << 40, (1 << 62) - 1):
        for mask in itertools.product([count, said], repeat=len(parts) - 1):
            footer = b"".join(map(b"".join, zip(map(varint, mask), parts[1:], strict=True)))
            footer = parts[0] + footer
            path.write_bytes(data[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
            chunks = read(whole(path, "parquet"))
            kept = [row for chunk in chunks for row in chunk.rows["row"].to_pylist()]
            assert kept == list(range(1, len(kept) + 1))
            rejected = [row for chunk in chunks for row in chunk.rejects.to_pylist()]
            assert {row["rule"] for row in rejected} <= {"corrupt"}
            assert len(kept) in (count, 0) or rejected or pq.read_metadata(path).num_rows == len(kept)


@pytest.mark.parametrize("number", [0, 1])
def test_one_changed_byte_anywhere(number: int) -> None:
    """Found by fuzzing: an index beyond its dictionary came out of the middle of a run of row groups."""
    for place in range(0, len(parquet_file(number)), 4):
        parquet(bytes([number]) + place.to_bytes(2, "little") + b"\x14")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None], pa.decimal128(20, 3)),
        pa.array([1, None], pa.duration("us")),
        pa.array([1, None], pa.time32("ms")),
        pa.array([1 << 40, None], pa.timestamp("s")),
        pa.array([(1 << 63) - 1, None], pa.timestamp("us", "Asia/Seoul")),
        pa.array([-(1 << 31), None], pa.date32()),
        pa.array([float("nan"), None], pa.float32()),
        pa.array([float("inf"), None], pa.float64()),
        pa.array([b"\xff", None], pa.binary(1)),
        pa.array([(1 << 64) - 1, None], pa.uint64()),
        pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        pa.array([True, None]),
    ],
    ids=lambda column: str(column.type),
)
def test_columns_of_any_type_for_any_role(tmp_path: Path, column: pa.Array) -> None:
    path, roles = tmp_path / "a.parquet", ("id", "url", "source", "license", "published_at", "collected_at", "x")
    pq.write_table(table(2, **dict.fromkeys(roles, column)), path)
    [chunk] = read(whole(path, "parquet"))
    assert (chunk.rows["row"].to_pylist(), chunk.rejects.num_rows) == ([1, 2], 0)


def test_a_million_row_groups(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(of_many_groups(1_000_000, {"text": ["아주 작은 행 묶음에 든 글입니다."]}))
    manifest = make([tmp_path / "a.parquet"], tmp_path / "out")
    assert manifest.counts == {
        "input": 1_000_000, "kept": 1, "rejected": {"deduplicate.exact_duplicate": 999_999}
    }  # fmt: skip


# ---- what is larger than memory should have to hold

MEASURED = """
import sys
from pathlib import Path
from tests.faults.test_hostile import make
import ctypes
import pyarrow
for source, output in zip(sys.argv[1::2], sys.argv[2::2]):
    pyarrow.default_memory_pool().release_unused()  # what the file before has left is not this one's
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # begin a new peak
    make([source], Path(output))
    print("peak", Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
HUGE = 1200 << 20
MANY = 640  # times 16 MiB: 10 GB
Write = Callable[[Path], object]


def long_line(head: bytes, piece: bytes) -> Write:
    """Writes a line of 200 MB and two good rows."""
    return lambda path: path.write_bytes(head + piece * ((200 << 20) // len(piece)) + b"\n" + rows(2))


def repeat(data: bytes, times: int) -> Write:
    return lambda path: path.write_bytes(data * times)


def bombs() -> dict[str, Write]:
    """Files of at most 2 MB (gzip: 11 MB) that would become 10 GB, and others of which each row would become much."""
    zeros = bytes(16 << 20)
    value = pa.array(["가" * (1 << 20)])
    repeated = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000, np.int32)), value)
    return {
        **{f"zeros.jsonl.{k}": repeat(pack(zeros), MANY) for k, pack in PACK.items()},
        "at-once.jsonl.zst": lambda path: path.write_bytes(zstandard.compress(bytes(HUGE))),
        "lines.jsonl.zst": lambda path: path.write_bytes(
            zstandard.compress((row(text="가나다라마 " * 250) + b"\n") * (1 << 12)) * 100
        ),
        "values.parquet": lambda path: pq.write_table(pa.table({"text": repeated}), path, compression="zstd"),
        "nested.parquet": lambda path: pq.write_table(
            pa.table({"text": ["가"] * 1_000, "x": pa.StructArray.from_arrays([repeated], ["y"])}), path
        ),
        "plain.parquet": lambda path: pq.write_table(
            pa.table({"text": [" " * (1 << 20)] * 300}),
            path,
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
        ),
    }


LONG_LINES: dict[str, Write] = {
    "blanks.jsonl": long_line(b"", b" "),
    "text.jsonl": long_line(b'{"text":"', "가".encode()),
    "members.jsonl": long_line(b"{", b'"a":[],'),
}


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, Found]]:
    """By file: the most memory (MB) that a process has which builds a release of it, and the fates of its rows."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("memory is measured by /proc, which is not here")
    folder = tmp_path_factory.mktemp("large")
    names = {**LONG_LINES, **bombs()}
    for name, write in names.items():
        write(folder / name)
    assert all((folder / name).stat().st_size < (12 if ".gz" in name else 2) * 1e6 for name in bombs())
    pairs = [str(path) for name in names for path in (folder / name, folder / f"out-{name}")]
    command = [sys.executable, "-c", MEASURED, *pairs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    for name in names:
        (folder / name).unlink()
    assert done.returncode == 0, done.stderr[-2000:]
    memory = [int(line.split()[1]) >> 10 for line in done.stdout.splitlines() if line.startswith("peak ")]
    return {name: (peak, fates(folder / f"out-{name}")) for name, peak in zip(names, memory, strict=True)}


@pytest.mark.parametrize("name", list(LONG_LINES))
def test_a_line_of_200_megabytes(peaks: dict[str, tuple[int, Found]], name: str) -> None:
    peak, found = peaks[name]
    assert found == {name: ([2, 3], [(1, "too_long")])}
    assert peak < 1000


@pytest.mark.parametrize("name", list(bombs()))
def test_a_bomb_is_a_reject_in_bounded_memory(peaks: dict[str, tuple[int, Found]], name: str) -> None:
    peak, found = peaks[name]
    assert "corrupt" in {rule for _, rule in found[name][1]}
    assert peak < 1200
