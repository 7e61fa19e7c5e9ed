"""What a job of any size will take: tasks, requests, bytes moved, memory, core-hours and money.

    python -m benchmarks.simulate [FILES …]              10 GB, 1, 10 and 100 TB on a cluster
    python -m benchmarks.simulate --check 0.1 0.5 2 8    holds itself against real builds of so many GB on this machine

Costs are measured first, in about a minute, with the very steps of a job on a sample of the files
(`benchmarks.calibrate`); `--costs FILE` keeps them there, or takes them from there. How the work is split is asked of
the planner itself. A check fails when time or memory differ by more than a fifth. MB are 10^6 bytes, of decompressed
input unless said otherwise.

What a store takes for a request, and what all costs, are assumptions that flags set; prices are list prices of a cloud,
as they were in 2025: check them.
"""

from __future__ import annotations

import argparse
import dataclasses
import glob
import itertools
import json
import math
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import orjson
import psutil

from benchmarks import enlarge
from benchmarks.build import build
from benchmarks.calibrate import DUPLICATES, TEXTUAL, Costs, calibrate, kind_of
from benchmarks.corpus import CORPUS, decompressed
from benchmarks.steps import MB, TAKES
from malmungchi.pipelines.inline import CHUNK_STEPS
from malmungchi.pipelines.plan.planner import human, make_plan
from malmungchi.pipelines.plan.shares import shares
from malmungchi.pipelines.stages import PUBLISH, REFINE, task_counts, writers
from malmungchi.schemas.config import Config, Execution
from malmungchi.schemas.exchange import layout
from malmungchi.schemas.plan import CHUNK_BYTES, Plan
from malmungchi.schemas.settings import parse_bytes
from malmungchi.schemas.work import Columns, InputFile
from malmungchi.transforms.dedup.components import EDGES
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.segments import REQUESTS
from malmungchi.transforms.exchange.tally import units
from malmungchi.transforms.formats.split import bundles, cut, stripes
from malmungchi.transforms.shards.pack import pack

SIZES_GB = (10.0, 1_000.0, 10_000.0, 100_000.0)
TOLERANCE = 0.2

# An input file, decompressed, unless the job is smaller; and what zstd makes of it.
FILE_BYTES = 1 << 30
COMPRESSED = 4.2

# Bytes that the launcher holds for each input file.
FILE_STATE = 2048

