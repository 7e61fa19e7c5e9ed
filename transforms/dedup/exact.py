"""EXACT: documents whose texts are equal, and the order of preference among duplicates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.schemas.config import Deduplicate
from malmungchi.schemas.exchange import CANDIDATE, EXACT, MEMBER, VERDICT, WANTED, Layout
from malmungchi.schemas.work import Slice
from malmungchi.transforms.exchange.segments import Segments, read_batches, read_slices
from malmungchi.transforms.kernels import strings

_SORT_KEYS = {
    "priority": ("priority", "ascending"),
    "licensed": ("licensed", "descending"),
    "longest": ("chars", "descending"),
    "shortest": ("chars", "ascending"),
    "newest": ("date", "descending"),
    "oldest": ("date", "ascending"),
    "id": ("id", "ascending"),
}

# Rows that are taken at once out of those of a task: a text can have millions of copies, which are one task's.
PIECE_ROWS = 1 << 16


def preference(rows: pa.RecordBatch, prefer: list[str], group: tuple[str, ...] = ()) -> np.ndarray:
    """int64 indices that sort the rows by the columns of `group`, then by preference, the best first.

    Documents without a date come after those with one. What the configured keys leave equal is told apart by the
    id, then by the place in the input, so that the order is total.
    """
    keys = [(name, "ascending") for name in group] + [_SORT_KEYS[key] for key in prefer]
    keys += [key for key in (("id", "ascending"), ("ordinal", "ascending")) if key not in keys]
    return pc.sort_indices(rows, sort_keys=keys).to_numpy()


def starts_of(column: np.ndarray) -> np.ndarray:
    """bool[rows]: whether a row of a sorted column differs from the one before."""
    first = np.ones(len(column), bool)
    first[1:] = column[1:] != column[:-1]
    return first


def binary_keys(column: pa.FixedSizeBinaryArray) -> np.ndarray:
    """Fixed-size binary values as a NumPy void array, which compares them whole."""
    kind = f"V{column.type.byte_width}"
    if not len(column):
        return np.zeros(0, kind)
    return np.frombuffer(column.buffers()[1], kind)[column.offset : column.offset + len(column)]


def combined(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """All rows in one batch. Empties the list, and copies column by column: two copies of all are not held where the
    columns can be freed one by one."""
    table = pa.Table.from_batches(batches, schema)
    batches.clear()
    columns = []
    while table.num_columns:
        columns.append(table.column(0).combine_chunks())
        table = table.remove_column(0)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def verdicts(
    rows: pa.RecordBatch, order: np.ndarray, keeper: np.ndarray, score: np.ndarray
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """(VERDICT rows, their partitions), PIECE_ROWS at a time, for documents of which number i is row order[i], and is
    covered by number keeper[i], or keeps itself.

    A kept document that stands for itself alone needs no verdict. The rule is `exact_duplicate` where the content
    hashes of the two are equal.
    """
    size = np.bincount(keeper, minlength=len(order))
    copies = pc.fill_null(rows["copies"], 1).to_numpy()[order]
    stood_for = np.bincount(keeper, copies, len(order)).astype(np.int64)
    said = np.flatnonzero((keeper != np.arange(len(order))) | (size > 1))
    documents = rows.select(["ordinal", "bytes", "partition", "content_hash"])
    names = rows.select(["content_hash", "id"])
    for start in range(0, len(said), PIECE_ROWS):
        piece = said[start : start + PIECE_ROWS]
        kept = keeper[piece] == piece
        mine = documents.take(pa.array(order[piece]))
        at_keeper = names.take(pa.array(order[keeper[piece]]))
        same = binary_keys(mine["content_hash"]) == binary_keys(at_keeper["content_hash"])
        columns = [
            mine["ordinal"],
            mine["bytes"],
            pa.array(kept),
            pa.array(np.where(kept, stood_for[piece], 0)),
            at_keeper["content_hash"],
            at_keeper["id"],
            pa.array(np.where(same, "exact_duplicate", "near_duplicate"), pa.string(), mask=kept),
            pa.array(score[piece], mask=kept),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=VERDICT), mine["partition"].to_numpy()


def _within(values: np.ndarray, those: np.ndarray) -> np.ndarray:
    """bool[values]: which are among `those`, which are sorted."""
    at = np.searchsorted(those, values)
    at[at == len(those)] = 0
    return those[at] == values if len(those) else np.zeros(len(values), bool)


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
        members = read_slices(parts.get("members", []), self.staging, MEMBER).sort_by("node")
        member, component = members["node"].to_numpy(), members["component"].to_numpy()
        rows = self._concerned(parts["exact"], member)
        order = preference(rows, self.deduplicate.prefer, ("node", "content_hash"))
        best = starts_of(binary_keys(rows["content_hash"])[order])
        keeper = np.flatnonzero(best)[np.cumsum(best) - 1]
        node = rows["node"].to_numpy()[order]
        near = _within(node, member)

        alone = np.flatnonzero(~near)
        decided = 0
        renumbered = np.searchsorted(alone, keeper[alone])
        for said, where in verdicts(rows, order[alone], renumbered, np.ones(len(alone))):
            segments.scatter("verdicts", said, where)
            decided += said.num_rows

        going = np.flatnonzero(near)
        for start in range(0, len(going), PIECE_ROWS):
            piece = going[start : start + PIECE_ROWS]
            root = component[np.searchsorted(member, node[piece])]
            columns = [*rows.take(pa.array(order[piece])).columns, pa.array(root), pa.array(best[piece])]
            candidates = pa.RecordBatch.from_arrays(columns, schema=CANDIDATE)
            segments.scatter("candidates", candidates, component_group(root, self.layout))
            wanted = candidates.filter(candidates["best"])
            segments.scatter("wanted", wanted.select(WANTED.names), wanted["partition"].to_numpy())
        return {"decided": decided, "going on": len(going)}

    def _concerned(self, parts: list[Slice], member: np.ndarray) -> pa.RecordBatch:
        """The rows that have copies or candidates."""
        batches = list(read_batches(parts, self.staging, EXACT))
        node = np.concatenate([batch["node"].to_numpy() for batch in batches])
        each = np.sort(node)
        twice = each[1:][each[1:] == each[:-1]]
        concerned = _within(node, twice) | _within(node, member)
        start = 0
        for number, batch in enumerate(batches):
            batches[number] = batch.filter(pa.array(concerned[start : start + batch.num_rows]))
            start += batch.num_rows
        return combined(batches, EXACT)
