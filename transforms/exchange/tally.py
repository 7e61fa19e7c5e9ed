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


def units(bundles: list[list[InputFile]]) -> list[int]:
    """Where runs of consecutive files begin whose work is summed up together, and the number of files. Files that are
    read together are not taken apart."""
    starts, size, number = [0], 0, 0
    for files in bundles:
        more = sum(file.size for file in files)
        if size and (size + more > _UNIT_BYTES or number + len(files) - starts[-1] > _UNIT_FILES):
            starts.append(number)
            size = 0
        size += more
        number += len(files)
    return [*starts, number] if bundles else [0]


def tally(staging: str, first: int, end: int) -> dict[str, Any] | None:
    """The chunks of the files from number `first` to `end`, the files' digests, those that gave no document, and the
    sum of the chunks' Counts as JSON; None if a chunk is missing."""
    chunks: list[tuple[str, int]] = []
    digests: list[str] = []
    parts: list[Counts] = []
    barren: dict[str, list[int]] = defaultdict(list)
    while first + len(digests) < end:
        cut_ = records.load(staging, records.cut_task(first + len(digests)))
        if cut_ is None:
            return None
        items = items_of(cut_)
        found: list[records.Record] = []
        for item in items:
            finished = finished_chunks(staging, item)
            if finished is None:
                return None
            found += finished
        parts += (Counts.from_json(record.counts) for record in found)
        chunks += ((record.task, part.read) for record, part in zip(found, parts[-len(found) :], strict=True))
        digest = cut_.counts["digest"] or "".join(record.counts["digest"] for record in found)
        files = items[0].files
        digests += (digest[at * _DIGEST : (at + 1) * _DIGEST] for at in range(len(files)))
        for why, ordinal in _barren(files, [record.counts for record in found]):
            barren[why].append(ordinal)
    shown = sorted([why, len(numbers), *numbers[:NAMED]] for why, numbers in barren.items())[:_CAUSES]
    return {"chunks": chunks, "digests": digests, "barren": shown, **total(parts).to_json()}


_DIGEST = 64  # hex digits of a sha256

# Files without a document that are named for a cause, and causes of a tally, at most.
NAMED = 5
_CAUSES = 100


def _barren(files: list[InputFile], found: list[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    """(why, ordinal) of the files that gave no document, of what their chunks' records say. A document that a step has
    judged is no matter: where each file is one, many are."""
    gave = {ordinal for counts in found for ordinal in counts["files"]}
    lost: dict[str, Counter[str]] = defaultdict(Counter)
    causes: dict[str, str] = {}
    if len(gave) == len(files):
        return
    for counts in found:
        for name, reason, count, cause in counts["lost"]:
            lost[name][reason] += count
            if reason.startswith("read."):
                causes.setdefault(name, cause)
    for file in files:
        if file.ordinal in gave:
            continue
        if not (rules := lost[file.name]):
            yield "it is empty", file.ordinal
            continue
        reason = min(rules, key=lambda each: (-rules[each], each))
        read = reason.startswith("read.")
        if read or rules.total() > 1:
            yield reason + (f", {causes[file.name]}" if read and causes[file.name] else ""), file.ordinal


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

    bundles: list[list[InputFile]]
    staging: str

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[str]:
        starts = units(self.bundles)
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