# Files, and items of each, whose names are looked at: more than a folder holds.
_NUMBERS = 300


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where a job runs. Without a store it is this machine: requests then cost nothing but what was measured."""

    workers: int = 64
    store: bool = True
    request_cpu: float = 0.002  # seconds of a core that a client takes for a request
    request_wait: float = 0.02  # seconds until it is answered
    at_once: int = REQUESTS  # ranged reads that a task has under way
    megabyte_cpu: float = 0.001  # seconds of a core for each MB that goes over the net (TLS, checksums)
    core_hour: float = 0.0504  # USD; m7i on demand in us-east-1, 4 GiB of memory a core; spot costs about a third
    million_reads: float = 0.4  # USD; S3 standard
    million_writes: float = 5.0
    gigabyte_month: float = 0.023


@dataclasses.dataclass
class Step:
    """One kind of task of a job; figures are of all of its tasks together, except for the memory."""

    name: str
    tasks: float
    seconds: float = 0.0  # of cores
    waits: float = 0.0  # seconds of tasks until a store answers
    reads: float = 0.0
    writes: float = 0.0
    read: float = 0.0  # MB
    written: float = 0.0
    references: float = 0.0  # that reach it through Beam
    memory: float = 0.0  # MB of a worker that does it

    def wall(self, workers: int) -> float:
        """Seconds of the clock, when tasks are dealt out in turn."""
        return self.seconds / max(1.0, self.tasks) * math.ceil(self.tasks / workers)


@dataclasses.dataclass
class Job:
    """A simulated job. `names` is the number of names in the fullest folder of each kind, `launcher` MB of memory."""

    plan: Plan
    size: float
    steps: list[Step]
    names: dict[str, int]
    launcher: float

    def total(self, field: str) -> float:
        """A sum over all steps."""
        return float(sum(getattr(step, field) for step in self.steps))

    def tasks(self, *steps: str) -> float:
        """Tasks of the steps whose names begin so."""
        return sum(step.tasks for step in self.steps if step.name.startswith(steps))

    def wall(self, costs: Costs, workers: int) -> float:
        """Seconds from start to end on local workers. Beam groups references in the launcher, one after the other."""
        return costs.start + sum(step.wall(workers) for step in self.steps) + self.total("references") * costs.reference


def plan_of(size: float, config: Config) -> Plan:
    """The plan for so many bytes of input, in compressed files of one size."""
    count = max(1, round(size / FILE_BYTES))
    stored, columns = int(size / count / COMPRESSED), Columns("text")
    files = [
        InputFile(number, f"{number}.jsonl.zst", f"s3://in/{number}.jsonl.zst", "jsonl", "zstd", stored, "", columns)
        for number in range(count)
    ]
    return Plan(config, files, int(size), layout(int(size)))


def _groups(rows: float, groups: float) -> float:
    """How many of so many groups rows fall into, by chance."""
    return groups * -math.expm1(rows * math.log1p(-1 / groups)) if groups > 1 else min(1.0, rows)


def _passes(plan: Plan, cluster: Cluster) -> float:
    """How often a byte of the input is read: once by each stripe of its file."""
    read = passed = 0
    for share in shares(plan, cluster.workers, local=not cluster.store):
        for item in cut(share.file, plan.config, plan.chunk_bytes, share.bytes).items:
            read += item.bytes
            passed += item.bytes * len(stripes(item, share.bytes, share.most))
    return passed / max(1, read)


# A batch that is split is held once as it was read and once in one piece; text is also decompressed.
_SPLIT_COPIES = 2
_TEXT_EXPANSION = 3


class _Simulation:
    """Goes through a job step by step, as the pipelines do."""

    def __init__(self, plan: Plan, size: float, costs: Costs, cluster: Cluster) -> None:
        self.plan, self.costs, self.cluster, self.mb = plan, costs, cluster, size / MB
        self.steps: dict[str, Step] = {}
        self.segments: dict[str, float] = {}  # that the readers of a channel find, and the tasks that left them
        self.writers: dict[str, float] = {}
        self.entries: dict[str, float] = defaultdict(float)  # in the records of a step

    def step(self, name: str, tasks: float, inputs: float, seconds: float) -> Step:
        """Adds a step; a task of it holds `inputs` MB at once."""
        made = self.steps[name] = Step(name, tasks, seconds + tasks * self.costs.task, writes=2 * tasks)
        fixed, slope = self.costs.memory.get(name, (0.0, 0.0))
        made.memory = self.costs.worker + fixed + slope * inputs
        return made

    def exchange(self, channel: str) -> None:
        """The segments of a channel: written by the tasks of some steps, and split round by round."""
        costs, how = self.costs, self.plan.layout
        stored, rows = costs.stored[channel] * self.mb, costs.rows[channel] * self.mb
        strides, parts = how.strides(channel), how.parts(channel)
        write = costs.segments[kind_of(channel)][0]
        sources = [self.steps[name] for name in writers(channel) if name in self.steps]
        segments = 0.0
        for source in sources:
            found = source.tasks * _groups(rows / len(sources) / source.tasks, math.ceil(parts / strides[0]))
            source.seconds += found * write
            source.written += stored / len(sources)
            segments += found
        wrote = sum(source.tasks for source in sources)
        for number, (wide, narrow) in enumerate(itertools.pairwise(strides), 1):
            groups = math.ceil(parts / wide)
            tasks = groups * math.ceil(max(1.0, stored * MB / groups / how.bunch_bytes))
            textual = channel in TEXTUAL
            split = self.step(f"split {channel} {number}", tasks, 0.0, 0.0)
            split.seconds += stored * costs.split[kind_of(channel)]
            split.memory += (
                _SPLIT_COPIES * min(stored / groups, how.bunch_bytes / MB) * (_TEXT_EXPANSION if textual else 1)
            )
            self._reads(split, channel, segments, stored, wrote)
            split.references += tasks
            split.written = stored
            segments = tasks * _groups(rows / tasks, min(wide // narrow, math.ceil(parts / narrow)))
            split.seconds += segments * write
            wrote = tasks
        self.segments[channel], self.writers[channel] = segments, wrote
        for source in sources:
            self.entries[source.name] += segments / len(sources)

    def _reads(self, reader: Step, channel: str, segments: float, stored: float, records: float) -> None:
        reader.reads += segments + records
        reader.read += stored
        reader.references += segments
        reader.seconds += segments * self.costs.segments[kind_of(channel)][1]

    def run(self) -> list[Step]:
        """All steps, in order."""
        plan, costs, mb = self.plan, self.costs, self.mb
        how, chunk = plan.layout, plan.chunk_bytes
        items = len(plan.files) * math.ceil(mb * MB / len(plan.files) / chunk)
        steps = sum(costs.seconds[name] for name in CHUNK_STEPS if name not in ("cut", "read"))
        stored = sum(file.size for file in plan.files) / MB
        self.step("cut", len(plan.files), 0.0, 0.0)
        refine = self.step("refine", items, 0.0, mb * steps)
        passes = _passes(plan, self.cluster)
        refine.seconds += mb * (costs.seconds["read"] + (passes - 1) * costs.seconds["read past"])
        pieces = passes * stored / 4  # of 4 MiB, one after the other
        refine.reads, refine.read = refine.reads + pieces, refine.read + passes * stored
        refine.waits += pieces * self.cluster.request_wait if self.cluster.store else 0.0
        refine.memory += max(costs.memory[name][0] for name in CHUNK_STEPS) * chunk / CHUNK_BYTES
        for channel in REFINE.gives:
            self.exchange(channel)
        shares = [int(costs.kept * mb * MB / how.partitions)] * how.partitions
        shards = len(pack(shares, [1 << 20] * how.partitions, plan.config.shards))
        counts = {**task_counts(plan), "publish": shards, "rejects": how.reject_partitions}
        for name, tasks in counts.items():
            taken = [costs.stored[channel] * mb for channel in TAKES[name]]
            held = sum(taken) / max(tasks, how.partitions if name == "publish" else 1)
            if name == "components":
                held = min(held, EDGES * 16 / MB)
            made = self.step(name, tasks, held, sum(taken) * costs.seconds[name])
            for channel, stored in zip(TAKES[name], taken, strict=True):
                if channel not in self.segments:
                    self.exchange(channel)
                self._reads(made, channel, self.segments[channel], stored, self.writers[channel])
                made.seconds += sum(self.entries[writer] for writer in writers(channel)) * costs.entry
        self.steps["publish"].written = costs.kept * mb / 3
        tallies = self.step(
            "tallies",
            len(units(bundles(plan.files, plan.chunk_bytes))) - 1 + math.ceil(how.partitions / how.fan_out),
            0.0,
            0.0,
        )
        tallies.reads = items + 2 * (self.writers["rows"] + self.writers["verdicts"])
        brought = writers(*PUBLISH.needs)
        tallies.seconds += (self.entries["refine"] + 2 * sum(self.entries[name] for name in brought)) * costs.entry
        return [self._with_surroundings(step) for step in self.steps.values()]

    def _with_surroundings(self, step: Step) -> Step:
        each = self.cluster
        step.memory += step.references / each.workers * self.costs.reference_kb[1] / 1000
        if each.store:
            step.seconds += (step.reads + step.writes) * each.request_cpu + (
                step.read + step.written
            ) * each.megabyte_cpu
            # Reads that are under way at once are waited for only where there is less to do meanwhile.
            step.waits += step.writes * each.request_wait
            step.waits += max(0.0, step.reads / each.at_once * each.request_wait - step.seconds)
        return step


def simulate(plan: Plan, size: float, costs: Costs, cluster: Cluster) -> Job:
    """The job of a plan whose input has `size` bytes when read."""
    steps = _Simulation(plan, size, costs, cluster).run()
    per_file = math.ceil(size / len(plan.files) / plan.chunk_bytes)
    files, items = range(min(len(plan.files), _NUMBERS)), range(min(per_file, _NUMBERS))
    largest = max(step.tasks for step in steps if step.name not in ("cut", "refine"))
    shards = next(int(step.tasks) for step in steps if step.name == "publish")
    names = {
        "refine": _fullest(records.chunk_task(f"{file:08d}-{item:06d}", 0) for file in files for item in items),
        "other stages": _fullest(records.partition_task("stage", number) for number in range(int(largest))),
        "shards": shards,
    }
    launcher = costs.launcher + (len(plan.files) * FILE_STATE + plan.layout.partitions * 64 + shards * 4096) / MB
    if not cluster.store:
        launcher += max(step.references for step in steps) * costs.reference_kb[0] / 1000
    return Job(plan, size, steps, names, launcher)


def _fullest(tasks: Iterable[str]) -> int:
    """Names in the fullest folder: a file and its record for each task."""
    return 2 * max(Counter(name.rpartition("/")[0] for name in tasks).values())


# Documents of a made-up job: bytes of text on average, and the share of the input's bytes that is kept.
_TEXT_BYTES, _KEPT = 3000.0, 0.5

# Equal runs of rows that partitions are looked at in, to see what a cut inside of one makes.
_RUNS = 16


def spread(size: float, config: Config, cv: float = 3.0, seed: int = 0) -> tuple[float, float, float]:
    """(largest shard / smallest in rows, the same in bytes of text, partitions read / partitions) of a job of so many
    bytes, by chance.

    The sizes of documents have a coefficient of variation `cv`; the sum over many of them is normal.
    """
    source = np.random.default_rng(seed)
    partitions = layout(int(size), config.shards.target_bytes).partitions
    rows = source.poisson(_KEPT * size / _TEXT_BYTES / partitions, partitions)
    each = rows[:, None] / _RUNS
    runs = source.normal(each * _TEXT_BYTES, np.sqrt(each) * _TEXT_BYTES * cv, (partitions, _RUNS))
    runs = np.maximum(runs, 1.0).astype(np.int64)
    shards = pack(runs.sum(axis=1).tolist(), rows.tolist(), config.shards)
    behind = np.concatenate([np.zeros((partitions, 1), np.int64), np.cumsum(runs, axis=1)], axis=1)
    found = []
    for shard in shards:
        count = bytes_ = 0.0
        for partition in shard.partitions:
            first, end = shard.rows_of(partition)
            end = rows[partition] if end is None else end
            places = np.array([first, end]) / max(1, rows[partition]) * _RUNS
            count += end - first
            bytes_ += float(np.diff(np.interp(places, np.arange(_RUNS + 1), behind[partition]))[0])
        found.append((count, bytes_))
    counts, sizes = np.array(found).T
    read = sum(len(shard.partitions) for shard in shards) / partitions
    return float(counts.max() / counts.min()), float(sizes.max() / sizes.min()), read


def report(job: Job, cluster: Cluster) -> str:
    """The job in words and figures."""
    waits = job.total("waits") / 3600
    hours = job.total("seconds") / 3600 + waits
    reads, writes = job.total("reads"), job.total("writes")
    staged = sum(step.written for step in job.steps if step.name != "publish") / 1000
    money = {
        "cores": hours * cluster.core_hour,
        "requests": (reads * cluster.million_reads + writes * cluster.million_writes) / 1e6,
        "staging": staged * cluster.gigabyte_month * hours / cluster.workers / 730,
    }
    how = job.plan.layout
    in_rows, in_bytes, passes = spread(job.size, job.plan.config)
    lines = [
        f"{human(job.size)}: {len(job.plan.files):,} files, {job.tasks('refine'):,.0f} work items, "
        f"{how.partitions:,} partitions in {len(how.strides('rows'))} round(s), {job.tasks('publish'):,.0f} shards",
        f"  {job.total('tasks'):,.0f} tasks, {job.total('references'):,.0f} slices, {reads:,.0f} reads, "
        f"{writes:,.0f} writes, {human(job.total('read') * MB)} read, {human(job.total('written') * MB)} written",
        f"  {hours:,.1f} core-hours, {waits:,.1f} of them waiting for the store: "
        + ", ".join(f"{name} {value:,.1f}" for name, value in _hours(job)),
        f"  memory of a worker at most {max(step.memory for step in job.steps):,.0f} MB: "
        + ", ".join(f"{name} {value:,.0f}" for name, value in _memory(job))
        + f"; launcher {job.launcher:,.0f} MB",
        f"  largest shard / smallest: {in_rows:.2f} in rows, {in_bytes:.2f} in bytes; partitions are read "
        f"{passes:.2f} times to write them",
        "  names in one folder at most: " + ", ".join(f"{name} {count:,}" for name, count in job.names.items()),
        f"  {hours / cluster.workers:,.1f} hours on {cluster.workers} cores, {sum(money.values()):,.2f} USD: "
        + ", ".join(f"{name} {value:,.2f}" for name, value in money.items()),
    ]
    return "\n".join(lines)


def _hours(job: Job) -> list[tuple[str, float]]:
    found: defaultdict[str, float] = defaultdict(float)
    for step in job.steps:
        found[step.name.split(" ")[0]] += (step.seconds + step.waits) / 3600
    return sorted(found.items(), key=lambda each: -each[1])


def _memory(job: Job) -> list[tuple[str, float]]:
    found: dict[str, float] = {}
    for step in job.steps:
        kind = step.name.split(" ")[0]
        found[kind] = max(found.get(kind, 0.0), step.memory)
    return sorted(found.items(), key=lambda item: -item[1])[:5]


def _busy() -> float:
    """Seconds that the cores of this machine have been busy."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def check(files: list[str], gigabytes: float, costs: Costs, workers: int, keep: str) -> bool:
    """Builds so many GB made from the files, and holds the prediction against it."""
    folder = Path(keep) / f"{gigabytes:g}"
    made = sorted(map(str, folder.glob("*.zst")))
    if not made:
        times = gigabytes * 1e9 / decompressed(files)
        made = enlarge.write(enlarge.copies(files, times, DUPLICATES), folder)
    size = decompressed(made)
    job = simulate(make_plan(made, Config()), size, costs, Cluster(workers, store=False))
    busy = _busy()
    with tempfile.TemporaryDirectory(prefix="malmungchi-bench-", dir=keep) as output:
        run = build(made, f"{output}/release", workers)
    others = _busy() - busy - run["cpu"]
    rows = [
        ("time, s", job.wall(costs, workers), run["wall"]),
        ("memory of a worker, MB", max(costs.fork_server, *(step.memory for step in job.steps)), run["worker_mb"]),
        ("memory of the launcher, MB", job.launcher, run["launcher_mb"]),
    ]
    print(f"{human(size)}: stages took {run['stages']}, all cores {run['cpu']:.1f} s, and {others:.1f} s for others")
    close = True
    for name, expected, found in rows:
        off = expected / found - 1
        close &= abs(off) <= TOLERANCE
        print(f"  {name:<28}{expected:10.1f} expected {found:10.1f} found {off:+8.1%}", flush=True)
    return close


