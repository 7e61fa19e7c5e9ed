"""The process that local workers are forked from: it has everything loaded.

Forking needs a parent without threads, which Beam's launcher is not. Where there is no fork server (Windows), each
worker starts from nothing, and takes seconds.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from typing import Any

_FORKS = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT: Any = multiprocessing.get_context("forkserver" if _FORKS else "spawn")

# Below this much input, the start of worker processes costs more than they save.
IN_PROCESS_BYTES = 24 << 20


def prepare() -> None:
    """Starts that process, once. It loads what workers need while the launcher goes on: the sooner, the better."""
    if _FORKS:
        CONTEXT.set_forkserver_preload(["pipelines.nursery"])
        forkserver.ensure_running()
