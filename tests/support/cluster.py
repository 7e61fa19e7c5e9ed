"""Clusters for tests: Dask's scheduler and workers, and Prism with a worker pool, in another environment than ours."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.support import ROOT
from tests.support.elsewhere import Environment, answers, closing, find_program, free_port, kill, until


class Cluster:
    """Scheduler and workers of an environment, each with its log in `folder`."""

    def __init__(self, place: Environment, folder: Path, port: int) -> None:
        self._place, self._folder = place, folder
        self.port = port
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.address = ""

    def start(self, host: str = "127.0.0.1", prefix: Sequence[str] = (), more: dict[str, str] | None = None) -> None:
        """Starts the scheduler."""
        self.address = f"tcp://{host}:{self.port}"
        command = ("-m", "dask", "scheduler", "--host", host, "--port", self.port, "--no-dashboard", "--no-jupyter")
        log = self._folder / "scheduler.log"
        self.scheduler = self._place.start(*command, log=log, prefix=prefix, more=more)
        until(lambda: "Scheduler at" in log.read_text())

    def add(
        self, host: str = "127.0.0.1", prefix: Sequence[str] = (), threads: int = 1, wait: bool = True,
        more: dict[str, str] | None = None,
    ) -> int:  # fmt: skip
        """Starts one more worker; its number."""
        number = len(self.workers)
        log = self._folder / f"worker-{number}.log"
        process = self._place.start(
            "-m", "dask", "worker", self.address, "--host", host, "--nthreads", threads, "--no-dashboard", "--no-nanny",
            "--local-directory", self._folder / f"worker-{number}", log=log, prefix=prefix, more=more,
        )  # fmt: skip
        self.workers.append(process)
        if wait:
            until(lambda: "Registered to" in log.read_text())
        return number

    def kill(self, number: int) -> None:
        """kill -9."""
        assert self.workers[number].poll() is None, "this worker had ended before it was killed"
        kill(self.workers[number])

    def replace(
        self, number: int, host: str = "127.0.0.1", prefix: Sequence[str] = (), more: dict[str, str] | None = None
    ) -> None:
        """kill -9, and one more worker, which is not waited for."""
        self.kill(number)
        self.add(host, prefix, wait=False, more=more)

    def close(self) -> None:
        """Ends all of it."""
        for process in (*self.workers, *([self.scheduler] if self.scheduler else [])):
            kill(process)


@contextlib.contextmanager
def prism(place: Environment) -> Iterator[tuple[int, int]]:
    """The job server; its port, and its process."""
    port, web = free_port(), free_port()
    command = [find_program("prism"), "-job_port", str(port), "-web_port", str(web)]
    with (place.away / "prism.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    with closing(process):
        until(lambda: answers(port))
        yield port, process.pid


@contextlib.contextmanager
def worker_pool(place: Environment) -> Iterator[int]:
    """A worker pool of an environment; its port."""
    port = free_port()
    command = ("-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}")
    process = place.start(*command, log=place.away / "pool.log")
    with closing(process):
        until(lambda: answers(port))
        yield port


def launch(*arguments: object, env: dict[str, str] | None = None, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Starts the command line of the checkout."""
    command = [*prefix, sys.executable, "-m", "malmungchi", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip


def ended(job: subprocess.Popen[str], seconds: float = 240) -> str:
    """What a job said, once it has come to a good end."""
    _, said = job.communicate(timeout=seconds)
    assert job.returncode == 0, said[-3000:]
    return said


def work(staging: Path) -> Path:
    """The folder of a job's intermediate files in its staging area, or one that is not there if it has not begun."""
    return next(staging.glob("*/"), staging / "none")


def records(staging: Path, *stages: str) -> int:
    """Finished tasks of some stages."""
    return sum(len(list((work(staging) / stage).glob("*.json"))) for stage in stages)


def in_each_stage(job: subprocess.Popen[str], staging: Path, strikes: Sequence[Callable[[], object]]) -> None:
    """Strikes in the middle of refine, of deduplicate and of publish: when something, but not all, is done there."""
    middle: tuple[Callable[[], bool], ...] = (
        lambda: records(staging, "refine") >= 4,
        lambda: records(staging, "candidates", "exact") >= 1,
        lambda: records(staging, "publish") >= 1,
    )
    after = (("candidates", "exact"), ("publish",), ())
    for begun, strike, later in zip(middle, strikes, after, strict=True):
        end = time.monotonic() + 120
        while not begun():
            assert job.poll() is None, f"the job has ended before its time: {job.communicate()[1][-3000:]}"
            assert time.monotonic() < end, "nothing happens"
            time.sleep(0.005)
        assert not records(staging, *later), "too late: the next stage has begun"
        strike()
        assert job.poll() is None
