"""Imported by the process that workers are forked from, never by anything else: importing it loads everything.

No thread may be left running here, since a fork would not copy it.
"""

from __future__ import annotations

import os

import pyarrow as pa
from apache_beam.runners.worker import sdk_worker_main  # noqa: F401 (workers need it)

from pipelines.logs import quiet
from pipelines.preload import preload
from transforms import progress

os.environ.pop(progress.FOLDER, None)  # what is loaded here is nobody's progress
quiet()
pa.set_cpu_count(1)
preload()
