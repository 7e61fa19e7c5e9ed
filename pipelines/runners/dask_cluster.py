"""A Dask cluster: reached, asked what its workers are and see, and watched while they run a pipeline."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import distributed
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dask.dask_runner import DaskOptions
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState

from malmungchi.pipelines.runners.base import KEPT, ClusterError, RunnerError, partitions
from malmungchi.pipelines.runners.dask_core import translate
from malmungchi.pipelines.runners.versions import versions
from malmungchi.transforms.io import storage

# How long a cluster may be without a single worker: one that is started again takes a few seconds to come back.
LONELY_SECONDS = 10.0
_CONNECT_SECONDS = 5
_POLL_SECONDS = 1.0
# For so long no worker may work on a task before the scheduler is made to look at its queue.
_IDLE_SECONDS = 3.0

_DASK = ("dask", "distributed")


@contextlib.contextmanager
def connected(options: PipelineOptions) -> Iterator[distributed.Client]:
    """A client of the cluster that Beam's options name. Raises RunnerError if it does not answer."""
    for logger in [*logging.root.manager.loggerDict]:
        if logger.partition(".")[0] in ("distributed", "asyncio"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)  # what goes wrong is said once, by us
    known = options.view_as(DaskOptions)
    where = known.address or known.scheduler_file
    try:
        client = distributed.Client(
            address=known.address,
            scheduler_file=known.scheduler_file,
            timeout=known.timeout or _CONNECT_SECONDS,
            name=known.name or "malmungchi",
            connection_limit=known.connection_limit,
            set_as_default=False,
        )
    except (OSError, ValueError, TimeoutError) as error:
        raise RunnerError(f"no Dask scheduler answers at {where}: check the address, and that it runs") from error
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):  # of a cluster that is gone
            client.close(timeout=_CONNECT_SECONDS)


# ---- what workers are and see


def stat(paths: Sequence[str]) -> list[tuple[int, int] | None]:
    """What tells whether two machines see the same file under a path."""
    found: list[tuple[int, int] | None] = []
    for path in paths:
        try:
            info = os.stat(path)
            found.append((info.st_ino, info.st_ctime_ns))
        except OSError:
            found.append(None)
    return found


def look(paths: Sequence[str]) -> tuple[dict[str, str], list[tuple[int, int] | None]]:
    """Called on each worker: its versions, and what it sees under some paths."""
    return versions(_DASK), stat(paths)


def ask(client: distributed.Client, paths: Sequence[str]) -> dict[str, Any]:
    """What each worker says to `look`, by its address. Raises RunnerError if one lacks this package."""
    answers = client.run(look, paths, on_error="return")
    if not answers:
        raise RunnerError("the Dask cluster has no workers: start some, in an environment with this package")
    for worker, answer in answers.items():
        if lacks := re.search(r"No module named '([\w.]+)", str(answer)) if isinstance(answer, Exception) else None:
            raise RunnerError(
                f"the Dask worker {worker} lacks the module {lacks[1]}: install the wheel of malmungchi "
                f"{importlib.metadata.version('malmungchi')} in its environment, with malmungchi[dask]"
            )
        if isinstance(answer, Exception):
            raise RunnerError(f"the Dask worker {worker} cannot be asked: {type(answer).__name__}: {answer}")
    return dict(sorted(answers.items()))


def check(arguments: Sequence[str], places: Sequence[tuple[str, str]]) -> None:
    """Refuses a job when a worker has other versions, or does not see one of `places`: (flag, local path). Raises
    RunnerError."""
    here = [_existing(storage.resolve(path)[1]) for _, path in places]
    before = stat(here)
    with connected(PipelineOptions(list(arguments))) as client:
        seen = ask(client, here)
        ours, after = look(here)
    for worker, (theirs, paths) in seen.items():
        for package, version in ours.items():
            if theirs[package] != version:
                raise RunnerError(
                    f"the Dask worker {worker} has {package} {theirs[package]}, the launcher {version}: "
                    "install the same versions on both"
                )
        for (flag, path), found, *ours_then in zip(places, paths, before, after, strict=True):
            if not _is_the_same(found, *ours_then):
                raise RunnerError(
                    f"{flag} {path} is a path of this machine, which the Dask worker {worker} does not see: name an "
                    "object store (s3://, gs://, hdfs://), or a folder that all workers mount"
                )


