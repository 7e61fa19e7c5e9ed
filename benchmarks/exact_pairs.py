"""Every pair of near-duplicates, exactly: what deduplication is judged by.

Two documents are a pair when the sets of their character n-grams have a Jaccard similarity of at least a threshold.
The n-grams are those of the letters and digits of the casefolded text in NFC; a shorter text is one n-gram, a text
without letters and digits has none and is in no pair. No sketch and no sampling: the only approximation is that
n-grams are compared by 64-bit hashes.

The join is a prefix filter (Chaudhuri et al. 2006): in any order of all n-grams, two sets x and y of similarity >= t
share one of the first |x| - ceil(t |x|) + 1 of x and of the first |y| - ceil(t |y|) + 1 of y. Ordered from rare to
frequent, few documents share one, and only they are compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numba
import numpy as np
import pyarrow as pa

from malmungchi.transforms.kernels.shingles import BLOCK, distinct, fold, table_size
from malmungchi.transforms.kernels.utf8 import string_buffers

NGRAM = 5

_COUNTERS = 1 << 25  # at most (128 MB); hashes that share one only look more frequent than they are


class Pairs(NamedTuple):
    """Pairs of documents, left < right, by their place in the column, and their similarity."""

    left: np.ndarray
    right: np.ndarray
    jaccard: np.ndarray


@numba.njit(cache=True, nogil=True)
def _sort_and_count(hashes: Any, starts: Any, counters: Any) -> None:
    """Sorts each set and counts in how many sets each hash is."""
    mask = np.uint64(counters.size - 1)
    for d in range(starts.size - 1):
        hashes[starts[d] : starts[d + 1]].sort()
    for h in hashes:
        counters[h & mask] += np.uint32(1)


@numba.njit(cache=True, nogil=True)
def _prefixes(hashes: Any, starts: Any, counters: Any, threshold: Any, out: Any, owner: Any) -> Any:
    """Writes the prefix of each set to `out`, its document to `owner`, and returns how many hashes these are.

    A prefix is everything as rare as the last hash it needs: a longer one is as good, and ties need no order. What no
    other document has is left out.
    """
    mask = np.uint64(counters.size - 1)
    count = np.int64(0)
    for d in range(starts.size - 1):
        own = hashes[starts[d] : starts[d + 1]]
        if own.size == 0:
            continue
        frequency = np.empty(own.size, np.uint32)
        for i in range(own.size):
            frequency[i] = counters[own[i] & mask]
        needed = own.size - np.int64(np.ceil(threshold * own.size - 1e-9)) + 1
        last = np.partition(frequency, needed - 1)[needed - 1]
        for i in range(own.size):
            if 1 < frequency[i] <= last:
                out[count], owner[count] = own[i], d
                count += 1
    return count


@numba.njit(nogil=True)
def _jaccard(a: Any, b: Any, threshold: Any) -> Any:
    """Similarity of two sorted sets, 0 as soon as it can no longer reach the threshold."""
    # Common hashes needed: t / (1 + t) of both sizes together; one fewer here, since the quotient itself decides.
    needed = np.int64(threshold / (1.0 + threshold) * (a.size + b.size)) - 1
    i, j, both = np.int64(0), np.int64(0), np.int64(0)
    while i < a.size and j < b.size:
        if both + min(a.size - i, b.size - j) < needed:
            return 0.0
        if a[i] == b[j]:
            both += 1
            i += 1
            j += 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return both / (a.size + b.size - both)


@numba.njit(cache=True, nogil=True)
def _join(hashes: Any, starts: Any, group: Any, owned: Any, members: Any, first: Any, threshold: Any) -> Any:
    """(left, right, jaccard): each document meets the earlier ones that share a hash of both prefixes, once.

    `group[owned[d]:owned[d + 1]]` are the groups of document d, one for each hash of its prefix;
    `members[first[g]:first[g + 1]]` the documents of group g, in order.
    """
    met = np.full(starts.size - 1, -1, np.int64)
    left, right, jaccard = np.empty(1024, np.int64), np.empty(1024, np.int64), np.empty(1024)
    count = np.int64(0)
    for d in range(starts.size - 1):
        own = hashes[starts[d] : starts[d + 1]]
        for g in group[owned[d] : owned[d + 1]]:
            for e in members[first[g] : first[g + 1]]:
                if e == d:
                    break
                if met[e] == d:
                    continue
                met[e] = d
                other = hashes[starts[e] : starts[e + 1]]
                if min(own.size, other.size) < threshold * max(own.size, other.size) - 1e-6:
                    continue
                similarity = _jaccard(own, other, threshold)
                if similarity < threshold:
                    continue
                if count == left.size:
                    left, right = np.append(left, np.empty_like(left)), np.append(right, np.empty_like(right))
                    jaccard = np.append(jaccard, np.empty_like(jaccard))
                left[count], right[count], jaccard[count] = e, d, similarity
                count += 1
    return left[:count], right[:count], jaccard[:count]


@numba.njit(cache=True, nogil=True)
def _shingle_sets(codepoints: Any, starts: Any, n: Any, table: Any, hashes: Any, out_starts: Any) -> Any:
    block = np.empty(BLOCK, np.uint64)
    k = np.int64(0)
    for d in range(starts.size - 1):
        out_starts[d] = k
        count, _ = distinct(codepoints, starts[d], starts[d + 1], n, block, table, hashes[k:])
        k += count
    out_starts[starts.size - 1] = k
    return k


def shingle_sets(codepoints: np.ndarray, starts: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(hashes uint64, starts int64[docs + 1]): each document's distinct shingle hashes, in order of appearance."""
    out_starts = np.empty(len(starts), np.int64)
    hashes = np.empty(len(codepoints), np.uint64)
    table = np.empty(table_size(int(np.diff(starts).max(initial=1))), np.uint64)
    size = _shingle_sets(codepoints, starts, n, table, hashes, out_starts)
    return hashes[:size], out_starts


