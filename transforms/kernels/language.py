"""Counts of letters by script, and of the prose among them, over UTF-8 buffers."""

from __future__ import annotations

import functools
import unicodedata
from typing import Any

import numba
import numpy as np

from transforms.kernels.utf8 import decode

# Scripts told apart. The order is that of the columns of `counts`; OTHER is any letter of a script not named here.
SCRIPTS = (
    "none", "latin", "hangul", "han", "kana", "cyrillic", "arabic", "devanagari", "bengali", "tamil", "telugu", "malayalam",
    "thai", "lao", "khmer", "myanmar", "greek", "hebrew", "georgian", "armenian", "ethiopic", "other",
)  # fmt: skip
NONE, LATIN, HANGUL, HAN, KANA = range(5)
OTHER = len(SCRIPTS) - 1
CHARS = NONE  # that column of `counts` holds the code points of a document, letters or not
_HAN_FROM = 0x3400
_END = 0x323B0  # the last Han ideograph of Unicode 15.1, and so the last letter
_BLOCK = 64  # bytes counted at a time
_FILLERS = (0x115F, 0x1160, 0x3164, 0xFFA0)


@functools.lru_cache(maxsize=1)
def script_table() -> np.ndarray:
    """uint8[0x323B0]: index into SCRIPTS of each code point; 0 where it is not a letter.

    Letters are Unicode's (category L*). Hangul is syllables and jamo of all kinds, without the fillers, which are
    letters in Unicode and blanks on paper.
    """
    table = np.zeros(_END, np.uint8)
    index = {name.upper(): i for i, name in enumerate(SCRIPTS)}
    index |= {"CJK": HAN, "HIRAGANA": KANA, "KATAKANA": KANA, "BOPOMOFO": HAN, "FULLWIDTH": LATIN}
    for cp in (*range(_HAN_FROM), *range(0xA000, 0xAC00), *range(0xD7A4, 0xD800), *range(0xF900, 0x20000)):
        char = chr(cp)
        if unicodedata.category(char)[0] == "L":
            words = unicodedata.name(char, "").split(" ", 2)
            table[cp] = index.get(words[1] if words[0] == "HALFWIDTH" else words[0], OTHER)
    for start, end in ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0x20000, _END)):
        table[start:end] = HAN
    table[0xAC00:0xD7A4] = HANGUL
    table[list(_FILLERS)] = NONE
    return table


@numba.njit(inline="always")
def _flags(b: Any, after: Any) -> Any:
    """(starts a character, ASCII letter, Hangul by its first two bytes, anything else to look up) of a byte.

    U+D780..U+D7FF, where syllables end and old jamo begin, is looked up. Without branches: which byte follows is
    hard to foresee in Korean text, and a wrong guess costs more than all of this.
    """
    hangul = (b == 0xEB) | (b == 0xEC) | (b == 0xEA) & (after >= 0xB0) | (b == 0xED) & (after < 0x9E)
    return (b & 0xC0) != 0x80, ((b | 32) >= 97) & ((b | 32) <= 122), hangul, (b >= 0xC0) & (not hangul)


@numba.njit(cache=True, nogil=True)
def count_scripts(data: np.ndarray, offsets: np.ndarray, table: np.ndarray, width: int) -> np.ndarray:
    """int32[rows, width]: letters of each script per document; column 0 holds its code points.

    `data` (uint8) and `offsets` (int32[rows + 1]) are the buffers of a string column of valid UTF-8, `table` is
    `script_table()`, `width` is len(SCRIPTS).
    """
    rows = len(offsets) - 1
    counts = np.zeros((rows, width), np.int32)
    last = np.uint64(len(data) - 1)
    one = np.uint64(1)
    for row in range(rows):
        i, end = np.uint64(offsets[row]), np.uint64(offsets[row + 1])
        chars = np.int64(0)
        latin = np.int64(0)
        hangul = np.int64(0)
        while i < end:
            stop = min(i + np.uint64(_BLOCK), end)
            c = np.uint32(0)
            a = np.uint32(0)
            h = np.uint32(0)
            others = np.uint32(0)
            for k in range(i, stop):
                start, ascii_letter, syllable, other = _flags(data[k], data[min(k + one, last)])
                c += np.uint32(start)
                a += np.uint32(ascii_letter)
                h += np.uint32(syllable)
                others += np.uint32(other)
            chars += c
            latin += a
            hangul += h
            if others:
                for k in range(i, stop):
                    if data[k] >= 0xC0 and _flags(data[k], data[k + one])[3]:
                        cp, _ = decode(data, np.int64(k))
                        if cp < len(table):
                            counts[row, table[cp]] += 1
            i = stop
        counts[row, 0] = chars
        counts[row, 1] += latin
        counts[row, 2] += hangul
    return counts


