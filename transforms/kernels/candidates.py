"""From equal bands to candidate pairs, thinned by the sketches and reduced to a spanning forest."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from malmungchi.transforms.kernels.components import Components, find

# Buckets over the limit are looked at in this many orders, each node beside its bucket / _ORDERS next ones.
_ORDERS = 32
_KEY_POSITIONS = 32  # sketch positions (2 bits each) in a sort key: 4**32 tells any bucket's members apart


@numba.njit(inline="always")
def _popcount(x: Any) -> Any:
    # LLVM knows this form and compiles it to the machine's instruction, over vectors where there is one.
    x = x - (x >> np.uint64(1) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + (x >> np.uint64(2) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return x * np.uint64(0x0101010101010101) >> np.uint64(56)


@numba.njit(nogil=True)
def _join(
    members: Any, words: Any, number: Any, parent: Any, window: Any, allowed: Any, differ: Any, edges: Any, count: Any
) -> Any:
    """Compares each member with the next `window` of them; writes the edges that join two trees.

    `members` are indices into `number` and for `edges`; words[w, x] is word w of member x's sketch, so that one member
    is compared with many at a time. `differ` is scratch of `window` values.
    """
    planes = words.shape[0] // 2
    for x in range(members.size - 1):
        size = min(window, members.size - 1 - x)
        differ[:size] = 0
        for w in range(planes):
            low, high = words[w, x], words[planes + w, x]
            lows, highs = words[w, x + 1 :], words[planes + w, x + 1 :]
            for y in range(size):
                differ[y] += _popcount((lows[y] ^ low) | (highs[y] ^ high))
        root = find(parent, np.int64(number[members[x]]))
        for y in range(size):
            if differ[y] <= allowed:
                other = find(parent, np.int64(number[members[x + 1 + y]]))
                if other != root:
                    edges[count, 0], edges[count, 1] = members[x], members[x + 1 + y]
                    count += 1
                    parent[max(root, other)] = min(root, other)
                    root = min(root, other)
    return count


@numba.njit(cache=True, nogil=True)
def _join_buckets(first: Any, bucket: Any, words: Any, number: Any, parent: Any, allowed: Any, edges: Any) -> Any:
    """All pairs of each bucket (members first[k] to first[k + 1]) that has at most `bucket` members."""
    members = np.arange(words.shape[1])
    differ = np.empty(bucket, np.uint64)
    count = np.int64(0)
    for k in range(first.size - 1):
        lo, hi = first[k], first[k + 1]
        if hi - lo <= bucket:
            count = _join(members[lo:hi], words[:, lo:hi], number, parent, bucket, allowed, differ, edges, count)
    return count


@numba.njit(cache=True, nogil=True)
def _join_large(
    lo: Any,
    hi: Any,
    window: Any,
    tables: Any,
    words: Any,
    number: Any,
    parent: Any,
    allowed: Any,
    edges: Any,
    count: Any,
) -> Any:
    """One bucket (members lo to hi), each member beside its next `window` in the order of each table's positions."""
    planes = words.shape[0] // 2
    keys = np.empty(hi - lo, np.uint64)
    beside = np.empty((words.shape[0], hi - lo), np.uint64)
    differ = np.empty(window, np.uint64)
    for t in range(tables.shape[0]):
        keys[:] = 0
        for position in tables[t]:
            bit = np.uint64(position % 64)
            lows, highs = words[position // 64, lo:hi], words[planes + position // 64, lo:hi]
            for x in range(keys.size):
                pair = (lows[x] >> bit & np.uint64(1)) << np.uint64(1) | highs[x] >> bit & np.uint64(1)
                keys[x] = keys[x] << np.uint64(2) | pair
        order = np.argsort(keys, kind="mergesort")  # stable: equal keys keep the order of nodes
        for w in range(words.shape[0]):
            for x in range(keys.size):
                beside[w, x] = words[w, lo + order[x]]
        count = _join(order + lo, beside, number, parent, window, allowed, differ, edges, count)
    return count


def shared(band_hash: np.ndarray, node: np.ndarray) -> np.ndarray:
    """int64 numbers of the entries whose bucket holds other nodes too, one for each node of a bucket, sorted by
    (hash, node). Most entries are alone in their bucket: only what is left needs its sketch."""
    order = np.argsort(band_hash)
    rows = order[_in_runs(band_hash[order])]
    rows = rows[np.lexsort((node[rows], band_hash[rows]))]
    h, nodes = band_hash[rows], node[rows]
    rows = rows[np.r_[True, (h[1:] != h[:-1]) | (nodes[1:] != nodes[:-1])][: len(rows)]]
    return rows[_in_runs(band_hash[rows])]


def _in_runs(sorted_: np.ndarray) -> np.ndarray:
    """Whether each value of a sorted array occurs more than once."""
    same = sorted_[1:] == sorted_[:-1]
    return np.r_[False, same][: len(sorted_)] | np.r_[same, False][: len(sorted_)]


def forest(
    band_hash: np.ndarray,
    node: np.ndarray,
    sketch: np.ndarray,
    min_matches: int,
    num_perm: int,
    bucket: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(a, b), uint64: edges of a spanning forest over the nodes of one partition of bands.

    `band_hash` and `node` are uint64[n], `sketch` uint64[n, words] (`minhash.sketches`); equal nodes have equal
    sketches. Nodes with the same band hash and at least `min_matches` matching sketch positions are joined: in buckets
    of up to `bucket` nodes every pair is compared. A larger bucket is sorted in `_ORDERS` ways, each time by other
    positions of the sketch, and each node is compared with its next bucket / _ORDERS neighbours: no more than
    `bucket` comparisons for a node, similar ones come to lie side by side in some order, and a dense cluster is joined
    through its neighbours. Neither the edges nor their order depends on the order of the input.
    """
    rows = shared(band_hash, node)
    if not len(rows):
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    h, nodes = band_hash[rows], node[rows]
    words = np.ascontiguousarray(sketch[rows].T)
    first = np.r_[0, np.flatnonzero(h[1:] != h[:-1]) + 1, len(h)]
    trees = Components()
    number = trees.number(nodes)
    edges = np.empty((len(rows), 2), np.int64)
    allowed = np.uint64(num_perm - min_matches)
    count = _join_buckets(first, bucket, words, number, trees.parent, allowed, edges)
    shuffle = np.random.RandomState(0)
    tables = np.array([shuffle.permutation(num_perm)[:_KEY_POSITIONS] for _ in range(_ORDERS)])
    for k in np.flatnonzero(np.diff(first) > bucket):
        count = _join_large(
            first[k], first[k + 1], -(-bucket // _ORDERS), tables, words, number, trees.parent, allowed, edges, count
        )
    return nodes[edges[:count, 0]], nodes[edges[:count, 1]]
