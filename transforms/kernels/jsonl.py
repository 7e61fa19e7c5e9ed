"""JSON lines (RFC 8259) without Python objects: validate, find the wanted members, copy out strings.

Beyond the standard only numbers that are none are taken, as null: NaN, Infinity, -Infinity (as Python writes them) and
nan, inf, -nan, -inf (as C does).

The bytes of a block are scanned where they lie. `data` is writable, has PAD readable bytes behind the last
line, and each line is followed by a byte below 0x20 (its line end, or zero): that ends every inner loop, so
that none has to look where the line ends.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pyarrow as pa
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from malmungchi.transforms.kernels.utf8 import encode

PAD = 64
MAX_DEPTH = 512

# Kinds of a wanted member's value. ESCAPED is a string with a backslash in it: its bytes must be unescaped.
ABSENT, NULL, STRING, ESCAPED, NUMBER, BOOL, NESTED = range(7)
ODD = 7  # within the kernel only: a NaN or an infinity, which is NULL

# What a line is. The messages say the cause; with BLANK and OK there is nothing to say.
OK, BLANK = 0, 1
NOT_UTF8, NOT_OBJECT, TOO_DEEP = 2, 3, 4
ENDS, CONTROL, ESCAPE, NUM, VALUE, KEY, COLON, COMMA, AFTER = range(5, 14)
RULES = {
    NOT_UTF8: ("not_utf8", "not valid UTF-8"),
    NOT_OBJECT: ("not_object", "valid JSON, but not an object"),
    TOO_DEEP: ("too_deep", "nested too deeply"),
    ENDS: ("invalid_json", "the line ends inside a value"),
    CONTROL: ("invalid_json", "control character in a string"),
    ESCAPE: ("invalid_json", "bad escape in a string"),
    NUM: ("invalid_json", "bad number"),
    VALUE: ("invalid_json", "a value is expected"),
    KEY: ("invalid_json", "a member's name is expected"),
    COLON: ("invalid_json", "a colon is expected"),
    COMMA: ("invalid_json", "a comma or a closing bracket is expected"),
    AFTER: ("invalid_json", "data after the value"),
}

# What the letter after a backslash stands for; 0: not one of the two-letter escapes.
_SIMPLE = np.zeros(256, np.uint8)
for _letter, _meaning in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True):
    _SIMPLE[_letter] = _meaning

_INFINITY = tuple(b"Infinity")
_LANES = 32
_VECTOR = ir.VectorType(ir.IntType(8), _LANES)
_STRING, _BACKSLASH, _HIGH, _NEWLINE = range(4)


def _splat(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * _LANES)


def _load(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


def _mask(builder: Any, vector: Any, test: int) -> Any:
    """32 bits, one for each byte of the vector that passes the test."""
    if test == _HIGH:
        bits = builder.icmp_signed("<", vector, _splat(0))
    elif test == _NEWLINE:
        bits = builder.icmp_unsigned("==", vector, _splat(10))
    else:
        bits = builder.icmp_unsigned("==", vector, _splat(ord("\\")))
        if test == _STRING:
            bits = builder.or_(bits, builder.icmp_unsigned("==", vector, _splat(ord('"'))))
            bits = builder.or_(bits, builder.icmp_unsigned("<", vector, _splat(0x20)))
    return builder.bitcast(bits, ir.IntType(_LANES))


def _test(test: int) -> Any:
    @intrinsic
    def run(typingctx: Any, data: Any, i: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = builder.load(_load(context, builder, signature.args[0], *args), align=1)
            return _mask(builder, vector, test)

        return types.uint32(data, types.intp), codegen

    return run


# (data, i) -> a bit for each of the 32 bytes from i that ends a run in a JSON string; is no ASCII; is a \\n.
_special = _test(_STRING)
_high = _test(_HIGH)
_newline = _test(_NEWLINE)


@intrinsic
def _copy_run(typingctx: Any, data: Any, i: Any, out: Any, k: Any) -> Any:
    """Copies 32 bytes from data[i] to out[k]; answers with a bit for each that is a backslash."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = builder.load(_load(context, builder, signature.args[0], args[0], args[1]), align=1)
        builder.store(vector, _load(context, builder, signature.args[2], args[2], args[3]), align=1)
        return _mask(builder, vector, _BACKSLASH)

    return types.uint32(data, types.intp, out, types.intp), codegen


