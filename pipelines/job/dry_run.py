"""A dry run: the plan in words, and what the build would find."""

from __future__ import annotations

import dataclasses

from malmungchi.pipelines.job.job import Job
from malmungchi.pipelines.plan import priority, recall
from malmungchi.pipelines.plan.planner import counted, human, sample_of
from malmungchi.pipelines.runners import registry
from malmungchi.schemas.config import Config, known_sections
from malmungchi.schemas.release import Manifest
from malmungchi.schemas.settings import changed
from malmungchi.transforms.formats.base import InputError
from malmungchi.transforms.shards.pack import pack

# Documents of a partition, to plan with: more than shards.
_MANY = 1 << 20


def dry_run(job: Job, restart: bool = False) -> str:
    """The plan in words: inputs, bytes, work items, shards, settings, expected memory, and what is there already.

    Raises InputError and OutputError where the build would.
    """
    plan = job.plan
    if not plan.files:
        raise InputError("no input")
    done = job.place.examine(restart)
    on_disk = sum(file.size for file in plan.files)
    files = counted(len(plan.files), "input file")
    lines = [f"{files}, {human(on_disk)}, about {human(plan.input_bytes)} decompressed:"]
    for file in plan.files:
        kind = file.format if file.codec == "none" else f"{file.format}, {file.codec}"
        columns = ", ".join(f"{role}={name}" for role, name in dataclasses.asdict(file.columns).items() if name)
        lines.append(f"  {file.name}  {human(file.size)}  {kind}  {columns if file.format != 'text' else ''}".rstrip())
    if sample := sample_of(plan.config):
        twice = " twice" if plan.config.read.limit else ""
        lines.append(f"a sample, by hash: {sample}; all rows are read{twice} to find it")
    chunk = plan.chunk_bytes
    shards = pack(
        [plan.input_bytes // plan.layout.partitions] * plan.layout.partitions,
        [_MANY] * plan.layout.partitions,
        plan.config.shards,
    )
    chunks = counted(max(len(plan.files), -(-plan.input_bytes // chunk)), "chunk")
    lines += [
        f"about {chunks} of up to {human(chunk)}",
        f"{counted(plan.layout.partitions, 'partition')}, at most about {counted(len(shards), 'shard')}",
        _memory(job),
        f"output {job.output}, staging {job.place.staging}: about {human(plan.input_bytes)} for the time of the job",
        f"settings digest {plan.config.digest()}, {_changed(plan.config)}",
        recall.warning(plan.config) or recall.in_words(plan.config),
        *([f"warning: {strangers}"] if (strangers := priority.warning(plan)) else []),
        _there(job, done, restart),
    ]
    return "\n".join(lines)


def _memory(job: Job) -> str:
    worker_memory = f"up to about {human(job.plan.worker_bytes)} of memory"
    if not registry.is_local(job.arguments):
        return f"each worker takes {worker_memory}, the launcher 400 MB"
    if not job.workers:
        return f"small enough for one process, without workers: {worker_memory}"
    each = " each" if job.workers > 1 else ""
    return f"{counted(job.workers, 'worker process')}, {worker_memory}{each}, 400 MB for the launcher"


def _changed(config: Config) -> str:
    """The settings that are not the defaults."""
    usual = Config()
    found = [
        f"{kind.section}.{name} = {value!r}"
        for kind in known_sections().values()
        for name, value in changed(config.section(kind)).items()
        if value != getattr(usual.section(kind), name)
    ]
    return "all at their defaults" if not found else "defaults but for " + ", ".join(found)


def _there(job: Job, done: Manifest | None, restart: bool) -> str:
    """What the build would say of what is there already."""
    if done is not None:
        return f"nothing to do: {job.already()}"
    if not job.place.is_begun():
        return "nothing is there yet: a new job"
    if restart:
        return "discards what an unfinished job has done"
    return f"resumes an unfinished job; finished tasks: {job.finished()}"
