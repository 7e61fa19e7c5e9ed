"""The one place that runs a pipeline of Beam's, on whatever runner the arguments name."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from malmungchi.pipelines.runners import registry
from malmungchi.pipelines.runners.base import KEPT, ClusterError
from malmungchi.pipelines.runners.causes import explained

T = TypeVar("T", bound=PipelineOptions)


def run(
    build: Callable[[beam.Pipeline], Any],
    arguments: Sequence[str] = (),
    workers: int = 0,
    stall_seconds: float = 0,
) -> None:
    """Builds a pipeline and runs it to its end, on `workers` local processes (0: in this one) or another runner.

    Raises StageError with the cause when the pipeline fails, DamagedError when that is a damaged staged file, and
    WorkerDiedError within seconds when a local worker is killed, or when none of them has done anything for
    `stall_seconds` (0: never).
    """
    runner = registry.load(arguments)
    options = _Options(list(arguments))
    if workers and registry.is_local(arguments):
        options.view_as(DirectOptions).direct_num_workers = workers
    given = registry.options(arguments, workers, stall_seconds)
    pipeline = beam.Pipeline(runner=runner.beam(given), options=options)
    build(pipeline)
    with explained(), _job_server():
        result = pipeline.run()
        try:
            result.wait_until_finish()
        except KeyboardInterrupt:
            result.cancel()
            raise


class _Options(PipelineOptions):
    """Beam asks for the same views of its options at each transform, and makes an argument parser for each."""

    def view_as(self, cls: type[T]) -> T:
        """The view that was given before, if there was one: all share their values."""
        views = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]


@contextlib.contextmanager
def _job_server() -> Iterator[None]:
    """What is said when a job server is gone. Beam's threads that wait for its answers would each print a traceback."""
    before, threading.excepthook = threading.excepthook, lambda _: None
    try:
        yield
    except grpc.RpcError as error:  # the threads may notice it later than we do
        raise ClusterError(
            f"the job server no longer answers ({error.code().name}); its log, and that of the worker pool, "
            f"say more. {KEPT}"
        ) from error
    threading.excepthook = before
