"""What the steps of a job take on this machine, for `benchmarks.simulate`: measured in about a minute, without Beam."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import orjson
import pyarrow as pa

from benchmarks import enlarge
from benchmarks.build import TINY, build, decompressed
from pipelines import runner, worker
from pipelines.memory import keep_heap
from pipelines.plan import make_plan
from schemas.chunk import Chunk
from schemas.config import Config
from schemas.exchange import STAGED, Layout, band_schema, layout
from schemas.work import Slice
from transforms import task
from transforms.candidates import FindForest, JoinForests
from transforms.cut import cut
from transforms.exact import ResolveExact
from transforms.exchange import Segments, read_batches, read_slice, split
from transforms.fingerprint import fingerprint
from transforms.language import filter_language
from transforms.normalize import normalize
from transforms.publish import Shard, WriteRejects, WriteShard
from transforms.read import read_item
from transforms.stage import chunk_task, stage
from transforms.verify import GatherWanted, VerifyComponents

MB = 1e6
SAMPLE_MB = 120.0
DUPLICATES = 0.1

CHUNK_STEPS = ("cut", "read", "normalize", "language", "fingerprint", "stage")
CHANNELS = ("rows", "exact", "bands", "rejects", "edges", "members", "candidates", "wanted", "texts", "verdicts")

# By step, what it takes in: a channel's bytes as they are stored. Steps of a chunk take in what is read.
TAKES = {
    "candidates": ("bands",),
    "components": ("edges",),
    "exact": ("exact", "members"),
    "texts": ("rows", "wanted"),
    "verified": ("texts", "candidates"),
    "publish": ("rows", "verdicts"),
    "rejects": ("rejects",),
}


@dataclasses.dataclass
class Costs:
    """Seconds are of one core while the others are busy too, sizes are MB (10^6 bytes), all for each MB of input unless
    said otherwise."""

    # By step: seconds for each MB of what it takes in (`TAKES`), beyond those for its segments.
    seconds: dict[str, float]
    # By channel: MB as stored, and rows; and of the input: MB of text staged, and kept.
    stored: dict[str, float]
    rows: dict[str, float]
    staged: float
    kept: float
    # Seconds to write and to read one segment beyond its bytes, to do a task beyond its work, and for a reference from
    # a record through Beam to a task.
    write_segment: float
    read_segment: float
    task: float
    reference: float
    # Seconds to split a MB once more, as stored: of text, which is compressed, and of numbers, which are not.
    split_text: float
    split_numbers: float
    # Seconds of a build of next to nothing: of the clock, and of all cores.
    start: float
    start_cpu: float
    # MB of memory of a launcher, of a worker that have done next to nothing, and of the process that workers are forked
    # from; and what a step adds: (at least, for each MB that one task takes in).
    launcher: float
    worker: float
    nursery: float
    memory: dict[str, tuple[float, float]]


class _Clock:
    """CPU seconds and memory by step, of this process."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.memory: dict[str, float] = defaultdict(float)
        self.base = _memory("VmRSS")

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        start = time.process_time()
        yield
        self.seconds[step] += time.process_time() - start
        self.memory[step] = max(self.memory[step], _memory("VmHWM") - self.base)


