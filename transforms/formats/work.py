"""The work items of a job that are still to do: files cut, items dealt out, finished ones skipped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import apache_beam as beam
import orjson

from malmungchi.schemas.config import Config
from malmungchi.schemas.work import InputFile, Share, WorkItem, input_file
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.items import finished_chunks, items_of
from malmungchi.transforms.formats.split import Cut, bundled, cut, stripes
from malmungchi.transforms.io.private import Private


def listed(shares: Iterable[Share], staging: str) -> Iterator[Share]:
    """The shares, with files that are dealt out together in a record each, and not in the share: a pipeline is made of
    these, and Beam pickles and compresses what it is made of again and again (5 s for 50,000 files)."""
    for share in shares:
        if share.more:
            name = records.list_task(share.file.ordinal)
            if records.load(staging, name) is None:
                records.finish(staging, name, [], {"files": share.more})
            share = dataclasses.replace(share, more=[], listed=True)
        yield share


def _more(share: Share, staging: str) -> list[InputFile]:
    if not share.listed:
        return share.more
    found = records.need(staging, records.list_task(share.file.ordinal)).counts["files"]
    return [input_file(data) for data in found]


def _cut(
    group: tuple[int, Iterable[Share]], staging: str, config: Config, chunk_bytes: int
) -> Iterator[tuple[int, WorkItem]]:
    for share in group[1]:
        file = share.file
        record = records.load(staging, records.cut_task(file.ordinal))
        if record is None:
            more = _more(share, staging)
            made = Cut([bundled([file, *more])], "") if more else cut(file, config, chunk_bytes, share.bytes)
            # By way of JSON, which of many files is much faster than `asdict`.
            counts = {"items": orjson.loads(orjson.dumps(made.items)), "digest": made.digest}
            record = records.finish(staging, records.cut_task(file.ordinal), [], counts)
        for number, item in enumerate(items_of(record)):
            for part in stripes(item, share.bytes, share.most):
                yield file.ordinal << 32 | number << 8 | part.stripe, part


def _unfinished(
    group: tuple[int, Iterable[WorkItem]], staging: str, task: Callable[[str, int], str]
) -> Iterator[WorkItem]:
    for item in group[1]:
        if finished_chunks(staging, item, task) is None:
            yield item


@dataclasses.dataclass
class PlanWork(beam.PTransform):
    """How files are dealt out -> the work items that are not finished yet, by the names of their chunks' tasks."""

    shares: list[Share]
    staging: str
    config: Config
    chunk_bytes: int
    task: Callable[[str, int], str] = records.chunk_task

    def expand(self, root: beam.Pipeline) -> beam.PCollection[WorkItem]:
        numbered = list(enumerate(self.shares))
        cut_files = beam.FlatMap(Private(_cut, self.staging, self.config, self.chunk_bytes))
        return (
            root
            | "Files" >> beam.Create(numbered, reshuffle=False).with_output_types(tuple[int, Share])
            | "DealFiles" >> beam.GroupByKey()
            | "CutFiles" >> cut_files.with_output_types(tuple[int, WorkItem])
            | "DealItems" >> beam.GroupByKey()
            | "SkipFinished" >> beam.FlatMap(_unfinished, self.staging, self.task).with_output_types(WorkItem)
        )
