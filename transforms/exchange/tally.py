"""What refine has staged, summed up over many chunks, so that the launcher reads few records."""

from __future__ import annotations

import bisect
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from malmungchi.schemas.work import InputFile
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.counts import Counts, total
from malmungchi.transforms.exchange.items import finished_chunks, items_of
from malmungchi.transforms.exchange.regroup import join_names

# Stored bytes of the files whose tasks of refine one tally sums up, and their number at most.
_UNIT_BYTES = 1 << 30
_UNIT_FILES = 4096


def units(files: list[InputFile]) -> list[int]:
    """Where runs of consecutive files begin whose work is summed up together, and the number of files."""
    starts, size = [0], 0
    for number, file in enumerate(files):
        if size and (size + file.size > _UNIT_BYTES or number - starts[-1] >= _UNIT_FILES):
            starts.append(number)
            size = 0
        size += file.size
    return [*starts, len(files)] if files else [0]


def tally(staging: str, first: int, end: int) -> dict[str, Any] | None:
    """The chunks of the files from number `first` to `end`, the files' digests, those that gave no document, and the
    sum of the chunks' Counts as JSON; None if a chunk is missing."""
    chunks: list[tuple[str, int]] = []
    digests: list[str] = []
    parts: list[Counts] = []
    barren: dict[str, list[int]] = defaultdict(list)
    for ordinal in range(first, end):
        cut_ = records.load(staging, records.cut_task(ordinal))
        if cut_ is None:
            return None
        digest, cause, before = cut_.counts["digest"], "", len(parts)
        for item in items_of(cut_):
            found = finished_chunks(staging, item)
            if found is None:
                return None
            for record in found:
                parts.append(Counts.from_json(record.counts))
                chunks.append((record.task, parts[-1].read))
                digest = digest or record.counts["digest"]
                cause = cause or record.counts["cause"]
        digests.append(digest)
        if why := why_barren(total(parts[before:]), cause):
            barren[why].append(ordinal)
    shown = sorted([why, len(files), *files[:NAMED]] for why, files in barren.items())[:_CAUSES]
    return {"chunks": chunks, "digests": digests, "barren": shown, **total(parts).to_json()}


# Files without a document that are named for a cause, and causes of a tally, at most.
NAMED = 5
_CAUSES = 100


def why_barren(counts: Counts, cause: str) -> str:
    """Why a file gave no document, in words: the rule that took most rows, and the first cause for which one could not
    be read. Empty if it gave one, or is one that a step has judged."""
    if counts.kept:
        return ""
    rules: Counter[tuple[str, str]] = Counter()
    for (step, rule, *_), count in counts.rejected.items():
        rules[step, rule] += count
    if not rules:
        return "it is empty"
    (step, rule), _ = min(rules.items(), key=lambda item: (-item[1], item[0]))
    if step != "read" and counts.read == 1:
        return ""
    return f"{step}.{rule}" + (f", {cause}" if step == "read" and cause else "")


def _tally(group: tuple[int, Iterable[str]], staging: str, starts: list[int]) -> Iterator[str]:
    unit = group[0]
    name = records.tally_task(unit)
    if records.load(staging, name) is None:
        counts = tally(staging, starts[unit], starts[unit + 1])
        if counts is None:
            return
        records.finish(staging, name, [], counts)
    yield name


def _unit_of(name: str, starts: list[int]) -> tuple[int, str]:
    ordinal = int(name.rpartition("/")[2].split("-")[0])
    return bisect.bisect_right(starts, ordinal) - 1, name


@dataclasses.dataclass
class TallyChunks(beam.PTransform):
    """PCollection[str] of finished chunks -> the records that sum them up, so that the launcher reads few."""

    files: list[InputFile]
    staging: str

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[str]:
        starts = units(self.files)
        keyed = pcoll | "ByUnit" >> beam.Map(_unit_of, starts).with_output_types(tuple[int, str])
        every = pcoll.pipeline | "Units" >> beam.Create(
            [(unit, "") for unit in range(len(starts) - 1)], reshuffle=False
        ).with_output_types(tuple[int, str])
        return (
            (keyed, every)
            | "WithAll" >> beam.Flatten()
            | "GroupByUnit" >> beam.GroupByKey()
            | "Tally" >> beam.FlatMap(_tally, self.staging, starts).with_output_types(str)
        )


def chunks_of(name: str, staging: str) -> Iterator[tuple[str, int]]:
    """(task, rows read) of the chunks that a tally sums up."""
    return ((chunk, rows) for chunk, rows in records.need(staging, name).counts["chunks"])


# Elements that the chunks of a job are, at most: their records are read by as many tasks.
_ELEMENTS = 64


def _dealt(name: str, staging: str) -> Iterator[tuple[int, str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for number, (chunk, _) in enumerate(chunks_of(name, staging)):
        found[number % _ELEMENTS].append(chunk)
    for number, chunks in found.items():
        yield number, join_names(chunks)


def _joined(group: tuple[int, Iterable[str]]) -> str:
    return join_names(group[1])


@dataclasses.dataclass
class Chunks(beam.PTransform):
    """The tallies of refine -> PCollection[str], the tasks that they sum up, many to an element."""

    tallies: list[str]
    staging: str

    def expand(self, root: beam.Pipeline) -> beam.PCollection[str]:
        return (
            root
            | "Tallies" >> beam.Create(self.tallies).with_output_types(str)
            | "ChunksOf" >> beam.FlatMap(_dealt, self.staging).with_output_types(tuple[int, str])
            | "DealChunks" >> beam.GroupByKey()
            | "Names" >> beam.Map(_joined).with_output_types(str)
        )
