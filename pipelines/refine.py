"""refine: input files -> normalised Korean documents with fingerprints, in exchange files, and rejects."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from schemas.config import Config
from schemas.plan import Plan
from schemas.work import InputFile, WorkItem, work_item
from transforms import task
from transforms.cut import cut
from transforms.fingerprint import ComputeFingerprints
from transforms.language import FilterLanguage
from transforms.normalize import NormalizeText
from transforms.read import ReadDocuments
from transforms.stage import StageChunks, chunk_task


def cut_task(file: InputFile) -> str:
    """Name of the task that splits a file into work items."""
    return f"cut/{file.ordinal:08d}"


def items_of(record: task.Record) -> list[WorkItem]:
    """The work items that a finished cut gave."""
    return [work_item(item) for item in record.counts["items"]]


def _cut(group: tuple[int, Iterable[InputFile]], staging: str, config: Config) -> Iterator[tuple[int, WorkItem]]:
    for file in group[1]:
        record = task.load(staging, cut_task(file))
        if record is None:
            made = cut(file, staging, config.read, config.execution.chunk_bytes)
            counts = {"items": [dataclasses.asdict(item) for item in made.items], "digest": made.digest}
            record = task.finish(staging, cut_task(file), [], counts)
        for number, item in enumerate(items_of(record)):
            yield file.ordinal << 32 | number, item


def finished_chunks(staging: str, item: WorkItem) -> list[task.Record] | None:
    """The records of all chunks of an item, None if one is missing."""
    found: list[task.Record] = []
    while not found or not found[-1].counts["last"]:
        record = task.load(staging, chunk_task(item.id, len(found)))
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
    """The files of a plan -> the work items that are not finished yet. Files that are large and cannot be read in
    parts are first cut into blocks."""

    plan: Plan
    staging: str

    def expand(self, root: beam.Pipeline) -> beam.PCollection[WorkItem]:
        # Local runners deal elements out in turn, once and for all: the largest first keeps the shares even.
        files = sorted(self.plan.files, key=lambda file: (-file.size, file.ordinal))
        return (
            root
            | "Files" >> beam.Create(list(enumerate(files)), reshuffle=False).with_output_types(tuple[int, InputFile])
            | "DealFiles" >> beam.GroupByKey()
            | "CutFiles" >> beam.FlatMap(_cut, self.staging, self.plan.config).with_output_types(tuple[int, WorkItem])
            | "DealItems" >> beam.GroupByKey()
            | "SkipFinished" >> beam.FlatMap(_unfinished, self.staging).with_output_types(WorkItem)
        )


def refine(root: beam.Pipeline, plan: Plan, staging: str) -> Any:
    """Puts the refine stage into a pipeline."""
    config = plan.config
    return (
        root
        | "PlanWork" >> PlanWork(plan, staging)
        | "ReadDocuments" >> ReadDocuments(config.read, config.execution.chunk_bytes)
        | "NormalizeText" >> NormalizeText(config.normalize)
        | "FilterLanguage" >> FilterLanguage(config.language)
        | "ComputeFingerprints" >> ComputeFingerprints(config.fingerprint)
        | "StageChunks" >> StageChunks(staging, plan.layout, config.fingerprint, config.deduplicate)
    )


if __name__ == "__main__":
    from pipelines.cli import stage_main

    raise SystemExit(stage_main("refine"))
