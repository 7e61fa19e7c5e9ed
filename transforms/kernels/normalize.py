"""One pass that cleans documents and tells which of them have to be composed first."""

from __future__ import annotations

import functools
import unicodedata
from typing import Any

import numba
import numpy as np

from malmungchi.transforms.kernels.compose import LIMIT, SUSPECT, canonical
from malmungchi.transforms.kernels.utf8 import decode, encode, first_byte, syllable

# Classes of code points. Everything not named is copied.
COPY, BLANK, NEWLINE, RETURN, DELETE, HALFWIDTH, DOT, LEAD_FILLER, VOWEL_FILLER, JOINER, SINGLE = range(11)
# Set beside the class where NFC text cannot hold a code point, or not everywhere, and no table says what it becomes.
NFC_SUSPECT = 0x80

_FILLERS = [0x3164, 0xFFA0]
_ZERO_WIDTH = [
    0x00AD, 0x180E, 0x200B, 0x200C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2065),
    *range(0x2066, 0x2070), 0xFEFF,
]  # fmt: skip
_CONTROL = [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0), *range(0xFFF9, 0xFFFC)]
_BLANKS = [0x09, 0x20, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000]
_NEWLINES = [0x0A, 0x85, 0x2028, 0x2029]

_BLOCK = 128  # bytes that are looked at at once

# What `clean` says of a document: it is to be composed first, and nothing of it is written; or a dot stands before
# something that goes, and another look may see it between words.
COMPOSE, AGAIN = 1, 2


@functools.cache
def suspects() -> np.ndarray:
    """bool[LIMIT]: code points that NFC text cannot hold, or not everywhere."""
    suspect: np.ndarray = canonical().info & np.uint64(SUSPECT) > 0
    return suspect


@functools.cache
def singles() -> np.ndarray:
    """uint32[LIMIT]: the one code point that a code point is in NFC where it is another one, wherever it stands (the
    compatibility ideographs, of which KS X 1001 has 268, Ω, K …); 0 for all others."""
    info, suspect = canonical().info, suspects()
    found = np.zeros(LIMIT, np.uint32)
    for cp in np.flatnonzero(suspect & (info >> np.uint64(32) > 0)):
        whole = unicodedata.normalize("NFC", chr(cp))
        # What may compose with others, or takes more bytes, is left to `compose`.
        fits = len(whole.encode()) <= len(chr(cp).encode())
        if len(whole) == 1 and whole != chr(cp) and not suspect[ord(whole)] and fits:
            found[cp] = ord(whole)
    return found


@functools.cache
def table(fillers: bool, zero_width: bool, control: bool, halfwidth_jamo: bool, whitespace: bool) -> np.ndarray:
    """uint8 class of each code point under these settings."""
    classes = np.zeros(0x110000, np.uint8)
    if control:
        classes[_CONTROL] = DELETE
    if whitespace:
        classes[_BLANKS] = BLANK
        classes[_NEWLINES] = NEWLINE
        classes[0x0D] = RETURN
        classes[[0x0B, 0x0C]] = NEWLINE
    if zero_width:
        classes[_ZERO_WIDTH] = DELETE
        classes[0x200D] = JOINER
    if fillers:
        classes[_FILLERS] = DELETE
        classes[0x115F], classes[0x1160] = LEAD_FILLER, VOWEL_FILLER
    if halfwidth_jamo:
        classes[0xFFA1:0xFFDD] = HALFWIDTH
        classes[0x318D] = DOT
    alone = (singles() > 0) & (classes[:LIMIT] == COPY)
    classes[:LIMIT][alone] = SINGLE
    classes[:LIMIT][suspects() & ~alone] |= NFC_SUSPECT
    return classes


@numba.njit(inline="always")
def _compatibility_jamo(cp: Any) -> Any:
    """U+FFA1..FFDC to U+3131..3163; what Unicode left unassigned between them stays."""
    if cp <= 0xFFBE:
        return cp - 0xFFA1 + 0x3131
    for first, last, target in (
        (0xFFC2, 0xFFC7, 0x314F),
        (0xFFCA, 0xFFCF, 0x3155),
        (0xFFD2, 0xFFD7, 0x315B),
        (0xFFDA, 0xFFDC, 0x3161),
    ):
        if first <= cp <= last:
            return cp - first + target
    return cp


@numba.njit(inline="always")
def _separable(cp: Any) -> Any:
    """Whether ㆍ beside this is a dot between words and not a vowel among jamo."""
    return (
        0xAC00 <= cp <= 0xD7A3
        or 0x4E00 <= cp <= 0x9FFF
        or 0x30 <= cp <= 0x39
        or 0x41 <= cp <= 0x5A
        or 0x61 <= cp <= 0x7A
    )


@numba.njit(inline="always")
def _pictograph(cp: Any) -> Any:
    """Whether a zero-width joiner beside this can hold an emoji sequence together."""
    return 0x1F000 <= cp <= 0x1FAFF or 0x2190 <= cp <= 0x2BFF or cp == 0xFE0F or cp == 0x3030


@numba.njit(inline="always")
def _copy_clean(data: Any, i: int, stop: int, out: Any, k: int) -> Any:
    """Copies data[i:stop] to out[k:], and says whether that is all there is to do: no character but syllables of
    Hangul, ASCII that is neither a control character nor a line end behind a blank. `stop` is no end of a document.
    """
    here = data[i:stop]
    after = data[i + 1 : stop + 1]
    there = out[k : k + stop - i]
    trouble = np.uint32(0)
    # Without branches, so that it becomes vector instructions.
    for j in range(here.size):
        b = np.uint32(here[j])
        following = np.uint32(after[j])
        there[j] = here[j]
        trouble |= np.uint32(b >= np.uint32(0xC0)) & ~syllable(b, following)
        trouble |= np.uint32(b < np.uint32(0x20)) & np.uint32(b != np.uint32(0x0A)) & np.uint32(b != np.uint32(0x09))
        trouble |= np.uint32(b == np.uint32(0x7F))
        blank = np.uint32(b == np.uint32(0x20)) | np.uint32(b == np.uint32(0x09))
        trouble |= blank & np.uint32(following == np.uint32(0x0A))
    return trouble == 0


