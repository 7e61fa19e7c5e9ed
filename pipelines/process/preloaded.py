"""Imported by the process that workers are forked from, never by anything else: importing it loads everything.

No thread may be left running here, since a fork would not copy it.
"""

# ruff: noqa: E402 (what is imported first decides what Beam logs when it is)
from __future__ import annotations

import os
import sys

from malmungchi.pipelines.process import signals
from malmungchi.pipelines.process.logs import quiet

signals.ignore()  # the launcher decides when a job stops
signals.die_with_parent()  # multiprocessing's own way waits for the workers, and they for the launcher
quiet()  # before Beam is imported

from malmungchi.pipelines.process.memory import give_back, keep_heap, loading


def _say(text: str) -> None:
    if forkserver.QUIET not in os.environ:
        print(text, file=sys.stderr, flush=True)


with loading():
    from apache_beam.runners.worker import sdk_worker_main  # noqa: F401 (workers need it)

    from malmungchi.pipelines.process import compiling, forkserver
    from malmungchi.pipelines.process.preload import preload
    from malmungchi.transforms.io import progress
    from malmungchi.transforms.text.language import load_detector

    os.environ.pop(progress.FOLDER, None)  # what is loaded here is nobody's progress
    keep_heap()
    with compiling.announced(_say):
        preload()
    load_detector()
give_back()