# What a byte can be in a token of prose; see _token_kind.
_LOWER, _UPPER, _JOIN, _TRIM, _DIGIT, _CODE, _WIDE = range(1, 8)


@functools.lru_cache(maxsize=1)
def byte_table() -> np.ndarray:
    """uint8[256]: what each byte can be in a token of prose (a letter, a mark around words, a sign of code …)."""
    table = np.full(256, _CODE, np.uint8)
    table[0x80:] = _WIDE
    table[ord("a") : ord("z") + 1] = _LOWER
    table[ord("A") : ord("Z") + 1] = _UPPER
    table[ord("0") : ord("9") + 1] = _DIGIT
    table[[ord(c) for c in "'-"]] = _JOIN
    table[[ord(c) for c in "\"()[]*_,.:!?#|~"]] = _TRIM
    return table


@numba.njit(inline="always")
def _is(data: Any, i: int, end: int, text: Any) -> Any:
    """Whether the bytes at `i` are the lower-case `text`, whatever their case."""
    if i + len(text) > end:
        return False
    for k in range(len(text)):
        b = data[i + k]
        if b != text[k] and not (65 <= b <= 90 and b + 32 == text[k]):
            return False
    return True


@numba.njit(inline="always")
def _find(data: Any, i: int, end: int, text: Any) -> Any:
    """Index behind the next `text`, or -1."""
    while i + len(text) <= end:
        if data[i] == text[0] and _is(data, i, end, text):
            return i + len(text)
        i += 1
    return -1


@numba.njit(inline="always")
def _byte_in_line(data: Any, i: int, end: int, byte: int) -> Any:
    """Index of the next `byte` before the line's end, or -1."""
    while i < end and data[i] != 10:
        if data[i] == byte:
            return i
        i += 1
    return -1


_FRONT = 16384  # bytes; longer front matter is none
_TAG = 4096  # bytes; a longer tag is none


@numba.njit(nogil=True, cache=True)
def _skip_tag(data: np.ndarray, i: int, end: int) -> int:
    """Index behind the tag, comment, or element of code that begins with the `<` at `i`; `i` if it is none."""
    if _is(data, i, end, b"<!--"):
        close = _find(data, i + 4, end, b"-->")
        return close if close >= 0 else i
    if i + 1 >= end:
        return i
    b = data[i + 1] | 32
    if not (97 <= b <= 122 or data[i + 1] == 47 or data[i + 1] == 33):
        return i
    limit = min(end, i + _TAG)
    k = i + 1
    while k < limit and data[k] != 62:
        if data[k] == 60:
            return i
        k += 1
    if k == limit:
        return i
    k += 1
    close = -1
    if _is(data, i + 1, end, b"script"):
        close = _find(data, k, end, b"</script>")
    elif _is(data, i + 1, end, b"style"):
        close = _find(data, k, end, b"</style>")
    elif _is(data, i + 1, end, b"pre>") or _is(data, i + 1, end, b"pre "):
        close = _find(data, k, end, b"</pre>")
    elif _is(data, i + 1, end, b"code>") or _is(data, i + 1, end, b"code "):
        close = _find(data, k, end, b"</code>")
    return close if close >= 0 else k


