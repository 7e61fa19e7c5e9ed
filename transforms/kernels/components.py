"""Connected components of a stream of edges, in memory that grows with the distinct nodes only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numba
import numpy as np

_BLOCK = 1 << 16  # edges added between two checks of the room left
_MAX = (1 << 31) - 1


@numba.njit(inline="always")
def _slot(table: Any, nodes: Any, node: Any) -> Any:
    """Where `table` holds the number of `node`, or the free slot where it belongs (-1 is free)."""
    mask = np.uint64(table.size - 1)
    slot = (node * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)) & mask
    while table[slot] >= 0 and nodes[table[slot]] != node:
        slot = (slot + np.uint64(1)) & mask
    return slot


@numba.njit(cache=True, nogil=True)
def _fill(table: Any, nodes: Any, count: Any) -> None:
    table[:] = -1
    for i in range(count):
        table[_slot(table, nodes, nodes[i])] = i


@numba.njit(inline="always")
def find(parent: Any, i: Any) -> Any:
    """The root of number `i`; halves the path."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = np.int64(parent[i])
    return i


@numba.njit(cache=True, nogil=True)
def _number(table: Any, nodes: Any, parent: Any, count: Any, new: Any, out: Any) -> Any:
    for k in range(new.size):
        slot = _slot(table, nodes, new[k])
        if table[slot] < 0:
            table[slot] = count
            nodes[count] = new[k]
            parent[count] = count
            count += 1
        out[k] = table[slot]
    return count


@numba.njit(cache=True, nogil=True)
def _unite(nodes: Any, parent: Any, a: Any, b: Any) -> None:
    for k in range(a.size):
        i, j = find(parent, np.int64(a[k])), find(parent, np.int64(b[k]))
        if nodes[i] < nodes[j]:
            parent[j] = i
        else:
            parent[i] = j


@numba.njit(cache=True, nogil=True)
def _roots(nodes: Any, parent: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = nodes[find(parent, np.int64(i))]


class Components:
    """Union-find over 64-bit nodes. A component's root is its smallest node, whatever the order of the edges.

    Per distinct node: the node 8 bytes, its parent 4, and 5 to 10 in the table of node numbers, which is rebuilt from
    the nodes when it grows, never copied; arrays grow in place where the allocator can (room not yet used is not
    resident). `finish` frees the table first and peaks at 32.
    """

    def __init__(self) -> None:
        self._count = 0
        self.nodes = np.empty(_BLOCK, np.uint64)
        self.parent = np.empty(_BLOCK, np.int32)
        self._table = np.empty(1 << 12, np.int32)
        _fill(self._table, self.nodes, 0)

    def _reserve(self, more: int) -> None:
        need = self._count + more
        if need > _MAX:
            raise ValueError(f"more than {_MAX} nodes in one union-find")
        if need > len(self.nodes):
            room = need + need // 4
            self.nodes.resize(room, refcheck=False)
            self.parent.resize(room, refcheck=False)
        if need > 0.8 * len(self._table):
            size = len(self._table)
            while need > 0.8 * size:
                size *= 2
            del self._table
            self._table = np.empty(size, np.int32)
            _fill(self._table, self.nodes, self._count)

    def number(self, nodes: np.ndarray) -> np.ndarray:
        """int32 numbers of `nodes` (uint64), given in the order of their first appearance from 0."""
        out = np.empty(len(nodes), np.int32)
        for start in range(0, len(nodes), _BLOCK):
            block = nodes[start : start + _BLOCK]
            self._reserve(len(block))
            self._count = _number(self._table, self.nodes, self.parent, self._count, block, out[start : start + _BLOCK])
        return out

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        """Joins a[k] and b[k] (uint64) for each k."""
        for start in range(0, len(a), _BLOCK):
            i = self.number(a[start : start + _BLOCK])
            j = self.number(b[start : start + _BLOCK])
            _unite(self.nodes, self.parent, i, j)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """(nodes uint64 sorted, root uint64 = the smallest node of its component). The object is used up."""
        del self._table
        nodes, parent = self.nodes, self.parent
        del self.nodes, self.parent
        nodes.resize(self._count, refcheck=False)
        parent.resize(self._count, refcheck=False)
        root = np.empty(len(nodes), np.uint64)
        _roots(nodes, parent, root)
        del parent
        order = np.argsort(nodes)
        nodes = nodes[order]
        return nodes, root[order]


def components(edges: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """(nodes uint64 sorted, root uint64 = the smallest node of its component) of all edges (uint64, uint64)."""
    found = Components()
    for a, b in edges:
        found.add(np.ascontiguousarray(a, np.uint64), np.ascontiguousarray(b, np.uint64))
    return found.finish()
