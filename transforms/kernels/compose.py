"""Canonical composition (NFC, UAX #15) of UTF-8 buffers: copied in blocks, composed around the characters that need it.

The data are Python's own, by way of `unicodedata`.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any, NamedTuple

import numba
import numpy as np

from malmungchi.transforms.kernels.utf8 import decode, encode, first_byte, syllable

LIMIT = 0x30000  # no canonical decomposition and no combining class stands above plane 2

# Marks on one letter, one behind the other: more are cut. No writing has more than some ten (Unicode's Stream-Safe
# Text Format: 30), and everyone who puts them in order by insertion needs time that grows with their square.
MARKS = 1000
_FEW = 32  # marks that are put in order by insertion; more by counting

_BLOCK = 128  # bytes that are looked at at once
_NONE = -1  # in the place of a code point: no starter yet
_CLASS = np.uint32(21)  # a mark is held with its combining class above the 21 bits of its code point


class Canonical(NamedTuple):
    """What composition needs to know of each code point below LIMIT."""

    suspect: np.ndarray  # bool: NFC text cannot hold it, or not everywhere (quick check No or Maybe, or a mark)
    combining: np.ndarray  # uint8: its combining class
    start: np.ndarray  # uint16: where in `parts` its full decomposition stands, behind its length; 0 for none
    parts: np.ndarray  # uint32
    first: np.ndarray  # uint16: row of `pairs` where it can be the first of a composition; 0 for none
    second: np.ndarray  # uint16: column where it can be the second
    pairs: np.ndarray  # uint32: what the two become; 0 for nothing


@functools.cache
def canonical() -> Canonical:
    """The tables, from Python's `unicodedata`. Syllables of Hangul are left to arithmetic."""
    suspect, combining = np.zeros(LIMIT, bool), np.zeros(LIMIT, np.uint8)
    start, first, second = (np.zeros(LIMIT, np.uint16) for _ in range(3))
    parts, pairs = [0], {}
    suspect[0x1161:0x1176] = suspect[0x11A8:0x11C3] = True  # vowels and finals that compose to syllables
    for cp in range(0x80, LIMIT):
        if 0x3400 <= cp <= 0x9FFF or 0xAC00 <= cp <= 0xD7A3:
            continue
        char = chr(cp)
        combining[cp] = unicodedata.combining(char)
        suspect[cp] |= combining[cp] > 0
        halves = unicodedata.decomposition(char)
        if halves and halves[0] != "<":
            full = [ord(part) for part in unicodedata.normalize("NFD", char)]
            start[cp] = len(parts)
            parts += [len(full), *full]
            if not unicodedata.is_normalized("NFC", char):
                suspect[cp] = True
            elif " " in halves:
                a, b = (int(half, 16) for half in halves.split())
                pairs[a, b] = cp
                suspect[b] = True
    firsts, seconds = sorted({a for a, _ in pairs}), sorted({b for _, b in pairs})
    first[firsts], second[seconds] = range(1, len(firsts) + 1), range(1, len(seconds) + 1)
    table = np.zeros((len(firsts) + 1, len(seconds) + 1), np.uint32)
    for (a, b), cp in pairs.items():
        table[first[a], second[b]] = cp
    return Canonical(suspect, combining, start, np.array(parts, np.uint32), first, second, table)


@numba.njit(nogil=True, cache=True)
def _pair(a: int, b: int, data: Any) -> Any:
    """The code point that the two compose to, or 0."""
    if 0x1161 <= b <= 0x1175:
        return 0xAC00 + (a - 0x1100) * 588 + (b - 0x1161) * 28 if 0x1100 <= a <= 0x1112 else 0
    if 0x11A8 <= b <= 0x11C2:
        return a + b - 0x11A7 if 0xAC00 <= a <= 0xD7A3 and (a - 0xAC00) % 28 == 0 else 0
    if 0 <= a < LIMIT and b < LIMIT:
        return np.int64(data.pairs[data.first[a], data.second[b]])
    return 0


@numba.njit(nogil=True, cache=True)
def _order(marks: np.ndarray, count: int, scratch: np.ndarray) -> None:
    """Sorts marks[:count] by their combining class; those of one class stay in order."""
    if count <= _FEW:
        for i in range(1, count):
            mark = marks[i]
            k = i
            while k > 0 and marks[k - 1] >> _CLASS > mark >> _CLASS:
                marks[k] = marks[k - 1]
                k -= 1
            marks[k] = mark
        return
    ends = np.zeros(257, np.int64)
    for i in range(count):
        ends[(marks[i] >> _CLASS) + 1] += 1
        scratch[i] = marks[i]
    for cls in range(256):
        ends[cls + 1] += ends[cls]
    for i in range(count):
        cls = scratch[i] >> _CLASS
        marks[ends[cls]] = scratch[i]
        ends[cls] += 1


@numba.njit(nogil=True, cache=True)
def _join(starter: int, marks: np.ndarray, count: int, scratch: np.ndarray, data: Any) -> tuple[int, int]:
    """(`starter` with the marks that compose with it, how many are left): these are put in order in marks[:left]."""
    _order(marks, count, scratch)
    left = 0
    last = np.uint32(0)
    for i in range(count):
        cls = marks[i] >> _CLASS
        if starter != _NONE and last < cls:  # else one of the same class stands between
            whole = _pair(starter, np.int64(marks[i] & np.uint32(0x1FFFFF)), data)
            if whole:
                starter = whole
                continue
        marks[left] = marks[i]
        left += 1
        last = cls
    return starter, left


