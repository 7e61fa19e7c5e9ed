"""Decoding and encoding of UTF-8 inside kernels, and the buffers of an Arrow string column."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pyarrow as pa


@numba.njit(inline="always")
def decode(data: Any, i: int) -> Any:
    """(code point, index of the next one) at `i` of valid UTF-8. Validity is the reader's business."""
    b = np.uint32(data[i])
    if b < 0x80:
        return b, i + 1
    if b < 0xE0:
        return (b & np.uint32(0x1F)) << np.uint32(6) | np.uint32(data[i + 1]) & np.uint32(0x3F), i + 2
    if b < 0xF0:
        return (
            (b & np.uint32(0x0F)) << np.uint32(12)
            | (np.uint32(data[i + 1]) & np.uint32(0x3F)) << np.uint32(6)
            | np.uint32(data[i + 2]) & np.uint32(0x3F)
        ), i + 3
    return (
        (b & np.uint32(0x07)) << np.uint32(18)
        | (np.uint32(data[i + 1]) & np.uint32(0x3F)) << np.uint32(12)
        | (np.uint32(data[i + 2]) & np.uint32(0x3F)) << np.uint32(6)
        | np.uint32(data[i + 3]) & np.uint32(0x3F)
    ), i + 4


@numba.njit(inline="always")
def encode(out: Any, k: int, cp: Any) -> Any:
    """Writes a code point at `k` and gives the index behind it; `out` must have room for four bytes."""
    if cp < 0x80:
        out[k] = cp
        return k + 1
    if cp < 0x800:
        out[k] = 0xC0 | cp >> 6
        out[k + 1] = 0x80 | cp & 0x3F
        return k + 2
    if cp < 0x10000:
        out[k] = 0xE0 | cp >> 12
        out[k + 1] = 0x80 | cp >> 6 & 0x3F
        out[k + 2] = 0x80 | cp & 0x3F
        return k + 3
    out[k] = 0xF0 | cp >> 18
    out[k + 1] = 0x80 | cp >> 12 & 0x3F
    out[k + 2] = 0x80 | cp >> 6 & 0x3F
    out[k + 3] = 0x80 | cp & 0x3F
    return k + 4


@numba.njit(inline="always")
def syllable(b: Any, following: Any) -> Any:
    """uint32: 1 where these first two bytes of a character say U+AC00..U+D77F, syllables of Hangul; the last 36 of
    those begin with bytes that others begin with too."""
    return np.uint32(
        np.uint32((np.uint32(b) << np.uint32(8) | np.uint32(following)) - np.uint32(0xEAB0))
        < np.uint32(0xED9E - 0xEAB0)
    )


@numba.njit(nogil=True, cache=True)
def first_byte(data: Any, start: int, i: int) -> int:
    """Index of the first byte of the character that byte `i` belongs to, no further back than `start`."""
    while i > start and data[i] & 0xC0 == 0x80:
        i -= 1
    return i


def string_buffers(column: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """(bytes as uint8, offsets as int32[rows + 1]) of a string column without nulls; no copy."""
    offsets = np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4) if len(column) else (
        np.zeros(1, np.int32)
    )  # fmt: skip
    data = column.buffers()[2]
    return np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8), offsets


def string_array(data: np.ndarray, offsets: np.ndarray) -> pa.StringArray:
    """A string column over the bytes `data` and int32 offsets; no copy."""
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))
