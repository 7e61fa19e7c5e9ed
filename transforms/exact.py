"""EXACT: documents whose letters and digits are equal, and the order of preference among duplicates."""

from __future__ import annotations

import dataclasses
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.config import Deduplicate
from schemas.exchange import CANDIDATE, EXACT, MEMBER, VERDICT, WANTED, Layout
from schemas.work import Slice
from transforms.exchange import Segments, read_slices
from transforms.kernels import strings
from transforms.task import RunTasks

_SORT_KEYS = {
    "priority": ("priority", "ascending"),
    "longest": ("chars", "descending"),
    "shortest": ("chars", "ascending"),
    "newest": ("date", "descending"),
    "oldest": ("date", "ascending"),
    "id": ("id", "ascending"),
}


def preference(table: pa.Table, prefer: list[str], group: tuple[str, ...] = ()) -> np.ndarray:
    """int64 indices that sort the rows by the columns of `group`, then by preference, the best first.

    Documents without a date come after those with one. What the configured keys leave equal is told apart by the
    id, then by the place in the input, so that the order is total.
    """
    keys = [(name, "ascending") for name in group] + [_SORT_KEYS[key] for key in prefer]
    keys += [key for key in (("id", "ascending"), ("ordinal", "ascending")) if key not in keys]
    return pc.sort_indices(table, sort_keys=keys).to_numpy()


def starts_of(column: np.ndarray) -> np.ndarray:
    """bool[rows]: whether a row of a sorted column differs from the one before."""
    first = np.ones(len(column), bool)
    first[1:] = column[1:] != column[:-1]
    return first


def binary_keys(column: pa.ChunkedArray) -> np.ndarray:
    """Fixed-size binary values as a NumPy void array, which compares them whole."""
    whole = column.combine_chunks()
    width = whole.type.byte_width
    return np.frombuffer(whole.buffers()[1], f"V{width}")[whole.offset : whole.offset + len(whole)]


def verdicts(table: pa.Table, keeper: np.ndarray, score: np.ndarray) -> tuple[pa.RecordBatch, np.ndarray]:
    """(VERDICT rows, their partitions) for documents of which number i is covered by number keeper[i], or keeps itself.

    A kept document that stands for itself alone needs no verdict. The rule is `exact_duplicate` where the content
    hashes of the two are equal.
    """
    count = len(keeper)
    kept = keeper == np.arange(count)
    size = np.bincount(keeper, minlength=count)
    content = binary_keys(table["content_hash"])
    rule = np.where(content == content[keeper], "exact_duplicate", "near_duplicate")
    said = np.flatnonzero(~kept | (size > 1))
    at_keeper = table.select(["content_hash", "id"]).take(pa.array(keeper[said])).combine_chunks()
    mine = table.select(["ordinal", "bytes", "partition"]).take(pa.array(said)).combine_chunks()
    columns = [
        mine["ordinal"],
        mine["bytes"],
        pa.array(kept[said]),
        pa.array(np.where(kept[said], size[said], 0)),
        at_keeper["content_hash"],
        at_keeper["id"],
        pa.array(rule[said], pa.string(), mask=kept[said]),
        pa.array(score[said], mask=kept[said]),
    ]
    flat = [column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column for column in columns]
    return pa.RecordBatch.from_arrays(flat, schema=VERDICT), mine["partition"].to_numpy()


def component_group(root: np.ndarray, layout: Layout) -> np.ndarray:
    """int64 number of the task that verifies each component. A component is named by its smallest node, so small
    numbers prevail and are spread again."""
    return strings.ranges(root * np.uint64(0x9E3779B97F4A7C15), layout.partitions)


@dataclasses.dataclass(frozen=True)
class ResolveExact:
    """Work of one range of nodes: groups of equal content.

    A group whose node has no candidates is decided here. The others go on, with the component they belong to, to
    the verification (`candidates`), and the place of one text of each (`wanted`) to those who hold the texts.
    """

    staging: str
    layout: Layout
    deduplicate: Deduplicate

    def __call__(self, partition: int, parts: dict[str, list[Slice]], segments: Segments) -> dict[str, Any]:
        table = read_slices(parts["exact"], self.staging, EXACT)
        members = read_slices(parts.get("members", []), self.staging, MEMBER)
        member, component = members["node"].to_numpy(), members["component"].to_numpy()
        order = np.argsort(member)
        member, component = member[order], component[order]

        node = table["node"].to_numpy()
        _, inverse, copies = np.unique(node, return_inverse=True, return_counts=True)
        at = np.searchsorted(member, node)
        near = np.zeros(len(node), bool)
        inside = at < len(member)
        near[inside] = member[at[inside]] == node[inside]
        table = table.filter(pa.array(near | (copies[inverse] > 1)))
        table = table.take(pa.array(preference(table, self.deduplicate.prefer, ("node", "content_hash"))))
        best = starts_of(binary_keys(table["content_hash"])) if table.num_rows else np.zeros(0, bool)

        node = table["node"].to_numpy()
        at = np.minimum(np.searchsorted(member, node), max(0, len(member) - 1))
        near = member[at] == node if len(member) else np.zeros(len(node), bool)

        keeper = np.flatnonzero(best)[np.cumsum(best) - 1] if len(best) else np.zeros(0, np.int64)
        alone = np.flatnonzero(~near)
        renumbered = np.searchsorted(alone, keeper[alone])
        decided, where = verdicts(table.take(pa.array(alone)), renumbered, np.ones(len(alone)))
        segments.scatter("verdicts", decided, where)

        going = table.filter(pa.array(near))
        root = component[at[near]]
        columns = [*going.combine_chunks().columns, pa.array(root), pa.array(best[near])]
        flat = [c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in columns]
        candidates = pa.RecordBatch.from_arrays(flat, schema=CANDIDATE)
        segments.scatter("candidates", candidates, component_group(root, self.layout))
        wanted = candidates.filter(candidates["best"])
        segments.scatter("wanted", wanted.select(WANTED.names), np.asarray(wanted["partition"]))
        return {"decided": decided.num_rows, "going on": candidates.num_rows}


@dataclasses.dataclass
class FindExactDuplicates(beam.PTransform):
    """Tasks with `exact` and `members` -> tasks with `verdicts`, `candidates` and `wanted`."""

    staging: str
    layout: Layout
    deduplicate: Deduplicate

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[str]:
        work = ResolveExact(self.staging, self.layout, self.deduplicate)
        return pcoll | RunTasks(self.staging, "exact", ("exact", "members"), work, self.layout)