@numba.njit(nogil=True, cache=True)
def _token_kind(data: np.ndarray, start: int, end: int, kinds: np.ndarray) -> int:
    """Of the token `data[start:end]`: 0 marks and numbers, 1 a word, 2 code, 3 it has characters beyond ASCII."""
    for k in range(start, end):
        if kinds[data[k]] == _WIDE:
            return 3
    while start < end and (kinds[data[start]] == _TRIM or kinds[data[start]] == _JOIN):
        start += 1
    while end > start and (kinds[data[end - 1]] == _TRIM or kinds[data[end - 1]] == _JOIN):
        if data[end - 1] == 41 and data[end - 2] == 40:  # a call: ()
            return 2
        end -= 1
    if start == end:
        return 0
    digits = True
    for k in range(start, end):
        if kinds[data[k]] != _DIGIT:
            digits = False
    if digits:
        return 0
    for k in range(start, end):
        kind = kinds[data[k]]
        if kind == _TRIM or kind == _CODE or kind == _DIGIT:
            return 2
        if kind == _UPPER and k > start and kinds[data[k - 1]] == _LOWER:  # camelCase
            return 2
    return 1


@numba.njit(nogil=True, cache=True)
def _prose_line(out: np.ndarray, start: int, end: int, kinds: np.ndarray) -> tuple[int, int, int]:
    """Drops the tokens of code from the line `out[start:end]`, or all of it if it is code.

    Gives the line's new end, the number of letters dropped (all ASCII) and of tokens beyond ASCII (they always stay).
    """
    words = 0
    code = 0
    wide = 0
    kept = 0
    dropped = 0
    comment = False
    k = start
    to = start
    while k < end:
        while k < end and out[k] <= 32:
            k += 1
        token = k
        while k < end and out[k] > 32:
            k += 1
        if token == k:
            break
        kind = _token_kind(out, token, k, kinds)
        if out[token] == 47 and k - token >= 2 and (out[token + 1] == 47 or out[token + 1] == 42):
            comment = True  # of code: // or /*
        if comment and kind < 3:
            kind = 2
        words += kind == 1
        code += kind == 2
        wide += kind == 3
        if kind == 1:
            kept += k - token
        elif kind == 2:
            for j in range(token, k):
                dropped += kinds[out[j]] == _LOWER or kinds[out[j]] == _UPPER
        if kind == 1 or kind == 3:
            for j in range(token, k):
                out[to] = out[j]
                to += 1
            out[to] = 32
            to += 1
    if wide == 0 and code * 3 >= words:
        return start, dropped + kept, wide
    return to, dropped, wide


