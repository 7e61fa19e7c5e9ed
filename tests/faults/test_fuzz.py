"""Any bytes at all against each step: no crash, rows in = rows out + rejects, and what plain Python would say.

A target turns bytes into a case and checks it; hypothesis feeds the targets here, a coverage-guided fuzzer in
benchmarks/fuzz.py.
"""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import functools
import gzip
import io
import json
import lzma
import struct
import unicodedata
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from datasketch import MinHash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.exact_pairs import shingle_sets
from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Fingerprint, Language, Normalize, Read
from malmungchi.schemas.work import Columns
from malmungchi.transforms.dedup.fingerprint import fingerprint
from malmungchi.transforms.formats import footer
from malmungchi.transforms.formats.jsonl import head, member_names
from malmungchi.transforms.formats.nothing import told_value
from malmungchi.transforms.formats.rows import parse_dates
from malmungchi.transforms.io.decompress import BrokenError, open_decompressed
from malmungchi.transforms.kernels import language as language_kernels
from malmungchi.transforms.kernels import minhash
from malmungchi.transforms.kernels.cover import cover
from malmungchi.transforms.kernels.shingles import fold
from malmungchi.transforms.kernels.utf8 import string_buffers
from malmungchi.transforms.text.language import filter_language
from malmungchi.transforms.text.normalize import normalize, normalize_text
from tests.support.chunks import chunk_of
from tests.support.reading import parts_of, source_of
from tests.unit.transforms.kernels import test_cover, test_jsonl, test_shingles
from tests.unit.transforms.text import test_language

PACK: tuple[Callable[[bytes], bytes], ...] = (gzip.compress, zstandard.compress, bz2.compress, lzma.compress)
Seen = tuple[list[dict[str, object]], list[dict[str, object]]]


ROLES = Columns("text", "id", published_at="date")


def seen(parts: list[tuple[pa.RecordBatch, pa.RecordBatch]]) -> Seen:
    """Rows and rejects of all parts, each of which is whole and valid."""
    for rows, rejects in parts:
        rows.validate(full=True)
        rejects.validate(full=True)
    documents, rejects = ([row for part in parts for row in part[i].to_pylist()] for i in (0, 1))
    places = [row["row"] for row in documents + rejects]
    assert len(set(places)) == len(places)
    return documents, rejects


def text_of(data: bytes) -> str:
    """Bytes as text: UTF-16 reaches all of Unicode in few bytes, UTF-8 is what a dictionary of words is in."""
    if data[:1] < b"\x80":
        return data[1:].decode("utf-16-le", "ignore")
    return data[1:].decode("utf-8", "replace")


def strings(value: object) -> Iterator[str]:
    """What a list of strings, nested or not, has to join. Raises TypeError for anything else."""
    if isinstance(value, list):
        for member in value:
            yield from strings(member)
    elif type(value) is str:
        yield value
    elif value is not None:
        raise TypeError


def lines(data: bytes) -> None:
    """JSON lines: each line that is not blank is a row or a reject, and the one that it should be."""
    data = data[1:]
    config = Read(max_line_bytes=1024, max_text_bytes=64)
    found = [seen(parts_of(source_of(data, "jsonl", read=config, columns=ROLES), size)) for size in (16, 300, 1 << 16)]
    assert found[0] == found[1] == found[2]
    expected: dict[int, tuple[str, object]] = {}
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        rule, members = test_jsonl.reference(line.removesuffix(b"\r"))
        text = test_jsonl.plain(members.get("text"))
        if isinstance(text, list):
            with contextlib.suppress(TypeError):
                text = "\n".join(strings(text))
        if len(line.removesuffix(b"\r")) > 1024:
            rule = "too_long"
        elif not rule and text is None:
            rule = "no_text"
        elif not rule and (not isinstance(text, str) or isinstance(text, test_jsonl.Number)):
            rule = "wrong_type"
        elif not rule and not text:
            rule = "empty_text"
        elif not rule and len(text.encode()) > 64:
            rule = "too_long"
        if rule != "blank":
            expected[number] = (rule, None if rule else text)
    documents, rejects = found[0]
    told = {row["row"]: ("", row["text"]) for row in documents} | {row["row"]: (row["rule"], None) for row in rejects}
    assert told == expected
    for row in documents:
        json.loads(str(row["metadata"] or "{}"))


def names(data: bytes) -> None:
    """Columns of JSON lines: those that the standard library finds."""
    expected: dict[str, None] = {}
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        rule, members = test_jsonl.reference(line)
        if not rule:
            expected |= dict.fromkeys(name.encode(errors="replace").decode() for name in members)
    assert member_names(head(open_decompressed(io.BytesIO(data), "none"), 64 << 20)[0], Read()) == list(expected)


