"""CANDIDATES: bands -> candidate pairs -> components of documents that may be near-duplicates of each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from malmungchi.schemas.banding import SKETCH_MISS
from malmungchi.schemas.config import Deduplicate, Fingerprint
from malmungchi.schemas.exchange import EDGE, MEMBER, Layout, band_schema
from malmungchi.schemas.work import Slice
from malmungchi.transforms.dedup.components import join
from malmungchi.transforms.exchange.segments import Segments, read_batches
from malmungchi.transforms.kernels import candidates as kernel
from malmungchi.transforms.kernels import minhash, strings


def _words(column: pa.FixedSizeBinaryArray) -> np.ndarray:
    """uint64[rows, words] of a fixed-size binary column; no copy."""
    width = column.type.byte_width // 8
    return np.frombuffer(column.buffers()[1], np.uint64, width * len(column), 8 * width * column.offset).reshape(
        -1, width
    )


# Band hashes that are looked at together: up to 60 bytes of memory each.
_ENTRIES = 5 << 20


@dataclasses.dataclass(frozen=True)
class FindForest:
    """Work of one range of band hashes: candidate pairs, thinned by the sketches, as a spanning forest.

    Partitions are sized by the text of a job. Where its documents are tiny there are so many hashes to a byte of it
    that the range is looked at part by part, each of which is read from all that is there.
    """

    staging: str
    fingerprint: Fingerprint
    deduplicate: Deduplicate

    def __call__(self, partition: int, parts: dict[str, list[Slice]], segments: Segments) -> dict[str, Any]:
        count = sum(part.rows for part in parts["bands"])
        edges = 0
        shares = -(-count // _ENTRIES)
        for share in range(shares):
            hash_, node, place = self._keys(parts["bands"], share, shares)
            rows = kernel.shared(hash_, node)
            a, b = kernel.forest(
                hash_[rows],
                node[rows],
                self._sketches(parts["bands"], place[rows]),
                minhash.min_matches(self.fingerprint.num_perm, self.deduplicate.threshold, SKETCH_MISS),
                self.fingerprint.num_perm,
                self.deduplicate.bucket,
            )
            segments.add("edges", 0, pa.RecordBatch.from_arrays([pa.array(a), pa.array(b)], schema=EDGE))
            edges += len(a)
        return {"entries": count, "edges": edges}

    def _keys(self, parts: list[Slice], share: int, shares: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(hash, node, number) of the entries whose hash belongs to a share, in the order of the slices."""
        hash_, node, place = [], [], []
        start = 0
        for batch in self._batches(parts):
            hashes = batch["hash"].to_numpy()
            mine = np.flatnonzero(hashes % shares == share)
            hash_.append(hashes[mine])
            node.append(batch["node"].to_numpy()[mine])
            place.append(start + mine)
            start += batch.num_rows
        return np.concatenate(hash_), np.concatenate(node), np.concatenate(place)

    def _sketches(self, parts: list[Slice], rows: np.ndarray) -> np.ndarray:
        """uint64[len(rows), words]: sketches of some entries. They are read in a second pass: all of them at once
        would take several times the memory of the keys, and hardly any is needed."""
        order = np.argsort(rows)
        found: list[np.ndarray] = []
        start = at = 0
        for batch in self._batches(parts if len(rows) else []):
            end = at + int(np.searchsorted(rows[order[at:]], start + batch.num_rows))
            if end > at:
                found.append(_words(batch["sketch"])[rows[order[at:end]] - start])
            start, at = start + batch.num_rows, end
        sketches = np.empty((len(rows), found[0].shape[1] if found else 1), np.uint64)
        sketches[order] = np.concatenate(found) if found else sketches
        return sketches

    def _batches(self, parts: list[Slice]) -> Iterator[pa.RecordBatch]:
        return read_batches(parts, self.staging, band_schema(self.fingerprint.num_perm))


@dataclasses.dataclass(frozen=True)
class JoinForests:
    """Work of the one task that joins all forests: the component of each node that has a candidate."""

    staging: str
    layout: Layout

    def __call__(self, partition: int, parts: dict[str, list[Slice]], segments: Segments) -> dict[str, Any]:
        batches = read_batches(parts["edges"], self.staging, EDGE)
        edges = ((batch["a"].to_numpy(), batch["b"].to_numpy()) for batch in batches)
        nodes = 0
        for node, root in join(edges, sum(part.rows for part in parts["edges"])):
            members = pa.RecordBatch.from_arrays([pa.array(node), pa.array(root)], schema=MEMBER)
            segments.scatter("members", members, strings.ranges(node, self.layout.exact_ranges))
            nodes += len(node)
        return {"nodes": nodes}
