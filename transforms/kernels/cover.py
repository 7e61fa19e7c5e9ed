"""Verification: which documents of a component are covered by a kept one of truly similar shingles.

Documents are walked in order of preference. One is dropped if, and only if, a kept document before it in its component
has a true Jaccard similarity of shingle sets (distinct 64-bit hashes) of at least the threshold; so every dropped
document has a verified pair with a kept one, and no two kept documents of a component are a pair.

In a small component each document meets every kept one. A large one has an index of the kept documents' prefixes
(Chaudhuri et al. 2006; Bayardo et al. 2007): in any fixed order of shingles, two sets with similarity >= t share one
of the first |x| - ceil(t |x|) + 1 of each. The order here is from rare to frequent. A longer prefix is as good, so
shingles are ordered by bins, (frequency, part of the hash), and a prefix ends with its bin: no sorting, and still
exact. The first bin in which two sets share a shingle bounds what they share by what lies from it on (the positional
filter of Xiao et al. 2008), and so the size of a partner: postings are kept by classes of size, and those out of reach
are not read. Pages that share most of a template, but not enough of it, mostly do not meet.

Memory, beside the texts: 8 bytes for each distinct shingle of the kept documents of one component, 20 for each in a
prefix (a quarter of them, about, at 0.8), and at most 32 MB of tables; it is reused from component to component.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from malmungchi.transforms.kernels.shingles import BLOCK, contains, distinct, shingle_block, shingle_count, table_size

# Components of more documents than this are indexed: below, comparing with every kept document is as fast.
SMALL = 8

_FREQUENCIES = 1 << 22  # counters at most (16 MB); shingles that share one only look more frequent than they are
_CLASSES, _PARTS = 64, 32  # bins: half powers of two of the frequency, times parts of the hash


@numba.njit(inline="always")
def _overlap(hashes: Any, start: Any, end: Any, table: Any, mask: Any, misses: Any) -> Any:
    """How many of hashes[start:end] the set holds; -1 as soon as more than `misses` are not in it."""
    for i in range(start, end):
        if not contains(table, mask, hashes[i]):
            misses -= 1
            if misses < 0:
                return np.int64(-1)
    return np.int64(misses)


@numba.njit(inline="always")
def _similarity(hashes: Any, start: Any, end: Any, size: Any, table: Any, mask: Any, bound: Any) -> Any:
    """Jaccard similarity of hashes[start:end] and the set of `size` hashes in `table`, or 0 if it is below `bound`."""
    other = end - start
    # One less than needed, against rounding; the quotient itself decides.
    needed = np.int64(np.floor(bound / (1.0 + bound) * (size + other))) - 1
    if min(size, other) < needed:
        return 0.0
    misses = other - max(needed, 0)
    left = _overlap(hashes, start, end, table, mask, misses)
    if left < 0:
        return 0.0
    both = other - (misses - left)
    similarity = both / (size + other - both)
    return similarity if similarity >= bound else 0.0


@numba.njit(nogil=True)
def _count(text: Any, n: Any, block: Any, counters: Any, mask: Any) -> None:
    total, first = shingle_count(np.int64(text.size), n), np.int64(0)
    while first < total:
        size = shingle_block(text, np.int64(0), np.int64(text.size), n, first, block)
        first += size
        for i in range(size):
            counters[block[i] >> np.uint64(8) & mask] += np.uint32(1)


@numba.njit(nogil=True)
def _classes(counters: Any, size: Any) -> None:
    """Replaces counts by the integer part of twice their logarithm to base 2, about."""
    for i in range(size):
        count, kind = np.int64(counters[i]), np.int64(0)
        while count > 3:
            count >>= 1
            kind += 2
        if count > 1:
            kind += count - 1
        counters[i] = min(kind, np.int64(_CLASSES - 1))


@numba.njit(nogil=True)
def _prefix(hashes: Any, size: Any, threshold: Any, counters: Any, mask: Any, bins: Any, out: Any, reach: Any) -> Any:
    """Writes the shingles of the prefix to `out` and returns how many; `reach` gets, for each, the largest size of a
    partner whose first common shingle it can be."""
    bins[:] = 0
    for i in range(size):
        h = hashes[i]
        bins[np.int64(counters[h >> np.uint64(8) & mask]) * _PARTS + np.int64(h >> np.uint64(59))] += 1
    wanted = size - np.int64(np.ceil(threshold * size - 1e-9)) + 1
    last, before = np.int64(-1), np.int64(0)
    while before < wanted and last < bins.size - 1:
        last += 1
        own = bins[last]
        bins[last] = before
        before += own
    count = np.int64(0)
    for i in range(size):
        h = hashes[i]
        at = np.int64(counters[h >> np.uint64(8) & mask]) * _PARTS + np.int64(h >> np.uint64(59))
        if at <= last:
            # Common shingles are at most those from this bin on, and at least t / (1 + t) of both sizes together.
            out[count] = h
            most = min((size - bins[at]) * (1.0 + threshold) / threshold - size, size / threshold) + 1e-6
            reach[count] = np.int32(min(most, 2147483647.0))
            count += 1
    return count


@numba.njit(inline="always")
def _size_class(size: Any) -> Any:
    return np.uint64(np.log(np.float64(max(size, 1))) * 20.0)  # steps of 5 %


@numba.njit(inline="always")
def _head(h: Any, size_class: Any, mask: Any) -> Any:
    return (h >> np.uint64(8)) + size_class * np.uint64(0x9E3779B97F4A7C15) & mask


@numba.njit(nogil=True)
def _text(d: Any, kept_codepoints: Any, kept_starts: Any, codepoints: Any, starts: Any) -> Any:
    """The code points of document `d`: the kept ones from before come first."""
    fixed = kept_starts.size - 1
    if d < fixed:
        return kept_codepoints[kept_starts[d] : kept_starts[d + 1]]
    return codepoints[starts[d - fixed] : starts[d - fixed + 1]]


@numba.njit(nogil=True)
def _slots(members: Any, kept_starts: Any, starts: Any) -> Any:
    """How many counters the shingles of a component's documents have: a power of two."""
    fixed, total = kept_starts.size - 1, np.int64(0)
    for d in members:
        total += kept_starts[d + 1] - kept_starts[d] if d < fixed else starts[d - fixed + 1] - starts[d - fixed]
    slots = np.int64(1024)
    while slots < total and slots < _FREQUENCIES:
        slots *= 2
    return slots