@intrinsic
def _copy(typingctx: Any, data: Any, i: Any, out: Any, k: Any, size: Any) -> Any:
    """Copies `size` bytes from data[i] to out[k]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = context.make_array(signature.args[0])(context, builder, args[0]).data
        target = context.make_array(signature.args[2])(context, builder, args[2]).data
        source, target = builder.gep(source, [args[1]]), builder.gep(target, [args[3]])
        cgutils.raw_memcpy(builder, target, source, args[4], 1)
        return context.get_dummy_value()

    return types.void(data, types.intp, out, types.intp, types.intp), codegen


@intrinsic
def _load32(typingctx: Any, data: Any, i: Any) -> Any:
    """Four bytes from `i` as one number, the first the lowest (x86-64 and arm64 alike)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]])
        return builder.load(builder.bitcast(place, ir.IntType(32).as_pointer()), align=1)

    return types.uint32(data, types.intp), codegen


@intrinsic
def _first(typingctx: Any, mask: Any) -> Any:
    """Index of the lowest bit that is set."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        count = builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))
        return builder.zext(count, ir.IntType(64))

    return types.intp(types.uint32), codegen


@numba.njit(cache=True, nogil=True)
def lines(data: Any, start: int, end: int, starts: Any, ends: Any) -> Any:
    """(lines found, index behind them): up to len(starts) lines that end with \\n before `end`.

    `ends` leaves out the line end, \\n or \\r\\n.
    """
    n = 0
    first = i = start
    while n < len(starts) and i < end:
        mask = _newline(data, i)
        if mask == 0:
            i += _LANES
            continue
        i += _first(mask)
        if i >= end:
            break
        starts[n] = first
        ends[n] = i - 1 if i > first and data[i - 1] == 13 else i
        n += 1
        i += 1
        first = i
    return n, first


@numba.njit(cache=True, nogil=True)
def _not_utf8(data: Any, i: int, end: int) -> int:
    """Index of the first byte that is no valid UTF-8 (as a surrogate, or overlong); -1 if there is none."""
    while i < end:
        mask = _high(data, i)
        if mask == 0:
            i += _LANES
            continue
        i += _first(mask)
        while i < end and data[i] >= 0x80:
            four = _load32(data, i)
            if four & np.uint32(0xC0C0F0) == np.uint32(0x8080E0):  # three bytes: most of Korean
                second = four & np.uint32(0x200F)
                if second == np.uint32(0) or second == np.uint32(0x200D):  # overlong; surrogate
                    return i
                i += 3
            elif four & np.uint32(0xC0E0) == np.uint32(0x80C0):
                if data[i] < 0xC2:
                    return i
                i += 2
            elif four & np.uint32(0xC0C0C0F8) == np.uint32(0x808080F0):
                lead, second = data[i], data[i + 1]
                if lead > 0xF4 or (lead == 0xF0 and second < 0x90) or (lead == 0xF4 and second >= 0x90):
                    return i
                i += 4
            else:
                return i
    return -1


@numba.njit(inline="always")
def _hex(c: Any) -> int:
    if 48 <= c <= 57:
        return c - 48
    c |= 32
    if 97 <= c <= 102:
        return c - 87
    return -1


@numba.njit(cache=True, nogil=True)
def _unit(data: Any, i: int) -> int:
    """The UTF-16 unit of the four hex digits at `i`; -1 if they are not."""
    unit = 0
    for j in range(4):
        digit = _hex(np.int64(data[i + j]))
        if digit < 0:
            return -1
        unit = unit << 4 | digit
    return unit


@numba.njit(cache=True, nogil=True)
def _escape(data: Any, i: int) -> Any:
    """(index behind the escape at `i`, is it a lone surrogate); (-1, False) if it is no escape."""
    c = data[i + 1]
    if _SIMPLE[c] != 0:
        return i + 2, False
    if c == 117:  # u
        unit = _unit(data, i + 2)
        if unit < 0:
            return -1, False
        if unit < 0xD800 or unit > 0xDFFF:
            return i + 6, False
        if unit < 0xDC00 and data[i + 6] == 92 and data[i + 7] == 117:
            low = _unit(data, i + 8)
            if 0xDC00 <= low <= 0xDFFF:
                return i + 12, False
        return i + 6, True
    return -1, False


@numba.njit(cache=True, nogil=True)
def _number(data: Any, i: int) -> int:
    """Index behind the number at `i`; -1 if it is none."""
    if data[i] == 45:  # -
        i += 1
    if data[i] == 48:  # 0
        i += 1
    elif 49 <= data[i] <= 57:
        while 48 <= data[i] <= 57:
            i += 1
    else:
        return -1
    if data[i] == 46:  # .
        i += 1
        if not 48 <= data[i] <= 57:
            return -1
        while 48 <= data[i] <= 57:
            i += 1
    if data[i] == 101 or data[i] == 69:  # e E
        i += 1
        if data[i] == 43 or data[i] == 45:
            i += 1
        if not 48 <= data[i] <= 57:
            return -1
        while 48 <= data[i] <= 57:
            i += 1
    return i


@numba.njit(inline="always")
def _unescape(data: Any, i: int, out: Any, k: int) -> Any:
    """(index behind the valid escape at `i`, index behind what it wrote at `k`)."""
    simple = _SIMPLE[data[i + 1]]
    if simple != 0:
        out[k] = simple
        return i + 2, k + 1
    behind, lone = _escape(data, i)
    cp = _unit(data, i + 2)
    if lone:
        cp = 0xFFFD
    elif behind == i + 12:
        cp = 0x10000 + ((cp & 0x3FF) << 10 | _unit(data, i + 8) & 0x3FF)
    return behind, encode(out, k, cp)


@numba.njit(cache=True, nogil=True)
def _wanted(data: Any, i: int, end: int, escaped: bool, names: Any, offsets: Any, scratch: Any) -> int:
    """Number of the wanted name that equals the key at [i, end), or -1."""
    size = end - i
    if escaped:
        k = 0
        while i < end:
            if k + 4 > len(scratch):  # longer than any name
                return -1
            if data[i] == 92:
                i, k = _unescape(data, i, scratch, k)
            else:
                scratch[k] = data[i]
                i += 1
                k += 1
        data, i, size = scratch, 0, k
    for w in range(len(offsets) - 1):
        first = offsets[w]
        if offsets[w + 1] - first != size or size == 0:
            continue
        j = 0
        while j < size and data[i + j] == names[first + j]:
            j += 1
        if j == size:
            return w
    return -1


@numba.njit(cache=True, nogil=True)
def replace_lone(out: Any, i: int, end: int) -> None:
    """Lone surrogate escapes in the JSON text out[i:end] become \\ufffd, so that any parser reads it."""
    while i < end:
        if out[i] != 92:
            i += 1
            continue
        behind, lone = _escape(out, i)
        if lone:
            out[i + 2] = out[i + 3] = out[i + 4] = 102
            out[i + 5] = 100
        i = behind


@numba.njit(cache=True, nogil=True)
def _no_number(data: Any, i: int) -> int:
    """Index behind the NaN or infinity at `i`; `i` if there is none."""
    at = i + 1 if data[i] == 45 else i
    c, d, e = data[at], data[at + 1], data[at + 2]
    if (c == 78 and d == 97 and e == 78) or (c == 110 and d == 97 and e == 110):  # NaN, nan
        return at + 3
    if c == 105 and d == 110 and e == 102:  # inf
        return at + 3
    if c == 73:
        for j, letter in enumerate(_INFINITY):
            if data[at + j] != letter:
                return i
        return at + len(_INFINITY)
    return i


@numba.njit(cache=True, nogil=True)
def null_numbers(data: Any, i: int, end: int, out: Any, k: int) -> int:
    """Copies valid JSON text to out[k:] with null for each NaN and infinity; the index behind it.

    What is written is longer by a quarter at most: NaN and a comma become null and a comma.
    """
    while i < end:
        if data[i] == 34:
            behind = _string(data, i + 1)[1] + 1
            _copy(data, i, out, k, behind - i)
            k += behind - i
            i = behind
            continue
        behind = _no_number(data, i)
        if behind > i:
            out[k], out[k + 1], out[k + 2], out[k + 3] = 110, 117, 108, 108
            k += 4
            i = behind
        else:
            out[k] = data[i]
            i += 1
            k += 1
    return k


@numba.njit(cache=True, nogil=True)
def scan(
    data: Any,
    starts: Any,
    ends: Any,
    names: Any,
    name_offsets: Any,
    codes: Any,
    errors: Any,
    kinds: Any,
    spans: Any,
    meta: Any,
    meta_offsets: Any,
) -> None:
    """Validates each line and finds its wanted members; what else it has goes to `meta` as one JSON object.

    In: data (uint8); lines data[starts[i]:ends[i]]; wanted names as UTF-8 bytes and int64[K + 1] offsets (an
    empty name is never found). Out, for n lines: codes[n] (OK or what is wrong) and errors[n] (at which byte
    of the line); kinds[n, K] and, where there is a value, spans[n, K, 2], its place in `data`, without quotes
    (the last of equal names counts); meta (uint8, as long as `room` says) and meta_offsets[n + 1], empty where a line
    has nothing else. Lines that are not OK have neither wanted members nor metadata.
    """
    stack = np.zeros(MAX_DEPTH + 2, np.uint8)  # 1: object, 0: array
    scratch = np.zeros(len(names) + 8, np.uint8)
    k = np.int64(0)
    meta_offsets[0] = 0
    for row in range(len(starts)):
        start, end = starts[row], ends[row]
        found, places = kinds[row], spans[row]
        found[:] = ABSENT
        code, at = _line(data, start, end, names, name_offsets, stack, scratch, found, places, meta, k)
        if code == OK:
            k, at = at, start
        else:
            found[:] = ABSENT
        errors[row] = at - start
        codes[row] = code
        meta_offsets[row + 1] = k


@numba.njit(inline="always")
def _blanks(data: Any, i: int) -> int:
    while data[i] == 32 or data[i] == 9 or data[i] == 13:
        i += 1
    return i


@numba.njit(cache=True, nogil=True)
def _string(data: Any, i: int) -> Any:
    """(OK, closing quote's index, has escapes, has lone surrogates) of the string that begins at `i`."""
    escaped = lone = False
    while True:
        mask = _special(data, i)
        if mask == 0:
            i += _LANES
            continue
        i += _first(mask)
        if data[i] == 34:
            return OK, i, escaped, lone
        if data[i] != 92:
            return CONTROL, i, escaped, lone
        escaped = True
        if _SIMPLE[data[i + 1]] != 0:
            i += 2
            continue
        behind, alone = _escape(data, i)
        if behind < 0:
            return ESCAPE, i, escaped, lone
        lone |= alone
        i = behind


@numba.njit(cache=True, nogil=True)
def _scalar(data: Any, i: int) -> Any:
    """(kind, index behind it) of the number, true, false or null at `i`; else (ABSENT, what is wrong).

    The kind of NaN and infinities is ODD.
    """
    c = data[i]
    if c == 45 or 48 <= c <= 57:
        behind = _number(data, i)
        if behind >= 0:
            return NUMBER, behind
        behind = _no_number(data, i)
        return (ODD, behind) if behind > i else (ABSENT, NUM)
    if c == 116 and data[i + 1] == 114 and data[i + 2] == 117 and data[i + 3] == 101:
        return BOOL, i + 4
    if c == 110 and data[i + 1] == 117 and data[i + 2] == 108 and data[i + 3] == 108:
        return NULL, i + 4
    if c == 102 and data[i + 1] == 97 and data[i + 2] == 108 and data[i + 3] == 115 and data[i + 4] == 101:
        return BOOL, i + 5
    behind = _no_number(data, i)
    return (ODD, behind) if behind > i else (ABSENT, VALUE)


@numba.njit(cache=True, nogil=True)
def _member(data: Any, i: int, end: int, lone: bool, odd: bool, meta: Any, k: int) -> int:
    """Copies the member data[i:end] to meta[k:], with what is `lone` (surrogates) or `odd` (numbers that are none)
    replaced if it has some; the index behind it."""
    if odd:
        behind = null_numbers(data, i, end, meta, k)
    else:
        _copy(data, i, meta, k, end - i)
        behind = k + end - i
    if lone:
        replace_lone(meta, k, behind)
    return behind


@numba.njit(cache=True, nogil=True)
def _line(
    data: Any,
    i: int,
    end: int,
    names: Any,
    name_offsets: Any,
    stack: Any,
    scratch: Any,
    kinds: Any,
    spans: Any,
    meta: Any,
    k: int,
) -> Any:
    """(OK, end of its metadata) or (what is wrong, where) for one line; metadata goes to meta[k:]."""
    bad = _not_utf8(data, i, end)
    if bad >= 0:
        return NOT_UTF8, bad
    i = _blanks(data, i)
    if i >= end:
        return BLANK, end
    top = data[i] == 123
    first = k
    depth = 0
    opened = False  # a container was just opened, and may close at once
    key = False  # a member's name comes next
    # The present member of the top-level object: where it begins, which wanted one it is, its value.
    begin, wanted, kind, value, behind, lone, odd = i, -1, ABSENT, i, i, False, False
    while True:
        i = _blanks(data, i)
        if i >= end:
            return ENDS, end
        c = data[i]
        closing = opened and c == (125 if stack[depth] else 93)
        opened = False
        if closing:
            i += 1
        elif key or c == 34:
            if c != 34:
                return KEY, i
            content = i + 1
            code, i, escaped, alone = _string(data, content)
            if code != OK:
                return (code, i) if i < end else (ENDS, end)
            lone |= alone
            i += 1
            if key:
                if depth == 1:
                    begin = content - 1
                    wanted = _wanted(data, content, i - 1, escaped, names, name_offsets, scratch)
                i = _blanks(data, i)
                if i >= end:
                    return ENDS, end
                if data[i] != 58:
                    return COLON, i
                i += 1
                key = False
                continue
            if depth == 1:
                kind, value, behind = (ESCAPED if escaped else STRING), content - 1, i
        elif c == 123 or c == 91:
            if depth == MAX_DEPTH:
                return TOO_DEEP, i
            if depth == 1:
                kind, value = NESTED, i
            depth += 1
            stack[depth] = c == 123
            opened = True
            key = c == 123
            i += 1
            continue
        else:
            scalar, after = _scalar(data, i)
            if scalar == ABSENT:
                return after, i
            if scalar == ODD:
                odd = True
                scalar = NULL
            if depth == 1:
                kind, value, behind = scalar, i, after
            i = after
        # A value has ended, or (closing) an empty container: close what closes, on to the next value or name.
        while depth > 0:
            if not closing:
                i = _blanks(data, i)
                if i >= end:
                    return ENDS, end
                c = data[i]
                closing = c == (125 if stack[depth] else 93)
                if not closing and c != 44:
                    return COMMA, i
                i += 1
                if depth == 1 and top:  # a member has ended
                    if wanted >= 0:
                        quote = 1 if kind in (STRING, ESCAPED) else 0
                        kinds[wanted] = kind
                        spans[wanted, 0] = value + quote
                        spans[wanted, 1] = behind - quote
                    else:
                        meta[k] = 123 if k == first else 44
                        k = _member(data, begin, behind, lone, odd, meta, k + 1)
                if not closing:
                    if depth == 1:
                        lone = odd = False
                    key = stack[depth] == 1
                    break
            depth -= 1
            closing = False
            if depth == 1:
                behind = i
        if depth == 0:
            i = _blanks(data, i)
            if i < end:
                return AFTER, i
            if not top:
                return NOT_OBJECT, end
            if k > first:
                meta[k] = 125
                k += 1
            return OK, k


@numba.njit(cache=True, nogil=True)
def member_names(data: Any, i: int, depth: int, end: int, spans: Any) -> Any:
    """(names found, where to go on): up to len(spans) names of a valid object's own members, with their quotes.

    Begins at its brace with depth 0, and goes on at what it returned with depth 1; there is no more at `end`.
    """
    n = 0
    name = depth == 1
    while i < end:
        c = data[i]
        if c == 34:
            if name:
                if n == len(spans):
                    return n, i
                spans[n, 0] = i
            i = _string(data, i + 1)[1]
            if name:
                spans[n, 1] = i + 1
                n += 1
                name = False
        elif c == 123 or c == 91:
            depth += 1
            name = depth == 1
        elif c == 125 or c == 93:
            depth -= 1
        elif c == 44:
            name = depth == 1
        i += 1
    return n, end


@numba.njit(cache=True, nogil=True)
def _extract(data: Any, spans: Any, kinds: Any, out: Any, offsets: Any) -> None:
    k = 0
    offsets[0] = 0
    for row in range(len(kinds)):
        kind = kinds[row]
        if kind >= STRING and kind != ESCAPED:
            size = spans[row, 1] - spans[row, 0]
            _copy(data, spans[row, 0], out, k, size)
            k += size
        elif kind == ESCAPED:
            i, end = spans[row, 0], spans[row, 1]
            while i < end:
                mask = _copy_run(data, i, out, k)
                step = _LANES if mask == 0 else _first(mask)
                if i + step >= end:
                    k += end - i
                    break
                i += step
                k += step
                if mask != 0:
                    simple = _SIMPLE[data[i + 1]]
                    if simple != 0:
                        out[k] = simple
                        i += 2
                        k += 1
                    else:
                        i, k = _unescape(data, i, out, k)
        offsets[row + 1] = k


def room(size: int) -> int:
    """Bytes that the metadata of lines of `size` bytes may take, and PAD: see `null_numbers`."""
    return size + size // 4 + PAD


def objects(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """bool for each line: is it one valid JSON object."""
    n = len(starts)
    codes, errors = np.empty(n, np.uint8), np.empty(n, np.int64)
    kinds, spans = np.empty((n, 0), np.uint8), np.empty((n, 0, 2), np.int64)
    meta, offsets = np.empty(room(int((ends - starts).sum())), np.uint8), np.empty(n + 1, np.int32)
    scan(data, starts, ends, np.empty(0, np.uint8), np.zeros(1, np.int64), codes, errors, kinds, spans, meta, offsets)
    return codes == OK


def extract(data: np.ndarray, spans: np.ndarray, kinds: np.ndarray) -> pa.StringArray:
    """One wanted member of all lines as strings, by its spans[n, 2] and kinds[n]; null where ABSENT or NULL.

    Strings are unescaped (surrogate pairs joined, lone ones U+FFFD, NUL kept); other values are as written.
    """
    there = kinds >= STRING
    size = int((spans[:, 1] - spans[:, 0])[there].sum())
    out, offsets = np.empty(size + PAD, np.uint8), np.empty(len(kinds) + 1, np.int32)
    _extract(data, spans, kinds, out, offsets)
    valid = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
    return pa.StringArray.from_buffers(len(kinds), pa.py_buffer(offsets), pa.py_buffer(out), valid)