def packed(data: bytes) -> None:
    """Compressed data: the same bytes and the same end, however it is read."""
    codec = ("gzip", "zstd", "bz2", "xz")[data[0] % 4] if data else "gzip"
    ends = set()
    for size in (1, 1000, 1 << 20):
        stream, got, end = open_decompressed(io.BytesIO(data[1:]), codec), b"", ""
        try:
            while (part := stream.read(size)) and len(got) < 10_000:
                got += part
        except BrokenError as broken:
            end = str(broken)
        ends.add((got[:10_000], end if len(got) < 10_000 else ""))
    assert len(ends) == 1


@functools.cache
def parquet_file(number: int) -> bytes:
    """A small file of several row groups."""
    texts = [f"{i}번째 글" for i in range(40)]
    columns = {
        "text": pa.array([*texts[:-1], None]),
        "id": pa.array(range(40)),
        "date": pa.array([1_600_000_000] * 40, pa.timestamp("s")),
        "x": pa.array([[{"a": text}] for text in texts]),
        "d": pa.array(texts).dictionary_encode(),
    }
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, row_group_size=15, compression=("none", "zstd", "snappy")[number % 3],
                   use_dictionary=number % 2 == 0, data_page_version=("1.0", "2.0")[number % 2])  # fmt: skip
    return out.getvalue()


