"""The whole build against the floor, with its start-up, its steps and its memory.

    python -m benchmarks.build [FILES …] [--workers N] [--repeat N] [--json FILE]

The floor is what nobody can do without: decompress, parse, write Parquet, on one core. Ratios to it are taken in the
same run, since machines and their moods differ. MB are 10^6 bytes of decompressed input.

`not_ours` is the share of the workers' time, start to end, in which no step of ours runs: start-up, exchange (writing
what is staged), and the runner, which is what is left: Beam, waiting for each other, the launcher. Flags of Beam, such
as `--runner`, are passed on, so that runners can be compared.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import orjson
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.corpus import CORPUS, decompressed, lines
from benchmarks.steps import run_steps, side_by_side

TINY = [{"id": f"tiny-{i}", "text": f"작은 문서 {i}번입니다. 시작하는 데 걸리는 시간만 잽니다."} for i in range(20)]


def floor(files: list[str], folder: str) -> float:
    """CPU seconds to decompress, parse and write Parquet (zstd 3), one core."""
    pa.set_cpu_count(1)
    start = time.process_time()
    for number, file in enumerate(files):
        schema = pa.schema([(name, pa.string()) for name in ("id", "text", "url", "source", "license")])
        with pq.ParquetWriter(f"{folder}/{number}.parquet", schema, compression="zstd", compression_level=3) as writer:
            for rows in lines(file):
                columns = {name: [row.get(name) for row in rows] for name in schema.names}
                writer.write_table(pa.table(columns, schema))
    return time.process_time() - start


class Watch(threading.Thread):
    """Peak resident memory and CPU seconds of a process and of all its descendants, sampled every so many seconds.

    Workers are children of a fork server that nobody waits for, so the system's own sums leave them out. Looking takes
    some milliseconds of a core: more often would slow down what is measured. The system keeps the peak of each process.
    """

    def __init__(self, pid: int, every: float = 0.1) -> None:
        super().__init__(daemon=True)
        self._every = every
        self._process = psutil.Process(pid)
        self._seconds: dict[int, float] = {}
        self.launcher = 0
        self.worker = 0
        self.tree = 0

    @property
    def cpu(self) -> float:
        """CPU seconds of all processes together."""
        return sum(self._seconds.values())

    def _look(self, process: psutil.Process) -> tuple[int, int]:
        """Resident memory at its peak, and now."""
        with process.oneshot():
            times = process.cpu_times()
            self._seconds[process.pid] = times.user + times.system
            now = int(process.memory_info().rss)
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0]) << 10, now
        return now, now

    def run(self) -> None:
        """Until the process has ended."""
        while True:
            try:
                peak, now = self._look(self._process)
                children = self._process.children(recursive=True)
            except psutil.Error:
                return
            self.launcher = max(self.launcher, peak)
            for child in children:
                with contextlib.suppress(psutil.Error):
                    peak, size = self._look(child)
                    self.worker, now = max(self.worker, peak), now + size
            self.tree = max(self.tree, now)
            time.sleep(self._every)


def build(files: list[str], output: str, workers: int | None, extra: tuple[str, ...] = ()) -> dict[str, Any]:
    """One whole build as a user starts it: wall and CPU seconds, seconds by stage, peak memory in MB."""
    command = [sys.executable, "-m", "malmungchi", "build", "--output", output, *extra]
    for file in files:
        command += ["--input", file]
    if workers is not None:
        command += ["--workers", str(workers)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    watch = Watch(process.pid)
    watch.start()
    _, said = process.communicate()
    wall = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(said)
    stages = {}
    for line in said.splitlines():
        name, _, text = line.partition(": ")
        if name in ("refine", "deduplicate", "publish") and " in " in text:
            stages[name] = float(text.rsplit(" in ", 1)[1].split(" s")[0])
    return {
        "wall": wall,
        "cpu": watch.cpu,
        "launcher_mb": watch.launcher / 1e6,
        "worker_mb": watch.worker / 1e6,
        "tree_mb": watch.tree / 1e6,
        "stages": stages,
    }


def _median(runs: list[dict[str, Any]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def measure(files: list[str], workers: int, repeat: int, extra: tuple[str, ...] = ()) -> dict[str, Any]:
    """All figures for some files."""
    with tempfile.TemporaryDirectory(prefix="malmungchi-bench-") as folder:
        tiny = f"{folder}/tiny.jsonl"
        Path(tiny).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in TINY))
        build([tiny], f"{folder}/warm", workers)  # kernels compile once
        in_process = [build([tiny], f"{folder}/process-{i}", None) for i in range(repeat)]
        started = [build([tiny], f"{folder}/start-{i}", workers, extra) for i in range(repeat)]
        floors = [floor(files, folder) for _ in range(repeat)]
        runs = [build(files, f"{folder}/build-{i}", workers, extra) for i in range(repeat)]
        steps = side_by_side(run_steps, (files, tiny, None), f"{folder}/steps", workers)
    size = decompressed(files) / 1e6
    start_wall, start_cpu = _median(started, "wall"), _median(started, "cpu")
    wall = _median(runs, "wall") - start_wall
    cpu = _median(runs, "cpu") - start_cpu
    lowest = statistics.median(floors)
    ours = {name: statistics.mean(one["seconds"][name] for one in steps) for name in steps[0]["seconds"]}
    del ours["read past"]  # what stripes cost belongs to the runner
    ours_cpu, exchange = sum(ours.values()), ours["stage"]
    return {
        "input_mb": size,
        "workers": workers,
        "start_in_process_s": _median(in_process, "wall"),
        "start_workers_s": start_wall,
        "start_workers_cpu_s": start_cpu,
        "floor_cpu_s": lowest,
        "floor_mb_per_s": size / lowest,
        "build_s": wall,
        "build_mb_per_s": size / wall,
        "build_cpu_s": cpu,
        "build_mb_per_s_core": size / cpu,
        "cpu_over_floor": cpu / lowest,
        "steps_cpu_s": ours_cpu,
        "not_ours": 1 - (ours_cpu - exchange) / (workers * (wall + start_wall)),
        "of_it_start": start_wall / (wall + start_wall),
        "of_it_exchange": exchange / (workers * (wall + start_wall)),
        "of_it_runner": (workers * wall - ours_cpu) / (workers * (wall + start_wall)),
        "launcher_mb": max(run["launcher_mb"] for run in runs),
        "worker_mb": max(run["worker_mb"] for run in runs),
        "runs": runs,
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="input files (default: the corpus beside the project)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", help="write all figures here")
    arguments, extra = parser.parse_known_args()
    files = arguments.files or sorted(glob.glob(str(CORPUS)))
    if not files:
        parser.error("no input files, and no corpus beside the project")
    figures = measure(files, arguments.workers, arguments.repeat, tuple(extra))
    for name, value in figures.items():
        if isinstance(value, float):
            print(f"{name:<22}{value:10.2f}")
    for run in figures["runs"]:
        print({key: value if isinstance(value, dict) else round(value, 2) for key, value in run.items()})
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
