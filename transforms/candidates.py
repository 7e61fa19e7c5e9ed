"""CANDIDATES: bands -> candidate pairs -> components of documents that may be near-duplicates of each other."""

from __future__ import annotations

import dataclasses
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from schemas.config import Deduplicate, Fingerprint
from schemas.exchange import EDGE, MEMBER, Layout, band_schema
from schemas.work import Slice
from transforms.exchange import Segments, in_order, read_slice, read_slices
from transforms.kernels import candidates as kernel
from transforms.kernels import components, minhash, strings
from transforms.task import Regroup, RunTasks


def _sketches(column: pa.ChunkedArray) -> np.ndarray:
    """uint64[rows, words] of a fixed-size binary column."""
    whole = column.combine_chunks()
    width = whole.type.byte_width // 8
    return np.frombuffer(whole.buffers()[1], np.uint64)[whole.offset * width :].reshape(-1, width)[: len(whole)]


@dataclasses.dataclass(frozen=True)
class FindForest:
    """Work of one range of band hashes: candidate pairs, thinned by the sketches, as a spanning forest."""

    staging: str
    fingerprint: Fingerprint
    deduplicate: Deduplicate

    def __call__(self, partition: int, parts: dict[str, list[Slice]], segments: Segments) -> dict[str, Any]:
        table = read_slices(parts["bands"], self.staging, band_schema(self.fingerprint.num_perm))
        a, b = kernel.forest(
            table["hash"].to_numpy(),
            table["node"].to_numpy(),
            _sketches(table["sketch"]),
            minhash.min_matches(self.fingerprint.num_perm, self.deduplicate.threshold),
            self.fingerprint.num_perm,
            self.deduplicate.bucket,
        )
        segments.add("edges", 0, pa.RecordBatch.from_arrays([pa.array(a), pa.array(b)], schema=EDGE))
        return {"entries": table.num_rows, "edges": len(a)}


@dataclasses.dataclass(frozen=True)
class JoinForests:
    """Work of the one task that joins all forests: the component of each node that has a candidate."""

    staging: str
    layout: Layout

    def __call__(self, partition: int, parts: dict[str, list[Slice]], segments: Segments) -> dict[str, Any]:
        batches = (read_slice(part, self.staging, EDGE) for part in in_order(parts["edges"]))
        node, root = components.components((batch["a"].to_numpy(), batch["b"].to_numpy()) for batch in batches)
        members = pa.RecordBatch.from_arrays([pa.array(node), pa.array(root)], schema=MEMBER)
        segments.scatter("members", members, strings.ranges(node, self.layout.exact_ranges))
        return {"nodes": len(node)}


@dataclasses.dataclass
class FindCandidates(beam.PTransform):
    """Tasks with `bands` -> the task with `members`: nodes by component."""

    staging: str
    layout: Layout
    fingerprint: Fingerprint
    deduplicate: Deduplicate

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[str]:
        forest = FindForest(self.staging, self.fingerprint, self.deduplicate)
        return (
            pcoll
            | "RegroupBands" >> Regroup(self.staging, ("bands",))
            | "FindForests" >> RunTasks(self.staging, "candidates", "bands", forest)
            | "RegroupForests" >> Regroup(self.staging, ("edges",))
            | "JoinForests" >> RunTasks(self.staging, "components", "edges", JoinForests(self.staging, self.layout))
        )