@numba.njit(nogil=True, cache=True)
def _line_of(out: Any, first: int, k: int, solid: int, line: int) -> Any:
    """(`solid`, `line`) after out[first:k] was written by `_copy_clean`: what lies behind its last character that is
    neither blank nor line end, and behind its last line end; as they were if it has none."""
    while k > first and (out[k - 1] == 0x20 or out[k - 1] == 0x09):
        k -= 1
    if k > first and out[k - 1] == 0x0A:
        line = k
        while k > first and out[k - 1] == 0x0A:
            k -= 1
    return (k if k > first else solid), line


@numba.njit(nogil=True, cache=True)
def _between(cls: int, cp: int, previous: int, following: int) -> Any:
    """What a character becomes whose neighbours decide, or that is half-width jamo; 0 where it goes."""
    if cls == HALFWIDTH:
        return np.uint32(_compatibility_jamo(cp))
    if cls == DOT:
        return np.uint32(0xB7) if _separable(previous) and _separable(following) else cp
    if cls == LEAD_FILLER:
        stays = 0x1161 <= following <= 0x11A7 or 0xD7B0 <= following <= 0xD7C6
    elif cls == VOWEL_FILLER:
        stays = 0x1100 <= previous <= 0x115E or 0xA960 <= previous <= 0xA97C
    else:
        stays = _pictograph(previous) and _pictograph(following)
    return cp if stays else np.uint32(0)


@numba.njit(cache=True, nogil=True)
def clean(
    data: np.ndarray, offsets: np.ndarray, classes: np.ndarray, single: np.ndarray, composed: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(bytes, int32 offsets, uint8 doubt) of the cleaned documents; doubt[i] is 0, COMPOSE (never if `composed`: they
    are in NFC) or AGAIN. `classes` is a `table`, `single` is `singles()`."""
    count = len(offsets) - 1
    # The tables of ASCII and of everything else are read apart: the first stays in the nearest cache.
    ascii_class = classes[:128].copy()
    out = np.empty(offsets[count] - offsets[0] + 4, np.uint8)
    ends = np.empty(count + 1, np.int32)
    doubt = np.empty(count, np.uint8)
    ends[0] = 0
    k = np.int64(0)
    for doc in range(count):
        i, end = np.int64(offsets[doc]), np.int64(offsets[doc + 1])
        doubt[doc] = 0
        start = k
        solid = k  # behind the last character that is neither blank nor line end
        line = k  # behind the last line end
        previous = np.uint32(0)  # last code point written
        careful = i  # up to here, character by character
        while i < end:
            if i >= careful:
                stop = first_byte(data, i, min(i + _BLOCK, end - 1))
                if stop > i and data[i] != 0x0A and _copy_clean(data, i, stop, out, k):
                    previous = decode(data, first_byte(data, i, stop - 1))[0]
                    solid, line = _line_of(out, k, k + stop - i, solid, line)
                    k += stop - i
                    i = stop
                    continue
                careful = max(stop, i + 1)
            b = data[i]
            if b < 0x80:
                cls = ascii_class[b]
                if cls == COPY:
                    out[k] = b
                    k += 1
                    solid = k
                    previous = np.uint32(b)
                    i += 1
                    continue
                if b == 0x20 and cls == BLANK:
                    out[k] = b
                    k += 1
                    previous = np.uint32(b)
                    i += 1
                    continue
                cp = np.uint32(b)
                i += 1
            else:
                start_of_character = i
                cp, i = decode(data, i)
                if 0xAC00 <= cp <= 0xD7A3:
                    out[k] = b
                    out[k + 1] = data[start_of_character + 1]
                    out[k + 2] = data[start_of_character + 2]
                    k += 3
                    solid = k
                    previous = cp
                    continue
                cls = classes[cp]
                if cls & NFC_SUSPECT:
                    if not composed:
                        doubt[doc] = COMPOSE
                        break
                    cls &= 0x7F
            if cls == COPY or cls == SINGLE:
                cp = cp if cls == COPY else single[cp]
                k = encode(out, k, cp)
                solid = k
                previous = cp
            elif cls == BLANK:
                k = encode(out, k, cp)
                previous = cp
            elif cls == NEWLINE or cls == RETURN:
                if cls == RETURN and i < end and data[i] == 0x0A:
                    continue  # the line feed behind it ends the line
                k = max(solid, line)
                if solid == start:
                    k = line = start  # no blank lines before the first word
                    previous = np.uint32(0)
                    continue
                out[k] = 0x0A
                k += 1
                line = k
                previous = np.uint32(0x0A)
            elif cls == DELETE:
                continue
            else:
                following = np.uint32(0)
                if i < end:
                    following = decode(data, i)[0]
                    next_class = classes[following]
                    if cls == DOT and (next_class == DELETE or LEAD_FILLER <= next_class <= JOINER):
                        doubt[doc] = AGAIN
                    elif next_class == SINGLE:
                        following = single[following]
                cp = _between(np.int64(cls), cp, previous, following)
                if cp == 0:
                    continue
                k = encode(out, k, cp)
                solid = k
                previous = cp
        if doubt[doc] == COMPOSE:
            k = start
        elif classes[0x20] == BLANK:
            k = solid
        ends[doc + 1] = k
    return out[:k], ends, doubt
