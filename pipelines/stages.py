"""The table of stages: what each needs, what it gives, and its work.

Here the dataflow is written, once: the graphs of Beam, `inline` and the benchmarks read it.

A new stage is a file with its work, a row here, the schemas of the channels it gives in `schemas.exchange`, and a test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from malmungchi.schemas.exchange import Layout
from malmungchi.schemas.plan import Plan
from malmungchi.transforms.dedup.candidates import FindForest, JoinForests
from malmungchi.transforms.dedup.exact import ResolveExact
from malmungchi.transforms.dedup.verify_pairs import GatherWanted, VerifyComponents
from malmungchi.transforms.exchange.stage import stage
from malmungchi.transforms.shards.write import WriteRejects, WriteShard


@dataclasses.dataclass(frozen=True)
class Stage:
    """One kind of task. Its name is also the folder of its records.

    It reads the channels it `needs`, which are split into the same partitions, and writes those it `gives`. A task is
    one partition of the first channel it needs; without slices of that, it has nothing to do. `work` makes what a task
    does, for a plan, a staging area and an output. With `near`, it is only there where near-duplicates are looked for.
    """

    name: str
    needs: tuple[str, ...]
    gives: tuple[str, ...]
    work: Callable[[Plan, str, str], Any]
    near: bool = False

    def partitions(self, layout: Layout) -> int:
        """How many there are of what it needs."""
        return layout.parts(self.needs[0])


# The tasks of refine are chunks: they need no channel, and there are as many as are read.
REFINE = Stage(
    "refine", (), ("rows", "exact", "bands", "rejects"),
    lambda plan, staging, output: lambda chunk, segments: stage(
        chunk, segments, plan.layout, plan.config.fingerprint, plan.config.deduplicate
    ),
)  # fmt: skip

DEDUPLICATE = (
    Stage(
        "candidates", ("bands",), ("edges",),
        lambda plan, staging, output: FindForest(staging, plan.config.fingerprint, plan.config.deduplicate),
        near=True,
    ),
    Stage(
        "components", ("edges",), ("members",),
        lambda plan, staging, output: JoinForests(staging, plan.layout),
        near=True,
    ),
    Stage(
        "exact", ("exact", "members"), ("candidates", "wanted", "verdicts"),
        lambda plan, staging, output: ResolveExact(staging, plan.layout, plan.config.deduplicate),
    ),
    Stage(
        "texts", ("wanted", "rows"), ("texts",),
        lambda plan, staging, output: GatherWanted(staging, plan.layout),
        near=True,
    ),
    Stage(
        "verified", ("candidates", "texts"), ("verdicts",),
        lambda plan, staging, output: VerifyComponents(
            staging, plan.layout, plan.config.fingerprint, plan.config.deduplicate
        ),
        near=True,
    ),
)  # fmt: skip

# A task of publish is a shard, which has whole partitions; one of rejects is a partition that has any.
PUBLISH = Stage(
    "publish", ("rows", "verdicts"), (),
    lambda plan, staging, output: WriteShard(staging, output, plan.config.shards, plan.config.digest()),
)  # fmt: skip
REJECTS = Stage(
    "rejects", ("rejects",), (),
    lambda plan, staging, output: WriteRejects(staging, output, plan.config.shards, plan.config.digest()),
)  # fmt: skip

TABLE = (REFINE, *DEDUPLICATE, PUBLISH, REJECTS)

CHANNELS = tuple(dict.fromkeys(channel for row in TABLE for channel in row.gives))

# Every folder of the staging area in which tasks leave their records, those of rejects in that of publish. Beside the
# stages these are the cuts of files, the hashes of rows where only a number of them is read, the rounds of an exchange,
# and sums over many records.
TASK_FOLDERS = ("cut", "limit", "refine", *(row.name for row in DEDUPLICATE), "split", "tally", "publish")


def deduplication(plan: Plan) -> list[Stage]:
    """The stages of deduplicate that a job has."""
    return [row for row in DEDUPLICATE if plan.config.deduplicate.near or not row.near]


def task_counts(plan: Plan) -> dict[str, int]:
    """How many tasks each stage of deduplicate has."""
    return {row.name: row.partitions(plan.layout) for row in deduplication(plan)}


def writers(*channels: str) -> tuple[str, ...]:
    """The stages that write some channels, in their order."""
    return tuple(row.name for row in TABLE if set(row.gives) & set(channels))
