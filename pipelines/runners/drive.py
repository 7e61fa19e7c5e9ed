"""The one place that chooses and drives a Beam runner.

`DirectRunner` as such may download another runner in silence; asking for it means the pinned one here: Beam's
FnApiRunner, in this process for small inputs, otherwise with worker processes of its own.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineRunner

from malmungchi.pipelines.process import forkserver, signals, worker
from malmungchi.pipelines.runners import engines
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.transforms.exchange.segments import DamagedError, damaged
from malmungchi.transforms.io import progress
from malmungchi.transforms.io.private import TRACEBACK, unexpected

T = TypeVar("T", bound=PipelineOptions)

_POLL_SECONDS = 0.2
_LOOK_SECONDS = 5.0
# Of a core: Beam's own threads in an idle worker take 0.006.
_IDLE_SHARE = 0.02


class WorkerDiedError(MalmungchiError):
    """A worker process ended before its work did, or does nothing any more."""


class StageError(MalmungchiError):
    """A stage failed; the message is that of the cause."""


def run(
    build: Callable[[beam.Pipeline], Any],
    arguments: Sequence[str] = (),
    workers: int = 0,
    stall_seconds: float = 0,
) -> None:
    """Builds a pipeline and runs it to its end, on `workers` local processes (0: in this one) or another runner.

    Raises StageError with the cause when the pipeline fails, DamagedError when that is a damaged staged file, and
    WorkerDiedError within seconds when a local worker is killed (Beam itself would wait for ever), or when none of
    them has done anything for `stall_seconds` (0: never); ClusterError when a cluster is gone.
    """
    options = _Options(list(arguments))
    engine = engines.name(arguments)
    if engine != engines.LOCAL:
        pipeline = beam.Pipeline(runner=_runner(engine), options=options)
        build(pipeline)
        with _causes(), _elsewhere():
            result = pipeline.run()
            try:
                result.wait_until_finish()
            except KeyboardInterrupt:
                result.cancel()
                raise
        return
    if workers:
        forkserver.prepare()
        options.view_as(DirectOptions).direct_num_workers = workers
    provision = fn_runner.ExtendedProvisionInfo(
        beam_provision_api_pb2.ProvisionInfo(
            pipeline_options=JobServiceHandle.encode_pipeline_options(options.get_all_options())
        )
    )
    environment = worker.LocalProcessEnvironment() if workers else None
    # It warns that several workers want another running mode; that mode would start Beam's own worker command.
    logging.getLogger(fn_runner.__name__).setLevel(logging.ERROR)
    runner = fn_runner.FnApiRunner(default_environment=environment, provision_info=provision)
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline)
    if workers:
        _watched(pipeline, stall_seconds)
    else:
        with _causes():
            pipeline.run()


class _Options(PipelineOptions):
    """Beam asks for the same views of its options at each transform, and makes an argument parser for each."""

    def view_as(self, cls: type[T]) -> T:
        """The view that was given before, if there was one: all share their values."""
        views = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]


def _runner(engine: str) -> PipelineRunner | None:
    """The runner of an engine that is not to be Beam's own."""
    if engine != "dask":
        return None
    from malmungchi.pipelines.runners.dask_core import CoreRunner

    return CoreRunner()


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """What is said when a job server is gone. Beam's threads that wait for its answers would each print a traceback."""
    before, threading.excepthook = threading.excepthook, lambda _: None
    try:
        yield
    except grpc.RpcError as error:  # the threads may notice it later than we do
        raise engines.ClusterError(
            f"the job server does not answer any more ({error.code().name}); its log, and that of the worker pool, "
            f"say more. {engines.KEPT}"
        ) from error
    threading.excepthook = before


@contextlib.contextmanager
def _causes() -> Iterator[None]:
    """Beam's errors are tracebacks of several processes; what a user needs is their cause, in one line."""
    try:
        yield
    except Exception as error:
        signals.check()
        raise explain(error) from error


def explain(error: Exception) -> DamagedError | StageError:
    """The error that says what failed in the end, without any text of a document."""
    return damaged(str(error)) or StageError(_cause(error))


