"""build: the main job. refine, deduplicate and publish in a row, resumable at each work item."""

from __future__ import annotations

import contextlib

from malmungchi.pipelines.job import lock
from malmungchi.pipelines.job.job import Job
from malmungchi.pipelines.process import forkserver, signals, temporary
from malmungchi.pipelines.runners import registry
from malmungchi.schemas.release import Manifest
from malmungchi.transforms.formats.base import InputError
from malmungchi.transforms.io import storage


def build(job: Job, restart: bool = False, until: str = "publish") -> Manifest | None:
    """Runs a job to its end, or as far as a stage; the manifest, once there is one.

    Raises InputError, OutputError, LockedError, StorageError, StageError, WorkerDiedError, IncompleteError,
    CountError and DamagedError, after each of which the same call goes on with what is finished; and Stopped.
    """
    if not job.plan.files:
        raise InputError("no input")
    done = job.place.examine(restart)
    if done is not None and job.place.is_clear():
        job.display.say(job.already())
        return done
    held = lock.Lock(job.place.homes, job.display.say)
    try:
        with held, temporary.used():
            return _run(job, restart, until)
    except KeyboardInterrupt as error:
        if held.lost:
            raise lock.LockedError("another job has taken over this output, so this one has stopped") from None
        if isinstance(error, signals.Stopped):
            with contextlib.suppress(OSError, storage.StorageError), storage.hurried(job.staging):
                error.kept = f"finished tasks are kept ({job.finished()})"
        raise


def _run(job: Job, restart: bool, until: str) -> Manifest | None:
    """Runs a job of which the locks are held."""
    if job.workers and registry.is_local(job.arguments):
        forkserver.prepare()
    manifest = job.place.examine(restart)  # what was seen before may have changed until the locks were held
    if manifest is not None:
        job.display.say(job.already())
    else:
        job.begin(restart)
        try:
            manifest = job.stages(until)
        except BaseException:
            if registry.is_local(job.arguments):  # then no worker is alive any more
                with contextlib.suppress(OSError):
                    job.place.sweep()
            raise
    if manifest is not None:
        job.place.sweep()  # workers on a cluster may have been killed without our knowing
        job.place.end()
    return manifest
