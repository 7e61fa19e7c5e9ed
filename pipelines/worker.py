"""A local Beam worker process, as pipelines/runner.py starts it."""

from __future__ import annotations

import ctypes
import signal
import sys


def _die_with_launcher() -> None:
    """A launcher that is killed takes its workers along (Linux; elsewhere they end when their channel breaks)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main() -> None:
    """Runs Beam's worker, one core's worth of it."""
    _die_with_launcher()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher decides when a job stops
    from pipelines.logs import quiet

    quiet()
    import pyarrow as pa

    pa.set_cpu_count(1)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
