"""A job: a plan on its way to a release, stage by stage, each of which skips what is done."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from malmungchi.pipelines.deduplicate import deduplicate
from malmungchi.pipelines.job import inventory
from malmungchi.pipelines.job.display import Display
from malmungchi.pipelines.job.manifest import make_manifest
from malmungchi.pipelines.job.output import Output, OutputError
from malmungchi.pipelines.limit import limit
from malmungchi.pipelines.plan import priority, recall
from malmungchi.pipelines.plan.planner import human
from malmungchi.pipelines.plan.shares import shares
from malmungchi.pipelines.process import forkserver
from malmungchi.pipelines.publish import publish
from malmungchi.pipelines.refine import refine
from malmungchi.pipelines.release import reread
from malmungchi.pipelines.release.card import card
from malmungchi.pipelines.runners import drive, registry
from malmungchi.pipelines.stages import TASK_FOLDERS, task_counts
from malmungchi.schemas.names import CARD, INPUTS, MANIFEST
from malmungchi.schemas.plan import Plan
from malmungchi.schemas.release import Manifest
from malmungchi.schemas.work import Share
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.segments import DamagedError
from malmungchi.transforms.exchange.tally import chunks_of
from malmungchi.transforms.formats.work import listed
from malmungchi.transforms.io import storage
from malmungchi.transforms.shards.pack import pack

# Times that the file of one task is made anew before something must be wrong with the disk.
REPAIRS = 3

T = TypeVar("T")

# Text in a partition that one task can put in order: Arrow's strings are found by offsets of 31 bits.
_LARGEST_PARTITION = (1 << 31) - 1


@dataclasses.dataclass
class Job:
    """One run of a plan towards an output, with Beam's arguments. `reused` says, in the end, how much of an earlier
    attempt was kept."""

    plan: Plan
    output: str
    arguments: Sequence[str] = ()
    display: Display = dataclasses.field(default_factory=lambda: Display(quiet=True))
    reused: str = ""
    _kept: set[str] = dataclasses.field(default_factory=set)  # finished tasks of an earlier attempt

    @functools.cached_property
    def place(self) -> Output:
        """The output and the staging area, as their owner sees them."""
        return Output(self.plan, self.output)

    @property
    def staging(self) -> str:
        """The staging area."""
        return self.place.staging

    @property
    def work(self) -> str:
        """The folder there for the intermediate files of this very plan."""
        return self.place.work

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

    def run(self, build: Any) -> None:
        """Runs one pipeline of the job."""
        drive.run(build, self.arguments, self.workers, self.plan.config.execution.stall_seconds)

    def begin(self, restart: bool) -> None:
        """Makes output and staging area ready, and says what of an earlier attempt is kept. The locks are held."""
        self.place.begin(restart)
        for warning in (recall.warning(self.plan.config), priority.warning(self.plan)):
            if warning:
                self.display.say(f"warning: {warning}")
        self._kept = self._tasks()
        if self._kept:
            self.display.say(f"resuming an earlier attempt: {len(self._kept)} finished tasks are kept")

    def _stage(self, name: str, expected: int, check: Callable[[bool], T], build: Callable[[Any], Any]) -> T:
        """What `check` finds; if work is missing, what it finds after a run of the pipeline. It is told whether that is
        over: then it is worth while to say what is missing."""
        with self.display.stage(name, expected):
            try:
                return check(False)
            except inventory.IncompleteError:
                self.run(build)
                return check(True)

    def limit(self) -> int | None:
        """The largest hash of a row that is read; None for all rows. All are read once to find it."""
        if not self.plan.config.read.limit:
            return None
        return self._stage(
            "limit",
            self.plan.input_bytes,
            lambda over: inventory.limited(self.plan, self.work),
            lambda root: limit(root, self.plan, self.work, list(listed(self.shares, self.work))),
        )

    def refine(self) -> inventory.Refined:
        """Runs refine and checks what it left."""
        largest = self.limit()
        return self._stage(
            "refine",
            self.plan.input_bytes,
            lambda over: inventory.refined(self.plan, self.work, name=over),
            lambda root: refine(root, self.plan, self.work, list(listed(self.shares, self.work)), largest),
        )

    def deduplicate(self, refined: inventory.Refined) -> inventory.Deduplicated:
        """Runs deduplicate and checks what it left."""
        return self._stage(
            "deduplicate",
            sum(task_counts(self.plan).values()),
            lambda over: inventory.deduplicated(self.plan, self.work, refined.counts.kept),
            lambda root: deduplicate(root, self.plan, self.work, refined.tallies),
        )

    def publish(self, refined: inventory.Refined, deduplicated: inventory.Deduplicated) -> Manifest:
        """Runs publish, checks all counts, and writes the manifest: from then on the release exists."""
        kept = deduplicated.documents - deduplicated.dropped
        if (largest := int(deduplicated.bytes.max(initial=0))) > _LARGEST_PARTITION:
            raise OutputError(
                f"{human(largest)} of text are in one partition, which one task must hold in memory: most documents "
                "have the same id. Set read.id to a column that tells them apart, and use --restart"
            )
        shards = pack(
            (deduplicated.bytes - deduplicated.dropped_bytes).tolist(),
            kept.tolist(),
            self.plan.config.shards,
            deduplicated.documents.tolist(),
        )
        rejects = sorted(refined.counts.reject_partitions)
        published = self._stage(
            "publish",
            int((deduplicated.bytes - deduplicated.dropped_bytes).sum()),
            lambda over: inventory.published(self.work, self.output, shards, rejects),
            lambda root: publish(root, self.plan, self.work, self.output, refined.tallies, shards, rejects),
        )
        manifest = make_manifest(self.plan, refined, published)
        self.reused = self._words(refined)
        self.place.remove_strangers({file.path for file in published.files})
        storage.write_bytes(storage.join(self.output, INPUTS), reread.record(self.plan))
        storage.write_bytes(storage.join(self.output, CARD), card(manifest).encode())
        storage.write_bytes(storage.join(self.output, MANIFEST), manifest.to_json(), durable=True)
        return manifest

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
                self._kept &= self._tasks()
                self.display.say(f"{error}; doing {name} again")

    # ---- what is said of finished work

    def already(self) -> str:
        """In words, that there is nothing to do."""
        return f"{self.output} holds this release already: the same settings, and inputs of the same names and sizes"

    def _tasks(self) -> set[str]:
        """Names of all finished tasks."""
        return {name for stage in TASK_FOLDERS for name in records.tasks(self.work, stage)}

    def finished(self) -> str:
        """In words, what is finished at this moment."""
        counts = {stage: len(records.tasks(self.work, stage)) for stage in TASK_FOLDERS}
        return ", ".join(f"{stage} {count}" for stage, count in counts.items() if count) or "none"

    def _words(self, refined: inventory.Refined) -> str:
        if not self._kept:
            return ""
        found = (chunk for name in refined.tallies for chunk in chunks_of(name, self.work))
        reused = [rows for name, rows in found if name in self._kept]
        names = self._tasks()
        chunks = f"{len(reused)} of {refined.chunks} chunks ({sum(reused):,} rows)"
        return f"{len(names & self._kept)} of {len(names)} tasks, among them {chunks}"
