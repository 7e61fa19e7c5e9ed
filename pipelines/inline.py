"""The stages of a job in this process, one task after the other and without Beam: to load kernels, and to measure."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from malmungchi.pipelines.stages import PUBLISH, REFINE, REJECTS, Stage, deduplication, writers
from malmungchi.schemas.plan import Plan
from malmungchi.schemas.work import Slice, WorkItem
from malmungchi.transforms.dedup.fingerprint import fingerprint
from malmungchi.transforms.exchange import records
from malmungchi.transforms.formats.read import read_item
from malmungchi.transforms.formats.split import cut
from malmungchi.transforms.shards.pack import Shard
from malmungchi.transforms.text.base import apply
from malmungchi.transforms.text.steps import settings_of, steps

# What a chunk goes through, step by step.
CHUNK_STEPS = ("cut", "read", *(step.name for step in steps()), "fingerprint", "stage")


def _no_clock(_: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


@dataclasses.dataclass
class Inline:
    """Runs a plan. `clock` is entered with the name of a stage, or of a step of a chunk, around each task of it.

    The release is one shard and one file of rejects, in the staging area.
    """

    plan: Plan
    staging: str
    clock: Callable[[str], contextlib.AbstractContextManager[None]] = _no_clock
    items: list[WorkItem] = dataclasses.field(default_factory=list)

    def run(self) -> dict[str, list[str]]:
        """The finished tasks by stage."""
        done = {REFINE.name: self._refine()}
        for stage in deduplication(self.plan):
            done[stage.name] = self._tasks(stage, done)
        self._publish(done)
        return done

    def _refine(self) -> list[str]:
        names = []
        for file in self.plan.files:
            with self.clock("cut"):
                made = cut(file, self.plan.config, self.plan.chunk_bytes)
            records.finish(self.staging, records.cut_task(file.ordinal), [], {"digest": made.digest})
            self.items += made.items
            names += [name for item in made.items for name in self._chunks(item)]
        return names

    def _chunks(self, item: WorkItem) -> Iterator[str]:
        work = REFINE.work(self.plan, self.staging, "")
        source = read_item(item, self.plan.config, self.plan.chunk_bytes)
        while True:
            with self.clock("read"):
                chunk = next(source, None)
            if chunk is None:
                return
            for step in steps():
                with self.clock(step.name):
                    chunk = apply(chunk, step, settings_of(step, self.plan.config))
            with self.clock("fingerprint"):
                chunk = fingerprint(chunk, self.plan.config.fingerprint)
            with self.clock("stage"):
                name = records.chunk_task(chunk.item, chunk.sequence)
                records.run(self.staging, name, functools.partial(work, chunk))
            yield name

    def _slices(self, stage: Stage, done: dict[str, list[str]]) -> Iterator[tuple[int, tuple[str, Slice]]]:
        """(partition, (channel, slice)) of all that a stage needs."""
        for writer in writers(*stage.needs):
            for name in done.get(writer, ()):
                yield from records.slices(name, self.staging, stage.needs)

    def _tasks(self, stage: Stage, done: dict[str, list[str]]) -> list[str]:
        """What `RunTasks` does."""
        work = stage.work(self.plan, self.staging, "")
        groups: dict[int, dict[str, list[Slice]]] = defaultdict(lambda: defaultdict(list))
        for partition, (channel, part) in self._slices(stage, done):
            groups[partition][channel].append(part)
        names = []
        for partition, parts in sorted(groups.items()):
            if stage.needs[0] in parts:
                name = records.partition_task(stage.name, partition)
                with self.clock(stage.name):
                    records.run(self.staging, name, functools.partial(work, partition, parts))
                names.append(name)
        return names

    def _publish(self, done: dict[str, list[str]]) -> None:
        shard = Shard(0, 1, tuple(range(self.plan.layout.partitions)))
        for stage, into in ((PUBLISH, shard), (REJECTS, 0)):
            work: Callable[..., Any] = stage.work(self.plan, self.staging, self.staging)
            found = list(self._slices(stage, done))
            with self.clock(stage.name):
                work(into, found if stage is PUBLISH else [part for _, (_, part) in found])