def shingles(columns: Iterable[pa.StringArray], n: int = NGRAM) -> tuple[np.ndarray, np.ndarray]:
    """(hashes uint64, starts int64[docs + 1]): the set of n-grams of each document of columns of NFC text."""
    hashes, sizes = [np.empty(0, np.uint64)], [np.zeros(1, np.int64)]
    for column in columns:
        own, starts = shingle_sets(*fold(*string_buffers(column), short=0), n)
        hashes.append(own.copy())
        sizes.append(np.diff(starts))
    return np.concatenate(hashes), np.cumsum(np.concatenate(sizes))


def exact_pairs(columns: Iterable[pa.StringArray], threshold: float, n: int = NGRAM) -> Pairs:
    """All pairs of documents with a similarity of at least `threshold`, of columns of NFC text.

    Memory: 8 bytes for each distinct n-gram of each document, 24 for each in a prefix that others have too (some 5 %
    of them), and the counters. Raises ValueError for a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold {threshold}: above 0, at most 1")
    hashes, starts = shingles(columns, n)
    counters = np.zeros(min(_COUNTERS, max(16, 1 << (2 * len(hashes)).bit_length())), np.uint32)
    _sort_and_count(hashes, starts, counters)
    # Room for all; what is not written never becomes resident.
    prefix, owner = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.int64)
    size = _prefixes(hashes, starts, counters, threshold, prefix, owner)
    prefix, owner = prefix[:size], owner[:size]
    order = np.argsort(prefix, kind="stable")
    ranked = prefix[order]
    begins = np.ones(size, np.bool_)
    begins[1:] = ranked[1:] != ranked[:-1]
    group = np.empty(size, np.int64)
    group[order] = np.cumsum(begins) - 1
    owned = np.searchsorted(owner, np.arange(len(starts)))
    first = np.append(np.flatnonzero(begins), size)
    return Pairs(*_join(hashes, starts, group, owned, owner[order], first, threshold))