@numba.njit(nogil=True)
def _best_of_all(
    flat: Any, kept_at: Any, kept: Any, size: Any, table: Any, table_mask: Any, best: Any, threshold: Any
) -> Any:
    """(similarity, number) of the kept document most similar to the set of `size` hashes in `table`, by comparing with
    each; (`best`, -1) where none is more similar than `best`."""
    who = np.int64(-1)
    for other in range(kept):
        s = _similarity(flat, kept_at[other], kept_at[other + 1], size, table, table_mask, max(best, threshold))
        if s > best:
            best, who = s, np.int64(other)
    return best, who


@numba.njit(nogil=True)
def _best_of_index(
    d: Any,
    prefix: Any,
    reach: Any,
    chosen: Any,
    heads: Any,
    mask: Any,
    post_hash: Any,
    posts: Any,
    seen: Any,
    flat: Any,
    kept_at: Any,
    size: Any,
    table: Any,
    table_mask: Any,
    best: Any,
    threshold: Any,
) -> Any:
    """`_best_of_all` by the postings of the prefix of document `d`; of equals the one kept first."""
    who = np.int64(-1)
    smallest = np.int64(_size_class(np.ceil(threshold * size - 1e-6)))
    for i in range(chosen):
        h = prefix[i]
        for size_class in range(smallest, np.int64(_size_class(reach[i])) + 1):
            at = np.int64(heads[_head(h, np.uint64(size_class), mask)])
            while at >= 0:
                k = np.int64(posts[at, 0])
                if post_hash[at] == h and posts[at, 1] >= size and seen[k] != d:
                    seen[k] = d
                    s = _similarity(flat, kept_at[k], kept_at[k + 1], size, table, table_mask, max(best, threshold))
                    if s > best or (s == best and k < who):
                        best, who = s, k
                at = np.int64(posts[at, 2])
    return best, who


