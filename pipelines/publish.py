"""publish: staged rows minus verdicts -> Parquet shards, the ledger of pairs and the rejects."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from malmungchi.pipelines.deduplicate import stages
from malmungchi.pipelines.refine import Chunks
from malmungchi.schemas.plan import Plan
from malmungchi.transforms.exchange.records import PartitionTasks
from malmungchi.transforms.shards.write import Shard, WriteRejects, WriteRejectShards, WriteShard, WriteShards


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
    config, layout, digest = plan.config.shards, plan.layout, plan.config.digest()
    places = {partition: index for index, partition in enumerate(reject_partitions)}
    staged = root | "Chunks" >> Chunks(tallies, staging)
    judges = [(stage, count) for stage, count in stages(plan).items() if stage in ("exact", "verified")]
    judged = [root | f"Tasks of {stage}" >> PartitionTasks(stage, count) for stage, count in judges]
    done = (staged, *judged) | "WithVerdicts" >> beam.Flatten()
    write = WriteShards(tuple(shards), WriteShard(staging, output, config, digest), layout)
    written = done | "WriteShards" >> write
    rejected = staged | "WriteRejects" >> WriteRejectShards(
        places, WriteRejects(staging, output, config, digest, len(places)), layout
    )
    return (written, rejected) | "Written" >> beam.Flatten()