def _is_the_same(found: tuple[int, int] | None, before: tuple[int, int] | None, after: tuple[int, int] | None) -> bool:
    """Whether a worker sees what we see; a folder in which somebody is at work changes meanwhile."""
    if before == after or None in (found, before, after):
        return found == after
    return found is not None and after is not None and found[0] == after[0]


def _existing(path: str) -> str:
    """The path, or what is there of the folders above it."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


# ---- a pipeline


class CoreRunner(PipelineRunner):
    """Runs a pipeline to its end on the Dask cluster that the options name.

    Raises RunnerError for a pipeline outside the portable core, ClusterError when the cluster or all of its workers
    are gone, and what the pipeline raises.
    """

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        with connected(options) as client:
            threads = sum(client.nthreads().values())
            leaves = translate(pipeline, options.view_as(DaskOptions).npartitions or partitions(threads))
            futures = client.compute([leaf.count() for leaf in leaves])
            try:
                _wait(client, futures)
            finally:
                with contextlib.suppress(Exception):  # of a cluster that is gone
                    client.cancel(futures, force=True)
        return PipelineResult(PipelineState.DONE)


class _Watch:
    """What the workers do while a pipeline runs, as they say it themselves, about once a second."""

    def __init__(self, client: distributed.Client) -> None:
        self._client = client
        self._lonely: float | None = None  # since when no worker is there
        self._idle: float | None = None  # since when none works on a task

    def look(self) -> None:
        """Raises ClusterError when all workers are gone or paused."""
        try:
            workers = list(self._client.scheduler_info(n_workers=-1)["workers"].values())
        except (OSError, TimeoutError):
            return  # the next round finds out whether the scheduler is gone
        now = time.monotonic()
        if not any(worker["status"] == "running" for worker in workers):
            self._lonely = self._lonely or now
            if now - self._lonely > LONELY_SECONDS:
                raise ClusterError(_PAUSED if workers else f"all workers of the Dask cluster are gone. {KEPT}")
            return
        self._lonely = None
        if any(worker["metrics"]["task_counts"].get("executing") for worker in workers):
            self._idle = None
            return
        self._idle = self._idle or now
        if now - self._idle > _IDLE_SECONDS:
            self._idle = now
            self._nudge()

    def _nudge(self) -> None:
        """Makes the scheduler look at its queue, as it does when a client lets go of something.

        When a worker is lost while all others wait for what it held, Dask (2026.8 too) puts what must be done again in
        the queue, and looks at that only when a task ends or a worker comes: for ever, if none does.
        """
        self._client.submit(int, pure=False).release()


_PAUSED = (
    "Dask has paused all workers, since they have used up the memory that it allows them: start them with "
    f"--memory-limit 0, or with a limit of 2 GB for each thread. {KEPT}"
)


def _wait(client: distributed.Client, futures: list[Any]) -> None:
    """Waits until all is done. Raises ClusterError, or what a task raised."""
    watch = _Watch(client)
    some_done = threading.Event()
    for future in futures:
        future.add_done_callback(lambda _: some_done.set())
    while True:
        some_done.wait(_POLL_SECONDS)
        some_done.clear()
        if client.status != "running" or any(future.cancelled() for future in futures):
            raise ClusterError(f"the Dask scheduler is gone. {KEPT}")
        for future in futures:
            if future.status == "error":
                error = future.exception()
                if isinstance(error, distributed.KilledWorker):
                    raise ClusterError(
                        f"the same task has killed {error.allowed_failures + 1} workers, probably for lack of memory: "
                        "give each 1 GB for every thread, 2 GB for jobs above 32 GB (dask worker --nthreads 1). " + KEPT
                    )
                raise error
        if all(future.done() for future in futures):
            return
        watch.look()
