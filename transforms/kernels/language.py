"""Counts of letters by script, and of the prose among them, over UTF-8 buffers."""

from __future__ import annotations

import functools
import unicodedata
from typing import Any

import numba
import numpy as np

from malmungchi.transforms.kernels.utf8 import decode, syllable

# Scripts told apart. The order is that of the columns of `counts`; OTHER is any letter of a script not named here.
SCRIPTS = (
    "none", "latin", "hangul", "han", "kana", "cyrillic", "arabic", "devanagari", "bengali", "tamil", "telugu",
    "malayalam", "thai", "lao", "khmer", "myanmar", "greek", "hebrew", "georgian", "armenian", "ethiopic", "other",
)  # fmt: skip
NONE, LATIN, HANGUL, HAN, KANA = range(5)
OTHER = len(SCRIPTS) - 1
CHARS = NONE  # that column of `counts` holds the code points of a document, letters or not
_HAN_FROM = 0x3400
_END = 0x323B0  # the last Han ideograph of Unicode 15.1, and so the last letter
_BLOCK = 128  # bytes counted at a time
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


@numba.njit(cache=True, nogil=True)
def count_scripts(data: np.ndarray, offsets: np.ndarray, table: np.ndarray, width: int) -> np.ndarray:
    """int32[rows, width]: letters of each script per document; column 0 holds its code points.

    `data` (uint8) and `offsets` (int32[rows + 1]) are the buffers of a string column of valid UTF-8, `table` is
    `script_table()`, `width` is len(SCRIPTS).
    """
    rows = len(offsets) - 1
    counts = np.zeros((rows, width), np.int32)
    for row in range(rows):
        i, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        if i == end:
            continue
        chars = np.int64(0)
        latin = np.int64(0)
        hangul = np.int64(0)
        # All bytes but the last, which begins no character of two bytes or more.
        while i < end - 1:
            stop = min(i + _BLOCK, end - 1)
            here = data[i:stop]
            after = data[i + 1 : stop + 1]
            c = np.uint32(0)
            a = np.uint32(0)
            h = np.uint32(0)
            leads = np.uint32(0)
            # Without branches, so that it becomes vector instructions: where a word of Korean ends is hard to foresee.
            for k in range(here.size):
                b = np.uint32(here[k])
                c += np.uint32((b & np.uint32(0xC0)) != np.uint32(0x80))
                a += np.uint32(np.uint32((b | np.uint32(32)) - np.uint32(97)) < np.uint32(26))
                h += np.uint32(syllable(b, after[k]))
                leads += np.uint32(b >= np.uint32(0xC0))
            chars += c
            latin += a
            hangul += h
            if leads > h:
                for k in range(i, stop):
                    if data[k] >= 0xC0 and not syllable(data[k], data[k + 1]):
                        cp, _ = decode(data, k)
                        if cp < len(table):
                            counts[row, table[cp]] += 1
            i = stop
        b = data[end - 1]
        counts[row, 0] = chars + ((b & 0xC0) != 0x80)
        counts[row, 1] += latin + (97 <= (b | 32) <= 122)
        counts[row, 2] += hangul
    return counts


_FRONT = 16384  # bytes; longer front matter is none
_REACH = 4096  # bytes; a longer tag, target of a link or piece of inline code is none

# What a byte can be in a token of prose; see _token_kind.
_LOWER, _UPPER, _JOIN, _TRIM, _DIGIT, _CODE = range(1, 7)


@functools.lru_cache(maxsize=1)
def byte_table() -> np.ndarray:
    """uint8[256]: what each ASCII byte can be in a token of prose (a letter, a mark around words, a sign of code …)."""
    table = np.full(256, _CODE, np.uint8)
    table[ord("a") : ord("z") + 1] = _LOWER
    table[ord("A") : ord("Z") + 1] = _UPPER
    table[ord("0") : ord("9") + 1] = _DIGIT
    table[[ord(c) for c in "'-"]] = _JOIN
    table[[ord(c) for c in '"()[]*_,.:!?#|~']] = _TRIM
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


