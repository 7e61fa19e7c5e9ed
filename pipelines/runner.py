"""The one place that chooses and drives a Beam runner.

`DirectRunner` as such may download another runner in silence; asking for it means the pinned one here: Beam's
FnApiRunner, in this process for small inputs, otherwise with worker processes of its own.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle

from pipelines import worker

LOCAL = ("DirectRunner", "FnApiRunner", "")

_POLL_SECONDS = 0.2


class WorkerDiedError(RuntimeError):
    """A worker process ended before its work did."""


class StageError(RuntimeError):
    """A stage failed; the message is that of the cause."""


def runner_name(arguments: Sequence[str]) -> str:
    """The runner asked for among Beam's arguments, empty if none."""
    return str(PipelineOptions(list(arguments)).get_all_options(drop_default=True).get("runner", ""))


def run(build: Callable[[beam.Pipeline], Any], arguments: Sequence[str] = (), workers: int = 0) -> None:
    """Builds a pipeline and runs it to its end, on `workers` local processes (0: in this one) or another runner.

    Raises StageError with the cause when the pipeline fails, and WorkerDiedError within seconds when a local worker
    is killed (Beam itself would wait for ever).
    """
    options = PipelineOptions(list(arguments))
    if runner_name(arguments) not in LOCAL:
        pipeline = beam.Pipeline(options=options)
        build(pipeline)
        pipeline.run().wait_until_finish()
        return
    if workers:
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
        _watched(pipeline)
    else:
        with _causes():
            pipeline.run()


@contextlib.contextmanager
def _causes() -> Iterator[None]:
    """Beam's errors are tracebacks of several processes; what a user needs is the last line."""
    try:
        yield
    except (StageError, WorkerDiedError):
        raise
    except Exception as error:
        raise StageError(_cause(error)) from error


def _cause(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line and not line.startswith((" ", "\t"))]
    lines = [line for line in lines if not line.startswith(("Traceback", "During handling", "The above"))]
    return lines[-1] if lines else f"{type(error).__name__}: {error}"


def _watched(pipeline: beam.Pipeline) -> None:
    """Runs the pipeline in a thread, and watches the worker processes meanwhile."""
    outcome: list[BaseException | None] = []

    def drive() -> None:
        try:
            pipeline.run()
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=drive, name="pipeline", daemon=True)
    try:
        thread.start()
        while not outcome:
            thread.join(_POLL_SECONDS)
            if not outcome and (codes := worker.dead()):
                raise WorkerDiedError(
                    f"a worker process ended in the middle of its work (exit code {codes[0]}); it may have run out of "
                    "memory. What is finished is kept: start the same command again, with fewer --workers if memory "
                    "is short"
                )
    finally:
        if not outcome:
            worker.kill()
    if outcome[0] is not None:
        with _causes():
            raise outcome[0]
