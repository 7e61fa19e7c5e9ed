"""Where the time of a job goes: each step over the files, in this process and without Beam, on one core.

    python -m benchmarks.steps [FILES …]

MB are 10^6 bytes of decompressed input, the same for every step, so that the columns add up.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import glob
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.pipelines.process import forkserver
from malmungchi.pipelines.process.memory import keep_heap
from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Config
from malmungchi.schemas.exchange import Layout
from malmungchi.schemas.plan import CHUNK_BYTES
from malmungchi.schemas.work import Slice
from malmungchi.transforms.dedup.candidates import FindForest, JoinForests
from malmungchi.transforms.dedup.exact import ResolveExact
from malmungchi.transforms.dedup.fingerprint import fingerprint
from malmungchi.transforms.dedup.verify_pairs import GatherWanted, VerifyComponents
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.segments import Segments
from malmungchi.transforms.exchange.stage import stage
from malmungchi.transforms.formats.cut import cut
from malmungchi.transforms.formats.read import read_item
from malmungchi.transforms.shards.write import Shard, WriteRejects, WriteShard
from malmungchi.transforms.text.base import apply
from malmungchi.transforms.text.steps import settings_of, steps

from benchmarks.corpus import CORPUS, decompressed

MB = 1e6

CHUNK_STEPS = ("cut", "read", *(step.name for step in steps()), "fingerprint", "stage")
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
        config, folder, clock = Config(), self.folder, self.clock
        plan = make_plan(self.files, config)
        how = self.how or plan.layout
        self.tasks: dict[str, int] = {}
        with clock("cut"):
            made = [cut(file, CHUNK_BYTES) for file in plan.files]
        chunks = [name for one in made for item in one.items for name in self._chunks(item, how, config)]
        for one in made:  # a stripe, beside the chunks that it makes
            with clock("read past"):
                for item in one.items:
                    for _ in read_item(item, config.read, CHUNK_BYTES, lambda number: True):
                        pass
        print_, deduplicate = config.fingerprint, config.deduplicate
        edges = self._stage(chunks, "candidates", FindForest(folder, print_, deduplicate))
        members = self._stage(edges, "components", JoinForests(folder, how))
        exact = self._stage(chunks + members, "exact", ResolveExact(folder, how, deduplicate))
        texts = self._stage(chunks + exact, "texts", GatherWanted(folder, how), needs="wanted")
        verify = VerifyComponents(folder, how, print_, deduplicate)
        verified = self._stage(exact + texts, "verified", verify, needs="candidates")
        everything = chunks + edges + members + exact + texts + verified
        found = [(name, *found) for name in everything for found in records.slices(name, folder, CHANNELS)]
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
            for channel, _, _, size in records.need(folder, name).counts.get("sizes", []):
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
        source = read_item(item, config.read, CHUNK_BYTES)
        while True:
            with self.clock("read"):
                chunk = next(source, None)
            if chunk is None:
                return
            for step in steps():
                with self.clock(step.name):
                    chunk = apply(chunk, step, settings_of(step, config))
            with self.clock("fingerprint"):
                done = fingerprint(chunk, config.fingerprint)
            name = records.chunk_task(done.item, done.sequence)
            with self.clock("stage"):
                records.run(self.folder, name, functools.partial(self._staged, done, how, config))
            yield name

    def _staged(self, chunk: Chunk, how: Layout, config: Config, segments: Segments) -> dict[str, Any]:
        return stage(chunk, segments, how, config.fingerprint, config.deduplicate)

    def _stage(self, names: list[str], step: str, work: records.Work, needs: str = "") -> list[str]:
        """What `RunTasks` does, one partition after the other."""
        groups: dict[int, dict[str, list[Slice]]] = defaultdict(lambda: defaultdict(list))
        for name in names:
            for partition, (channel, part) in records.slices(name, self.folder, TAKES[step]):
                groups[partition][channel].append(part)
        done = []
        for partition, parts in sorted(groups.items()):
            if (needs or TAKES[step][0]) in parts:
                name = records.partition_task(step, partition)
                with self.clock(step):
                    records.run(self.folder, name, lambda s, p=partition, m=parts: work(p, m, s))  # type: ignore[misc]
                done.append(name)
        self.tasks[step] = len(done)
        return done


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
