"""The process that local workers are forked from: it has everything loaded.

Forking needs a parent without threads, which Beam's launcher is not. Where there is no fork server (Windows), each
worker starts from nothing, and takes seconds.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
from multiprocessing import forkserver
from typing import Any

import psutil

_FORKS = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT: Any = multiprocessing.get_context("forkserver" if _FORKS else "spawn")

# Below this much input, the start of worker processes costs more than they save.
IN_PROCESS_BYTES = 24 << 20

# Of that process's environment: nobody wants to read what it says.
QUIET = "MALMUNGCHI_QUIET"

_END_SECONDS = 5.0


def prepare(quiet: bool = False) -> None:
    """Starts that process, once. It loads what workers need while the launcher goes on: the sooner, the better. Unless
    `quiet`, it says so on stderr if it has to compile kernels.

    Raises OSError where the folder for temporary files has so long a name that no socket can be in it.
    """
    if _FORKS:
        CONTEXT.set_forkserver_preload(["malmungchi.pipelines.process.preloaded"])
        os.environ.update({QUIET: "1"} if quiet else {})
        try:
            forkserver.ensure_running()
        except OSError as error:
            if "too long" not in str(error):
                raise
            where = os.path.dirname(tempfile.gettempdir())
            raise OSError(
                f"{where}: too long a name for sockets below it; set TMPDIR to a folder with a short one"
            ) from None
        finally:
            os.environ.pop(QUIET, None)


def end() -> None:
    """Ends that process, which may be loading still, before the folder of its temporary files is removed."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any(forkserver.__name__ in word for word in child.cmdline()):
                child.kill()
                until = time.monotonic() + _END_SECONDS
                # It is not waited for: multiprocessing does that when it starts another one.
                while child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
                    time.sleep(0.001)
