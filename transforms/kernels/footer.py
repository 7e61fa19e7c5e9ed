"""Finds the row groups in a Parquet footer, which is a struct of Thrift's compact protocol."""

from __future__ import annotations

import numba
import numpy as np

# The protocol's types: 1 and 2 are true and false, 3 is a byte, 4 to 6 are variable-length integers.
_LAST_BOOL, _BYTE, _LAST_INTEGER, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 2, 3, 6, 7, 8, 9, 10, 12
_ROW_GROUPS = 4  # the field of the footer that is the list of them
_MAX_DEPTH = 16


@numba.njit(cache=True, nogil=True)
def _varint(data: np.ndarray, i: int) -> tuple[int, int]:
    """(an unsigned integer, what is behind it), the second -1 if it is not whole."""
    value = shift = 0
    while i < len(data) and shift < 63:
        byte = int(np.int64(data[i]))
        i += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, i
        shift += 7
    return 0, -1


@numba.njit(cache=True, nogil=True)
def _list(data: np.ndarray, i: int) -> tuple[int, int, int]:
    """(how many elements a list or set has, of which type, where they begin), the last -1 if that is not said."""
    if i >= len(data):
        return 0, 0, -1
    count, kind = int(np.int64(data[i])) >> 4, int(np.int64(data[i])) & 15
    i += 1
    if count == 15:
        count, i = _varint(data, i)
    return count, kind, i


@numba.njit(cache=True, nogil=True)
def _skip_plain(data: np.ndarray, i: int, kind: int) -> int:
    """What is behind a value that holds no others, -1 if it is not whole, or of a type that no footer has."""
    if kind == _BYTE:
        i += 1
    elif kind <= _LAST_INTEGER:
        _, i = _varint(data, i)
    elif kind == _DOUBLE:
        i += 8
    elif kind == _BINARY:
        size, i = _varint(data, i)
        if i >= 0:
            i = i + size if size <= len(data) - i else -1
    else:
        return -1
    return i if i <= len(data) else -1


@numba.njit(cache=True, nogil=True)
def _skip(data: np.ndarray, i: int, kind: int) -> int:
    """What is behind a value of a type, -1 if the value is not whole. (numba cannot cache what calls itself.)"""
    # Of the lists and structs that we are inside of: how many elements are to come, and of which type; -1 for a struct.
    left, kinds = np.empty(_MAX_DEPTH, np.int64), np.empty(_MAX_DEPTH, np.int64)
    depth = 0
    while True:
        if kind in (_STRUCT, _LIST, _SET):
            count, element = -1, 0
            if kind != _STRUCT:
                count, element, i = _list(data, i)
            if i < 0 or depth == _MAX_DEPTH:
                return -1
            left[depth], kinds[depth] = count, max(element, _BYTE)
            depth += 1
        else:
            i = _skip_plain(data, i, kind)
        kind = 0
        while depth and not kind:
            if i < 0 or i >= len(data):
                return -1
            if left[depth - 1] > 0:
                left[depth - 1] -= 1
                kind = int(kinds[depth - 1])
            elif left[depth - 1] == 0:
                depth -= 1
            else:
                head = int(np.int64(data[i]))
                i += 1
                if head == 0:
                    depth -= 1
                    continue
                if head >> 4 == 0:
                    _, i = _varint(data, i)
                kind = head & 15 if head & 15 > _LAST_BOOL else 0  # the field's head says true or false itself
        if not depth:
            return i


@numba.njit(cache=True, nogil=True)
def row_groups(data: np.ndarray) -> tuple[int, np.ndarray]:
    """(where the list of row groups begins, int64[n + 1] where each group does and the last ends) of a footer (uint8).

    -1 and nothing if the footer is not whole, or has no such list.
    """
    at, starts, nothing = -1, np.empty(0, np.int64), np.empty(0, np.int64)
    i = field = 0
    while i < len(data):
        head = int(np.int64(data[i]))
        i += 1
        if head == 0:
            return at, starts
        if head >> 4:
            field += head >> 4
        else:
            value, i = _varint(data, i)
            field = value >> 1
        if i >= 0 and field == _ROW_GROUPS and head & 15 == _LIST:
            at = i
            count, kind, i = _list(data, i)
            if i < 0 or kind != _STRUCT or count > len(data) - i:
                return -1, nothing
            starts = np.empty(count + 1, np.int64)
            starts[0] = i
            for k in range(count):
                i = _skip(data, i, _STRUCT)
                if i < 0:
                    return -1, nothing
                starts[k + 1] = i
        elif i >= 0 and head & 15 > _LAST_BOOL:
            i = _skip(data, i, head & 15)
        if i < 0:
            return -1, nothing
    return -1, nothing
