"""Hashing and copying of strings."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def hashes(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """uint64 of each string's bytes: FNV-1a, then the finalizer of MurmurHash3, which spreads it over the high bits."""
    out = np.empty(len(offsets) - 1, np.uint64)
    for row in range(len(out)):
        h = np.uint64(0xCBF29CE484222325)
        for i in range(offsets[row], offsets[row + 1]):
            h = (h ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
        h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
        h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
        out[row] = h ^ (h >> np.uint64(33))
    return out


@numba.njit(cache=True, nogil=True)
def ranges(hash_: np.ndarray, count: int) -> np.ndarray:
    """int64 number of the range, of `count` equal ones, in which each uint64 hash lies."""
    out = np.empty(len(hash_), np.int64)
    for i in range(len(hash_)):
        out[i] = np.int64(((hash_[i] >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))
    return out


@numba.njit(cache=True, nogil=True)
def gather(data: np.ndarray, places: np.ndarray, out: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
    """Copies strings that begin at places[i] of `data` to out[starts[i]:ends[i]] (uint8)."""
    for i in range(len(places)):
        for k in range(ends[i] - starts[i]):
            out[starts[i] + k] = data[places[i] + k]