@numba.njit(nogil=True, cache=True)
def _write(out: np.ndarray, k: int, starter: int, marks: np.ndarray, count: int) -> int:
    """Writes a starter and its marks at `k`, and gives the index behind."""
    if starter != _NONE:
        k = encode(out, k, np.uint32(starter))
    for i in range(count):
        k = encode(out, k, marks[i] & np.uint32(0x1FFFFF))
    return k


@numba.njit(nogil=True, cache=True)
def _add(
    cp: int, starter: int, marks: np.ndarray, count: int, scratch: np.ndarray, out: np.ndarray, k: int, data: Any
) -> tuple[int, int, int]:
    """(starter, count of its marks, k) after one more code point without decomposition: a mark waits, a starter joins
    the one before or makes it go out."""
    cls = data.combining[cp] if cp < LIMIT else np.uint8(0)
    if cls:
        if count < MARKS:
            marks[count] = np.uint32(cls) << _CLASS | np.uint32(cp)
            count += 1
        return starter, count, k
    starter, count = _join(starter, marks, count, scratch, data)
    if count == 0:
        whole = _pair(starter, cp, data)
        if whole:
            return whole, 0, k
    return cp, 0, _write(out, k, starter, marks, count)


@numba.njit(nogil=True, cache=True)
def _piece(
    text: np.ndarray, i: int, end: int, out: np.ndarray, k: int, marks: np.ndarray, scratch: np.ndarray, data: Any
) -> tuple[int, int]:
    """Composes the character at `i` and the suspect ones behind it to out[k:]; (index of the next character, k)."""
    starter, count = _NONE, 0
    cp, i = decode(text, i)
    while True:
        at = np.int64(data.start[cp]) if cp < LIMIT else 0
        if at:
            for part in data.parts[at + 1 : at + 1 + np.int64(data.parts[at])]:
                starter, count, k = _add(np.int64(part), starter, marks, count, scratch, out, k, data)
        else:
            starter, count, k = _add(np.int64(cp), starter, marks, count, scratch, out, k, data)
        if i >= end:
            break
        cp, behind = decode(text, i)
        if cp >= LIMIT or not data.suspect[cp]:
            break
        i = behind
    starter, count = _join(starter, marks, count, scratch, data)
    return i, _write(out, k, starter, marks, count)


@numba.njit(inline="always")
def _copy_plain(data: Any, i: int, stop: int, out: Any, k: int) -> Any:
    """Copies data[i:stop] to out[k:], and says whether it has nothing but ASCII and syllables of Hangul. `stop` is no
    end of a document."""
    here = data[i:stop]
    after = data[i + 1 : stop + 1]
    there = out[k : k + stop - i]
    others = np.uint32(0)
    for j in range(here.size):  # without branches, so that it becomes vector instructions
        there[j] = here[j]
        others |= np.uint32(here[j] >= 0xC0) & ~syllable(here[j], after[j])
    return others == 0


@numba.njit(nogil=True, cache=True)
def _same(a: np.ndarray, b: np.ndarray) -> bool:
    if a.size != b.size:
        return False
    differ = np.uint8(0)
    for i in range(a.size):
        differ |= a[i] ^ b[i]
    return differ == 0


@numba.njit(nogil=True, cache=True)
def compose(text: np.ndarray, offsets: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(bytes, int32 offsets, bool changed) of the documents in NFC, with MARKS marks on a letter at most; `data` is
    `canonical()`."""
    count = len(offsets) - 1
    # No text grows to more than three times its bytes (Unicode, "Normalization FAQ"). Only what is written is resident.
    out = np.empty(3 * (np.int64(offsets[count]) - offsets[0]) + 4, np.uint8)
    ends = np.empty(count + 1, np.int32)
    changed = np.empty(count, np.bool_)
    marks, scratch = np.empty(MARKS, np.uint32), np.empty(MARKS, np.uint32)
    ends[0] = 0
    k = np.int64(0)
    for doc in range(count):
        begin, end = np.int64(offsets[doc]), np.int64(offsets[doc + 1])
        i, start = begin, k
        careful = i  # up to here, character by character
        while i < end:
            if i >= careful:
                stop = first_byte(text, i, min(i + _BLOCK, end - 1))
                if stop > i and _copy_plain(text, i, stop, out, k):
                    k += stop - i
                    i = stop
                    continue
                careful = max(stop, i + 1)
            cp, behind = decode(text, i)
            if cp < LIMIT and data.suspect[cp]:
                if k > start:  # what stands before can change, and is taken back
                    k = first_byte(out, start, k - 1)
                    i = first_byte(text, begin, i - 1)
                i, k = _piece(text, i, end, out, k, marks, scratch, data)
                continue
            for j in range(i, behind):
                out[k] = text[j]
                k += 1
            i = behind
        ends[doc + 1] = k
        changed[doc] = not _same(text[begin:end], out[start:k])
    return out[:k], ends, changed
