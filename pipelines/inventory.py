"""The inventory: what a stage must have left behind. No runner's word is taken for it."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import Any

import numpy as np

from pipelines.refine import cut_task, finished_chunks, items_of
from schemas.plan import Plan
from schemas.release import File, Input
from transforms import storage, task
from transforms.publish import Shard


class IncompleteError(RuntimeError):
    """Not all work of a stage is done."""


def _missing(stage: str, what: list[str]) -> IncompleteError:
    names = ", ".join(what[:5]) + (f" and {len(what) - 5} more" if len(what) > 5 else "")
    return IncompleteError(f"{stage}: {names} not done; start the same command again to do only that")


@dataclasses.dataclass(frozen=True)
class Refined:
    """What refine left. `tasks` are the finished chunks and the rows each has read; `kept` and `bytes` are by
    partition, `rejected` is (step, rule, language, source) -> count."""

    tasks: dict[str, int]
    inputs: list[Input]
    kept: np.ndarray
    bytes: np.ndarray
    rejected: dict[tuple[str, str, str, str], int]
    languages: dict[str, int]
    reject_partitions: list[int]


def refined(plan: Plan, staging: str) -> Refined:
    """Raises IncompleteError when a file is not cut, or a work item not staged."""
    missing: list[str] = []
    tasks: dict[str, int] = {}
    inputs: list[Input] = []
    kept = np.zeros(plan.layout.partitions, np.int64)
    size = np.zeros(plan.layout.partitions, np.int64)
    rejected: dict[tuple[str, str, str, str], int] = defaultdict(int)
    languages: dict[str, int] = defaultdict(int)
    reject_partitions: set[int] = set()
    cut = set(task.tasks(staging, "cut"))  # a new job asks the store once, not once for each file
    for file in plan.files:
        record = task.load(staging, cut_task(file)) if cut_task(file) in cut else None
        if record is None:
            missing.append(f"input {file.name!r}")
            continue
        digest = record.counts["digest"]
        for item in items_of(record):
            chunks = finished_chunks(staging, item)
            if chunks is None:
                missing.append(f"item {item.id} of {file.name!r}")
                continue
            for chunk in chunks:
                tasks[chunk.task] = chunk.counts["kept"] + sum(count for *_, count in chunk.counts["rejected"])
                digest = digest or chunk.counts["digest"]
                size += np.array(chunk.counts["bytes"])
                for partition, part in chunk.channel("rows"):
                    kept[partition] += part.rows
                reject_partitions.update(partition for partition, _ in chunk.channel("rejects"))
                for *reason, count in chunk.counts["rejected"]:
                    rejected[tuple(reason)] += count
                for language, count in chunk.counts["languages"].items():
                    languages[language] += count
        inputs.append(Input(file.name, file.size, digest))
    if missing:
        raise _missing("refine", missing)
    return Refined(tasks, inputs, kept, size, dict(rejected), dict(languages), sorted(reject_partitions))


@dataclasses.dataclass(frozen=True)
class Deduplicated:
    """What deduplicate left. `dropped` and `dropped_bytes` are by partition."""

    tasks: list[str]
    dropped: np.ndarray
    dropped_bytes: np.ndarray


def _needed(staging: str, tasks: list[str], channels: tuple[str, ...]) -> set[int]:
    return {
        partition for name in tasks for channel, partition, _ in task.need(staging, name).slices if channel in channels
    }


# Each stage of deduplication has a task for each partition in which the stages before left slices of a channel.
_STAGES = (
    ("candidates", "bands", "refine"),
    ("components", "edges", "candidates"),
    ("exact", "exact", "refine"),
    ("texts", "wanted", "exact"),
    ("verified", "candidates", "exact"),
)


def deduplicated(plan: Plan, staging: str, chunks: list[str]) -> Deduplicated:
    """Raises IncompleteError when a partition of an exchange has no finished task."""
    by_stage = {"refine": chunks}
    for stage, channel, before in _STAGES:
        wanted = {f"{stage}/{number:06d}" for number in _needed(staging, by_stage[before], (channel,))}
        by_stage[stage] = sorted(wanted)
        missing = wanted - set(task.tasks(staging, stage))
        if missing:
            raise _missing("deduplicate", sorted(missing))
    tasks = by_stage["exact"] + by_stage["verified"]
    dropped = np.zeros(plan.layout.partitions, np.int64)
    size = np.zeros(plan.layout.partitions, np.int64)
    for name in tasks:
        counts: dict[str, Any] = task.need(staging, name).counts
        dropped += np.array(counts["dropped"])
        size += np.array(counts["dropped_bytes"])
    return Deduplicated(tasks, dropped, size)


@dataclasses.dataclass(frozen=True)
class Published:
    """What publish left."""

    files: list[File]
    sources: dict[str, int]
    languages: dict[str, int]
    dropped: dict[tuple[str, str], int]
    clashes: int  # documents whose id another published before them has


def published(staging: str, output: str, shards: list[Shard], reject_partitions: list[int]) -> Published:
    """Raises IncompleteError when a shard or a file of rejects is missing. A task whose files are not there, or not as
    long as they were written, counts as unfinished from then on."""
    names = [f"publish/shard-{shard.index:06d}" for shard in shards]
    names += [f"publish/rejects-{index:06d}" for index in range(len(reject_partitions))]
    done = set(task.tasks(staging, "publish"))
    records = {name: task.load(staging, name) for name in names if name in done}
    for name, record in records.items():
        if record is not None and not _stands(output, record):
            task.undo(staging, f"{name}.arrow")
            records[name] = None
    whole = [record for name in names if (record := records.get(name)) is not None]
    if len(whole) < len(names):
        raise _missing("publish", [name for name in names if records.get(name) is None])
    files: list[File] = []
    sources: dict[str, int] = defaultdict(int)
    languages: dict[str, int] = defaultdict(int)
    dropped: dict[tuple[str, str], int] = defaultdict(int)
    clashes = 0
    for record in whole:
        counts = record.counts
        files += [File(**file) for file in counts["files"]]
        for source, count in counts.get("sources", {}).items():
            sources[source] += count
        for language, count in counts.get("languages", {}).items():
            languages[language] += count
        for rule, source, count in counts.get("dropped", []):
            dropped[rule, source] += count
        clashes += counts.get("clashes", 0)
    files.sort(key=lambda file: file.path)
    return Published(files, dict(sources), dict(languages), dict(dropped), clashes)


def _stands(output: str, record: task.Record) -> bool:
    """Whether the files that a task published are there, as long as they were written."""
    return all(storage.size(storage.join(output, file["path"])) == file["bytes"] for file in record.counts["files"])
