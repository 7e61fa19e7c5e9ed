"""publish: staged rows minus verdicts -> Parquet shards, the ledger of pairs and the rejects."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from schemas.plan import Plan
from transforms.publish import Shard, WriteRejects, WriteRejectShards, WriteShard, WriteShards


def publish(
    root: beam.Pipeline,
    plan: Plan,
    staging: str,
    output: str,
    tasks: list[str],
    shards: list[Shard],
    reject_partitions: list[int],
) -> Any:
    """Puts the publish stage into a pipeline; `tasks` names the finished tasks of refine and deduplicate."""
    config, digest = plan.config.shards, plan.config.digest()
    places = {partition: index for index, partition in enumerate(reject_partitions)}
    done = root | "Tasks" >> beam.Create(tasks).with_output_types(str)
    written = done | "WriteShards" >> WriteShards(tuple(shards), WriteShard(staging, output, config, digest))
    rejected = done | "WriteRejects" >> WriteRejectShards(
        places, WriteRejects(staging, output, config, digest, len(places))
    )
    return (written, rejected) | "Written" >> beam.Flatten()


if __name__ == "__main__":
    from pipelines.cli import stage_main

    raise SystemExit(stage_main("publish"))
