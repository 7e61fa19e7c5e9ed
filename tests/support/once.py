"""What all processes of one run of the tests share: locks, and folders that are made once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


def _shared(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # each worker has a folder of its own in it


@contextlib.contextmanager
def locked(factory: pytest.TempPathFactory, name: str) -> Iterator[None]:
    """One process of the run at a time; a lock ends with its process, however that ends."""
    with (_shared(factory) / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def made_once(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder of the whole run, and whether it is still to be filled: by the first to come, for whom others wait."""
    folder, whole = _shared(factory) / name, _shared(factory) / f"{name}.whole"
    with locked(factory, name):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            folder.mkdir()
        yield folder, not whole.exists()
        whole.touch()