@numba.njit(nogil=True)
def _post(
    kept: Any,
    size: Any,
    prefix: Any,
    reach: Any,
    chosen: Any,
    heads: Any,
    mask: Any,
    post_hash: Any,
    posts: Any,
    at: Any,
) -> Any:
    """Adds the prefix of kept document `kept`, of `size` hashes, to the postings, whose number is `at`; the new one."""
    size_class = _size_class(size)
    for i in range(chosen):
        slot = _head(prefix[i], size_class, mask)
        post_hash[at] = prefix[i]
        posts[at, 0], posts[at, 1], posts[at, 2] = kept, reach[i], heads[slot]
        heads[slot] = at
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _walk(
    kept_codepoints: Any,
    kept_starts: Any,
    codepoints: Any,
    starts: Any,
    order: Any,
    first: Any,
    n: Any,
    threshold: Any,
    grow: Any,
    small: Any,
    table: Any,
    own: Any,
    flat: Any,
    keeper: Any,
    score: Any,
) -> None:
    """Walks the documents of each component, order[first[c]:first[c + 1]].

    Numbers below `fixed` are kept documents from before, which are not judged; the others are judged, and kept where
    they have no score and `grow` is set. `keeper` and `score` are those of the judged ones, filled with what is known.
    """
    fixed = kept_starts.size - 1
    block = np.empty(BLOCK, np.uint64)
    prefix, reach = np.empty(own.size, np.uint64), np.empty(own.size, np.int32)
    bins = np.empty(_CLASSES * _PARTS, np.int32)
    largest = np.int64(1)
    for c in range(first.size - 1):
        largest = max(largest, first[c + 1] - first[c])
    kept_at = np.empty(largest + 1, np.int64)  # where in `flat` the hashes of a kept document begin
    kept_doc = np.empty(largest, np.int64)
    seen = np.empty(largest, np.int64)
    counters = np.empty(0, np.uint32)
    heads = np.empty(0, np.int32)
    # Chains of postings: hash; kept document, its reach, next posting. As with `flat`, room is not yet memory.
    room = flat.size if largest > small else 0
    post_hash, posts = np.empty(room, np.uint64), np.empty((room, 3), np.int32)
    mask = np.uint64(0)
    for c in range(first.size - 1):
        members = order[first[c] : first[c + 1]]
        if members.size < 2:
            continue
        indexed = members.size > small
        kept, postings = np.int64(0), np.int64(0)
        kept_at[0] = 0
        if indexed:
            slots = _slots(members, kept_starts, starts)
            mask = np.uint64(slots - 1)
            if counters.size < slots:
                counters, heads = np.empty(slots, np.uint32), np.empty(slots, np.int32)
            counters[:slots] = 0
            heads[:slots] = -1
            for d in members:
                _count(_text(d, kept_codepoints, kept_starts, codepoints, starts), n, block, counters, mask)
            _classes(counters, slots)
            seen[: members.size] = -1
        for d in members:
            text = _text(d, kept_codepoints, kept_starts, codepoints, starts)
            size, table_mask = distinct(text, np.int64(0), np.int64(text.size), n, block, table, own)
            if size == 0:
                continue
            chosen = np.int64(0)
            if indexed:
                chosen = _prefix(own, size, threshold, counters, mask, bins, prefix, reach)
            judged = d - fixed
            if judged >= 0:
                best = score[judged]
                if indexed:
                    best, who = _best_of_index(
                        d, prefix, reach, chosen, heads, mask, post_hash, posts, seen,
                        flat, kept_at, size, table, table_mask, best, threshold,
                    )  # fmt: skip
                else:
                    best, who = _best_of_all(flat, kept_at, kept, size, table, table_mask, best, threshold)
                if who >= 0:
                    keeper[judged], score[judged] = kept_doc[who], best
                if best > 0 or not grow:
                    continue
            begin = kept_at[kept]
            for i in range(size):  # a loop: numba takes two seconds to compile the copy of a slice
                flat[begin + i] = own[i]
            kept_doc[kept] = d
            kept_at[kept + 1] = begin + size
            if indexed:
                postings = _post(kept, size, prefix, reach, chosen, heads, mask, post_hash, posts, postings)
            kept += 1


def _run(
    kept: tuple[np.ndarray, np.ndarray, np.ndarray],
    new: tuple[np.ndarray, np.ndarray, np.ndarray],
    n: int,
    threshold: float,
    grow: bool,
    known: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold {threshold}: above 0, at most 1")
    component = np.concatenate([kept[2], new[2]])
    order = np.argsort(component, kind="stable")
    group = component[order]
    first = np.r_[0, np.flatnonzero(group[1:] != group[:-1]) + 1, len(group)] if len(group) else np.zeros(1, np.int64)
    sizes = np.concatenate([np.diff(kept[1]), np.diff(new[1])])
    longest = int(sizes.max(initial=1))
    # Room for all shingles of the largest component; what is not written never becomes resident.
    room = int(np.add.reduceat(sizes[order], first[:-1]).max()) if len(group) else 0
    keeper = np.full(len(new[2]), -1, np.int64)
    score = np.zeros(len(new[2])) if known is None else known.astype(np.float64)
    _walk(
        kept[0],
        kept[1],
        new[0],
        new[1],
        order,
        first,
        n,
        threshold,
        grow,
        SMALL,
        np.empty(table_size(longest), np.uint64),
        np.empty(longest, np.uint64),
        np.empty(room, np.uint64),
        keeper,
        score,
    )
    return keeper, score


def cover(
    codepoints: np.ndarray,
    starts: np.ndarray,
    component: np.ndarray,
    n: int,
    threshold: float,
    known: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(keeper int64[docs], score float64[docs]) of documents in order of preference, the best first.

    `keeper` is the index of the kept document that covers this one (the most similar, of equals the earliest), -1
    where the document is kept; `score` their similarity, 0 where kept. `known` (float64[docs]) holds scores from kept
    documents of earlier windows, 0 where there are none: a document that has one is not kept, and gets a keeper here
    only for a higher score. Raises ValueError for a threshold outside (0, 1].
    """
    none = np.empty(0, np.uint32), np.zeros(1, np.int64), np.empty(0, np.uint64)
    return _run(none, (codepoints, starts, component), n, threshold, True, known)


def cover_against(
    kept_codepoints: np.ndarray,
    kept_starts: np.ndarray,
    kept_component: np.ndarray,
    codepoints: np.ndarray,
    starts: np.ndarray,
    component: np.ndarray,
    n: int,
    threshold: float,
    known: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(keeper int64[docs] into the kept set, score): `cover` by documents that are kept already, and by no others.

    For components larger than memory, documents are cut into windows in order of preference. Window i goes against the
    kept documents of windows 0 … i - 1, one after another, with the scores so far as `known`, then through `cover` with
    them. The result is that of one `cover` over all, whatever the size of the windows.
    """
    kept = kept_codepoints, kept_starts, kept_component
    return _run(kept, (codepoints, starts, component), n, threshold, False, known)
