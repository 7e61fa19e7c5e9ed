"""The folder for the temporary files of this process and its workers, so that whatever a kill leaves can be found."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing.util
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator

from transforms import progress

_NAME = re.compile(r"malmungchi-[0-9a-f]{8}")


@functools.cache
def folder() -> str:
    """Its path, which is known before it is made: the job's lock holds it, for those who clean up after us."""
    return os.path.join(tempfile.gettempdir(), f"malmungchi-{uuid.uuid4().hex[:8]}")


@contextlib.contextmanager
def used() -> Iterator[None]:
    """Makes the folder, and turns all temporary files of this process and of its children to it.

    It stays until the process ends, since multiprocessing keeps its sockets there.
    """
    path = folder()
    if not os.path.isdir(path):
        os.makedirs(path)
        # After multiprocessing has removed its own folder in there, which it does at -100 and insists on.
        multiprocessing.util.Finalize(None, remove, exitpriority=-200)
    reports = os.path.join(path, "progress")
    shutil.rmtree(reports, ignore_errors=True)
    os.makedirs(reports)
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    tempfile.tempdir = os.environ["TMPDIR"] = path
    os.environ[progress.FOLDER] = reports
    try:
        yield
    finally:
        del os.environ[progress.FOLDER], os.environ["TMPDIR"]
        if before[0] is not None:
            os.environ["TMPDIR"] = before[0]
        tempfile.tempdir = before[1]


def remove() -> None:
    """Removes this process's folder."""
    shutil.rmtree(folder(), ignore_errors=True)


def sweep(path: str) -> None:
    """Removes the folder of a process that is dead."""
    if _NAME.fullmatch(os.path.basename(path)):
        shutil.rmtree(path, ignore_errors=True)
