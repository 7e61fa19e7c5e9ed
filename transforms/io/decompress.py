"""A checked decoder for compressed files: every byte that can be had, and an error for every break."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import zstandard

from malmungchi.schemas.errors import MalmungchiError

# A decoder that is given little input at a time gives little output at a time: the worst zstd input makes
# 32 KiB of each byte, so 1 KiB is at most 32 MiB. It also keeps the good rows before a corrupt place: what one
# call decoded is lost when it ends in an error.
_FEED = {"gzip": 4 << 10, "zstd": 1 << 10, "bz2": 16 << 10, "xz": 4 << 10}
_OUTPUT = 256 << 10
_RAW = 256 << 10

# Memory that a decoder may take (for a zstd window, half an xz dictionary): `zstd --long` and `xz -9` do with it.
MAX_WINDOW = 128 << 20

# Windows that a zstd frame may name, as `--long=31` does. It takes no more memory than its text has bytes, so one whose
# text is not known to be longer than MAX_WINDOW is read; if it is unknown, in a file of at most so many bytes.
_WIDEST = 1 << 31
_UNKNOWN_BYTES = 16 << 20
_HEADER = 18  # bytes of the longest header of a zstd frame

# No text that anyone means to keep shrinks a thousandfold; a bomb does.
BOMB_RATIO = 1000
BOMB_BYTES = 256 << 20

_MAGIC = {
    "gzip": (b"\x1f\x8b\x08",),
    "zstd": (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + i, 0x2A, 0x4D, 0x18]) for i in range(16))),
    "bz2": tuple(b"BZh%d" % i for i in range(1, 10)),
    "xz": (b"\xfd7zXZ\x00",),
}

# The codec of a file, by the last extension of its name.
EXTENSIONS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2", ".xz": "xz"}

_ERRORS = (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError, ValueError)


class BrokenError(MalmungchiError):
    """A file that breaks off or is damaged. `rule` is "truncated" or "corrupt", `cause` says it in words."""

    def __init__(self, rule: str, cause: str) -> None:
        super().__init__(rule, cause)
        self.rule = rule
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.rule}: {self.cause}"


def codec_of(name: str, head: bytes) -> str:
    """The codec of a file, "none" or one of EXTENSIONS, by its first bytes (16 or more, if it has them).

    The name only helps where they say nothing: what is called compressed and looks like text is read as it
    is; what does not look like text either is damaged, and keeps its name's codec: that becomes one error.
    """
    for codec, magics in _MAGIC.items():
        if codec != "bz2" and head.startswith(magics):
            return codec
    named = next((codec for ending, codec in EXTENSIONS.items() if name.lower().endswith(ending)), "none")
    if head.startswith(_MAGIC["bz2"]):  # four letters that a text could begin with
        if head[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90") or (named == "bz2" and len(head) < 10):
            return "bz2"
        return "none"
    textual = all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in head)
    return "none" if textual else named


def expansion(codec: str) -> int:
    """How many times larger than its file a text is, about: Korean text shrinks to between a third and a seventh."""
    return 1 if codec == "none" else 4


def refused(head: bytes, size: int) -> str:
    """Why zstd data of `size` bytes that begins with `head` cannot be read, and what to do; "" if it may be."""
    while head[1:4] == b"\x2a\x4d\x18":  # a frame to skip, as pzstd puts before its data
        head = head[8 + int.from_bytes(head[4:8], "little") :]
    try:
        frame = zstandard.get_frame_parameters(head)
    except zstandard.ZstdError:
        return ""  # the decoder will say what is wrong with it
    if frame.dict_id:
        return f"zstd data made with a dictionary (number {frame.dict_id}): decompress it with `zstd -d -D DICTIONARY`"
    known = frame.content_size != zstandard.CONTENTSIZE_UNKNOWN
    if frame.window_size <= MAX_WINDOW or (frame.content_size <= MAX_WINDOW if known else size <= _UNKNOWN_BYTES):
        return ""
    return _too_wide(frame.window_size)


def _too_wide(window: int) -> str:
    return (
        f"zstd data with a window of {window >> 20:,} MiB, which reading it would take as memory; at most "
        f"{MAX_WINDOW >> 20} are used. Write it anew: `zstd -d --long=31 -c FILE | zstd --long=27 -o NEW`"
    )


class _Zlib:
    """zlib's decoder with the protocol of bz2's and lzma's."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)
        # With no tail left, output that reached the limit may still have a rest inside the decoder.
        self.needs_input = not self._decoder.unconsumed_tail and len(out) < max_length
        return out

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data


