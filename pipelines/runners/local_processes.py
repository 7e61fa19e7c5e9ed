"""Beam's FnApiRunner with worker processes of ours, and an eye on them: it would wait for ever for one that is dead."""

from __future__ import annotations

import logging
import threading
import time

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineResult

from malmungchi.pipelines.process import forkserver, worker
from malmungchi.pipelines.runners.base import Options
from malmungchi.pipelines.runners.causes import WorkerDiedError
from malmungchi.transforms.io import progress

_POLL_SECONDS = 0.2
_LOOK_SECONDS = 5.0
# Of a core: Beam's own threads in an idle worker take 0.006.
_IDLE_SHARE = 0.02


class WatchedRunner(fn_runner.FnApiRunner):
    """Runs a pipeline on worker processes of this machine, or in this process where there are to be none.

    Raises WorkerDiedError within seconds when a worker is killed, or when none of them has done anything for the
    seconds that the options say; and what the pipeline raises.
    """

    def __init__(self, given: Options) -> None:
        self._processes, self._stall_seconds = given.processes, given.stall_seconds
        options = PipelineOptions(list(given.arguments), direct_num_workers=max(1, given.processes))
        provision = fn_runner.ExtendedProvisionInfo(
            beam_provision_api_pb2.ProvisionInfo(
                pipeline_options=JobServiceHandle.encode_pipeline_options(options.get_all_options())
            )
        )
        environment = None
        if given.processes:
            forkserver.prepare()
            environment = worker.LocalProcessEnvironment()
        # It warns that several workers want another running mode; that mode would start Beam's own worker command.
        logging.getLogger(fn_runner.__name__).setLevel(logging.ERROR)
        super().__init__(default_environment=environment, provision_info=provision)

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        """Runs it in a thread, and watches the worker processes meanwhile."""
        if not self._processes:
            return super().run_pipeline(pipeline, options)
        outcome: list[PipelineResult | BaseException] = []

        def drive() -> None:
            try:
                outcome.append(super(WatchedRunner, self).run_pipeline(pipeline, options))
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=drive, name="pipeline", daemon=True)
        stall = _Stall(self._stall_seconds)
        worker.begin()
        try:
            thread.start()
            while not outcome:
                thread.join(_POLL_SECONDS)
                if outcome:
                    break
                if codes := worker.dead():
                    raise WorkerDiedError(
                        f"a worker process ended in the middle of its work (exit code {codes[0]}); it may have run out "
                        "of memory. What is finished is kept: run the same command again, with fewer --workers if "
                        "memory is short"
                    )
                stall.check()
        finally:
            if not outcome or isinstance(outcome[0], BaseException):
                worker.kill()
        (found,) = outcome
        if isinstance(found, BaseException):
            raise found
        return found


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
                "ended. What is finished is kept: run the same command again to resume"
            )
