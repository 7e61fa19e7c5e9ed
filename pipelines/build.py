"""build: the main job. refine, deduplicate and publish in a row, resumable at each work item."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections import Counter, defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from pipelines import inventory, runner, worker
from pipelines.card import card
from pipelines.deduplicate import deduplicate
from pipelines.display import Display
from pipelines.plan import InputError, human
from pipelines.publish import publish
from pipelines.refine import refine
from schemas.plan import Plan
from schemas.release import CARD, FOLDERS, MANIFEST, SCHEMA_VERSION, Manifest
from transforms import storage, task
from transforms.publish import Shard, pack

PLAN = "plan.json"

# Below this much input, the start of worker processes costs more than they save.
_IN_PROCESS_BYTES = 24 << 20

_PACKAGES = ("malmungchi", "apache-beam", "pyarrow", "numpy", "numba", "langdetect", "datasketch")


class OutputError(RuntimeError):
    """The output or the staging area cannot be used as it is; the message says what to do."""


class CountError(RuntimeError):
    """input = kept + rejected does not hold: a fault of this program. Nothing has been published."""


@dataclasses.dataclass
class Job:
    """One run of a plan towards an output."""

    plan: Plan
    output: str
    arguments: Sequence[str] = ()
    display: Display = dataclasses.field(default_factory=lambda: Display(quiet=True))

    @property
    def staging(self) -> str:
        """Where intermediate files go."""
        return self.plan.config.execution.staging or storage.join(self.output, "_staging")

    @property
    def workers(self) -> int:
        """Local worker processes; 0 for none but this one."""
        asked = self.plan.config.execution.workers
        if asked or self.plan.input_bytes <= _IN_PROCESS_BYTES:
            return asked
        return os.cpu_count() or 1

    def run(self, build: Any) -> None:
        """Runs one pipeline of the job."""
        runner.run(build, self.arguments, self.workers)

    # ---- the stages, each of which skips what is done

    def prepare(self) -> Manifest | None:
        """Takes possession of output and staging; the manifest if this very release is there already.

        Raises OutputError when the output holds something else, or the staging area another job.
        """
        manifest_uri = storage.join(self.output, MANIFEST)
        if storage.exists(manifest_uri):
            manifest = Manifest.from_json(storage.read_bytes(manifest_uri))
            same = manifest.config_digest == self.plan.config.digest()
            if same and [file.name for file in self.plan.files] == [file.name for file in manifest.inputs]:
                return manifest
            raise OutputError(f"{self.output} holds a release of other inputs or settings; choose another --output")
        plan_uri = storage.join(self.staging, PLAN)
        if storage.exists(plan_uri):
            before = Plan.from_json(storage.read_bytes(plan_uri))
            if before.digest() != self.plan.digest():
                changes = "; ".join(self.plan.differences(before))
                raise OutputError(
                    f"{self.staging} holds an unfinished job that differs: {changes}. Start it again as it was, or "
                    "use --restart to throw away what it has done"
                )
            return None
        foreign = [name for name in storage.names(self.output) if name not in (*FOLDERS, CARD, "_staging")]
        if foreign:
            raise OutputError(f"{self.output} is not empty ({foreign[0]}, …); choose a new folder as --output")
        storage.write_bytes(plan_uri, self.plan.to_json())
        return None

    def refine(self) -> inventory.Refined:
        """Runs refine and checks what it left."""
        with self.display.stage("refine", self.plan.input_bytes):
            self.run(lambda root: refine(root, self.plan, self.staging))
            return inventory.refined(self.plan, self.staging)

    def deduplicate(self, refined: inventory.Refined) -> inventory.Deduplicated:
        """Runs deduplicate and checks what it left."""
        with self.display.stage("deduplicate", 0):
            settings = self.plan.config.deduplicate
            if refined.tasks and (settings.exact or settings.near):
                self.run(lambda root: deduplicate(root, self.plan, self.staging, refined.tasks))
            return inventory.deduplicated(self.plan, self.staging, refined.tasks)

    def publish(self, refined: inventory.Refined, deduplicated: inventory.Deduplicated) -> Manifest:
        """Runs publish, checks all counts, and writes the manifest: from then on the release exists."""
        kept = refined.kept - deduplicated.dropped
        shards = pack((refined.bytes - deduplicated.dropped_bytes).tolist(), kept.tolist(), self.plan.config.shards)
        # Partitions of which nothing is kept still have dropped documents for the ledger.
        shards = _with_dropped(shards, refined.kept)
        tasks = refined.tasks + deduplicated.tasks
        with self.display.stage("publish", int(refined.bytes.sum())):
            if shards or refined.reject_partitions:
                self.run(
                    lambda root: publish(
                        root, self.plan, self.staging, self.output, tasks, shards, refined.reject_partitions
                    )
                )
            published = inventory.published(self.staging, shards, refined.reject_partitions)
        manifest = make_manifest(self.plan, refined, published)
        storage.write_bytes(storage.join(self.output, CARD), card(manifest).encode())
        storage.write_bytes(storage.join(self.output, MANIFEST), manifest.to_json(), durable=True)
        return manifest


def _with_dropped(shards: list[Shard], kept: np.ndarray) -> list[Shard]:
    """Gives partitions that hold documents, but none that is kept, to the shard before them (or the first)."""
    if not shards:
        return []
    groups = [list(shard.partitions) for shard in shards]
    owner = {partition: index for index, group in enumerate(groups) for partition in group}
    index = 0
    for partition in np.flatnonzero(kept).tolist():
        if partition in owner:
            index = owner[partition]
        else:
            groups[index].append(partition)
    return [Shard(shard.index, shard.of, tuple(sorted(group))) for shard, group in zip(shards, groups, strict=True)]


def make_manifest(plan: Plan, refined: inventory.Refined, published: inventory.Published) -> Manifest:
    """The manifest of what has been published. Raises CountError unless input = kept + rejected, per source too."""
    reasons: Counter[str] = Counter()
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    languages: Counter[str] = Counter(refined.languages)
    warnings = []
    for (step, rule, language, source), count in refined.rejected.items():
        reasons[f"{step}.{rule}"] += count
        by_source[source][f"{step}.{rule}"] += count
        if step == "language":
            languages[language] += count
        if step == "read" and rule in ("truncated", "corrupt"):
            warnings.append(f"{count} file(s) break off ({rule}): what stands before is kept, see rejects/")
    for (rule, source), count in published.dropped.items():
        reasons[f"deduplicate.{rule}"] += count
        by_source[source][f"deduplicate.{rule}"] += count
    kept = sum(published.sources.values())
    total = int(refined.kept.sum()) + sum(refined.rejected.values())
    rows: Counter[str] = Counter()
    for file in published.files:
        rows[file.path.split("/")[0]] += file.rows
    found = {"data": kept, "rejects": sum(refined.rejected.values()), "duplicates": sum(published.dropped.values())}
    if total != kept + sum(reasons.values()) or any(rows[folder] != count for folder, count in found.items()):
        raise CountError(
            f"input {total} is not kept {kept} + rejected {sum(reasons.values())}, or the files hold other counts: "
            f"{dict(rows)}; please report this with the staging area"
        )
    names = sorted(set(by_source) | set(published.sources))
    return Manifest(
        schema_version=SCHEMA_VERSION,
        config_digest=plan.config.digest(),
        config={name: values for name, values in dataclasses.asdict(plan.config).items() if name != "execution"},
        versions={"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        inputs=refined.inputs,
        files=published.files,
        counts={"input": total, "kept": kept, "rejected": dict(sorted(reasons.items()))},
        sources={
            name: {
                "input": published.sources.get(name, 0) + sum(by_source[name].values()),
                "kept": published.sources.get(name, 0),
                "rejected": dict(sorted(by_source[name].items())),
            }
            for name in names
        },
        languages=dict(sorted(languages.items(), key=lambda item: (-item[1], item[0]))),
        warnings=warnings,
    )


def reused(staging: str) -> int:
    """Finished tasks that an earlier attempt left."""
    stages = ("cut", "refine", "candidates", "components", "exact", "texts", "verified", "publish")
    return sum(len(task.tasks(staging, stage)) for stage in stages)


def dry_run(job: Job) -> str:
    """The plan in words: inputs, bytes, work items, shards, settings, expected memory."""
    plan = job.plan
    on_disk = sum(file.size for file in plan.files)
    lines = [f"{len(plan.files)} input files, {human(on_disk)}, about {human(plan.input_bytes)} decompressed:"]
    for file in plan.files:
        kind = file.format if file.codec == "none" else f"{file.format}, {file.codec}"
        columns = ", ".join(f"{role}={name}" for role, name in dataclasses.asdict(file.columns).items() if name)
        lines.append(f"  {file.name}  {human(file.size)}  {kind}  {columns if file.format != 'text' else ''}".rstrip())
    chunk = plan.config.execution.chunk_bytes
    shards = pack(
        [plan.input_bytes // plan.layout.partitions] * plan.layout.partitions,
        [1] * plan.layout.partitions,
        plan.config.shards,
    )
    lines += [
        f"about {max(len(plan.files), -(-plan.input_bytes // chunk))} work items of {human(chunk)}",
        f"{plan.layout.partitions} partitions, at most about {len(shards)} shards",
        f"{job.workers or 'no'} worker processes, up to about 700 MB of memory each, 400 MB for the launcher",
        f"output {job.output}, staging {job.staging}: about {human(plan.input_bytes)} for the time of the job",
        f"settings digest {plan.config.digest()}",
    ]
    return "\n".join(lines)


def build(job: Job, restart: bool = False) -> Manifest:
    """Runs a job to its end. Raises InputError, OutputError, StageError, WorkerDiedError, IncompleteError."""
    if not job.plan.files:
        raise InputError("no input")
    if restart and not storage.exists(storage.join(job.output, MANIFEST)):
        for folder in (job.staging, *(storage.join(job.output, name) for name in FOLDERS)):
            storage.remove(folder)
    if job.workers and not runner.runner_name(job.arguments):
        worker.prepare()
    done = job.prepare()
    if done is not None:
        job.display.say(f"{job.output} holds this release already")
        return done
    left = reused(job.staging)
    if left:
        job.display.say(f"going on with an earlier attempt: {left} finished tasks are kept")
    refined = job.refine()
    manifest = job.publish(refined, job.deduplicate(refined))
    if not job.plan.config.execution.keep_staging:
        storage.remove(job.staging)
    return manifest


if __name__ == "__main__":
    from pipelines.cli import main

    raise SystemExit(main(["build", *__import__("sys").argv[1:]]))
