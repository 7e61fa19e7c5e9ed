"""Kills builds at random moments, goes on with them, and checks that nothing is lost, doubled, left or done again.

    python -m benchmarks.kills [--times 200] [--seed 0] [--workers 2] [--rows 1500] [--at-once 2]

Each build of a small corpus is killed (`kill -9`: the launcher, one worker, or all of its processes), started again,
and mostly killed again, until it is done. Of the moments, half are drawn by time, from each stage as often as from the
others, and half by the number of tasks that are finished. A case is drawn from the seed and its number; what the system
does at that moment is not.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pyarrow.dataset as ds

from benchmarks.build import Watch
from malmungchi.pipelines.stages import TASK_FOLDERS
from malmungchi.schemas.names import FOLDERS
from tests.support import corpus

ROOT = Path(__file__).resolve().parent.parent
WHO = ("launcher", "worker", "all")
STAGES = ("start", "refine", "deduplicate", "publish", "end")
# Of one build; then it may end.
MOST_KILLS = 5
# After a kill nothing of the job may live longer.
ORPHAN_SECONDS = 15.0
# A build that takes longer hangs; alone it takes seconds.
END_SECONDS = 180.0
# Of all processes of one job together: launcher, fork server, and workers of this small corpus.
TREE_MB = 700.0
WORKER_MB = 400.0


class KillError(AssertionError):
    """Something was lost, doubled, left or done again."""


@dataclasses.dataclass
class Tally:
    """What happened, over all builds. `peak_mb` is of all processes of a job together."""

    kills: Counter[str] = dataclasses.field(default_factory=Counter)
    stages: Counter[str] = dataclasses.field(default_factory=Counter)
    builds: int = 0
    attempts: int = 0
    reused: int = 0
    peak_mb: float = 0.0

    def add(self, other: Tally) -> None:
        """Adds another's figures."""
        self.kills += other.kills
        self.stages += other.stages
        self.builds += other.builds
        self.attempts += other.attempts
        self.reused += other.reused
        self.peak_mb = max(self.peak_mb, other.peak_mb)


def _require(condition: object, what: str) -> None:
    if not condition:
        raise KillError(what)


def digests(release: Path) -> dict[str, str]:
    """sha256 of each file of a release; where its inputs were is no part of it."""
    files = sorted(path for path in release.rglob("*") if path.is_file() and path != release / "inputs.json")
    return {path.relative_to(release).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _require_each_row_once(release: Path, rows: int) -> None:
    places = [
        place
        for folder in FOLDERS
        if (release / folder).exists()
        for place in ds.dataset(release / folder).to_table(columns=["row"])["row"].to_pylist()
    ]
    _require(sorted(places) == list(range(1, rows + 1)), "a row is lost or doubled")


class Attempt:
    """One process that builds, and what it says."""

    def __init__(self, command: list[str], output: Path, temporary: Path) -> None:
        self._output = output
        self._deadline = time.monotonic() + END_SECONDS
        self.process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(temporary)},
        )  # fmt: skip
        self._said: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._watch = Watch(self.process.pid, every=0.05)
        self._watch.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self._said += iter(self.process.stderr.readline, "")

    @property
    def stage(self) -> str:
        """Which stage is under way."""
        said = "".join(self._said)
        if (self._output / "manifest.json").exists():
            return "end"
        for done, stage in (("deduplicate: ", "publish"), ("refine: ", "deduplicate")):
            if done in said:
                return stage
        with contextlib.suppress(OSError, ValueError):
            if json.loads((self._output / "_staging" / "lock.json").read_bytes())["pid"] == self.process.pid:
                return "refine"
        return "start"

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def reach(self, stage: str) -> None:
        """Waits until a stage, or a later one, is under way, or the process has ended."""
        while self.running and STAGES.index(self.stage) < STAGES.index(stage):
            self._pause()

    def reach_tasks(self, count: int) -> None:
        """Waits until so many tasks are finished, or the process has ended."""
        while self.running and self.stage != "end" and len(_records(self._output / "_staging")) < count:
            self._pause()

    def children(self) -> list[psutil.Process]:
        """All processes of the job but the launcher."""
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def workers(self, children: list[psutil.Process]) -> list[psutil.Process]:
        """Those of them that do the work: children of the fork server."""
        found = []
        for child in children:
            with contextlib.suppress(psutil.Error):
                if child.ppid() != self.process.pid:
                    found.append(child)
        return found

    def kill(self, who: str, source: random.Random) -> list[psutil.Process]:
        """Kills, and gives all processes of the job that were there but the launcher."""
        children = self.children()
        targets = children if who == "all" else []
        if who == "worker":
            while self.running and not (workers := self.workers(children)):  # none is there yet, or between pipelines
                self._pause()
                children = self.children()
            targets = [source.choice(workers)] if self.running else []
        else:
            self.process.send_signal(signal.SIGKILL)
        for target in targets:
            with contextlib.suppress(psutil.Error):
                target.kill()
        return children

    def _pause(self) -> None:
        if time.monotonic() > self._deadline:
            self.process.send_signal(signal.SIGABRT)  # says what each thread does
            self.process.wait()
            self._listener.join()
            raise KillError(f"hangs; said so far: {''.join(self._said)}")
        time.sleep(0.002)

    def end(self) -> str:
        """Waits for the end; what was said."""
        while self.running:
            self._pause()
        self._listener.join()
        self._watch.join()
        return "".join(self._said)

    @property
    def peak_mb(self) -> float:
        """Of all processes together."""
        return self._watch.tree / 1e6

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.process.kill()
            self.process.wait()