@numba.njit(nogil=True, cache=True)
def _find(data: Any, i: int, end: int, text: Any) -> Any:
    """Index behind the next `text`, or -1."""
    first = text[0]
    # Unsigned indices here and below: numba then leaves out its care for negative ones.
    for k in range(np.uint64(i), np.uint64(max(i, end - len(text) + 1))):
        if data[k] == first and _is(data, np.int64(k), end, text):
            return np.int64(k) + len(text)
    return np.int64(-1)


@numba.njit(nogil=True, cache=True)
def _byte_in_line(data: Any, i: int, end: int, byte: int) -> Any:
    """Index of the next `byte` before the line's end and within reach, or -1."""
    for k in range(np.uint64(i), np.uint64(min(end, i + _REACH))):
        if data[k] == byte:
            return np.int64(k)
        if data[k] == 10:
            break
    return np.int64(-1)


@numba.njit(nogil=True, cache=True)
def _line_end(data: Any, i: int, end: int) -> Any:
    """Index of the line feed that ends the line, or `end`."""
    for k in range(np.uint64(i), np.uint64(end)):
        if data[k] == 10:
            return np.int64(k)
    return end


@numba.njit(nogil=True, cache=True)
def _skip_element(data: Any, i: int, end: int, close: Any, missing: Any, kind: int) -> Any:
    """Index behind the closing `close`, or `i` when there is none; looked for to the end at most once a document."""
    if missing[kind]:
        return i
    behind = _find(data, i, end, close)
    if behind < 0:
        missing[kind] = True
        return i
    return behind


@numba.njit(nogil=True, cache=True)
def _skip_tag(data: np.ndarray, i: int, end: int, missing: np.ndarray) -> int:
    """Index behind the tag, comment, or element of code that begins with the `<` at `i`; `i` if it is none.

    `missing` (bool[6]) remembers which closings the rest of the document lacks: without it, time is quadratic.
    """
    if _is(data, i, end, b"<!--"):
        return _skip_element(data, i, end, b"-->", missing, np.int64(0))
    if i + 1 >= end:
        return i
    b = data[i + 1] | 32
    if not (97 <= b <= 122 or data[i + 1] == 47 or data[i + 1] == 33):
        return i
    k = -1
    for j in range(np.uint64(i + 1), np.uint64(min(end, i + _REACH))):
        if data[j] == 62:
            k = int(j) + 1
            break
        if data[j] == 60:
            break
    if k < 0:
        return i
    if _is(data, i + 1, end, b"script"):
        return _skip_element(data, k, end, b"</script>", missing, np.int64(1))
    if _is(data, i + 1, end, b"style"):
        return _skip_element(data, k, end, b"</style>", missing, np.int64(2))
    if _is(data, i + 1, end, b"pre>") or _is(data, i + 1, end, b"pre "):
        return _skip_element(data, k, end, b"</pre>", missing, np.int64(3))
    if _is(data, i + 1, end, b"code>") or _is(data, i + 1, end, b"code "):
        return _skip_element(data, k, end, b"</code>", missing, np.int64(4))
    return k


@numba.njit(nogil=True, cache=True)
def _token_kind(data: np.ndarray, start: int, end: int, kinds: np.ndarray) -> int:
    """Of the token `data[start:end]`: 0 marks and numbers, 1 a word, 2 code, 3 it has characters beyond ASCII."""
    for k in range(np.uint64(start), np.uint64(end)):
        if data[k] >= 0x80:
            return 3
    while start < end and (kinds[data[start]] == _TRIM or kinds[data[start]] == _JOIN):
        start += 1
    while end > start and (kinds[data[end - 1]] == _TRIM or kinds[data[end - 1]] == _JOIN):
        if data[end - 1] == 41 and data[end - 2] == 40:  # a call: ()
            return 2
        end -= 1
    digits = False
    letters = False
    before = np.uint8(0)
    for k in range(np.uint64(start), np.uint64(end)):
        kind = kinds[data[k]]
        if kind == _TRIM or kind == _CODE or (kind == _UPPER and before == _LOWER):  # a.b, a=b, camelCase
            return 2
        digits |= kind == _DIGIT
        letters |= kind == _LOWER or kind == _UPPER
        before = kind
    if not letters:
        return 0
    return 2 if digits else 1


