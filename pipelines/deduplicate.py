"""deduplicate: bands and content hashes -> a verdict for each document that has a duplicate."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from malmungchi.pipelines.stages import PUBLISH, REFINE, Stage, deduplication, writers
from malmungchi.schemas.plan import Plan
from malmungchi.transforms.exchange.regroup import MeasurePartitions, RunTasks
from malmungchi.transforms.exchange.tally import Chunks


def needed(stage: Stage, done: dict[str, Any]) -> Any:
    """The tasks that write what a stage needs, of those that are `done`, by their stage."""
    found = [done[name] for name in writers(*stage.needs) if name in done]
    return found[0] if len(found) == 1 else tuple(found) | f"For {stage.name}" >> beam.Flatten()


def deduplicate(root: beam.Pipeline, plan: Plan, staging: str, tallies: list[str]) -> Any:
    """Puts the deduplicate stage into a pipeline; `tallies` names those of refine."""
    done = {REFINE.name: root | "Chunks" >> Chunks(tallies, staging)}
    for stage in deduplication(plan):
        tasks = RunTasks(staging, stage.name, stage.needs, stage.work(plan, staging, ""), plan.layout)
        done[stage.name] = needed(stage, done) | stage.name >> tasks
    return needed(PUBLISH, done) | "MeasurePartitions" >> MeasurePartitions(staging, plan.layout)
