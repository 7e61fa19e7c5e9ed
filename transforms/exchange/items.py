"""The work items of a job: cut from its files, and which of them are finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam

from malmungchi.schemas.config import Config
from malmungchi.schemas.work import Share, WorkItem, work_item
from malmungchi.transforms.exchange import records
from malmungchi.transforms.formats.split import cut, stripes
from malmungchi.transforms.io.private import Private


def items_of(record: records.Record) -> list[WorkItem]:
    """The work items that a finished cut gave."""
    return [work_item(item) for item in record.counts["items"]]


def _cut(
    group: tuple[int, Iterable[Share]], staging: str, config: Config, chunk_bytes: int
) -> Iterator[tuple[int, WorkItem]]:
    for share in group[1]:
        file = share.file
        record = records.load(staging, records.cut_task(file.ordinal))
        if record is None:
            made = cut(file, config, chunk_bytes, share.bytes)
            counts = {"items": [dataclasses.asdict(item) for item in made.items], "digest": made.digest}
            record = records.finish(staging, records.cut_task(file.ordinal), [], counts)
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
    config: Config
    chunk_bytes: int

    def expand(self, root: beam.Pipeline) -> beam.PCollection[WorkItem]:
        numbered = list(enumerate(self.shares))
        cut_files = beam.FlatMap(Private(_cut, self.staging, self.config, self.chunk_bytes))
        return (
            root
            | "Files" >> beam.Create(numbered, reshuffle=False).with_output_types(tuple[int, Share])
            | "DealFiles" >> beam.GroupByKey()
            | "CutFiles" >> cut_files.with_output_types(tuple[int, WorkItem])
            | "DealItems" >> beam.GroupByKey()
            | "SkipFinished" >> beam.FlatMap(_unfinished, self.staging).with_output_types(WorkItem)
        )


def unfinished(staging: str, ordinal: int) -> str:
    """What of a file is not refined, in a few words; empty if it is done."""
    record = records.load(staging, records.cut_task(ordinal))
    if record is None:
        return "input"
    return next((f"item {item.id} of" for item in items_of(record) if finished_chunks(staging, item) is None), "")