@numba.njit(nogil=True, cache=True)
def _prose_line(out: np.ndarray, start: int, end: int, kinds: np.ndarray) -> tuple[Any, Any, Any]:
    """Drops the tokens of code from the line `out[start:end]`, or all of it if it is code.

    Gives the line's new end, the number of letters dropped (all ASCII) and of tokens beyond ASCII (they always stay).
    """
    words = 0
    code = 0
    wide = 0
    in_words = in_code = np.int64(0)  # letters
    comment = False
    to = k = start
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
        if kind == 1 or kind == 2:
            letters = np.int64(0)
            for j in range(token, k):
                letters += kinds[out[j]] == _LOWER or kinds[out[j]] == _UPPER
            if kind == 1:
                in_words += letters
            else:
                in_code += letters
        if kind == 1 or kind == 3:
            if to > start:  # between tokens only: a line may not grow, since `prose` has no room for more
                out[to] = 32
                to += 1
            for j in range(token, k):
                out[to] = out[j]
                to += 1
    if wide == 0 and code * 3 >= words:
        return start, in_words + in_code, wide
    return to, in_code, wide


@numba.njit(nogil=True, cache=True)
def _fenced(data: np.ndarray, i: int, end: int, fence: int) -> tuple[bool, Any]:
    """(whether the line at `i` is one of code or of its fence, the mark of the fence after it, 0 outside of code)."""
    while i < end and (data[i] == 32 or data[i] == 62 or data[i] == 9):
        i += 1
    mark = np.int64(data[i]) if i + 2 < end else np.int64(0)
    if (mark == 96 or mark == 126) and data[i + 1] == mark and data[i + 2] == mark:
        if fence == 0:
            return True, mark
        if fence == mark:
            return True, np.int64(0)
    return fence != 0, fence


@numba.njit(nogil=True, cache=True)
def _left_out(data: np.ndarray, i: int, end: int, missing: np.ndarray, barren: int) -> tuple[Any, int, int]:
    """(index behind what begins at the mark `i` and is left out, the byte in its place or 0, `barren`).

    The index is `i` where nothing is left out. Before `barren`, no target of a link closes.
    """
    b = data[i]
    if b == 60:  # <
        return _skip_tag(data, i, end, missing), 32, barren
    if b == 96:  # `
        return max(_byte_in_line(data, i + 1, end, 96) + 1, i), 0, barren
    if b == 104:
        if _is(data, i, end, b"http://") or _is(data, i, end, b"https://"):
            while i < end and 32 < data[i] < 0x80 and data[i] != 41 and data[i] != 62 and data[i] != 34:
                i += 1
    elif b == 93:
        if i + 1 < end and data[i + 1] == 40:  # ](
            target = np.int64(-1) if i < barren else _byte_in_line(data, i + 2, end, 41)
            if target >= 0:
                return target + 1, 93, barren
            barren = max(barren, i + _REACH)  # nothing closes here: looked for once, not at each bracket
    elif b == 123:
        if _is(data, i, end, b"{/*"):  # a comment of MDX
            return _skip_element(data, i, end, b"*/}", missing, np.int64(5)), 0, barren
    elif b == 38:  # &
        k = i + 1
        while k < end and k < i + 10 and (97 <= (data[k] | 32) <= 122 or data[k] == 35 or 48 <= data[k] <= 57):
            k += 1
        if k < end and k > i + 1 and data[k] == 59:
            return k + 1, 32, barren
    return i, 0, barren


@numba.njit(nogil=True, cache=True)
def _copy_line(
    data: np.ndarray, i: int, end: int, out: np.ndarray, to: int, full: int, marks: np.ndarray, missing: np.ndarray
) -> tuple[int, int]:
    """Copies the line at `i`, or several where a tag crosses lines, without what is marked as code, to `out[to:]`.

    Gives the index of what ends it (a line feed, the document's end, or what comes once `to` is `full`), and of the
    end of what is written.
    """
    barren = i
    while i < end:
        b = data[i]
        if marks[b]:
            if b == 10 or to >= full:
                break
            behind, instead, barren = _left_out(data, i, end, missing, barren)
            if behind > i:
                i = behind
                if instead:
                    out[to] = instead
                    to += 1
                continue
        out[to] = b
        to += 1
        i += 1
    return i, to


