"""build: the main job. refine, deduplicate and publish in a row, resumable at each work item."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import platform
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
from malmungchi.pipelines.deduplicate import deduplicate
from malmungchi.pipelines.job import inventory, lock
from malmungchi.pipelines.job.display import Display
from malmungchi.pipelines.plan.discover import InputError
from malmungchi.pipelines.plan.planner import counted, human
from malmungchi.pipelines.plan.shares import shares
from malmungchi.pipelines.process import forkserver, signals, temporary
from malmungchi.pipelines.publish import publish
from malmungchi.pipelines.refine import refine
from malmungchi.pipelines.release.card import card
from malmungchi.pipelines.runners import drive, registry
from malmungchi.pipelines.stages import TASK_FOLDERS, task_counts
from malmungchi.schemas.config import Config
from malmungchi.schemas.plan import Plan, changes
from malmungchi.schemas.release import CARD, FOLDERS, MANIFEST, SCHEMA_VERSION, Manifest
from malmungchi.schemas.work import Share
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.segments import REQUESTS, DamagedError
from malmungchi.transforms.exchange.tally import chunks_of
from malmungchi.transforms.io import storage
from malmungchi.transforms.shards.write import Shard, pack

PLAN = "plan.json"

# Inside the output: the staging area unless another is named, and in any case the mark of an unfinished job.
HOME = "_staging"

# The folder there of a plan's intermediate files, and all that a staging area may hold.
_WORK = r"plan-[0-9a-f]{16}$"
_IN_STAGING = "|".join([re.escape(lock.NAME), re.escape(PLAN), _WORK])

# Times that the file of one task is made anew before something must be wrong with the disk.
REPAIRS = 3

T = TypeVar("T")

# Text in a partition that one task can put in order: Arrow's strings are found by offsets of 31 bits.
_LARGEST_PARTITION = (1 << 31) - 1

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
    # Finished tasks of an earlier attempt, and in the end what they were, in words.
    _reused: set[str] = dataclasses.field(default_factory=set)
    reused: str = ""

    @property
    def staging(self) -> str:
        """The staging area."""
        return self.plan.config.execution.staging or storage.join(self.output, HOME)

    @functools.cached_property
    def work(self) -> str:
        """The folder of the staging area for the intermediate files of this very plan.

        Workers on a cluster may still be at tasks of another plan, which `restart` has thrown away.
        """
        return storage.join(self.staging, f"plan-{self.plan.digest()[:16]}")

    @property
    def workers(self) -> int:
        """Local worker processes; 0 for none but this one."""
        asked = self.plan.config.execution.workers
        if asked or self.plan.input_bytes <= forkserver.IN_PROCESS_BYTES:
            return asked
        return os.cpu_count() or 1

    @property
    def shares(self) -> list[Share]:
        """How the reading is dealt out."""
        local = registry.is_local(self.arguments)
        return shares(self.plan, max(1, self.workers) if local else self.plan.config.execution.workers, local)

    @property
    def homes(self) -> list[str]:
        """The folders that this job takes possession of: its staging area, and the output."""
        return sorted({self.staging, storage.join(self.output, HOME)})

    def run(self, build: Any) -> None:
        """Runs one pipeline of the job."""
        drive.run(build, self.arguments, self.workers, self.plan.config.execution.stall_seconds)

    # ---- possession of output and staging area

    def examine(self, restart: bool = False) -> Manifest | None:
        """The manifest if this very release is there already, None if there is work to do. Writes nothing.

        Raises OutputError when the output holds something else, or the staging area another job; with `restart`,
        an unfinished job of ours is no hindrance, whatever it was.
        """
        manifest_uri = storage.join(self.output, MANIFEST)
        if storage.exists(manifest_uri):
            try:
                manifest = Manifest.from_json(storage.read_bytes(manifest_uri))
            except ValueError as error:
                raise OutputError(f"{manifest_uri}: {error}; choose another --output, or remove this one") from error
            if differs := self._differs(manifest):
                raise OutputError(
                    f"{self.output} holds a finished release of other {differs}. Choose another --output, or remove it"
                )
            return manifest
        own = storage.join(self.output, HOME)
        if not self._is_ours(own, restart):
            _need_empty(self.output, re.escape(HOME), "--output")
            _need_empty(own, _IN_STAGING, "--output")
        if self.staging != own and not self._is_ours(self.staging, restart):
            _need_empty(self.staging, _IN_STAGING, "--staging")
        return None

    def _differs(self, manifest: Manifest) -> str:
        """What of a release is not as this job would make it, "" for nothing. Of inputs, only those are read that were
        changed after it was made."""
        if manifest.config_digest != self.plan.config.digest():
            settings = dataclasses.asdict(self.plan.config)
            del settings["execution"]
            return f"settings: {'; '.join(changes(settings, manifest.config)) or 'of another version'}"
        mine = {file.name: file.size for file in self.plan.files}
        its = {file.name: file.bytes for file in manifest.inputs}
        for name in sorted(mine.keys() | its.keys()):
            if name not in its:
                return f"inputs: {name} is not among them"
            if name not in mine:
                return f"inputs: it has {name} too"
            if mine[name] != its[name]:
                return f"inputs: {name} had {its[name]:,} bytes, and has {mine[name]:,} now"
        made = storage.changed_at(storage.join(self.output, MANIFEST))
        digests = {file.name: file.sha256 for file in manifest.inputs}
        with ThreadPoolExecutor(REQUESTS) as pool:  # each mostly waits
            changed = list(pool.map(storage.changed_at, [file.uri for file in self.plan.files]))
        for file, at in zip(self.plan.files, changed, strict=True):
            if at > made and storage.sha256(file.uri)[0] != digests[file.name]:
                return f"inputs: {file.name} has the same size, but other content now"
        return ""

    def _is_ours(self, home: str, restart: bool) -> bool:
        """Whether a folder holds the plan of an unfinished job. Raises OutputError if that is another job."""
        uri = storage.join(home, PLAN)
        if not storage.exists(uri):
            return False
        if restart:
            return True
        try:
            before = Plan.from_json(storage.read_bytes(uri))
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{uri} is damaged; use --restart to begin anew") from error
        if before.digest() != self.plan.digest():
            changes = "; ".join(self.plan.differences(before))
            raise OutputError(
                f"{home} holds an unfinished job that differs: {changes}. Start it again as it was, or "
                "use --restart to throw away what it has done"
            )
        return True

    def begin(self, restart: bool) -> None:
        """Makes output and staging area ready: throws away what killed writers left, and says whose they are.

        With `restart`, throws away all that an unfinished job has done. The locks are held.
        """
        if restart:
            if storage.exists(storage.join(self.output, HOME, PLAN)):
                for name in (*FOLDERS, CARD):
                    storage.remove(storage.join(self.output, name))
            for home in self.homes:
                self._clear(home)
        for name in storage.names(self.staging):
            if re.match(_WORK, name) and not self.work.endswith(name):
                storage.remove(storage.join(self.staging, name))  # of a job that was thrown away
        self.sweep()
        for home in self.homes:
            if not storage.exists(storage.join(home, PLAN)):
                storage.write_bytes(storage.join(home, PLAN), self.plan.to_json())
        self._reused = self._tasks()

    def sweep(self) -> None:
        """Removes what writers left half written that are dead, or have nothing to write any more."""
        for folder in (self.output, self.staging):
            storage.remove_parts(folder)

    def _clear(self, home: str) -> None:
        """Removes all but the lock where a plan stands, else what workers of a job that was thrown away have left."""
        ours = storage.exists(storage.join(home, PLAN))
        names = [name for name in storage.names(home) if name != lock.NAME and (ours or re.match(_WORK, name))]
        for name in sorted(names, key=lambda name: name == PLAN):  # the plan last: it says that the rest is ours
            storage.remove(storage.join(home, name))

    def end(self) -> None:
        """Removes the intermediate files, also those of an attempt that was killed after its manifest was written."""
        if not self.plan.config.execution.keep_staging:
            for home in self.homes:
                self._clear(home)

    # ---- the stages, each of which skips what is done

    def _stage(self, name: str, expected: int, check: Callable[[bool], T], build: Callable[[Any], Any]) -> T:
        """What `check` finds; if work is missing, what it finds after a run of the pipeline. It is told whether that is
        over: then it is worth while to say what is missing."""
        with self.display.stage(name, expected):
            try:
                return check(False)
            except inventory.IncompleteError:
                self.run(build)
                return check(True)

    def refine(self) -> inventory.Refined:
        """Runs refine and checks what it left."""
        return self._stage(
            "refine",
            self.plan.input_bytes,
            lambda over: inventory.refined(self.plan, self.work, name=over),
            lambda root: refine(root, self.plan, self.work, self.shares),
        )

    def deduplicate(self, refined: inventory.Refined) -> inventory.Deduplicated:
        """Runs deduplicate and checks what it left."""
        return self._stage(
            "deduplicate",
            sum(task_counts(self.plan).values()),
            lambda over: inventory.deduplicated(self.plan, self.work, refined.kept),
            lambda root: deduplicate(root, self.plan, self.work, refined.tallies),
        )

    def publish(self, refined: inventory.Refined, deduplicated: inventory.Deduplicated) -> Manifest:
        """Runs publish, checks all counts, and writes the manifest: from then on the release exists."""
        kept = deduplicated.documents - deduplicated.dropped
        if (largest := int(deduplicated.bytes.max(initial=0))) > _LARGEST_PARTITION:
            raise OutputError(
                f"{human(largest)} of text have come to one partition, which one task must hold: most documents have "
                "the same id. Name a column that tells them apart (read.id), or one that is not there; use --restart"
            )
        shards = pack(
            (deduplicated.bytes - deduplicated.dropped_bytes).tolist(), kept.tolist(), self.plan.config.shards
        )
        # Partitions of which nothing is kept still have dropped documents for the ledger.
        shards = _with_dropped(shards, deduplicated.documents)
        rejects = refined.reject_partitions
        published = self._stage(
            "publish",
            int((deduplicated.bytes - deduplicated.dropped_bytes).sum()),
            lambda over: inventory.published(self.work, self.output, shards, rejects),
            lambda root: publish(root, self.plan, self.work, self.output, refined.tallies, shards, rejects),
        )
        manifest = make_manifest(self.plan, refined, published)
        self.reused = self._words(refined)
        self._remove_strangers({file.path for file in published.files})
        storage.write_bytes(storage.join(self.output, CARD), card(manifest).encode())
        storage.write_bytes(storage.join(self.output, MANIFEST), manifest.to_json(), durable=True)
        return manifest

    def _remove_strangers(self, paths: set[str]) -> None:
        """Removes what workers of a job that was thrown away have published meanwhile."""
        for folder in FOLDERS:
            for name in storage.names(storage.join(self.output, folder)):
                if f"{folder}/{name}" not in paths:
                    storage.remove(storage.join(self.output, folder, name))

    def stages(self, until: str) -> Manifest | None:
        """Runs all stages as far as `until`, and those from the first again when a staged file is found damaged.

        Only the task that made the file is done again: the records of all others stand. The file of one task is made
        at most `REPAIRS` times anew. The manifest, if publish was among them.
        """
        repairs: Counter[str] = Counter()
        while True:
            try:
                refined = self.refine()
                if until == "refine":
                    return None
                deduplicated = self.deduplicate(refined)
                return self.publish(refined, deduplicated) if until == "publish" else None
            except DamagedError as error:
                name = records.undo(self.work, error.uri)
                repairs[name] += 1
                if repairs[name] > REPAIRS:
                    raise
                self._reused &= self._tasks()
                self.display.say(f"{error}; doing {name} again")

    # ---- what is said of finished work

    def _tasks(self) -> set[str]:
        """Names of all finished tasks."""
        return {name for stage in TASK_FOLDERS for name in records.tasks(self.work, stage)}

    def finished(self) -> str:
        """In words, what is finished at this moment."""
        counts = {stage: len(records.tasks(self.work, stage)) for stage in TASK_FOLDERS}
        return ", ".join(f"{stage} {count}" for stage, count in counts.items() if count) or "none"

    def _words(self, refined: inventory.Refined) -> str:
        if not self._reused:
            return ""
        found = (chunk for name in refined.tallies for chunk in chunks_of(name, self.work))
        reused = [rows for name, rows in found if name in self._reused]
        names = self._tasks()
        chunks = f"{len(reused)} of {refined.chunks} chunks ({sum(reused):,} rows)"
        return f"{len(names & self._reused)} of {len(names)} tasks, among them {chunks}"


def _need_empty(folder: str, allowed: str, option: str) -> None:
    """Raises OutputError if there is more in a folder than names that begin with a match of a regular expression."""
    foreign = [name for name in storage.names(folder) if not re.match(allowed, name)]
    if foreign:
        raise OutputError(f"{folder} is not empty ({foreign[0]}, …); choose a new folder as {option}")


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
    broken: Counter[str] = Counter()
    for (step, rule, language, source), count in refined.rejected.items():
        reasons[f"{step}.{rule}"] += count
        by_source[source][f"{step}.{rule}"] += count
        if step == "language":
            languages[language] += count
        if step == "read" and rule in ("truncated", "corrupt"):
            broken[rule] += count
    for (rule, source), count in published.dropped.items():
        reasons[f"deduplicate.{rule}"] += count
        by_source[source][f"deduplicate.{rule}"] += count
    kept = sum(published.sources.values())
    total = refined.kept + sum(refined.rejected.values())
    rows: Counter[str] = Counter()
    for file in published.files:
        rows[file.path.split("/")[0]] += file.rows
    found = {"data": kept, "rejects": sum(refined.rejected.values()), "duplicates": sum(published.dropped.values())}
    gone: Counter[str] = Counter()
    for (_, source), count in published.dropped.items():
        gone[source] += count
    whole = Counter(published.sources) + gone == Counter(refined.sources)
    if (
        not whole
        or total != kept + sum(reasons.values())
        or any(rows[folder] != count for folder, count in found.items())
    ):
        raise CountError(
            f"input {total} is not kept {kept} + rejected {sum(reasons.values())}, in all or for a source, or the "
            f"files hold other counts: {dict(rows)}; please report this with the staging area"
        )
    warnings = [
        f"{count} unreadable section(s) in the inputs ({rule}): everything readable was kept, see rejects/"
        for rule, count in sorted(broken.items())
    ]
    names = sorted(set(by_source) | set(published.sources))
    if total and not kept:
        warnings.append(f"no document was kept of {total:,} read: see rejects/ for the reasons")
    if strangers := [name for name in plan.config.deduplicate.priority if name not in names]:
        warnings.append(f"deduplicate.priority names sources that no document has: {', '.join(strangers)}")
    if published.clashes:
        warnings.append(
            f"{published.clashes} document(s) have an id that another one has already: all are kept, and told apart by "
            "file and row"
        )
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


def dry_run(job: Job, restart: bool = False) -> str:
    """The plan in words: inputs, bytes, work items, shards, settings, expected memory, and what is there already.

    Raises InputError and OutputError where the build would.
    """
    plan = job.plan
    if not plan.files:
        raise InputError("no input")
    done = job.examine(restart)
    on_disk = sum(file.size for file in plan.files)
    files = counted(len(plan.files), "input file")
    lines = [f"{files}, {human(on_disk)}, about {human(plan.input_bytes)} decompressed:"]
    for file in plan.files:
        kind = file.format if file.codec == "none" else f"{file.format}, {file.codec}"
        columns = ", ".join(f"{role}={name}" for role, name in dataclasses.asdict(file.columns).items() if name)
        lines.append(f"  {file.name}  {human(file.size)}  {kind}  {columns if file.format != 'text' else ''}".rstrip())
    chunk = plan.chunk_bytes
    shards = pack(
        [plan.input_bytes // plan.layout.partitions] * plan.layout.partitions,
        [1] * plan.layout.partitions,
        plan.config.shards,
    )
    chunks = counted(max(len(plan.files), -(-plan.input_bytes // chunk)), "chunk")
    lines += [
        f"about {chunks} of up to {human(chunk)}",
        f"{counted(plan.layout.partitions, 'partition')}, at most about {counted(len(shards), 'shard')}",
        _memory(job),
        f"output {job.output}, staging {job.staging}: about {human(plan.input_bytes)} for the time of the job",
        f"settings digest {plan.config.digest()}, {_changed(plan.config)}",
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
    usual = dataclasses.asdict(Config())
    found = [
        f"{section}.{name} = {value!r}"
        for section, values in dataclasses.asdict(config).items()
        for name, value in values.items()
        if value != usual[section][name]
    ]
    return "all at their defaults" if not found else "defaults but for " + ", ".join(found)


def _there(job: Job, done: Manifest | None, restart: bool) -> str:
    """What the build would say of what is there already."""
    if done is not None:
        return f"nothing to do: {_already(job)}"
    if not any(storage.exists(storage.join(home, PLAN)) for home in job.homes):
        return "nothing is there yet: a new job"
    if restart:
        return "throws away what an unfinished job has done"
    return f"goes on with an unfinished job, finished tasks: {job.finished()}"


def build(job: Job, restart: bool = False, until: str = "publish") -> Manifest | None:
    """Runs a job to its end, or as far as a stage; the manifest, once there is one.

    Raises InputError, OutputError, LockedError, StorageError, StageError, WorkerDiedError, IncompleteError and
    DamagedError, after each of which the same call goes on with what is finished; and Stopped.
    """
    if not job.plan.files:
        raise InputError("no input")
    done = job.examine(restart)
    if done is not None and not any(storage.names(home) for home in job.homes):
        job.display.say(_already(job))
        return done
    held = lock.Lock(job.homes, job.display.say)
    try:
        with held, temporary.used():
            return _run(job, restart, until)
    except KeyboardInterrupt as error:
        if held.lost:
            raise lock.LockedError("another job has taken over this output, so this one has stopped") from None
        if isinstance(error, signals.Stopped):
            with contextlib.suppress(OSError, storage.StorageError), storage.hurried(job.staging):
                error.kept = f"finished tasks are kept ({job.finished()})"
        raise


def _already(job: Job) -> str:
    return f"{job.output} holds this release already: the same settings, and inputs of the same names and sizes"


def _run(job: Job, restart: bool, until: str) -> Manifest | None:
    """Runs a job of which the locks are held."""
    if job.workers and registry.is_local(job.arguments):
        forkserver.prepare()
    manifest = job.examine(restart)  # what was seen before may have changed until the locks were held
    if manifest is not None:
        job.display.say(_already(job))
    else:
        job.begin(restart)
        if count := len(job._reused):
            job.display.say(f"going on with an earlier attempt: {count} finished tasks are kept")
        try:
            manifest = job.stages(until)
        except BaseException:
            if registry.is_local(job.arguments):  # then no worker is alive any more
                with contextlib.suppress(OSError):
                    job.sweep()
            raise
    if manifest is not None:
        job.sweep()  # workers on a cluster may have been killed without our knowing
        job.end()
    return manifest
