"""VERIFY: LSH proposes, verification decides. A document is dropped only for a kept one it truly resembles."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.config import Deduplicate, Fingerprint
from schemas.exchange import CANDIDATE, STAGED, TEXT, WANTED, Layout
from schemas.work import Slice
from transforms.exact import binary_keys, component_group, preference, starts_of, verdict_counts, verdicts
from transforms.exchange import Segments, in_order, read_slice, read_slices
from transforms.kernels import cover, shingles
from transforms.kernels.utf8 import string_buffers
from transforms.task import Regroup, RunTasks

# Text of which the shingles are held at once: 32 MiB of Korean are some 13 million shingles of 8 bytes, and as much
# again for the index. Components that need more are walked in windows.
WINDOW_BYTES = 32 << 20


@dataclasses.dataclass(frozen=True)
class GatherWanted:
    """Work of one partition: the texts that verification wants, regrouped by component."""

    staging: str
    layout: Layout

    def __call__(self, partition: int, parts: dict[str, list[Slice]], segments: Segments) -> dict[str, Any]:
        wanted = read_slices(parts["wanted"], self.staging, WANTED).sort_by("ordinal").combine_chunks()
        ordinal, component = wanted["ordinal"].to_numpy(), wanted["component"].to_numpy()
        for part in in_order(parts["rows"]):
            rows = read_slice(part, self.staging, STAGED)
            at = np.searchsorted(ordinal, rows["ordinal"].to_numpy())
            at[at == len(ordinal)] = 0
            mask = ordinal[at] == rows["ordinal"].to_numpy()
            found = rows.select(["ordinal", "text"]).filter(pa.array(mask))
            root = component[at[mask]]
            batch = pa.RecordBatch.from_arrays([found["ordinal"], pa.array(root), found["text"]], schema=TEXT)
            segments.scatter("texts", batch, component_group(root, self.layout), compress=True)
        return {"wanted": len(ordinal)}


def _windows(size: np.ndarray, component: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of documents, sorted by component, in windows of about WINDOW_BYTES; components stay whole where they
    fit."""
    first = np.flatnonzero(starts_of(component))
    start = 0
    while start < len(size):
        total = np.cumsum(size[start:])
        end = start + max(1, int(np.searchsorted(total, WINDOW_BYTES, side="right")))
        if end < len(size):
            whole = first[(first > start) & (first <= end)]
            end = int(whole[-1]) if len(whole) else end
        yield np.arange(start, min(end, len(size)))
        start = end


