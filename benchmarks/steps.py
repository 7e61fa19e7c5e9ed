"""Where the time of a job goes: each step over the files, in this process and without Beam, on one core.

    python -m benchmarks.steps [FILES …]

MB are 10^6 bytes of decompressed input, the same for every step, so that the columns add up.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import glob
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.corpus import CORPUS, decompressed
from malmungchi.pipelines.inline import Inline
from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.pipelines.process import forkserver
from malmungchi.pipelines.process.memory import keep_heap
from malmungchi.pipelines.stages import CHANNELS, PUBLISH, REFINE, TABLE
from malmungchi.schemas.config import Config, Execution
from malmungchi.schemas.exchange import Layout
from malmungchi.schemas.plan import CHUNK_BYTES
from malmungchi.transforms.exchange import records
from malmungchi.transforms.formats.read import read_item

MB = 1e6

# By stage, what it takes in: a channel's bytes as they are stored. Steps of a chunk take in what is read.
TAKES = {stage.name: stage.needs for stage in TABLE if stage is not REFINE}


class Clock:
    """CPU seconds and memory by step, of this process."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.memory: dict[str, float] = defaultdict(float)
        self.base = memory("VmRSS")

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        with at_its_peak():
            start = time.process_time()
            yield
            self.seconds[step] += time.process_time() - start
        self.memory[step] = max(self.memory[step], memory("VmHWM") - self.base)


@contextlib.contextmanager
def at_its_peak() -> Iterator[None]:
    """After it, `memory("VmHWM")` is the peak since."""
    Path("/proc/self/clear_refs").write_text("5")
    yield


def memory(key: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{key}:")[1].split()[0]) * 1024 / MB


@dataclasses.dataclass
class Steps:
    """A job on a sample in this process, step by step, without Beam."""

    files: list[str]
    folder: str
    how: Layout | None
    clock: Clock = dataclasses.field(default_factory=Clock)

    def run(self) -> dict[str, Any]:
        """Seconds, memory and tasks by step, and [MB, rows, segments] by channel."""
        folder, clock = self.folder, self.clock
        plan = make_plan(self.files, Config(execution=Execution(chunk_bytes=CHUNK_BYTES)))
        job = Inline(dataclasses.replace(plan, layout=self.how or plan.layout), folder, clock)
        done = job.run()
        for item in job.items:  # a stripe, beside the chunks that it makes
            with clock("read past"):
                for _ in read_item(item, plan.config, CHUNK_BYTES, lambda number: True):
                    pass
        everything = [name for names in done.values() for name in names]
        found = [said for name in everything for _, said in records.slices(name, folder, CHANNELS)]
        tasks = {name: len(names) for name, names in done.items() if name != REFINE.name}
        moved = {channel: [0.0, 0.0, 0.0] for channel in CHANNELS}
        sizes = {"rows": 0, "verdicts": 0}
        for channel, part in found:
            moved[channel] = [a + b for a, b in zip(moved[channel], (part.length / MB, part.rows, 1), strict=True)]
        for name in everything:
            for channel, _, _, size in records.need(folder, name).counts.get("sizes", []):
                sizes[channel] += size
        return {
            "seconds": dict(clock.seconds),
            "memory": dict(clock.memory),
            "tasks": {**tasks, PUBLISH.name: job.plan.layout.partitions, "rejects": 1},
            "moved": moved,
            "chunks": len(done[REFINE.name]),
            "staged": sizes["rows"] / MB,
            "kept": (sizes["rows"] - sizes["verdicts"]) / MB,
        }


def run_steps(files: list[str], tiny: str, how: Layout | None, folder: str) -> dict[str, Any]:
    """`Steps.run` on the files, in a process that holds `base` MB after next to nothing, with the file `tiny`."""
    Steps([tiny], f"{folder}/tiny", None).run()
    steps = Steps(files, f"{folder}/steps", how)
    return {**steps.run(), "base": steps.clock.base}


def side_by_side(
    work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...], folder: str, workers: int
) -> list[dict[str, Any]]:
    """What as many processes find at once as there are workers, forked as those are; each has a folder of its own, the
    last argument. So each has the share of the machine that a worker has."""
    forkserver.prepare()
    results, barrier = forkserver.CONTEXT.Queue(), forkserver.CONTEXT.Barrier(workers)
    running = [
        forkserver.CONTEXT.Process(target=_put, args=(work, (*arguments, f"{folder}/{number}"), barrier, results))
        for number in range(workers)
    ]
    for process in running:
        process.start()
    found = [results.get(timeout=900) for _ in running]
    for process in running:
        process.join()
    return found


def _put(work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...], barrier: Any, results: Any) -> None:
    keep_heap()
    barrier.wait()
    results.put(work(*arguments))


def main() -> None:
    """Prints seconds, ms per MB and MB/s of each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="input files (default: the corpus beside the project)")
    files = parser.parse_args().files or sorted(glob.glob(str(CORPUS)))
    if not files:
        parser.error("no input files, and no corpus beside the project")
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory(prefix="malmungchi-bench-") as folder:
        Steps(files[:1], f"{folder}/warm", None).run()  # kernels are loaded
        seconds = Steps(files, f"{folder}/steps", None).run()["seconds"]
    del seconds["read past"]  # of files that several workers read
    size = decompressed(files) / MB
    for name, value in [*seconds.items(), ("all", sum(seconds.values()))]:
        print(f"{name:<12}{value:8.2f} s {1000 * value / size:8.2f} ms/MB {size / value:8.0f} MB/s")


if __name__ == "__main__":
    main()
