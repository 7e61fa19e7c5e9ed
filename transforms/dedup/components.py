"""Connected components of more edges than fit into memory, range by range of their nodes, by way of temporary files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from malmungchi.transforms.kernels import components, strings

# Edges whose components are found at once, in some 20 bytes each. Of more, ranges of a fraction are held: smaller ones
# fit the processor's cache better.
EDGES = 32 << 20
_FRACTION = 8

_PAIR = np.dtype([("node", np.uint64), ("root", np.uint64)])

Pairs = tuple[np.ndarray, np.ndarray]


class _Spill:
    """Pairs of nodes, appended to one file for each range."""

    def __init__(self, folder: str, name: str, ranges: int) -> None:
        self._folder, self._name, self._ranges = Path(folder), name, ranges

    def _file(self, number: int) -> Path:
        return self._folder / f"{self._name}-{number}"

    def add(self, node: np.ndarray, root: np.ndarray, by: np.ndarray) -> None:
        """Each pair to the file of the range in which `by` lies."""
        where = strings.ranges(np.ascontiguousarray(by), self._ranges)
        order = np.argsort(where, kind="stable")
        numbers, starts = np.unique(where[order], return_index=True)
        for number, start, end in zip(numbers.tolist(), starts, [*starts[1:], len(order)], strict=False):
            which = order[start:end]
            pairs = np.empty(len(which), _PAIR)
            pairs["node"], pairs["root"] = node[which], root[which]
            with self._file(number).open("ab") as file:
                pairs.tofile(file)

    def take(self, number: int) -> Pairs:
        """The pairs of a range, which are gone from the disk then."""
        if not self._file(number).exists():
            return np.empty(0, np.uint64), np.empty(0, np.uint64)
        pairs = np.fromfile(self._file(number), _PAIR)
        self._file(number).unlink()
        return pairs["node"].copy(), pairs["root"].copy()


def join(edges: Iterable[Pairs], count: int, limit: int = EDGES) -> Iterator[Pairs]:
    """(nodes uint64 sorted, root uint64 = the smallest node of its component) of `count` edges (uint64, uint64), part
    by part in the order of the nodes. Memory is that of about `limit` edges.

    Nodes are hashes, so ranges of them are of one size. An edge belongs to the range of its larger node. From the
    highest range down, each component of a range's edges becomes a star around its smallest node: rays to nodes of
    lower ranges are edges there, the others are remembered. From the lowest range up, each node learns its root from
    that of the node it is a ray of.
    """
    ranges = -(-_FRACTION * count // limit)
    if count <= limit:
        yield components.components(edges)
        return
    with tempfile.TemporaryDirectory(prefix="malmungchi-") as folder:
        open_, rays, known = (_Spill(folder, name, ranges) for name in ("edges", "rays", "known"))
        for a, b in edges:
            low, high = np.minimum(a, b), np.maximum(a, b)
            open_.add(high, low, by=high)
        for number in reversed(range(ranges)):
            node, root = components.components([open_.take(number)])
            node, root = node[node != root], root[node != root]
            here = strings.ranges(node, ranges) == number
            rays.add(node[here], root[here], by=root[here])
            open_.add(node[~here], root[~here], by=node[~here])
        for number in range(ranges):
            node, root = known.take(number)
            ray, center = rays.take(number)
            here = strings.ranges(ray, ranges) == number  # then its center is no ray of another
            node, root = np.concatenate([node, ray[here]]), np.concatenate([root, center[here]])
            roots = np.setdiff1d(center, node)
            node, root = np.concatenate([node, roots]), np.concatenate([root, roots])
            order = np.argsort(node)
            node, root = node[order], root[order]
            ray, center = ray[~here], center[~here]
            known.add(ray, root[np.searchsorted(node, center)], by=ray)
            yield node, root