class Corpus:
    """A small corpus, what an undisturbed build makes of it, of how many tasks, and how long its stages take."""

    def __init__(self, folder: Path, rows: int, workers: int) -> None:
        self._workers = workers
        self._source = folder / "in.jsonl"
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in corpus.rows(rows, 3))
        self._source.write_text("".join(lines), encoding="utf-8")
        for name in ("warm", "undisturbed"):  # kernels are compiled once
            (folder / name).mkdir()
            output, began = folder / name / "out", [time.monotonic()]
            with self.attempt(output, folder / name, keep=name == "warm") as attempt:
                for stage in STAGES[1:]:
                    attempt.reach(stage)
                    began.append(time.monotonic())
                said = attempt.end()
            began.append(time.monotonic())
            _require(attempt.process.returncode == 0, said)
        lasted = [end - start for start, end in itertools.pairwise(began)]
        self.seconds = dict(zip(STAGES, lasted, strict=True))
        self.tasks = len(_records(folder / "warm" / "out" / "_staging"))
        self.wanted = digests(output)
        _require_each_row_once(output, rows)
        _require_clean(folder, [folder / "undisturbed"])

    def wait(self, attempt: Attempt, source: random.Random) -> None:
        """Waits for a random moment of a build, or its end."""
        if source.random() < 0.5:
            attempt.reach_tasks(source.randint(1, self.tasks))
            return
        stage = source.choice(STAGES)
        attempt.reach(stage)
        with contextlib.suppress(subprocess.TimeoutExpired):
            attempt.process.wait(source.uniform(0, self.seconds[stage]))

    def attempt(self, output: Path, temporary: Path, keep: bool = False) -> Attempt:
        """Starts a build, or goes on with it; with `keep` its staging area stays."""
        command = [sys.executable, "-X", "faulthandler", "-m", "malmungchi", "build", "--input", str(self._source)]
        command += ["--output", str(output), "--workers", str(self._workers), "--execution-chunk-bytes", "32KiB"]
        return Attempt([*command, "--execution-keep-staging"] if keep else command, output, temporary)


def _require_clean(folder: Path, temporary: list[Path]) -> None:
    left = [path for place in temporary for path in place.iterdir() if path.name != "out"]
    left += folder.rglob("*.part")
    _require(not left, f"temporary files are left: {left}")


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _records(staging: Path) -> dict[str, int]:
    """When the record of each finished task was written."""
    found = {}
    for stage in TASK_FOLDERS:
        for path in staging.glob(f"*/{stage}/**/*.json"):
            with contextlib.suppress(FileNotFoundError):
                found[path.relative_to(staging).as_posix()] = path.stat().st_mtime_ns
    return found


