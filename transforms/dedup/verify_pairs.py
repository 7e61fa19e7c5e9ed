"""VERIFY: LSH proposes, verification decides. A document is dropped only for a kept one it truly resembles."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from malmungchi.schemas.config import Deduplicate, Fingerprint
from malmungchi.schemas.document import concat
from malmungchi.schemas.errors import CountError
from malmungchi.schemas.exchange import CANDIDATE, TEXT, WANTED, Layout
from malmungchi.schemas.work import Slice
from malmungchi.transforms.dedup.exact import binary_keys, combined, component_group, preference, starts_of, verdicts
from malmungchi.transforms.exchange.segments import Segments, read_batches, read_slices
from malmungchi.transforms.kernels import cover, shingles, strings
from malmungchi.transforms.kernels.utf8 import string_buffers
from malmungchi.transforms.text import steps

# Text of which the shingles are held at once: 8 MiB of ASCII are some 8 million shingles of 8 bytes, several times
# again for the index. Components that need more are walked in windows.
WINDOW_BYTES = 8 << 20

# Texts of a temporary file that lie so near each other are read at once, about so many bytes of them.
_GAP_BYTES, _RUN_BYTES = 4 << 10, 1 << 20

# What a document takes in a window beside its text: places, tables, the ends of its lists of shingles.
_DOCUMENT_BYTES = 64

# Text that is gathered before it is written.
_SEGMENT_BYTES = 8 << 20


@dataclasses.dataclass(frozen=True)
class GatherWanted:
    """Work of one partition: the texts that verification wants, regrouped by component."""

    staging: str
    layout: Layout

    def __call__(self, partition: int, parts: dict[str, list[Slice]], segments: Segments) -> dict[str, Any]:
        wanted = read_slices(parts["wanted"], self.staging, WANTED).sort_by("ordinal").combine_chunks()
        ordinal, component = wanted["ordinal"].to_numpy(), wanted["component"].to_numpy()
        held: list[pa.RecordBatch] = []
        size = 0
        for rows in read_batches(parts["rows"], self.staging, steps.staged()):
            at = np.searchsorted(ordinal, rows["ordinal"].to_numpy())
            at[at == len(ordinal)] = 0
            mask = ordinal[at] == rows["ordinal"].to_numpy()
            found = rows.select(["ordinal", "text"]).filter(pa.array(mask))
            root = pa.array(component[at[mask]])
            held.append(pa.RecordBatch.from_arrays([found["ordinal"], root, found["text"]], schema=TEXT))
            size += held[-1].nbytes
            # Few large segments: one for each pair of a slice and a component's group would be millions.
            if size >= _SEGMENT_BYTES:
                self._scatter(held, segments)
                held, size = [], 0
        self._scatter(held, segments)
        return {"wanted": len(ordinal)}

    def _scatter(self, held: list[pa.RecordBatch], segments: Segments) -> None:
        batch = concat(held, TEXT)
        segments.scatter("texts", batch, component_group(batch["component"].to_numpy(), self.layout), compress=True)


def _windows(size: np.ndarray, component: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of documents, sorted by component, in windows of about WINDOW_BYTES; components stay whole where they
    fit."""
    first = np.flatnonzero(starts_of(component))
    start = 0
    while start < len(size):
        total = np.cumsum(size[start:] + _DOCUMENT_BYTES)
        end = start + max(1, int(np.searchsorted(total, WINDOW_BYTES, side="right")))
        if end < len(size):
            whole = first[(first > start) & (first <= end)]
            end = int(whole[-1]) if len(whole) else end
        yield np.arange(start, min(end, len(size)))
        start = end


def _reach(kept: np.ndarray, new: np.ndarray, threshold: float) -> np.ndarray:
    """bool[kept]: which sets of `kept` shingles can be similar to one of `new` shingles at all, by their sizes: two
    sets of similarity t differ in size by a factor of 1 / t at most."""
    new = np.sort(new)
    first = np.searchsorted(new, np.ceil(kept * threshold - 1e-6))
    behind = np.searchsorted(new, np.floor(kept / threshold + 1e-6), side="right")
    return first < behind


