"""From text to shingles: the letters and digits of the casefolded text, in a short one its signs too, and the hashes of
the n-grams of these.

Code points travel as a CSR pair (`codepoints` uint32, `starts` int64[docs + 1]): document d owns
`codepoints[starts[d]:starts[d + 1]]`. Two documents are compared by the sets of their n-grams; a text shorter than n is
one shingle, an empty one has none.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any

import numba
import numpy as np

from malmungchi.transforms.kernels.utf8 import decode

# No letter or digit lies above the last block of Han ideographs.
_LIMIT = 0x323B0
# Entries of the fold table with this bit hold an index into the expansions instead of a code point.
_MANY = np.uint32(1 << 31)

BLOCK = 1024  # shingles hashed in one go: 8 KB, which stays in the first-level cache

# Texts of fewer letters and digits keep their signs. At a threshold of 0.8 and 5-grams, one sign that differs tells two
# texts of up to some 50 letters apart, and two signs those of up to some 100; in longer ones they hardly count.
SHORT = 100

# What a character that is neither letter nor digit can be: a sign, or one in front of a digit or behind a letter only.
_SIGN, _BEFORE_DIGIT, _BEHIND_LETTER = 1, 2, 3

_SEED = np.uint64(0x2545F4914F6CDD1D)
_K1 = np.uint64(0x9FB21C651E98DF25)
_K2 = np.uint64(0xD6E8FEB86659FD93)


PRIVATE_USE = (0xE000, 0xF900)  # letters to those who use them, such as old Hangul in Hanyang's fonts


@functools.cache
def sign_table() -> np.ndarray:
    """uint8[_LIMIT]: which characters change what is said: currency and mathematical signs, arrows, emoji, `%`; a
    minus, a point, a colon, a slash or a tilde before a digit (-5, 1.5, 2:1, 3/4, 5~7); `#` behind a letter (C#).

    Signs of drawing (boxes, blocks) and marks that only divide or frame text are none.
    """
    table = np.zeros(_LIMIT, np.uint8)
    for c in range(_LIMIT):
        if unicodedata.category(chr(c)) in ("Sm", "Sc", "So"):
            table[c] = _SIGN
    table[0x2500:0x25A0] = table[ord("|")] = 0
    table[[ord(c) for c in "%‰"]] = _SIGN
    table[[ord(c) for c in ".:/~-‐‑‒–—〜～"]] = _BEFORE_DIGIT
    table[ord("#")] = _BEHIND_LETTER
    return table


@functools.cache
def fold_table() -> tuple[np.ndarray, np.ndarray]:
    """(table, expansions): what each code point contributes, by Python's own `str.casefold` and `str.isalnum`; one of
    PRIVATE_USE contributes itself.

    `table[c]` is 0 for nothing, a code point, or `_MANY | i` where `expansions[i]` counts the code points behind it.
    """
    table = np.zeros(_LIMIT, np.uint32)
    expansions: list[int] = []
    for c in range(_LIMIT):
        kept = [ord(f) for f in chr(c).casefold() if f.isalnum()]
        if len(kept) == 1:
            table[c] = kept[0]
        elif kept:
            table[c] = int(_MANY) | len(expansions)
            expansions += [len(kept), *kept]
    table[slice(*PRIVATE_USE)] = np.arange(*PRIVATE_USE)
    return table, np.array(expansions, np.uint32)


@numba.njit(cache=True, nogil=True)
def _fold_letters(data: Any, i: Any, end: int, table: Any, expansions: Any, out: Any, k: Any) -> Any:
    """Writes the fold of data[i:end] to out[k:]; the index behind it."""
    while i < end:
        b = data[i]
        if b < 0x80:
            out[k] = table[b]
            k += np.int64(out[k] != 0)
            i += 1
            continue
        c, i = decode(data, i)
        if np.uint32(c - np.uint32(0xAC00)) < np.uint32(11172):  # a Hangul syllable is its own fold
            out[k] = c
            k += 1
        elif c < _LIMIT:
            f = table[c]
            if f < _MANY:
                out[k] = f
                k += np.int64(f != 0)
            else:
                e = np.int64(f ^ _MANY)
                for j in range(e + 1, e + 1 + np.int64(expansions[e])):
                    out[k] = expansions[j]
                    k += 1
    return k


@numba.njit(cache=True, nogil=True)
def _fold_signs(data: Any, i: Any, end: int, table: Any, expansions: Any, signs: Any, out: Any, k: Any) -> Any:
    """As `_fold_letters`, with the signs."""
    letter = False
    while i < end:
        c, behind = decode(data, i)
        sign = signs[c] if c < _LIMIT else np.uint8(0)
        if sign == 0:
            f = table[c] if c < _LIMIT else np.uint32(0)
            if f < _MANY:
                out[k] = f
                k += np.int64(f != 0)
            else:
                k = _fold_letters(data, i, behind, table, expansions, out, k)
            letter = f != 0
        else:
            digit = behind < end and 48 <= data[behind] <= 57
            if sign == _SIGN or (sign == _BEFORE_DIGIT and digit) or (sign == _BEHIND_LETTER and letter):
                out[k] = c
                k += 1
            letter = False
        i = behind
    return k


@numba.njit(cache=True, nogil=True)
def _fold(data: Any, offsets: Any, table: Any, expansions: Any, signs: Any, short: int, out: Any, starts: Any) -> Any:
    k = np.int64(0)
    for d in range(starts.size - 1):
        starts[d] = k
        i, end = np.int64(offsets[d]), np.int64(offsets[d + 1])
        k = _fold_letters(data, i, end, table, expansions, out, k)
        if k - starts[d] < short:
            k = _fold_signs(data, i, end, table, expansions, signs, out, starts[d])
    starts[starts.size - 1] = k
    return k


def fold(data: np.ndarray, offsets: np.ndarray, short: int = SHORT) -> tuple[np.ndarray, np.ndarray]:
    """(codepoints, starts) of the documents of a string column: `c for c in text.casefold() if c.isalnum()`, characters
    of private use, and in documents of fewer than `short` of these the signs too.

    `data` is valid UTF-8 in NFC, `offsets` int32[docs + 1]. No fold has more letters than its source has bytes, so the
    buffer is four bytes for each byte of text; only what is written becomes resident.
    """
    starts = np.empty(len(offsets), np.int64)
    out = np.empty(int(offsets[-1]) - int(offsets[0]) + 1, np.uint32)
    size = _fold(data, offsets, *fold_table(), sign_table(), short, out, starts)
    return out[:size], starts


@numba.njit(inline="always")
def shingle_count(size: Any, n: Any) -> Any:
    """Number of n-grams of a text of `size` code points, repeated ones counted."""
    return max(size - n + 1, min(size, 1))


@numba.njit(nogil=True)
def shingle_block(codepoints: Any, start: Any, end: Any, n: Any, first: Any, out: Any) -> Any:
    """Writes the 64-bit hashes of shingles `first`, `first + 1` … of the text at [start, end) and returns how many.

    At most `BLOCK`; never zero as a value. Three code points of 21 bits are absorbed at a time by xor, multiplication
    and shift, each step a bijection; no code point is zero, so that short texts need no length of their own.
    """
    size = min(np.int64(BLOCK), shingle_count(end - start, n) - first)
    if size <= 0:
        return np.int64(0)
    n = min(n, end - start)
    out[:size] = _SEED
    for j in range(0, n, 3):
        # Slices, because an index that may be negative keeps the loop from being vectorised.
        c0 = codepoints[start + first + j :]
        if n - j >= 3:
            c1, c2 = c0[1:], c0[2:]
            for i in range(size):
                word = np.uint64(c0[i]) | np.uint64(c1[i]) << np.uint64(21) | np.uint64(c2[i]) << np.uint64(42)
                h = (out[i] ^ word) * _K1
                out[i] = h ^ h >> np.uint64(32)
        elif n - j == 2:
            c1 = c0[1:]
            for i in range(size):
                h = (out[i] ^ (np.uint64(c0[i]) | np.uint64(c1[i]) << np.uint64(21))) * _K1
                out[i] = h ^ h >> np.uint64(32)
        else:
            for i in range(size):
                h = (out[i] ^ np.uint64(c0[i])) * _K1
                out[i] = h ^ h >> np.uint64(32)
    for i in range(size):
        h = out[i] * _K2
        h ^= h >> np.uint64(29)
        out[i] = h | np.uint64(h == 0)
    return size


@numba.njit(nogil=True)
def distinct(codepoints: Any, start: Any, end: Any, n: Any, block: Any, table: Any, out: Any) -> Any:
    """(how many, mask): writes the distinct shingle hashes of one text to `out`, in order of appearance.

    `table[:mask + 1]` is left as an open-addressing set of them (0 is free, linear probing from `hash & mask`), at most
    half full; `table` must have `table_size` of the text's shingles.
    """
    total = shingle_count(end - start, n)
    cap = np.int64(16)
    while cap < 2 * total:
        cap *= 2
    mask = np.uint64(cap - 1)
    table[:cap] = 0
    count, first = np.int64(0), np.int64(0)
    while first < total:
        size = shingle_block(codepoints, start, end, n, first, block)
        first += size
        for i in range(size):
            h = block[i]
            slot = h & mask
            while table[slot] != 0 and table[slot] != h:
                slot = (slot + np.uint64(1)) & mask
            if table[slot] == 0:
                table[slot] = h
                out[count] = h
                count += 1
    return count, mask


@numba.njit(inline="always")
def contains(table: Any, mask: Any, h: Any) -> Any:
    """Whether the set that `distinct` left in `table` holds `h`."""
    slot = h & mask
    while table[slot] != 0 and table[slot] != h:
        slot = (slot + np.uint64(1)) & mask
    return table[slot] == h


def table_size(longest: int) -> int:
    """Slots that `distinct` needs for a text of `longest` code points."""
    return max(16, 1 << (2 * max(1, longest) - 1).bit_length())


@numba.njit(cache=True, nogil=True)
def _set_sizes(codepoints: Any, starts: Any, n: Any, table: Any, own: Any, out: Any) -> None:
    block = np.empty(BLOCK, np.uint64)
    for d in range(starts.size - 1):
        out[d], _ = distinct(codepoints, starts[d], starts[d + 1], n, block, table, own)


def set_sizes(codepoints: np.ndarray, starts: np.ndarray, n: int) -> np.ndarray:
    """int64[docs]: how many distinct shingles each document has."""
    longest = int(np.diff(starts).max(initial=1))
    out = np.empty(len(starts) - 1, np.int64)
    _set_sizes(codepoints, starts, n, np.empty(table_size(longest), np.uint64), np.empty(longest, np.uint64), out)
    return out
