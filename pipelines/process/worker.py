"""Local worker processes, known to the launcher by their exit codes."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import threading
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

import psutil
from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler
from apache_beam.transforms import environments
from google.protobuf import json_format, text_format

from malmungchi.pipelines.process import forkserver, signals
from malmungchi.transforms.io import progress

_URN = "malmungchi:environment:local_process:v1"

_STOP_SECONDS = 5.0

# The workers of this launcher's current pipeline. While the lock is held, none starts and none is killed.
running: list[BaseProcess] = []
_lock = threading.Lock()
_killed = threading.Event()
_asking = threading.Lock()


def _work(control: str, worker_id: str, options: str, progress_folder: str) -> None:
    """What a worker process does: Beam's worker loop."""
    signals.die_with_parent()  # whoever kills the launcher ends its fork server, and with it the workers
    launcher = multiprocessing.parent_process()
    if launcher is not None and not launcher.is_alive():
        return  # it was killed just before
    signals.ignore()  # the launcher decides when a job stops
    if progress_folder:
        os.environ[progress.FOLDER] = progress_folder
    from malmungchi.pipelines.process.logs import hide_tracebacks, quiet

    quiet()
    hide_tracebacks()
    logging.disable(logging.INFO)  # Beam would log all options of the pipeline
    from apache_beam.runners.worker import sdk_worker_main

    from malmungchi.pipelines.process.memory import keep_heap

    keep_heap()

    harness = sdk_worker_main.create_harness(
        {"CONTROL_API_SERVICE_DESCRIPTOR": control, "WORKER_ID": worker_id, "PIPELINE_OPTIONS": options}
    )[1]
    harness.run()


class LocalProcessEnvironment(environments.Environment):
    """A Beam environment that stands for workers of this module."""

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        """The URN, and nothing to say beside it."""
        return _URN, b""

    @staticmethod
    def from_runner_api_parameter(payload: bytes, capabilities: Any, artifacts: Any, resource_hints: Any,
                                  context: Any) -> LocalProcessEnvironment:  # fmt: skip
        """The inverse."""
        return LocalProcessEnvironment(capabilities, artifacts, resource_hints)


environments.Environment.register_urn(_URN, bytes, LocalProcessEnvironment.from_runner_api_parameter)


class _Handler(GrpcWorkerHandler):
    """Starts and stops one worker process for Beam's FnApiRunner."""

    def __init__(self, payload: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._provision_info = provision_info

    def start_worker(self) -> None:
        from apache_beam.portability.api import endpoints_pb2

        control = text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=self.control_address))
        options = json_format.MessageToJson(self._provision_info.provision_info.pipeline_options)
        folder = os.environ.get(progress.FOLDER, "")
        self._process = forkserver.CONTEXT.Process(
            target=_work, args=(control, self.worker_id, options, folder), daemon=True
        )
        with _lock:
            if _killed.is_set():  # Beam, in its own thread, does not know: nobody would end this worker
                raise RuntimeError("the workers of this pipeline have been stopped")
            self._process.start()
            running.append(self._process)

    def stop_worker(self) -> None:
        if exit_code(self._process, _STOP_SECONDS) is None:
            self._process.kill()
        with contextlib.suppress(ValueError):  # killed meanwhile
            running.remove(self._process)


WorkerHandler.register_environment(_URN, bytes)(_Handler)


def exit_code(process: BaseProcess, seconds: float = 0) -> int | None:
    """That of a worker which ends within so many seconds, else None.

    It can be read once. Two threads that asked at the same time would both see that it is there, and the one that
    found it gone would take that for a failure.
    """
    connection.wait([process.sentinel], seconds)
    with _asking:
        return process.exitcode


def dead() -> list[int]:
    """Exit codes of workers that ended in the middle of their work."""
    return [code for process in list(running) if (code := exit_code(process))]


def cpu_seconds() -> dict[int, float]:
    """CPU time that each worker has used so far, by its process."""
    used: dict[int, float] = {}
    for process in list(running):
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(process.pid).cpu_times()
            used[process.pid or 0] = times.user + times.system
    return used


def begin() -> None:
    """Allows workers to be started, for a new pipeline."""
    _killed.clear()


def kill() -> None:
    """Ends all workers at once, and lets none be started any more. Beam's threads that lose theirs would each print a
    traceback."""
    threading.excepthook = lambda _: None
    with _lock:
        _killed.set()
        for process in running:
            process.kill()
        for process in running:
            exit_code(process, _STOP_SECONDS)
        running.clear()
