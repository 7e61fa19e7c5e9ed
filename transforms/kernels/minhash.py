"""MinHash signatures that `datasketch.MinHash` reads, bands and bit sketches.

Documents come as code points (`transforms.kernels.shingles`). A signature is bit-equal to a datasketch 2.0 MinHash
(scheme "affine32") updated with the upper 32 bits of the document's 64-bit shingle hashes: the minimum over them of
`a * fmix32(h) + b` modulo 2**32, for each of `num_perm` pairs (a, b). That of an empty document is all ones.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numba
import numpy as np

from malmungchi.transforms.kernels.shingles import BLOCK, shingle_block, shingle_count

_LANES = 64  # blocks are filled up to a multiple of this, so that the inner loop has no remainder


@functools.cache
def permutations(num_perm: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(a, b), uint32[num_perm] each: datasketch's own permutations.

    The import is here because it takes about 0.4 s (datasketch loads SciPy), which only fingerprinting should pay.
    """
    from datasketch import MinHash

    a, b = MinHash(num_perm=num_perm, seed=seed, scheme="affine32").permutations
    return np.ascontiguousarray(a), np.ascontiguousarray(b)


@numba.njit(inline="always")
def _fmix32(h: Any) -> Any:
    h ^= h >> np.uint32(16)
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h ^= h >> np.uint32(13)
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ h >> np.uint32(16))


@numba.njit(cache=True, nogil=True)
def _signatures(codepoints: Any, starts: Any, n: Any, a: Any, b: Any, out: Any) -> None:
    hashes = np.empty(BLOCK, np.uint64)
    mixed = np.empty(BLOCK, np.uint32)
    for d in range(starts.size - 1):
        start, end = starts[d], starts[d + 1]
        total, first = shingle_count(end - start, n), np.int64(0)
        out[d, :] = np.uint32(0xFFFFFFFF)
        while first < total:
            size = shingle_block(codepoints, start, end, n, first, hashes)
            first += size
            for i in range(size):
                mixed[i] = _fmix32(np.uint32(hashes[i] >> np.uint64(32)))
            full = (size + _LANES - 1) // _LANES * _LANES
            for i in range(size, full):
                mixed[i] = mixed[0]
            # The vector loop runs over the shingles: the block stays in the first-level cache and the minimum in
            # registers.
            for p in range(a.size):
                low, ap, bp = out[d, p], a[p], b[p]
                for i in range(full):
                    low = min(low, np.uint32(np.uint32(ap * mixed[i]) + bp))
                out[d, p] = low


def signatures(codepoints: np.ndarray, starts: np.ndarray, n: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """uint32[docs, num_perm]: the MinHash signature of each document's n-grams under the permutations (a, b)."""
    out = np.empty((len(starts) - 1, len(a)), np.uint32)
    _signatures(codepoints, starts, n, a, b, out)
    return out


@numba.njit(inline="always")
def _fmix64(h: Any) -> Any:
    h = (h ^ h >> np.uint64(33)) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ h >> np.uint64(33)) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ h >> np.uint64(33)


@numba.njit(cache=True, nogil=True)
def _band_hashes(signatures: Any, rows: Any, out: Any) -> None:
    for d in range(out.shape[0]):
        for band in range(out.shape[1]):
            h = _fmix64(np.uint64(band) + np.uint64(0x9E3779B97F4A7C15))
            for r in range(rows):
                h = (h ^ np.uint64(signatures[d, band * rows + r])) * np.uint64(0x9FB21C651E98DF25)
                h ^= h >> np.uint64(32)
            out[d, band] = _fmix64(h)


def band_hashes(signatures: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """uint64[docs, bands]: a hash of the band's number and its `rows` values of the signature.

    Raises ValueError when the signature is shorter than bands * rows.
    """
    if signatures.shape[1] < bands * rows:
        raise ValueError(f"{bands} bands of {rows} rows need {bands * rows} hash values, not {signatures.shape[1]}")
    out = np.empty((len(signatures), bands), np.uint64)
    _band_hashes(signatures, rows, out)
    return out


@numba.njit(cache=True, nogil=True)
def _sketches(signatures: Any, out: Any) -> None:
    planes = out.shape[1] // 2
    for d in range(out.shape[0]):
        for w in range(planes):
            low, high = np.uint64(0), np.uint64(0)
            part = signatures[d, 64 * w : 64 * (w + 1)]
            for i in range(part.size):
                v = np.uint64(part[i])
                low |= (v & np.uint64(1)) << np.uint64(i)
                high |= (v >> np.uint64(1) & np.uint64(1)) << np.uint64(i)
            out[d, w] = low
            out[d, planes + w] = high


def sketches(signatures: np.ndarray) -> np.ndarray:
    """uint64[docs, 2 * ceil(num_perm / 64)]: two bits of each hash value (b-bit minwise hashing, Li and König 2010).

    First the words of the lowest bits, then those of the second lowest; a position matches where both are equal, which
    two documents of Jaccard similarity J do with probability J + (1 - J) / 4.
    """
    out = np.empty((len(signatures), 2 * ((signatures.shape[1] + 63) // 64)), np.uint64)
    _sketches(signatures, out)
    return out


def min_matches(num_perm: int, threshold: float, miss: float = 1e-5) -> int:
    """The most matching sketch positions that can be asked of a pair, if one of true similarity `threshold` is to be
    lost with a probability of at most `miss` (binomial tail)."""
    p = threshold + (1 - threshold) / 4
    if p >= 1:
        return num_perm
    tail = 0.0
    for m in range(num_perm + 1):
        log_choose = math.lgamma(num_perm + 1) - math.lgamma(m + 1) - math.lgamma(num_perm - m + 1)
        tail += math.exp(log_choose + m * math.log(p) + (num_perm - m) * math.log1p(-p))
        if tail > miss:
            return m
    return num_perm