@dataclasses.dataclass(frozen=True)
class VerifyComponents:
    """Work of one group of components: who is covered by whom, by true Jaccard similarity."""

    staging: str
    layout: Layout
    fingerprint: Fingerprint
    deduplicate: Deduplicate

    def __call__(self, partition: int, parts: dict[str, list[Slice]], segments: Segments) -> dict[str, Any]:
        table = read_slices(parts["candidates"], self.staging, CANDIDATE)
        table = table.take(pa.array(preference(table, self.deduplicate.prefer, ("component",))))
        best = table["best"].to_numpy(zero_copy_only=False)
        chosen = table.filter(pa.array(best))
        keeper, score = self._cover(chosen, parts["texts"])
        # Copies share the fate of the best document of the same content, and come behind it in the order.
        at = np.flatnonzero(best)
        content = binary_keys(table["content_hash"])
        sorter = np.argsort(content[at])
        mine = sorter[np.searchsorted(content[at], content, sorter=sorter)]
        whole_keeper, whole_score = at[keeper[mine]], score[mine]
        whole_score[~best & (keeper[mine] == mine)] = 1.0
        decided, where = verdicts(table, whole_keeper, whole_score)
        segments.scatter("verdicts", decided, where)
        counts = verdict_counts(decided, where, self.layout.partitions)
        return {**counts, "components": int(starts_of(table["component"].to_numpy()).sum())}

    def _cover(self, chosen: pa.Table, texts: list[Slice]) -> tuple[np.ndarray, np.ndarray]:
        """(keeper, score) of the documents of `chosen`, which are in order of preference within each component."""
        component = chosen["component"].to_numpy()
        ordinal = chosen["ordinal"].to_numpy()
        keeper = np.arange(len(ordinal))
        score = np.zeros(len(ordinal))
        n, threshold = self.fingerprint.ngram, self.deduplicate.threshold
        kept_before = np.zeros(0, np.int64)  # of a component that did not fit into the windows before
        for window in _windows(chosen["bytes"].to_numpy(), component):
            mine = self._folded(ordinal[window], texts)
            covered = np.full(len(window), -1)
            kept_before = kept_before[component[kept_before] == component[window[0]]]
            if len(kept_before):
                for earlier in _windows(chosen["bytes"].to_numpy()[kept_before], component[kept_before]):
                    at, how = cover.cover_against(
                        *self._folded(ordinal[kept_before[earlier]], texts), component[kept_before[earlier]],
                        *mine, component[window], n, threshold,
                    )  # fmt: skip
                    better = (at >= 0) & (how > score[window])
                    covered[better] = kept_before[earlier][at[better]]
                    score[window[better]] = how[better]
            free = np.flatnonzero(covered < 0)
            at, how = cover.cover(*_some(*mine, free), component[window[free]], n, threshold)
            inside = at >= 0
            covered[free[inside]] = window[free[at[inside]]]
            score[window[free[inside]]] = how[inside]
            dropped = covered >= 0
            keeper[window[dropped]] = covered[dropped]
            kept_before = np.append(kept_before, window[~dropped])
        return keeper, score

    def _folded(self, ordinal: np.ndarray, texts: list[Slice]) -> tuple[np.ndarray, np.ndarray]:
        """Folded code points and their starts of the documents, in the order given."""
        order = np.argsort(ordinal)
        found: list[pa.RecordBatch] = []
        for part in in_order(texts):
            batch = read_slice(part, self.staging, TEXT)
            at = np.searchsorted(ordinal, batch["ordinal"].to_numpy(), sorter=order)
            at[at == len(ordinal)] = 0
            mask = ordinal[order[at]] == batch["ordinal"].to_numpy()
            found.append(batch if mask.all() else batch.filter(pa.array(mask)))
        table = pa.Table.from_batches(found, TEXT)
        if table.num_rows != len(ordinal):
            raise RuntimeError(f"{len(ordinal)} texts to verify, {table.num_rows} found in the staging area")
        back = np.empty(len(order), np.int64)
        back[order] = np.argsort(table["ordinal"].to_numpy())
        text = pc.take(table["text"], pa.array(back))
        if isinstance(text, pa.ChunkedArray):
            text = text.combine_chunks()
        return shingles.fold(*string_buffers(text))


def _some(codepoints: np.ndarray, starts: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The documents `which` of a folded set."""
    if len(which) == len(starts) - 1:
        return codepoints, starts
    size = np.diff(starts)[which]
    ends = np.concatenate([[0], np.cumsum(size)])
    index = np.repeat(starts[which] - ends[:-1], size) + np.arange(ends[-1])
    return codepoints[index], ends


@dataclasses.dataclass
class GatherTexts(beam.PTransform):
    """Tasks with `rows` and `wanted` -> tasks with `texts`."""

    staging: str
    layout: Layout

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[str]:
        work = GatherWanted(self.staging, self.layout)
        return pcoll | Regroup(self.staging, ("rows", "wanted")) | RunTasks(self.staging, "texts", "wanted", work)


@dataclasses.dataclass
class VerifyCandidates(beam.PTransform):
    """Tasks with `candidates` and `texts` -> tasks with `verdicts`."""

    staging: str
    layout: Layout
    fingerprint: Fingerprint
    deduplicate: Deduplicate

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[str]:
        work = VerifyComponents(self.staging, self.layout, self.fingerprint, self.deduplicate)
        return (
            pcoll
            | Regroup(self.staging, ("candidates", "texts"))
            | RunTasks(self.staging, "verified", "candidates", work)
        )
