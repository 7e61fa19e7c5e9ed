"""Imported by the process that workers are forked from, never by anything else: importing it loads everything.

No thread may be left running here, since a fork would not copy it.
"""

from __future__ import annotations

import os

from apache_beam.runners.worker import sdk_worker_main  # noqa: F401 (workers need it)

from pipelines.logs import quiet
from pipelines.memory import keep_heap
from pipelines.preload import preload
from transforms import progress
from transforms.language import load_detector

os.environ.pop(progress.FOLDER, None)  # what is loaded here is nobody's progress
quiet()
keep_heap()
preload()
load_detector()
