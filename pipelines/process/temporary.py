"""The folder for the temporary files of this process and its workers. Its name says whose it is, so that whatever a
kill leaves is found, and removed, by the next job on this machine, before its next boot."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import multiprocessing.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterator

import psutil

from malmungchi.pipelines.process import identity
from malmungchi.transforms.io import progress


def _digest(*words: object) -> str:
    return hashlib.sha256("/".join(map(str, words)).encode()).hexdigest()


@functools.cache
def _ours() -> str:
    """How the names of all folders of this machine begin. They are short, since those of sockets below must be."""
    return f"malm-{_digest(identity.host())[:6]}"


def _name(pid: int) -> str:
    """The name of a process's folder; one that no folder has if it is dead."""
    return f"{_ours()}{_digest(pid, identity.birth(pid))[:8]}"


@functools.cache
def folder() -> str:
    """The path of this process's folder."""
    return os.path.join(tempfile.gettempdir(), _name(os.getpid()))


@contextlib.contextmanager
def used() -> Iterator[None]:
    """Makes the folder, and turns all temporary files of this process and of its children to it.

    It stays until the process ends, since multiprocessing keeps its sockets there. May be used within itself.
    Compiled kernels are not among them: where they go is settled before. Raises OSError if they can go nowhere.
    """
    path = folder()
    if tempfile.tempdir == path:
        yield
        return
    from malmungchi.transforms.kernels import cache  # it may raise, which nobody would catch at the top

    cache.settle()
    if not os.path.isdir(path):
        _sweep(os.path.dirname(path))
        os.makedirs(path)
        # After multiprocessing has removed its own folder in there, which it does at -100 and insists on.
        multiprocessing.util.Finalize(None, remove, exitpriority=-200)
    reports = os.path.join(path, "progress")
    shutil.rmtree(reports, ignore_errors=True)
    os.makedirs(reports)
    new = {"TMPDIR": path, progress.FOLDER: reports}
    before = {name: os.environ.get(name) for name in new}, tempfile.tempdir
    os.environ.update(new)
    tempfile.tempdir = path
    try:
        yield
    finally:
        for name, value in before[0].items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        tempfile.tempdir = before[1]


def remove() -> None:
    """Removes this process's folder."""
    shutil.rmtree(folder(), ignore_errors=True)


def _sweep(place: str) -> None:
    """Removes the folders of processes of this machine that are dead."""
    with contextlib.suppress(OSError):
        found = [name for name in os.listdir(place) if re.fullmatch(_ours() + "[0-9a-f]{8}", name)]
        living = {_name(pid) for pid in psutil.pids()} if found else set()
        for name in set(found) - living:
            shutil.rmtree(os.path.join(place, name), ignore_errors=True)