@dataclasses.dataclass(frozen=True)
class VerifyComponents:
    """Work of one group of components: who is covered by whom, by true Jaccard similarity."""

    staging: str
    layout: Layout
    fingerprint: Fingerprint
    deduplicate: Deduplicate

    def __call__(self, partition: int, parts: dict[str, list[Slice]], segments: Segments) -> dict[str, Any]:
        rows = combined(list(read_batches(parts["candidates"], self.staging, CANDIDATE)), CANDIDATE)
        order = preference(rows, self.deduplicate.prefer, ("component",))
        best = rows["best"].to_numpy(zero_copy_only=False)[order]
        chosen = rows.select(["ordinal", "component", "bytes"]).take(pa.array(order[best]))
        keeper, score = self._cover(chosen, parts["texts"])
        # Copies share the fate of the best document of the same content, and come behind it in the order.
        at = np.flatnonzero(best)
        content = binary_keys(rows["content_hash"])[order]
        sorter = np.argsort(content[at])
        mine = sorter[np.searchsorted(content[at], content, sorter=sorter)]
        whole_keeper, whole_score = at[keeper[mine]], score[mine]
        whole_score[~best & (keeper[mine] == mine)] = 1.0
        for said, where in verdicts(rows, order, whole_keeper, whole_score):
            segments.scatter("verdicts", said, where)
        return {"components": int(starts_of(chosen["component"].to_numpy()).sum())}

    def _cover(self, chosen: pa.RecordBatch, parts: list[Slice]) -> tuple[np.ndarray, np.ndarray]:
        """(keeper, score) of the documents of `chosen`, which are in order of preference within each component."""
        component = chosen["component"].to_numpy()
        size = chosen["bytes"].to_numpy()
        keeper = np.arange(len(size))
        score = np.zeros(len(size))
        n, threshold = self.fingerprint.ngram, self.deduplicate.threshold
        kept_before = np.zeros(0, np.int64)  # of a component that did not fit into the windows before
        distinct = np.zeros(len(size), np.int64)  # shingles, of documents of such a component
        with _Texts(chosen["ordinal"].to_numpy(), parts, self.staging) as texts:
            for window in _windows(size, component):
                mine, where = texts.folded(window), component[window]
                covered, known = np.full(len(window), -1), np.zeros(len(window))
                kept_before = kept_before[component[kept_before] == where[0]]
                after = window[-1] + 1
                if len(kept_before) or (after < len(size) and component[after] == where[-1]):
                    distinct[window] = shingles.set_sizes(*mine, n)
                near = kept_before[_reach(distinct[kept_before], distinct[window[where == where[0]]], threshold)]
                for earlier in _windows(size[near], component[near]):
                    before = near[earlier]
                    at, how = cover.cover_against(
                        *texts.folded(before), component[before], *mine, where, n, threshold, known
                    )
                    covered[at >= 0] = before[at[at >= 0]]
                    known = np.maximum(known, how)
                at, how = cover.cover(*mine, where, n, threshold, known)
                covered[at >= 0] = window[at[at >= 0]]
                dropped = covered >= 0
                keeper[window[dropped]] = covered[dropped]
                score[window] = np.maximum(known, how)
                kept_before = np.append(kept_before, window[~dropped])
        return keeper, score


class _Texts:
    """The texts of a group's documents, by their number. What is larger than a window lies in a temporary file."""

    def __init__(self, ordinal: np.ndarray, parts: list[Slice], staging: str) -> None:
        self._file = tempfile.SpooledTemporaryFile(WINDOW_BYTES, prefix="malmungchi-")  # noqa: SIM115 (closed by exit)
        self._start = np.full(len(ordinal), -1, np.int64)
        self._size = np.zeros(len(ordinal), np.int64)
        order = np.argsort(ordinal)
        for batch in read_batches(parts, staging, TEXT):
            at = np.searchsorted(ordinal, batch["ordinal"].to_numpy(), sorter=order)
            at[at == len(ordinal)] = 0
            number = order[at]
            mine = ordinal[number] == batch["ordinal"].to_numpy()
            data, offsets = string_buffers(batch["text"])
            self._start[number[mine]] = self._file.tell() + offsets[:-1][mine] - offsets[0]
            self._size[number[mine]] = np.diff(offsets)[mine]
            self._file.write(data[offsets[0] : offsets[-1]].tobytes())
        if (self._start < 0).any():
            missing = int((self._start < 0).sum())
            raise CountError(f"{missing} of {len(ordinal)} texts to verify are not in the staging area")

    def __enter__(self) -> _Texts:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def folded(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Folded code points and their starts of the documents, in the order given."""
        return shingles.fold(*self._read(which))

    def _read(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(uint8 bytes, int32 offsets) of the documents' texts."""
        offsets = np.concatenate([[0], np.cumsum(self._size[which])]).astype(np.int32)
        data = np.empty(int(offsets[-1]), np.uint8)
        order = np.argsort(self._start[which])
        start = self._start[which][order]
        end = start + self._size[which][order]
        for first, behind in _runs(start, end):
            self._file.seek(start[first])
            piece = np.frombuffer(self._file.read(end[behind - 1] - start[first]), np.uint8)
            there = order[first:behind]
            strings.gather(piece, start[first:behind] - start[first], data, offsets[there], offsets[there + 1])
        return data, offsets


def _runs(start: np.ndarray, end: np.ndarray) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of the places, sorted, that are read at once: neighbours, about `_RUN_BYTES` of them."""
    apart = (start[1:] - end[:-1] > _GAP_BYTES) | (start[1:] // _RUN_BYTES > start[:-1] // _RUN_BYTES)
    bounds = [0, *(np.flatnonzero(apart) + 1).tolist(), len(start)]
    return ((a, b) for a, b in itertools.pairwise(bounds) if b > a)