@numba.njit(cache=True, nogil=True)
def prose(
    data: np.ndarray, offsets: np.ndarray, rows: np.ndarray, kinds: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The prose of some documents, each up to the line in which it reaches `limit` bytes.

    Gives the (uint8, int32[len(rows) + 1]) buffers of a new string column, and for each document (int32[len(rows)])
    the letters in the code that was not marked as such: fences and tags mark it, being a token like foo_bar does not.

    Left out are ASCII lines of front matter, fenced and inline code, tags, comments and elements of code of HTML, targets of links, addresses,
    entities, tokens of code (foo_bar, camelCase, a=b, f()), and lines that are mostly such tokens. `rows` says
    which documents, `kinds` is `byte_table()`. A token with a character beyond ASCII is never code.
    """
    size = np.int64(8)
    for row in rows:
        size += offsets[row + 1] - offsets[row] + 2
    out = np.empty(size, np.uint8)
    unmarked = np.zeros(len(rows), np.int32)
    ends = np.zeros(len(rows) + 1, np.int32)
    marks = np.zeros(256, np.bool_)  # bytes with which something to leave out can begin
    for b in (10, 38, 60, 93, 96, 104, 123):  # \n & < ] ` h {
        marks[b] = True
    to = 0
    for n in range(len(rows)):
        i, end = np.int64(offsets[rows[n]]), np.int64(offsets[rows[n] + 1])
        fence = 0
        front = np.int64(-1)
        if _is(data, i, end, b"---\n"):
            front = _find(data, i + 3, min(end, i + _FRONT), b"\n---\n")
        while i < end and to - ends[n] < limit:
            # One line of input, or several where a tag crosses lines.
            first = i
            while first < end and (data[first] == 32 or data[first] == 62 or data[first] == 9):
                first += 1
            mark = data[first] if first + 2 < end else 0
            if (mark == 96 or mark == 126) and data[first + 1] == mark and data[first + 2] == mark:
                if fence == 0:
                    fence = np.int64(mark)
                elif fence == mark:
                    fence = 0
                while i < end and data[i] != 10:
                    i += 1
                i += 1
                continue
            if fence:
                while i < end and data[i] != 10:
                    i += 1
                i += 1
                continue
            line = to
            while i < end:
                b = data[i]
                if not marks[b]:
                    out[to] = b
                    to += 1
                    i += 1
                    continue
                if b == 10:
                    break
                if b == 60:  # <
                    behind = _skip_tag(data, i, end)
                    if behind > i:
                        out[to] = 32
                        to += 1
                        i = behind
                        continue
                elif b == 96:  # `
                    close = _byte_in_line(data, i + 1, end, 96)
                    if close > i:
                        i = close + 1
                        continue
                elif b == 104 and (_is(data, i, end, b"http://") or _is(data, i, end, b"https://")):
                    while i < end and 32 < data[i] < 0x80 and data[i] != 41 and data[i] != 62 and data[i] != 34:
                        i += 1
                    continue
                elif b == 93 and i + 1 < end and data[i + 1] == 40:  # ](
                    close = _byte_in_line(data, i + 2, end, 41)
                    if close > 0:
                        out[to] = 93
                        to += 1
                        i = close + 1
                        continue
                elif b == 123 and _is(data, i, end, b"{/*"):
                    close = _find(data, i + 3, min(end, i + _TAG), b"*/}")
                    if close > 0:
                        i = close
                        continue
                elif b == 38:  # &
                    k = i + 1
                    while k < end and k < i + 10 and (97 <= (data[k] | 32) <= 122 or data[k] == 35 or 48 <= data[k] <= 57):
                        k += 1
                    if k < end and k > i + 1 and data[k] == 59:
                        out[to] = 32
                        to += 1
                        i = k + 1
                        continue
                out[to] = b
                to += 1
                i += 1
            i += 1
            to, dropped, wide = _prose_line(out, line, to, kinds)
            if i > front:
                unmarked[n] += dropped
            elif wide == 0:
                to = line  # front matter: keys, dates, names; kept are lines beyond ASCII
            if to > line:
                out[to] = 10
                to += 1
        ends[n + 1] = to
    return out[:to], ends, unmarked


# Syllables with which particles and endings of Korean begin, as they follow a word in Hanja.
_SUFFIXES = "은는이가을를의에로와과도만하한할함해했되된될됨라란람로며면나니냐고다까부께서야아어여요인일임히코케치지적들씩였엿으랴리ㅣ"


@functools.lru_cache(maxsize=1)
def suffix_table() -> np.ndarray:
    """bool[0x11000]: whether a particle or an ending can begin with a code point; any old jamo may."""
    table = np.zeros(0x11000, np.bool_)
    table[[ord(c) for c in _SUFFIXES]] = True
    table[0x1100:0x1200] = True
    return table


@numba.njit(cache=True, nogil=True)
def hangul_after_han(
    data: np.ndarray, offsets: np.ndarray, rows: np.ndarray, table: np.ndarray, suffixes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(runs of Hangul, those that follow a Han character directly and begin like a suffix), int32[len(rows)] each.

    Korean written with Hanja for its nouns has nearly all its Hangul there; Chinese that quotes Korean does not.
    """
    runs = np.zeros(len(rows), np.int32)
    attached = np.zeros(len(rows), np.int32)
    for n in range(len(rows)):
        i, end = np.int64(offsets[rows[n]]), np.int64(offsets[rows[n] + 1])
        before = 0
        while i < end:
            cp, i = decode(data, i)
            script = table[cp] if cp < len(table) else 0
            if script == HANGUL and before != HANGUL:
                runs[n] += 1
                attached[n] += before == HAN and suffixes[cp]
            before = script
    return runs, attached
