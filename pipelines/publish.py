"""publish: staged rows minus verdicts -> Parquet shards, the ledger of pairs and the rejects."""

from __future__ import annotations

import dataclasses
from typing import Any

import apache_beam as beam

from malmungchi.pipelines.deduplicate import needed
from malmungchi.pipelines.stages import PUBLISH, REFINE, REJECTS, task_counts, writers
from malmungchi.schemas.plan import Plan
from malmungchi.transforms.exchange.regroup import PartitionTasks
from malmungchi.transforms.exchange.tally import Chunks
from malmungchi.transforms.shards.pack import Shard
from malmungchi.transforms.shards.write import WriteRejectShards, WriteShards


def publish(
    root: beam.Pipeline,
    plan: Plan,
    staging: str,
    output: str,
    tallies: list[str],
    shards: list[Shard],
    reject_partitions: list[int],
) -> Any:
    """Puts the publish stage into a pipeline; `tallies` names those of refine."""
    done = {REFINE.name: root | "Chunks" >> Chunks(tallies, staging)}
    for name, count in task_counts(plan).items():
        if name in writers(*PUBLISH.needs):
            done[name] = root | f"Tasks of {name}" >> PartitionTasks(name, count)
    write = PUBLISH.work(plan, staging, output)
    written = needed(PUBLISH, done) | "WriteShards" >> WriteShards(tuple(shards), write, plan.layout)
    places = {partition: index for index, partition in enumerate(reject_partitions)}
    write = dataclasses.replace(REJECTS.work(plan, staging, output), of=len(places))
    rejected = needed(REJECTS, done) | "WriteRejects" >> WriteRejectShards(places, write, plan.layout)
    return (written, rejected) | "Written" >> beam.Flatten()