@numba.njit(cache=True, nogil=True)
def prose(
    data: np.ndarray, offsets: np.ndarray, rows: np.ndarray, kinds: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The prose of some documents, each until it has about `limit` bytes.

    Gives the (uint8, int32[len(rows) + 1]) buffers of a new string column, and for each document (int32[len(rows)])
    the letters in the code that was not marked as such: fences and tags mark it, being a token like foo_bar does not.

    Left out are ASCII lines of front matter, fenced and inline code, tags, comments and elements of code of HTML,
    targets of links, addresses, entities, tokens of code (foo_bar, camelCase, a=b, f()), and lines that are mostly
    such tokens. `rows` says which documents, `kinds` is `byte_table()`. A token with a character beyond ASCII is
    never code.
    """
    size = np.int64(8)
    for row in rows:
        size += offsets[row + 1] - offsets[row] + 2
    out = np.empty(size, np.uint8)
    unmarked = np.empty(len(rows), np.int32)
    ends = np.empty(len(rows) + 1, np.int32)
    missing = np.empty(6, np.bool_)
    marks = np.empty(256, np.bool_)  # bytes with which something to leave out can begin
    marks[:] = False
    for b in (10, 38, 60, 93, 96, 104, 123):  # \n & < ] ` h {
        marks[b] = True
    to = np.int64(0)
    ends[0] = 0
    for n in range(len(rows)):
        i, end = np.int64(offsets[rows[n]]), np.int64(offsets[rows[n] + 1])
        full = to + limit
        fence = np.int64(0)
        missing[:] = False
        unmarked[n] = 0
        front = np.int64(-1)
        if _is(data, i, end, b"---\n"):
            front = _find(data, i + 3, min(end, i + _FRONT), b"\n---\n")
        while i < end and to < full:
            fenced, fence = _fenced(data, i, end, fence)
            if fenced:
                i = _line_end(data, i, end) + 1
                continue
            line = to
            i, to = _copy_line(data, i, end, out, to, full, marks, missing)
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
_SUFFIXES = (
    "은는이가을를의에로와과도만하한할함해했되된될됨라란람며면나니냐고다까부께서야아어"
    "여요인일임히코케치지적들씩였엿으랴리ㅣ"
)


# Characters of today's written Chinese that Korean never took: words of grammar, and shapes simplified since 1956.
_CHINESE = "这们吗呢吧你您她哪啊很么说为对时还没让给边话语韩這們嗎妳麼"


@functools.lru_cache(maxsize=1)
def hanja_table() -> np.ndarray:
    """uint8[0x11000]: 1 where a particle or an ending can begin (any old jamo may), 2 for marks of Chinese, else 0."""
    table = np.zeros(0x11000, np.uint8)
    table[[ord(c) for c in _SUFFIXES]] = 1
    table[0x1100:0x1200] = 1
    table[[ord(c) for c in _CHINESE]] = 2
    return table


@numba.njit(cache=True, nogil=True)
def hangul_after_han(
    data: np.ndarray, offsets: np.ndarray, rows: np.ndarray, table: np.ndarray, signs: np.ndarray
) -> np.ndarray:
    """int32[len(rows), 3]: runs of Hangul, those behind a Han character that begin like a suffix, marks of Chinese.

    Korean written with Hanja for its nouns has nearly all its Hangul in such runs; Chinese that quotes Korean has
    few. `table` is `script_table()`, `signs` is `hanja_table()`.
    """
    found = np.zeros((len(rows), 3), np.int32)
    for n in range(len(rows)):
        i, end = np.int64(offsets[rows[n]]), np.int64(offsets[rows[n] + 1])
        before = 0
        while i < end:
            cp, i = decode(data, i)
            script = table[cp] if cp < len(table) else 0
            sign = signs[cp] if cp < len(signs) else 0
            if script == HANGUL and before != HANGUL:
                found[n, 0] += 1
                found[n, 1] += before == HAN and sign == 1
            found[n, 2] += sign == 2
            before = script
    return found