def _memory(key: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{key}:")[1].split()[0]) * 1024 / MB


@dataclasses.dataclass
class _Sample:
    """A job on a sample in this process, step by step, without Beam."""

    files: list[str]
    folder: str
    how: Layout | None
    clock: _Clock = dataclasses.field(default_factory=_Clock)

    def run(self) -> dict[str, Any]:
        """Seconds, memory and tasks by step, and [MB, rows, segments] by channel."""
        config, folder, clock = Config(), self.folder, self.clock
        plan = make_plan(self.files, config)
        how = self.how or plan.layout
        self.tasks: dict[str, int] = {}
        with clock("cut"):
            made = [cut(file, folder, config.read, config.execution.chunk_bytes) for file in plan.files]
        chunks = [name for one in made for item in one.items for name in self._chunks(item, how, config)]
        for file in plan.files:  # a file that is not cut
            (item,) = cut(file, folder, config.read, config.execution.chunk_bytes, 1 << 50).items
            with clock("read whole"):
                for _ in read_item(item, config.read, config.execution.chunk_bytes):
                    pass
        print_, deduplicate = config.fingerprint, config.deduplicate
        edges = self._stage(chunks, "candidates", FindForest(folder, print_, deduplicate))
        members = self._stage(edges, "components", JoinForests(folder, how))
        exact = self._stage(chunks + members, "exact", ResolveExact(folder, how, deduplicate))
        texts = self._stage(chunks + exact, "texts", GatherWanted(folder, how), needs="wanted")
        verify = VerifyComponents(folder, how, print_, deduplicate)
        verified = self._stage(exact + texts, "verified", verify, needs="candidates")
        everything = chunks + edges + members + exact + texts + verified
        found = [(name, *found) for name in everything for found in task.slices(name, folder, CHANNELS)]
        parts = [(partition, said) for _, partition, said in found if said[0] in TAKES["publish"]]
        with clock("publish"):
            WriteShard(folder, folder, config.shards, "")(Shard(0, 1, tuple(range(how.partitions))), parts)
        with clock("rejects"):
            WriteRejects(folder, folder, config.shards, "", 1)(0, [p for _, _, (c, p) in found if c == "rejects"])
        self.tasks |= {"publish": how.partitions, "rejects": 1}
        moved = {channel: [0.0, 0.0, 0.0] for channel in CHANNELS}
        sizes = {"rows": 0, "verdicts": 0}
        for _, _, (channel, part) in found:
            moved[channel] = [a + b for a, b in zip(moved[channel], (part.length / MB, part.rows, 1), strict=True)]
        for name in everything:
            for channel, _, _, size in task.need(folder, name).counts.get("sizes", []):
                sizes[channel] += size
        return {
            "seconds": dict(clock.seconds),
            "memory": dict(clock.memory),
            "tasks": self.tasks,
            "moved": moved,
            "chunks": len(chunks),
            "staged": sizes["rows"] / MB,
            "kept": (sizes["rows"] - sizes["verdicts"]) / MB,
        }

    def _chunks(self, item: Any, how: Layout, config: Config) -> Iterator[str]:
        source = read_item(item, config.read, config.execution.chunk_bytes)
        while True:
            with self.clock("read"):
                chunk = next(source, None)
            if chunk is None:
                return
            with self.clock("normalize"):
                chunk = normalize(chunk, config.normalize)
            with self.clock("language"):
                chunk = filter_language(chunk, config.language)
            with self.clock("fingerprint"):
                done = fingerprint(chunk, config.fingerprint)
            name = chunk_task(done.item, done.sequence)
            with self.clock("stage"):
                task.run(self.folder, name, functools.partial(self._staged, done, how, config))
            yield name

    def _staged(self, chunk: Chunk, how: Layout, config: Config, segments: Segments) -> dict[str, Any]:
        return stage(chunk, segments, how, config.fingerprint, config.deduplicate)

    def _stage(self, names: list[str], step: str, work: task.Work, needs: str = "") -> list[str]:
        """What `RunTasks` does, one partition after the other."""
        groups: dict[int, dict[str, list[Slice]]] = defaultdict(lambda: defaultdict(list))
        for name in names:
            for partition, (channel, part) in task.slices(name, self.folder, TAKES[step]):
                groups[partition][channel].append(part)
        done = []
        for partition, parts in sorted(groups.items()):
            if (needs or TAKES[step][0]) in parts:
                name = task.partition_task(step, partition)
                with self.clock(step):
                    task.run(self.folder, name, lambda s, p=partition, m=parts: work(p, m, s))  # type: ignore[misc]
                done.append(name)
        self.tasks[step] = len(done)
        return done


def _side_by_side(files: list[str], tiny: str, folder: str, how: Layout | None, workers: int) -> list[dict[str, Any]]:
    """What as many processes measure at once as there are workers, forked as those are."""
    results, barrier = worker._CONTEXT.Queue(), worker._CONTEXT.Barrier(workers)
    places = [f"{folder}/{number}" for number in range(workers)]
    running = [
        worker._CONTEXT.Process(target=_measure, args=(files, tiny, place, how, barrier, results)) for place in places
    ]
    for process in running:
        process.start()
    found = [results.get(timeout=600) for _ in running]
    for process in running:
        process.join()
    return found


def _measure(files: list[str], tiny: str, folder: str, how: Layout | None, barrier: Any, results: Any) -> None:
    keep_heap()
    _Sample([tiny], f"{folder}/tiny", None).run()  # as much is in memory then as in the worker of a tiny build
    sample = _Sample(files, folder, how)
    barrier.wait()
    found = {**sample.run(), "base": sample.clock.base}
    if how is None:
        barrier.wait()
        found |= _segments(folder)
        found |= {f"split_{kind}": _split(folder, channel, schema) for kind, channel, schema in (
            ("text", "rows", STAGED), ("numbers", "bands", band_schema(Config().fingerprint.num_perm)))}  # fmt: skip
    results.put(found)


def _segments(folder: str) -> dict[str, float]:
    """Seconds to write and to read one more segment of the same bytes, and to do one more task."""
    schema = pa.schema([pa.field("a", pa.uint64(), nullable=False)])
    batch = pa.RecordBatch.from_arrays([pa.array(np.arange(1 << 18, dtype=np.uint64))], schema=schema)
    few, many = 16, 4096
    seconds = {}
    for count in (few, many):
        start = time.process_time()
        record = task.run(folder, f"segments/{count}", _scatter(batch, count))
        written = time.process_time()
        for _, part in record.channel("numbers"):
            read_slice(part, folder, schema)
        seconds[count] = np.array([written - start, time.process_time() - written])
    write, read = ((seconds[many] - seconds[few]) / (many - few)).tolist()
    start = time.process_time()
    for number in range(few):
        task.run(folder, f"tasks/{number}", lambda segments: {})
    return {"write_segment": write, "read_segment": read, "task": (time.process_time() - start) / few}


def _scatter(batch: pa.RecordBatch, count: int) -> Callable[[Segments], dict[str, Any]]:
    def work(segments: Segments) -> dict[str, Any]:
        segments.scatter("numbers", batch, np.arange(batch.num_rows) * count // batch.num_rows)
        return {}

    return work


def _split(folder: str, channel: str, schema: pa.Schema) -> float:
    """Seconds to split a stored MB of a channel once more, on what the sample has staged."""
    how = dataclasses.replace(layout(0), fan_out=64, partitions=4096, band_partitions=4096)
    source = np.random.default_rng(0)
    compress = channel == "rows"

    def write(segments: Segments) -> dict[str, Any]:
        for name in task.tasks(folder, "refine"):
            for batch in read_batches([part for _, part in task.need(folder, name).channel(channel)], folder, schema):
                segments.scatter(channel, batch, source.integers(0, 64, batch.num_rows), compress)
        return {}

    parts = [part for _, part in task.run(folder, f"whole/{channel}", write, how).channel(channel)]
    start = time.process_time()
    task.run(folder, f"split/{channel}", lambda s: split(parts, channel, folder, s) or {}, how, 1)
    return (time.process_time() - start) / (sum(part.length for part in parts) / MB)


def _reference(folder: str, workers: int) -> float:
    """Seconds for one more reference from a record through Beam to a task."""
    few, many, tasks = 1 << 10, 1 << 16, 256
    seconds = {}
    for count in (few, many):
        place = Slice("some/file.arrow", 1 << 20, 1 << 12, 99, 1 << 62)
        slices = [("numbers", number, place) for number in range(count // tasks)]
        names = [task.finish(folder, f"references-{count}/{number}", slices, {}).task for number in range(tasks)]
        how = dataclasses.replace(layout(0), partitions=count // tasks)
        start = time.perf_counter()
        runner.run(_grouping(names, folder, how), workers=workers)
        seconds[count] = time.perf_counter() - start
    return (seconds[many] - seconds[few]) / (many - few)


def _grouping(names: list[str], folder: str, how: Layout) -> Callable[[beam.Pipeline], Any]:
    def put(root: beam.Pipeline) -> Any:
        done = root | beam.Create(names).with_output_types(str)
        return done | task.Regroup(folder, ("numbers",), how) | beam.Map(_count).with_output_types(int)

    return put


def _count(group: tuple[int, Any]) -> int:
    return sum(1 for _ in group[1])


def calibrate(files: list[str], workers: int) -> Costs:
    """Measures all costs, with a sample of about SAMPLE_MB of the files, and `workers` processes at once."""
    with tempfile.TemporaryDirectory(prefix="malmungchi-bench-") as folder:
        tiny = Path(folder) / "tiny.jsonl"
        tiny.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in TINY))
        started = [build([str(tiny)], f"{folder}/tiny-{number}", workers) for number in range(3)][1:]
        times = SAMPLE_MB * MB / decompressed(files)
        sample = enlarge.write(enlarge.copies(files, times, DUPLICATES), Path(folder) / "sample")
        worker.prepare()
        fine = _side_by_side(sample, str(tiny), f"{folder}/fine", None, workers)
        whole = _side_by_side(sample, str(tiny), f"{folder}/whole", Layout(1, 1, 1, 1), workers)
        reference = _reference(folder, workers)
        size = decompressed(sample) / MB
    return _costs(size, fine, whole, started, reference)


def _mean(found: list[dict[str, Any]], *keys: str) -> float:
    values = []
    for one in found:
        value: Any = one
        for key in keys:
            value = value[key]
        values.append(float(value))
    return sum(values) / len(values)


def _costs(
    size: float,
    fine: list[dict[str, Any]],
    whole: list[dict[str, Any]],
    started: list[dict[str, Any]],
    reference: float,
) -> Costs:
    write, read, each = (_mean(fine, name) for name in ("write_segment", "read_segment", "task"))
    moved = fine[0]["moved"]
    seconds = {step: _mean(fine, "seconds", step) / size for step in (*CHUNK_STEPS, "read whole")}
    written = sum(moved[channel][2] for channel in ("rows", "exact", "bands", "rejects"))
    seconds["stage"] -= (written * write + fine[0]["chunks"] * each) / size
    memory = {step: (max(one["memory"][step] for one in fine), 0.0) for step in CHUNK_STEPS}
    for step, channels in TAKES.items():
        taken = sum(moved[channel][0] for channel in channels)
        segments = sum(moved[channel][2] for channel in channels)
        beyond = segments * read + fine[0]["tasks"][step] * each
        seconds[step] = max(0.0, _mean(fine, "seconds", step) - beyond) / taken
        # Two points of a line: tasks that take in a share each, and one that takes in all.
        share = taken / fine[0]["tasks"][step]
        small = max(one["memory"][step] for one in fine)
        large = max(one["memory"][step] for one in whole)
        slope = max(0.0, (large - small) / (taken - share)) if taken > share else 0.0
        memory[step] = (small - slope * share, slope)
    return Costs(
        seconds=seconds,
        stored={channel: moved[channel][0] / size for channel in CHANNELS},
        rows={channel: moved[channel][1] / size for channel in CHANNELS},
        staged=fine[0]["staged"] / size,
        kept=fine[0]["kept"] / size,
        write_segment=write,
        read_segment=read,
        task=each,
        reference=reference,
        split_text=_mean(fine, "split_text"),
        split_numbers=_mean(fine, "split_numbers"),
        start=_mean(started, "wall"),
        start_cpu=_mean(started, "cpu"),
        launcher=max(one["launcher_mb"] for one in started),
        worker=max(one["base"] for one in fine),
        nursery=max(one["worker_mb"] for one in started),
        memory=memory,
    )
