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
_CLASS, _CODE_POINT = np.uint32(21), np.uint32(0x1FFFFF)  # a mark is held with its class above its code point


# What `info` says of a code point: whether NFC text cannot hold it, or not everywhere (quick check No or Maybe, or a
# mark); its combining class; its row and its column in the table of pairs; where its full decomposition stands.
SUSPECT = 1
_COMBINING, _FIRST, _SECOND, _START = np.uint64(1), np.uint64(9), np.uint64(18), np.uint64(32)
_WIDTH = 128  # columns of the table of pairs


class Canonical(NamedTuple):
    """What composition needs to know. Two tables only, as numba counts references to each at each call."""

    info: np.ndarray  # uint64[LIMIT]
    values: np.ndarray  # uint32: the table of pairs, 0 for what does not compose; decompositions behind their lengths


@functools.cache
def canonical() -> Canonical:
    """The tables, from Python's `unicodedata`. Syllables of Hangul are left to arithmetic."""
    suspect, combining = np.zeros(LIMIT, bool), np.zeros(LIMIT, np.uint64)
    start, first, second = (np.zeros(LIMIT, np.uint64) for _ in range(3))
    suspect[0x1161:0x1176] = suspect[0x11A8:0x11C3] = True  # vowels and finals that compose to syllables
    parts, pairs = [0], {}
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
    table = np.zeros((len(firsts) + 1, _WIDTH), np.uint32)
    for (a, b), cp in pairs.items():
        table[int(first[a]), int(second[b])] = cp
    start[start > 0] += np.uint64(table.size)
    info = suspect | combining << _COMBINING | first << _FIRST | second << _SECOND | start << _START
    return Canonical(info, np.concatenate([table.ravel(), np.array(parts, np.uint32)]))


@numba.njit(inline="always")
def _pair(a: Any, b: Any, info: Any, values: Any) -> Any:
    """The code point that the two compose to, or 0."""
    whole = np.int64(0)
    if 0x1161 <= b <= 0x1175:
        if 0x1100 <= a <= 0x1112:
            whole = 0xAC00 + (a - 0x1100) * 588 + (b - 0x1161) * 28
    elif 0x11A8 <= b <= 0x11C2:
        if 0xAC00 <= a <= 0xD7A3 and (a - 0xAC00) % 28 == 0:
            whole = a + b - 0x11A7
    elif 0 <= a < LIMIT and b < LIMIT:
        row = np.int64(info[a] >> _FIRST & np.uint64(0x1FF))
        whole = np.int64(values[row * _WIDTH + np.int64(info[b] >> _SECOND & np.uint64(0x7F))])
    return whole


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
def _join(starter: int, marks: Any, count: int, scratch: Any, info: Any, values: Any) -> tuple[int, int]:
    """(`starter` with the marks that compose with it, how many are left): these are put in order in marks[:left]."""
    _order(marks, count, scratch)
    left = 0
    last = np.uint32(0)
    for i in range(count):
        cls = marks[i] >> _CLASS
        if starter != _NONE and last < cls:  # else one of the same class stands between
            whole = _pair(starter, np.int64(marks[i] & _CODE_POINT), info, values)
            if whole:
                starter = whole
                continue
        marks[left] = marks[i]
        left += 1
        last = cls
    return starter, left


@numba.njit(nogil=True, cache=True)
def _careful(
    text: Any, i: int, stop: int, end: int, out: Any, k: int, marks: Any, scratch: Any, info: Any, values: Any
) -> tuple[int, int]:
    """Composes text[i:stop], and behind it what belongs to its last character, to out[k:]; (index in `text`, k) after.

    A starter is held with the marks behind it until the next starter comes that does not compose with it.
    """
    starter, count = np.int64(_NONE), np.int64(0)
    as_it_stands = False  # the starter is not decomposed, since nothing suspect is behind it yet
    while i <= end:
        cp, behind = np.int64(_NONE), i + 1  # the end of the document makes all go out
        props = np.uint64(0)
        if i < end:
            code, behind = decode(text, i)
            cp = np.int64(code)
            if cp < LIMIT:
                props = info[cp]
        suspect = bool(props & SUSPECT)
        for turn in range(0 if suspect and as_it_stands else 1, 2):
            one = cp if turn else starter
            if turn == 0:
                starter = np.int64(_NONE)
            at = np.int64((info[one] if 0 <= one < LIMIT else np.uint64(0)) >> _START) if suspect else np.int64(0)
            for part in range(at, at + (np.int64(values[at]) if at else 1)):
                if at:
                    one = np.int64(values[part + 1])
                cls = info[one] >> _COMBINING & np.uint64(0xFF) if 0 <= one < LIMIT else np.uint64(0)
                if cls:  # a mark waits for the others
                    if count < MARKS:
                        marks[count] = np.uint32(cls) << _CLASS | np.uint32(one)
                        count += 1
                    continue
                if count == 1 and starter != _NONE:  # a call costs as much as ten characters
                    whole = _pair(starter, np.int64(marks[0] & _CODE_POINT), info, values)
                    if whole:
                        starter, count = whole, np.int64(0)
                elif count:
                    starter, count = _join(starter, marks, count, scratch, info, values)
                if suspect and count == 0:
                    whole = _pair(starter, one, info, values)
                    if whole:
                        starter = whole
                        continue
                if starter != _NONE:
                    k = encode(out, k, starter)
                for m in range(count):
                    k = encode(out, k, np.int64(marks[m] & _CODE_POINT))
                starter, count = one, np.int64(0)
        as_it_stands = not suspect
        if as_it_stands and i >= stop:
            break
        i = behind
    return min(i, end), k


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
def compose(text: np.ndarray, offsets: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """(bytes, int32 offsets) of the documents in NFC, with MARKS marks on a letter at most; `data` is
    `canonical()`."""
    count = len(offsets) - 1
    # No text grows to more than three times its bytes (Unicode, "Normalization FAQ"). Only what is written is resident.
    out = np.empty(3 * (np.int64(offsets[count]) - offsets[0]) + 4, np.uint8)
    ends = np.empty(count + 1, np.int32)
    info, values = data
    marks, scratch = np.empty(MARKS, np.uint32), np.empty(MARKS, np.uint32)
    ends[0] = 0
    k = np.int64(0)
    for doc in range(count):
        begin, end = np.int64(offsets[doc]), np.int64(offsets[doc + 1])
        i, start = begin, k
        copied = False
        while i < end:
            stop = first_byte(text, i, min(i + _BLOCK, end - 1))
            if stop > i and _copy_plain(text, i, stop, out, k):
                k += stop - i
                i = stop
                copied = True
                continue
            stop = max(stop, i + 1)
            if copied:  # the last character may yet change, and is taken back
                copied = False
                k = first_byte(out, start, k - 1)
                i = first_byte(text, begin, i - 1)
            i, k = _careful(text, i, stop, end, out, k, marks, scratch, info, values)
        ends[doc + 1] = k
    return out[:k], ends
