"""refine: input files -> normalised Korean documents with fingerprints, in exchange files, and rejects."""

from __future__ import annotations

import bisect
import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from malmungchi.pipelines.plan.planner import expected_bytes
from malmungchi.schemas.plan import Plan
from malmungchi.schemas.work import InputFile, Share, WorkItem, work_item
from malmungchi.transforms.dedup.fingerprint import ComputeFingerprints
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.counts import Counts, total
from malmungchi.transforms.exchange.stage import StageChunks
from malmungchi.transforms.formats.cut import cut, stripes
from malmungchi.transforms.formats.read import ReadDocuments
from malmungchi.transforms.io.private import Private
from malmungchi.transforms.text.steps import RunSteps

# Stored bytes of the files whose tasks of refine one tally sums up, and their number at most.
_UNIT_BYTES = 1 << 30
_UNIT_FILES = 4096

# Where items are dealt out by chance it takes so many for each worker to be even; and workers of a cluster of unknown
# size. Local runners deal them out in turn: then it is enough that those at the end are small.
_ITEMS_BY_CHANCE = 32
_WORKERS = 64
_LAST = 2


def cut_task(ordinal: int) -> str:
    """Name of the task that splits a file into work items."""
    return records.numbered("cut", f"{ordinal:08d}", ordinal)


def items_of(record: records.Record) -> list[WorkItem]:
    """The work items that a finished cut gave."""
    return [work_item(item) for item in record.counts["items"]]


def shares(plan: Plan, workers: int, local: bool) -> list[Share]:
    """For so many workers, 0 for nobody knows how many. The largest file comes first; what is read by one task alone
    is not read twice. Locally no task has more than a part of what is left to each worker when its turn comes."""
    workers = workers or _WORKERS
    files = sorted(plan.files, key=lambda file: (-expected_bytes(file), file.ordinal))
    left = plan.input_bytes
    share = left // (_ITEMS_BY_CHANCE * workers)
    found = []
    for number, file in enumerate(files):
        if local and number % workers == 0:
            share = left // (_LAST * workers)
        found.append(Share(file, max(share, plan.chunk_bytes), workers))
        left -= expected_bytes(file)
    return found


def _cut(group: tuple[int, Iterable[Share]], staging: str, chunk_bytes: int) -> Iterator[tuple[int, WorkItem]]:
    for share in group[1]:
        file = share.file
        record = records.load(staging, cut_task(file.ordinal))
        if record is None:
            made = cut(file, chunk_bytes, share.bytes)
            counts = {"items": [dataclasses.asdict(item) for item in made.items], "digest": made.digest}
            record = records.finish(staging, cut_task(file.ordinal), [], counts)
        for number, item in enumerate(items_of(record)):
            for part in stripes(item, share.bytes, share.most):
                yield file.ordinal << 32 | number << 8 | part.stripe, part


def finished_chunks(staging: str, item: WorkItem) -> list[records.Record] | None:
    """The records of all chunks of an item, None if one is missing."""
    found: list[records.Record] = []
    while not found or not found[-1].counts["last"]:
        record = records.load(staging, records.chunk_task(item.id, len(found)))
        if record is None:
            return None
        found.append(record)
    return found


def _unfinished(group: tuple[int, Iterable[WorkItem]], staging: str) -> Iterator[WorkItem]:
    for item in group[1]:
        if finished_chunks(staging, item) is None:
            yield item


@dataclasses.dataclass
class PlanWork(beam.PTransform):
    """How files are dealt out -> the work items that are not finished yet."""

    shares: list[Share]
    staging: str
    chunk_bytes: int

    def expand(self, root: beam.Pipeline) -> beam.PCollection[WorkItem]:
        numbered = list(enumerate(self.shares))
        cut_files = beam.FlatMap(Private(_cut, self.staging, self.chunk_bytes))
        return (
            root
            | "Files" >> beam.Create(numbered, reshuffle=False).with_output_types(tuple[int, Share])
            | "DealFiles" >> beam.GroupByKey()
            | "CutFiles" >> cut_files.with_output_types(tuple[int, WorkItem])
            | "DealItems" >> beam.GroupByKey()
            | "SkipFinished" >> beam.FlatMap(_unfinished, self.staging).with_output_types(WorkItem)
        )


def units(files: list[InputFile]) -> list[int]:
    """Where runs of consecutive files begin whose work is summed up together, and the number of files."""
    starts, size = [0], 0
    for number, file in enumerate(files):
        if size and (size + file.size > _UNIT_BYTES or number - starts[-1] >= _UNIT_FILES):
            starts.append(number)
            size = 0
        size += file.size
    return [*starts, len(files)] if files else [0]


def tally_task(unit: int) -> str:
    """Name of the record that sums up the chunks of a unit."""
    return records.numbered(records.REFINED, f"{unit:06d}", unit)


def unfinished(staging: str, ordinal: int) -> str:
    """What of a file is not refined, in a few words; empty if it is done."""
    record = records.load(staging, cut_task(ordinal))
    if record is None:
        return "input"
    return next((f"item {item.id} of" for item in items_of(record) if finished_chunks(staging, item) is None), "")


def tally(staging: str, first: int, end: int) -> dict[str, Any] | None:
    """The chunks of the files from number `first` to `end`, the files' digests, and the sum of the chunks' Counts as
    JSON; None if a chunk is missing."""
    chunks: list[tuple[str, int]] = []
    digests: list[str] = []
    parts: list[Counts] = []
    for ordinal in range(first, end):
        cut_ = records.load(staging, cut_task(ordinal))
        if cut_ is None:
            return None
        digest = cut_.counts["digest"]
        for item in items_of(cut_):
            found = finished_chunks(staging, item)
            if found is None:
                return None
            for record in found:
                parts.append(Counts.from_json(record.counts))
                chunks.append((record.task, parts[-1].read))
                digest = digest or record.counts["digest"]
        digests.append(digest)
    return {"chunks": chunks, "digests": digests, **total(parts).to_json()}


def _tally(group: tuple[int, Iterable[str]], staging: str, starts: list[int]) -> Iterator[str]:
    unit = group[0]
    name = tally_task(unit)
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
        yield number, records.join_names(chunks)


def _joined(group: tuple[int, Iterable[str]]) -> str:
    return records.join_names(group[1])


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


def refine(root: beam.Pipeline, plan: Plan, staging: str, dealt: list[Share]) -> Any:
    """Puts the refine stage into a pipeline; `dealt` are the `shares` of those who read."""
    config = plan.config
    return (
        root
        | "PlanWork" >> PlanWork(dealt, staging, plan.chunk_bytes)
        | "ReadDocuments" >> ReadDocuments(config.read, plan.chunk_bytes, staging)
        | "RunSteps" >> RunSteps(config)
        | "ComputeFingerprints" >> ComputeFingerprints(config.fingerprint)
        | "StageChunks" >> StageChunks(staging, plan.layout, config.fingerprint, config.deduplicate)
        | "TallyChunks" >> TallyChunks(plan.files, staging)
    )