def _costs(arguments: argparse.Namespace) -> Costs:
    if arguments.costs and Path(arguments.costs).exists():
        return Costs(**json.loads(Path(arguments.costs).read_bytes()))
    costs = calibrate(arguments.files, arguments.processes)
    if arguments.costs:
        Path(arguments.costs).write_bytes(orjson.dumps(dataclasses.asdict(costs), option=orjson.OPT_INDENT_2))
    return costs


def main() -> int:
    """Prints what was asked; 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="a sample of the input (default: the corpus beside the project)")
    parser.add_argument("--gigabytes", type=float, nargs="+", default=SIZES_GB, help="sizes of jobs")
    parser.add_argument("--check", type=float, nargs="+", metavar="GB", help="sizes of real builds to hold it against")
    parser.add_argument("--costs", help="JSON file of measured costs, written if it is not there")
    parser.add_argument("--processes", type=int, default=2, help="local workers, to measure and to check with")
    parser.add_argument("--keep", help="folder in which the inputs of --check stay")
    parser.add_argument("--chunk-bytes", type=parse_bytes, default=Config().execution.chunk_bytes)
    for field in dataclasses.fields(Cluster):
        if field.name != "store":
            kind = int if isinstance(field.default, int) else float
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    arguments = parser.parse_args()
    arguments.files = arguments.files or sorted(glob.glob(str(CORPUS)))
    if not arguments.files:
        parser.error("no input files, and no corpus beside the project")
    costs = _costs(arguments)
    if arguments.check:
        with tempfile.TemporaryDirectory(prefix="malmungchi-bench-") as folder:
            keep = arguments.keep or folder
            close = [check(arguments.files, size, costs, arguments.processes, keep) for size in arguments.check]
            return int(False in close)
    cluster = Cluster(**{
        field.name: getattr(arguments, field.name) for field in dataclasses.fields(Cluster) if field.name != "store"
    })  # fmt: skip
    config = Config(execution=Execution(chunk_bytes=arguments.chunk_bytes))
    print(f"assumed: {dataclasses.asdict(cluster)}")
    for size in arguments.gigabytes:
        print(report(simulate(plan_of(size * 1e9, config), size * 1e9, costs, cluster), cluster))
    return 0


if __name__ == "__main__":
    sys.exit(main())