def one_build(corpus: Corpus, folder: Path, source: random.Random, most: int = MOST_KILLS) -> Tally:
    """Kills a build in a new folder, at most `most` times, until it is done, and checks it. Raises KillError."""
    folder.mkdir()
    output, keep, tally = folder / "out", source.random() < 0.5, Tally(builds=1)
    staging = output / "_staging"
    finished: dict[str, int] = {}
    while True:
        with corpus.attempt(output, folder, keep) as attempt:
            tally.attempts += 1
            killed = stage = ""
            children: list[psutil.Process] = []
            if sum(tally.kills.values()) < most:
                corpus.wait(attempt, source)
                if attempt.running:
                    killed, stage = source.choice(WHO), attempt.stage
                    children = attempt.kill(killed, source)
            said = attempt.end()
        tally.peak_mb = max(tally.peak_mb, attempt.peak_mb)
        if attempt.process.returncode == 0:
            break
        _require(killed, f"ended with {attempt.process.returncode} without having been killed: {said}")
        if killed == "worker":
            right = "worker process ended" in said and attempt.process.returncode == 1
            _require(right, f"a killed worker ended with {attempt.process.returncode}: {said}")
        tally.kills[killed] += 1
        tally.stages[stage] += 1
        deadline = time.monotonic() + ORPHAN_SECONDS
        while orphans := _alive(children):
            _require(time.monotonic() < deadline, f"orphans after the {killed} was killed: {orphans}")
            time.sleep(0.05)
        released = (output / "manifest.json").exists()  # then the staging area may have gone
        now = _records(staging)
        _require(released or finished.items() <= now.items(), "finished work was done again")
        finished = {} if released else now
    if finished:
        words = f"reused from an earlier attempt: {len(finished)} of "
        _require(words in said, f"{len(finished)} tasks were finished, but the summary is: {said}")
        tally.reused += len(finished)
    if keep:
        _require(finished.items() <= _records(staging).items(), "finished work was done again")
        with corpus.attempt(output, folder) as attempt:  # finds the release, and clears the staging area
            said = attempt.end()
        _require(attempt.process.returncode == 0 and "holds this release already" in said, said)
    _require(not staging.exists(), "the staging area is left")
    _require(digests(output) == corpus.wanted, "other bytes than those of an undisturbed build")
    _require_clean(folder, [folder])
    return tally


def kill_many(times: int, seed: int, workers: int = 2, rows: int = 1500, at_once: int = 2, loud: bool = False) -> Tally:
    """Kills builds `times` times in all, `at_once` builds at a time. Raises KillError with the case at the first that
    does not end well, or if a job took more memory than it should."""
    total, lock, numbers = Tally(), threading.Lock(), itertools.count()
    left = times

    def shares() -> Iterator[int]:
        """How often each further build may be killed."""
        nonlocal left
        while True:
            with lock:
                share = min(MOST_KILLS, left)
                left -= share
            if not share:
                return
            yield share

    def work() -> None:
        nonlocal left
        for share in shares():
            with lock:
                number = next(numbers)
            try:
                tally = one_build(corpus, folder / f"{number}", random.Random(f"{seed}/{number}"), share)
            except KillError as error:
                raise KillError(f"seed {seed}, build {number}: {error}") from error
            with lock:
                left += share - sum(tally.kills.values())
                total.add(tally)
                if loud:
                    print(f"{sum(total.kills.values())} kills, {total.builds} builds", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="mk-") as name, ThreadPoolExecutor(at_once) as pool:
        folder = Path(name)
        corpus = Corpus(folder, rows, workers)
        for done in [pool.submit(work) for _ in range(at_once)]:
            done.result()
    limit = TREE_MB + workers * WORKER_MB
    _require(total.peak_mb < limit, f"a job took {total.peak_mb:.0f} MB of memory, more than {limit:.0f}")
    return total


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--at-once", type=int, default=2, help="builds at a time")
    arguments = parser.parse_args()
    start = time.monotonic()
    tally = kill_many(**vars(arguments), loud=True)
    print(f"{sum(tally.kills.values())} kills in {tally.builds} builds, {time.monotonic() - start:.0f} s")
    print("killed:   " + ", ".join(f"{who} {tally.kills[who]}" for who in WHO))
    print("in stage: " + ", ".join(f"{stage} {tally.stages[stage]}" for stage in STAGES))
    print("the same bytes each time, each row once, nothing left, no orphans")
    print(f"{tally.reused} finished tasks reused, none of them done again")
    print(f"at most {tally.peak_mb:.0f} MB of memory in all processes of a job")


if __name__ == "__main__":
    main()
