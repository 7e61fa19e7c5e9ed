"""What the steps of a job take on this machine, for `benchmarks.simulate`: measured in about a minute, without Beam."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import orjson
import pyarrow as pa

from benchmarks import enlarge
from benchmarks.build import TINY, build
from benchmarks.corpus import decompressed
from benchmarks.steps import MB, TAKES, at_its_peak, memory, run_steps, side_by_side
from malmungchi.pipelines.inline import CHUNK_STEPS
from malmungchi.pipelines.runners import drive
from malmungchi.pipelines.stages import CHANNELS, REFINE
from malmungchi.schemas.config import Config
from malmungchi.schemas.exchange import EXACT, Layout, band_schema, layout
from malmungchi.schemas.work import Slice
from malmungchi.transforms.exchange import records, regroup
from malmungchi.transforms.exchange.segments import Segments, read_batches, read_slices, split
from malmungchi.transforms.text.steps import staged

SAMPLE_MB = 250.0
DUPLICATES = 0.1
TEXTUAL = ("rows", "texts", "rejects")


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
    # Seconds to write and to read one segment beyond its bytes, by kind (text is compressed, numbers are not); to split
    # a stored MB once more, by kind; to do a task beyond its work; for an entry of a record that is read; and, with KB
    # of the launcher and of a worker, for a reference from
    # a record through Beam to a task.
    segments: dict[str, tuple[float, float]]
    split: dict[str, float]
    task: float
    reference: float
    reference_kb: tuple[float, float]
    entry: float
    # Seconds of a build of next to nothing: of the clock, and of all cores.
    start: float
    start_cpu: float
    # MB of memory of a launcher, of a worker that have done next to nothing, and of the process that workers are forked
    # from; and what a step adds: (at least, for each MB that one task takes in).
    launcher: float
    worker: float
    fork_server: float
    memory: dict[str, tuple[float, float]]


def kind_of(channel: str) -> str:
    """What the segments of a channel hold."""
    return "text" if channel in TEXTUAL else "numbers"


def _measure(files: list[str], tiny: str, folder: str) -> dict[str, Any]:
    found = run_steps(files, tiny, None, folder)
    staging = f"{folder}/steps"
    band = band_schema(Config().fingerprint.num_perm)
    return {
        **found,
        "segments": {"text": _segments(staging, "rows", staged()), "numbers": _segments(staging, "exact", EXACT)},
        "split": {"text": _split(staging, "rows", staged()), "numbers": _split(staging, "bands", band)},
        "task": _task(staging),
        "entry": _entry(staging),
    }


def _segments(folder: str, channel: str, schema: pa.Schema) -> tuple[float, float]:
    """Seconds to write and to read one more segment of the same rows of a channel."""
    parts = [
        part for name in records.tasks(folder, "refine") for _, part in records.need(folder, name).channel(channel)
    ]
    batch = pa.concat_batches(list(read_batches(parts, folder, schema)))
    few, many = 16, 1024
    seconds = {}
    for count in (few, many):
        start = time.process_time()
        record = records.run(folder, f"segments/{channel}-{count}", _scatter(batch, channel, count))
        written = time.process_time()
        for _, part in record.channel(channel):
            read_slices([part], folder, schema)
        seconds[count] = np.array([written - start, time.process_time() - written])
    write, read = ((seconds[many] - seconds[few]) / (many - few)).tolist()
    return write, read


def _scatter(batch: pa.RecordBatch, channel: str, count: int) -> Callable[[Segments], dict[str, Any]]:
    where = np.arange(batch.num_rows) * count // batch.num_rows

    def work(segments: Segments) -> dict[str, Any]:
        segments.scatter(channel, batch, where, channel in TEXTUAL)
        return {}

    return work


def _entry(folder: str) -> float:
    """Seconds for one more entry in a record that is read."""
    names, start = records.tasks(folder, "refine"), time.process_time()
    entries = sum(len(records.need(folder, name).slices) for name in names for _ in range(8))
    return (time.process_time() - start) / entries


def _task(folder: str) -> float:
    """Seconds for a task with nothing to do."""
    count = 64
    start = time.process_time()
    for number in range(count):
        records.run(folder, f"tasks/{number}", lambda segments: {})
    return (time.process_time() - start) / count


def _split(folder: str, channel: str, schema: pa.Schema) -> float:
    """Seconds to split a stored MB of a channel once more, on what the sample has staged."""
    how = dataclasses.replace(layout(0), fan_out=64, partitions=4096, band_partitions=4096)
    source = np.random.default_rng(0)
    compress = channel in TEXTUAL

    def write(segments: Segments) -> dict[str, Any]:
        for name in records.tasks(folder, "refine"):
            for batch in read_batches(
                [part for _, part in records.need(folder, name).channel(channel)], folder, schema
            ):
                segments.scatter(channel, batch, source.integers(0, 64, batch.num_rows), compress)
        return {}

    parts = [part for _, part in records.run(folder, f"whole/{channel}", write, how).channel(channel)]

    def again(segments: Segments) -> dict[str, int]:
        split(parts, channel, folder, segments)
        return {}

    start = time.process_time()
    records.run(folder, f"split/{channel}", again, how, 1)
    return (time.process_time() - start) / (sum(part.length for part in parts) / MB)


def _reference(folder: str, workers: int) -> tuple[float, tuple[float, float]]:
    """Seconds, and KB of the memory of the launcher and of its worker, for one more reference from a record through
    Beam to a task."""
    few, many, tasks = 1 << 10, 1 << 18, 1 << 10
    seconds, held = {}, {}
    for count in (few, many):
        place = Slice("some/file.arrow", 1 << 20, 1 << 12, 99, 1 << 62)
        slices = [("numbers", number, place) for number in range(count // tasks)]
        names = [records.finish(folder, f"references-{count}/{number}", slices, {}).task for number in range(tasks)]
        how = dataclasses.replace(layout(0), partitions=count // tasks)
        start, before = time.perf_counter(), memory("VmRSS")
        with at_its_peak():
            drive.run(_grouping(names, folder, how), workers=workers)
        seconds[count] = time.perf_counter() - start
        peaks = [float(path.read_text()) for path in Path(folder).glob("peak-*")]
        held[count] = np.array([memory("VmHWM") - before, max(peaks)])
    launcher, mine = 1000 * (held[many] - [0, held[few][1]]) / [many, many / workers]
    return (seconds[many] - seconds[few]) / (many - few), (float(launcher), float(mine))


def _grouping(names: list[str], folder: str, how: Layout) -> Callable[[beam.Pipeline], Any]:
    def put(root: beam.Pipeline) -> Any:
        batches = [regroup.join_names(names[number::64]) for number in range(64)]
        done = root | beam.Create(batches).with_output_types(str)
        return done | regroup.Regroup(folder, ("numbers",), how) | beam.Map(_count, folder).with_output_types(int)

    return put


def _count(group: tuple[int, Any], folder: str) -> int:
    count = len(list(regroup.unpack_slices(group[1])))
    Path(f"{folder}/peak-{os.getpid()}").write_text(f"{memory('VmHWM')}")
    return count


def calibrate(files: list[str], workers: int) -> Costs:
    """Measures all costs, with a sample of about SAMPLE_MB of the files, and `workers` processes at once."""
    with tempfile.TemporaryDirectory(prefix="malmungchi-bench-") as folder:
        tiny = Path(folder) / "tiny.jsonl"
        tiny.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in TINY))
        started = [build([str(tiny)], f"{folder}/tiny-{number}", workers) for number in range(3)][1:]
        times = SAMPLE_MB * MB / decompressed(files)
        sample = enlarge.write(enlarge.copies(files, times, DUPLICATES), Path(folder) / "sample")
        fine = side_by_side(_measure, (sample, str(tiny)), f"{folder}/fine", workers)
        whole = side_by_side(run_steps, (sample, str(tiny), Layout(1, 1, 1, 1)), f"{folder}/whole", workers)
        reference, kilobytes = _reference(folder, workers)
        size = decompressed(sample) / MB
    costs = _costs(size, fine, whole, started)
    return dataclasses.replace(costs, reference=reference, reference_kb=kilobytes)


def _mean(found: list[dict[str, Any]], *keys: Any) -> float:
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
) -> Costs:
    each = _mean(fine, "task")
    kinds = ("text", "numbers")
    segments = {kind: (_mean(fine, "segments", kind, 0), _mean(fine, "segments", kind, 1)) for kind in kinds}
    moved = fine[0]["moved"]
    seconds = {step: _mean(fine, "seconds", step) / size for step in (*CHUNK_STEPS, "read past")}
    written = sum(moved[channel][2] * segments[kind_of(channel)][0] for channel in REFINE.gives)
    seconds["stage"] -= (written + fine[0]["chunks"] * each) / size
    held = {step: (max(one["memory"][step] for one in fine), 0.0) for step in CHUNK_STEPS}
    for step, channels in TAKES.items():
        taken = sum(moved[channel][0] for channel in channels)
        found = sum(moved[channel][2] * segments[kind_of(channel)][1] for channel in channels)
        beyond = found + fine[0]["tasks"][step] * each
        seconds[step] = max(0.0, _mean(fine, "seconds", step) - beyond) / taken
        # Two points of a line: tasks that take in a share each, and one that takes in all.
        share = taken / fine[0]["tasks"][step]
        small = max(one["memory"][step] for one in fine)
        large = max(one["memory"][step] for one in whole)
        slope = max(0.0, (large - small) / (taken - share)) if taken > share else 0.0
        held[step] = (small - slope * share, slope)
    # The one task that joins has no second point: an edge of 16 bytes brings at most one more node, of 32 bytes.
    held["components"] = (held["components"][0], 2.0)
    return Costs(
        seconds=seconds,
        stored={channel: moved[channel][0] / size for channel in CHANNELS},
        rows={channel: moved[channel][1] / size for channel in CHANNELS},
        staged=fine[0]["staged"] / size,
        kept=fine[0]["kept"] / size,
        segments=segments,
        split={kind: _mean(fine, "split", kind) for kind in kinds},
        task=each,
        reference=0.0,
        reference_kb=(0.0, 0.0),
        entry=_mean(fine, "entry"),
        start=_mean(started, "wall"),
        start_cpu=_mean(started, "cpu"),
        launcher=max(one["launcher_mb"] for one in started),
        worker=max(one["base"] for one in fine),
        fork_server=max(one["worker_mb"] for one in started),
        memory=held,
    )
