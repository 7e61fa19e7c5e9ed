"""Every codec: whole, many members, truncated anywhere, damaged, with something behind it, and bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from malmungchi.transforms.io import decompress

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
CODECS = pytest.mark.parametrize("codec", list(COMPRESS))
RANDOM = random.Random(7)
LINES = b"".join(b'{"text": "%d \xea\xb0\x80"}\n' % RANDOM.randrange(1 << 60) for _ in range(20_000))


def drain(data: bytes, codec: str, size: int = 100_000) -> tuple[bytes, decompress.BrokenError | None]:
    stream = decompress.open_decompressed(io.BytesIO(data), codec)
    got: list[bytes] = []
    while True:
        try:
            part = stream.read(size)
        except decompress.BrokenError as broken:
            return b"".join(got), broken
        if not part:
            return b"".join(got), None
        got.append(part)


@CODECS
@pytest.mark.parametrize("size", [1 << 30, 1_000, 777_777])
def test_members_one_after_another_are_all_read(codec: str, size: int) -> None:
    data = COMPRESS[codec](LINES) + COMPRESS[codec](b"") + COMPRESS[codec](b"end")
    assert drain(data, codec, size) == (LINES + b"end", None)


@CODECS
def test_empty_file_is_empty(codec: str) -> None:
    assert drain(b"", codec) == (b"", None)


@CODECS
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_truncation_is_noticed_at_every_byte(codec: str, data: st.DataObject) -> None:
    lines = LINES[:5_000]
    packed = COMPRESS[codec](lines) + COMPRESS[codec](lines)
    first = len(COMPRESS[codec](lines))
    cut = data.draw(st.integers(1, len(packed) - 1))
    got, broken = drain(packed[:cut], codec)
    assert (lines * 2).startswith(got)
    if cut == first:
        assert broken is None
    else:
        assert broken is not None
        assert broken.rule == "truncated"
        assert len(got) >= len(lines) * (cut > first)


@CODECS
def test_what_comes_before_a_truncation_is_given_out(codec: str) -> None:
    packed = COMPRESS[codec](LINES)
    got, broken = drain(packed[: len(packed) * 3 // 4], codec)
    assert broken is not None
    assert LINES.startswith(got)
    assert codec == "bz2" or len(got) > len(LINES) // 2  # bz2 has blocks of 900 kB, all or nothing


@CODECS
@pytest.mark.parametrize("garbage", [b"x", b"garbage behind it " * 9, b"\0\0\0\0garbage"])
def test_garbage_behind_the_data_is_noticed(codec: str, garbage: bytes) -> None:
    got, broken = drain(COMPRESS[codec](LINES) + garbage, codec)
    assert got == LINES
    assert broken is not None
    assert broken.rule == "corrupt"
    assert "garbage" not in str(broken)


@pytest.mark.parametrize("codec", ["gzip", "xz"])
def test_zero_padding_is_not_garbage(codec: str) -> None:
    data = COMPRESS[codec](LINES) + bytes(700_000) + COMPRESS[codec](b"end") + bytes(512)
    assert drain(data, codec) == (LINES + b"end", None)


def test_skippable_frames_are_skipped() -> None:
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    data = skippable + COMPRESS["zstd"](LINES) + skippable + COMPRESS["zstd"](b"end") + skippable
    assert drain(data, "zstd") == (LINES + b"end", None)


@CODECS
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_flipped_bit_never_passes(codec: str, data: st.DataObject) -> None:
    lines = LINES[:3_000]
    packed = bytearray(COMPRESS[codec](lines))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    got, broken = drain(bytes(packed), codec)
    # A few bits mean nothing (a gzip header's time): then the data must be all there.
    assert broken is not None or got == lines


def wide(text: bytes, size: int = -1) -> bytes:
    """A zstd frame with a window of 256 MiB, which says that its text has `size` bytes, or (-1) does not say it."""
    params = zstandard.ZstdCompressionParameters.from_level(1, window_log=28, write_content_size=size >= 0)
    packer = zstandard.ZstdCompressor(compression_params=params).compressobj(size=size)
    return packer.compress(text) + packer.flush()


def test_a_wide_window_is_read_as_long_as_its_text_is_no_wider() -> None:
    text = LINES * 30
    assert drain(wide(text) + COMPRESS["zstd"](b"end"), "zstd") == (text + b"end", None)
    assert decompress.refused(wide(text), 1 << 20) == ""
    assert decompress.refused(wide(b"", 0) + wide(text), 1 << 20) == ""


def test_a_window_beyond_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = LINES * 30
    assert "window of 256 MiB" in decompress.refused(wide(text), 1 << 30)
    monkeypatch.setattr(decompress, "MAX_WINDOW", len(text) // 2)
    got, broken = drain(wide(text), "zstd")
    assert text.startswith(got)
    assert broken is not None
    assert broken.rule == "corrupt"
    assert "--long=27" in broken.cause


def test_a_dictionary_is_named() -> None:
    trained = zstandard.train_dictionary(4000, [b"%d. kkk" % i * 30 for i in range(2000)])
    packed = zstandard.ZstdCompressor(dict_data=trained).compress(LINES)
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    assert "dictionary" in decompress.refused(skippable + packed, 100)
    got, broken = drain(packed, "zstd")
    assert got == b""
    assert broken is not None
    assert "dictionary" in broken.cause


@pytest.mark.parametrize("codec", ["zstd", "bz2", "xz"])
def test_a_bomb_ends_in_bounded_memory(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress, "BOMB_BYTES", 8 << 20)
    stream, total = decompress.open_decompressed(io.BytesIO(COMPRESS[codec](bytes(48 << 20))), codec), 0
    tracemalloc.start()
    with pytest.raises(decompress.BrokenError, match="bomb"):  # noqa: PT012
        while part := stream.read(1 << 20):
            total += len(part)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total < 48 << 20
    assert peak < 64 << 20


@CODECS
def test_codec_is_told_by_the_first_bytes(codec: str) -> None:
    for data in (LINES, b""):
        assert decompress.codec_of("a.jsonl", COMPRESS[codec](data)[:16]) == codec
        assert decompress.codec_of("a.jsonl.gz", COMPRESS[codec](data)[:16]) == codec


@pytest.mark.parametrize(
    ("name", "head", "codec"),
    [
        ("a.jsonl", b'{"text": "a"}', "none"),
        ("a.jsonl.gz", b'{"text": "a"}', "none"),  # called compressed, but it is not
        ("a.jsonl.GZ", b"\x00\x01\x02\x03", "gzip"),  # neither: damaged, and said to be gzip
        ("a.jsonl.zst", b"", "none"),
        ("a.txt", b"BZh9 is how a text may begin", "none"),
        ("a.txt", b"\xef\xbb\xbf\xea\xb0\x80", "none"),
    ],
)
def test_the_name_helps_where_the_bytes_do_not(name: str, head: bytes, codec: str) -> None:
    assert decompress.codec_of(name, head) == codec


def test_zlib_ends_that_fill_the_output_are_ends() -> None:
    for size in (decompress._OUTPUT - 1, decompress._OUTPUT, decompress._OUTPUT + 1, 3 * decompress._OUTPUT):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        packed = packer.compress(b"a" * size) + packer.flush()
        assert drain(packed, "gzip") == (b"a" * size, None)