class _Zstd:
    """zstandard's decoder of the frame that begins with `head`, with the same protocol; what bounds its output is the
    size of its input."""

    needs_input = True

    def __init__(self, head: bytes) -> None:
        if cause := refused(head, 0):
            raise BrokenError("corrupt", cause)
        try:
            self._window = zstandard.get_frame_parameters(head).window_size
        except zstandard.ZstdError:
            self._window = 0
        self._decoder = zstandard.ZstdDecompressor(max_window_size=_WIDEST).decompressobj()
        self._made = 0

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._decoder.decompress(data)
        self._made += len(out)
        if self._window > MAX_WINDOW and self._made > MAX_WINDOW:
            raise BrokenError("corrupt", _too_wide(self._window))
        return out

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data


def _decoder(codec: str, head: bytes) -> Any:
    if codec == "gzip":
        return _Zlib()
    if codec == "zstd":
        return _Zstd(head)
    if codec == "bz2":
        return bz2.BZ2Decompressor()
    if codec == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2 * MAX_WINDOW)
    raise ValueError(f"unknown codec {codec!r}")


def _feeds(raw: BinaryIO, size: int) -> Iterator[bytes]:
    while block := raw.read(_RAW):
        for i in range(0, len(block), size):
            yield block[i : i + size]


def _pieces(raw: BinaryIO, codec: str) -> Iterator[bytes]:
    """Decompressed bytes, piece by piece, through all members (gzip), frames (zstd) or streams (bz2, xz)."""
    feeds = _feeds(raw, _FEED[codec])
    magics, width = _MAGIC[codec], _HEADER if codec == "zstd" else max(map(len, _MAGIC[codec]))
    taken = made = 0
    rest = next(feeds, b"")
    while rest:
        decoder = _decoder(codec, rest)
        data: bytes | None = rest
        while not decoder.eof:
            if data is None:
                data = b"" if not decoder.needs_input else next(feeds, None)
                if data is None:
                    raise BrokenError("truncated", f"the {codec} data ends at byte {taken}, in the middle")
            taken += len(data)
            try:
                piece = decoder.decompress(data, _OUTPUT)
            except _ERRORS as error:
                raise BrokenError("corrupt", f"bad {codec} data near byte {taken}: {error}") from error
            data = None
            made += len(piece)
            if made > BOMB_BYTES and made > BOMB_RATIO * taken:
                raise BrokenError("corrupt", f"a decompression bomb: {taken} bytes of {codec} data are {made} and more")
            if piece:
                yield piece
        rest = decoder.unused_data
        taken -= len(rest)
        # Between members: gzip and xz allow zero bytes as padding; all else must be a member again.
        while True:
            if codec in ("gzip", "xz"):
                padding = len(rest) - len(rest.lstrip(b"\0"))
                taken, rest = taken + padding, rest[padding:]
            more = next(feeds, b"") if len(rest) < width else b""
            if not more:
                break
            rest += more
        if rest and not any(rest.startswith(magic[: len(rest)]) for magic in magics):
            raise BrokenError("corrupt", f"unexpected bytes after the end of the {codec} data, at byte {taken}")


class Decompressed:
    """The decompressed bytes of a file as a stream in bounded memory, however far the input expands."""

    def __init__(self, raw: BinaryIO, codec: str) -> None:
        self._raw = raw
        self._pieces = None if codec == "none" else _pieces(raw, codec)
        self._rest = b""
        self._at = 0  # what comes before it in the rest was given out
        self._broken: BrokenError | None = None

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; fewer only before the end, none at the end.

        Raises BrokenError where the data is truncated or corrupt, once everything that could be decoded before it
        was given out. The bytes do not depend on the sizes asked for.
        """
        if self._pieces is None:
            return self._raw.read(size)
        parts = [self._rest[self._at : self._at + size]]
        have = len(parts[0])
        self._at += have
        while have < size and self._broken is None:
            try:
                self._rest = next(self._pieces, b"")
            except BrokenError as broken:
                self._rest, self._broken = b"", broken
            self._at = min(size - have, len(self._rest))
            if not self._rest:
                break
            parts.append(self._rest[: self._at])
            have += self._at
        if not have and size and self._broken is not None:
            raise self._broken
        return b"".join(parts)


def open_decompressed(raw: BinaryIO, codec: str) -> Decompressed:
    """A stream of what `raw` holds, by `codec` as `codec_of` names it.

    A gzip member, bz2 or xz stream or zstd frame may follow another; anything else behind one is an error.
    """
    return Decompressed(raw, codec)