def parquet(data: bytes) -> None:
    """A Parquet file with some bytes changed: what is read is rows of the file, and what is not is a reject."""
    whole = bytearray(parquet_file(data[0] if data else 0))
    for place, value in struct.iter_unpack("<HB", data[1 : 1 + len(data[1:]) // 3 * 3]):
        whole[place % len(whole)] = value
    with mock.patch.object(footer, "PART_BYTES", 1 if data[:1] > b"\x7f" else footer.PART_BYTES):
        parts = parts_of(source_of(bytes(whole), "parquet", columns=ROLES), 1 << 20)
    for rows, bad in parts:
        rows.validate(full=True)
        bad.validate(full=True)
    kept = [row for rows, _ in parts for row in rows["row"].to_pylist()]
    assert kept == sorted(set(kept))
    rejects = [row for _, bad in parts for row in bad.to_pylist()]
    if not {row["rule"] for row in rejects} & {"corrupt", "not_utf8", "empty_text", "wrong_type"}:
        count = pq.read_metadata(io.BytesIO(bytes(whole))).num_rows
        assert len(kept) + len(rejects) == count


def text(data: bytes) -> None:
    """Texts through normalise, language and fingerprint: none is lost, each is what plain Python would make of it."""
    texts = text_of(data).split("\x1e")
    column = pa.array(texts, pa.string())
    clean = normalize_text(column, Normalize())
    clean.validate(full=True)
    assert normalize_text(clean, Normalize()).equals(clean)
    assert all(unicodedata.is_normalized("NFC", value) for value in clean.to_pylist())
    chunk = normalize(chunk_of(texts), Normalize())
    tagged = filter_language(chunk, Language())
    marked = filter_language(chunk, dataclasses.replace(Language(), drop=False))
    _accounted(tagged, len(texts))
    _accounted(marked, len(texts))
    assert marked.rows.num_rows == chunk.rows.num_rows
    left = chunk.rows["text"].to_pylist()
    if left:
        counts = language_kernels.count_scripts(
            *string_buffers(chunk.rows["text"]), language_kernels.script_table(), len(language_kernels.SCRIPTS)
        )
        for value, row in zip(left, counts, strict=True):
            scripts = [test_language.reference_script(char) for char in value if ord(char) < 0x323B0]
            for index, script in enumerate(language_kernels.SCRIPTS[1:], 1):
                assert row[index] == scripts.count(script)
    whole = fingerprint(chunk, Fingerprint(bands=2, rows=2))
    _accounted(whole, len(texts))
    folded, starts = fold(*string_buffers(chunk.rows["text"]))
    plain = [test_shingles.reference(value) for value in left]
    assert [part.tobytes().decode("utf-32-le") for part in test_shingles.split(folded, starts)] == plain
    shingles(folded, starts, plain, 5)


def _accounted(chunk: Chunk, count: int) -> None:
    chunk.rows.validate(full=True)
    chunk.rejects.validate(full=True)
    assert sorted(chunk.rows["row"].to_pylist() + chunk.rejects["row"].to_pylist()) == list(range(1, count + 1))


def shingles(folded: np.ndarray, starts: np.ndarray, texts: list[str], n: int) -> None:
    """Distinct n-grams are told apart, and the signature is datasketch's."""
    ours = minhash.signatures(folded, starts, n, *minhash.permutations(8, 1))
    meaning: dict[int, str] = {}
    for value, hashes, signature in zip(
        texts, test_shingles.split(*shingle_sets(folded, starts, n)), ours, strict=True
    ):
        grams = list(dict.fromkeys(value[i : i + n] for i in range(max(len(value) - n + 1, min(len(value), 1)))))
        assert len(hashes) == len(grams)
        assert all(meaning.setdefault(h, gram) == gram for h, gram in zip(hashes.tolist(), grams, strict=True))
        theirs = MinHash(num_perm=8, seed=1, scheme="affine32", hashfunc=lambda h: h)
        theirs.update_batch([int(h) >> 32 for h in hashes])
        assert signature.tolist() == theirs.hashvalues.tolist()


def covered(data: bytes) -> None:
    """Which document stands for which: what sets would say."""
    first, second = data.ljust(2, b"\0")[:2]
    documents = [(part[1:].decode("latin-1"), part[0] % 3) for part in data[2:].split(b"\0") if part][:20]
    n, threshold = first % 7 + 1, max(second % 101, 1) / 100
    keeper, score = cover(*test_cover.arrays(documents), n, threshold)
    assert (keeper.tolist(), score.tolist()) == test_cover.reference(documents, n, threshold)


def dates(data: bytes) -> None:
    """Any text is a date or not, alone as among others."""
    values = text_of(data).split("\x1e")
    stamps, bad = parse_dates(pa.array(values, pa.string()))
    stamps.validate(full=True)
    for value, stamp, wrong in zip(values, stamps.to_pylist(), bad, strict=True):
        assert (stamp is None) == bool(wrong or not told_value(value))
        alone, _ = parse_dates(pa.array([value], pa.string()))
        assert alone[0].as_py() == stamp


TARGETS: dict[str, Callable[[bytes], None]] = {
    "lines": lines,
    "names": names,
    "packed": packed,
    "parquet": parquet,
    "text": text,
    "cover": covered,
    "dates": dates,
}

# What a fuzzer begins with.
SEEDS: dict[str, list[bytes]] = {
    "lines": [b'0{"text":"\\ud55c","id":1}\r\n\n[1]\n{"text":null,"x":[{"y":1e5}]}\n{"te', b"0\xef\xbb\xbf{}"],
    "names": [b'{"text":"a","\\u0061":{"b":[1,"c"]}}\n{"d":true}'],
    "packed": [bytes([i]) + pack(b"{}\n" * 9) * 2 for i, pack in enumerate(PACK)],
    "parquet": [bytes([i, 9, 0, 9]) for i in (0, 1, 2, 253, 254, 255)],
    "text": [
        b"0" + "가나다 ㅋㅋ\u1100\u1161\u11a8 漢字\u3164".encode("utf-16-le"),
        b"\x80```\n<b>a&nbsp;</b>\x1e" + "가".encode(),
    ],
    "cover": [b"\x02\x50\x01abcdefgh\0\x01abcdefgi\0\x02abcdefgh"],
    "dates": [b"\x802020-02-29T12:30:00.5+09:00\x1e1600000000\x1e2020\xeb\x85\x84 2\xec\x9b\x94 9\xec\x9d\xbc"],
}  # fmt: skip

texts = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(
            "가각힣\u1100\u1161\u11a8\u3164\uffa0漢字かなabcßİΐ```<>&/*#-_. \n\r\t\u0301\u200d\u200b👨\x1e\x00"
        ),
    ),
    max_size=60,
)
in_text = st.one_of(
    texts.map(lambda value: b"\0" + value.encode("utf-16-le")), texts.map(lambda value: b"\x80" + value.encode())
)
pieces = st.one_of(
    test_jsonl.json_lines(),
    st.binary(max_size=20),
    st.sampled_from([b"", b"\r", b"\xef\xbb\xbf", b"\0", b'{"text":"', b'"}', b" " * 1023, b'{"text":"a"}\r']),
    st.integers(1000, 1040).map(lambda size: b'{"text":"' + b"a" * (size - 11) + b'"}'),
    st.integers(60, 68).map(lambda size: b'{"text":"' + b"a" * size + b'"}'),
)
in_lines = st.tuples(st.lists(pieces, max_size=6), st.sampled_from([b"\n", b"\r\n", b""])).map(
    lambda drawn: b"0" + drawn[1].join(drawn[0])
)
in_packed = st.tuples(st.integers(0, 3), st.lists(st.binary(max_size=40), max_size=3), st.binary(max_size=6)).map(
    lambda drawn: SEEDS["packed"][drawn[0]][:1] + b"".join(map(PACK[drawn[0]], drawn[1])) + drawn[2]
)
STRATEGIES: dict[str, st.SearchStrategy[bytes]] = {
    "lines": in_lines,
    "names": in_lines.map(lambda data: data[1:]),
    "packed": in_packed,
    "parquet": st.binary(max_size=16),
    "text": in_text,
    "cover": st.lists(st.sampled_from(b"\0\0\1abc"), max_size=60).map(lambda some: b"\1\x32" + bytes(some)),
    "dates": st.one_of(
        in_text, st.text("0123456789-:. TZ+/년월일\x1e", max_size=40).map(lambda value: b"\x80" + value.encode())
    ),
}


@pytest.mark.parametrize("name", list(TARGETS))
def test_what_hypothesis_thinks_of(name: str) -> None:
    @settings(max_examples=450, deadline=None)
    @given(STRATEGIES[name])
    def search(data: bytes) -> None:
        TARGETS[name](data)

    for seed in SEEDS[name]:
        TARGETS[name](seed)
    search()


@pytest.mark.parametrize("name", list(TARGETS))
@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
@example(b"")
def test_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)