# Where our files are, here; elsewhere they are in other places, with the same names below.
_ROOT = Path(__file__).parents[2]
_FRAME = re.compile(
    r' +File ".*?(?<!apache_beam/)(?P<file>(?:transforms|pipelines|schemas)/[\w/]+\.py)", line (?P<line>\d+)'
)
_RAISED = re.compile(r"(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$")
_STEP = re.compile(r" \[while running '.*?'\]")
_LACKS = re.compile(r"\bModuleNotFoundError: No module named '([\w.]+)")


def _cause(error: BaseException) -> str:
    """What failed in the end, as the text of a traceback tells it.

    Only messages of our own errors and of the operating system are shown: any other may quote a document.
    """
    text = str(error) if "Traceback" in str(error) else "".join(traceback.format_exception(error, chain=False))
    if os.environ.get(TRACEBACK):
        return text
    if lacks := _LACKS.search(text):
        return (
            f"no module named '{lacks[1]}' where the workers run: install the wheel of malmungchi "
            f"{version('malmungchi')} there, with the extras that this job needs"
        )
    kind = message = place = ""
    inside = True
    for line in text.splitlines():
        if (frame := _FRAME.match(line)) and (_ROOT / frame["file"]).is_file():
            place = f"{frame['file']}:{frame['line']}"
        # The line after the frames names the error; what follows it may be the rest of a longer message.
        if inside and not line.startswith(" ") and (raised := _RAISED.match(line)):
            kind, message = raised["kind"], raised["message"] or ""
        inside = line.startswith(" ")
    message = _STEP.sub("", message)  # Beam puts it behind the first argument of an error, which may have more
    if _is_ours(kind):
        return message
    known = getattr(builtins, kind, None)
    if isinstance(known, type) and issubclass(known, OSError):
        return f"{message}. What is finished is kept: start the same command again to go on"
    name = kind if isinstance(known, type) or kind.startswith(("pyarrow.", "numpy.")) else "error"
    return unexpected(name, place)


def _is_ours(kind: str) -> bool:
    """Whether an error is ours, of which a traceback tells only the name: the class of that name says it.

    Nothing is imported to find it, since the name may be anybody's.
    """
    module, _, name = kind.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(found, MalmungchiError)


class _Stall:
    """Notices that the workers have done nothing for a while: no report of progress, and next to no CPU time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._looked = self._moved = time.monotonic()
        self._cpu: dict[int, float] = {}
        self._reports = 0

    def check(self) -> None:
        """Raises WorkerDiedError."""
        now = time.monotonic()
        if not self._seconds or now - self._looked < min(_LOOK_SECONDS, self._seconds / 4):
            return
        self._looked = now
        cpu, reports = worker.cpu_seconds(), progress.reported()
        busy = any(used - self._cpu.get(pid, 0.0) > _IDLE_SHARE * self._seconds for pid, used in cpu.items())
        if reports != self._reports or busy:
            self._moved, self._cpu, self._reports = now, cpu, reports
        if now - self._moved > self._seconds:
            raise WorkerDiedError(
                f"the worker processes have done nothing for {self._seconds:.0f} s (execution.stall_seconds), and were "
                "ended. What is finished is kept: start the same command again to go on"
            )


def _watched(pipeline: beam.Pipeline, stall_seconds: float) -> None:
    """Runs the pipeline in a thread, and watches the worker processes meanwhile."""
    outcome: list[BaseException | None] = []

    def drive() -> None:
        try:
            pipeline.run()
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=drive, name="pipeline", daemon=True)
    stall = _Stall(stall_seconds)
    worker.begin()
    try:
        thread.start()
        while not outcome:
            thread.join(_POLL_SECONDS)
            if outcome:
                break
            if codes := worker.dead():
                raise WorkerDiedError(
                    f"a worker process ended in the middle of its work (exit code {codes[0]}); it may have run out of "
                    "memory. What is finished is kept: start the same command again, with fewer --workers if memory "
                    "is short"
                )
            stall.check()
    finally:
        if not outcome or outcome[0] is not None:
            worker.kill()
    if outcome[0] is not None:
        with _causes():
            raise outcome[0]
