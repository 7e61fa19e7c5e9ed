"""SIGINT and SIGTERM: the first stops a job in good order, a second one at once."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# The signal that has come, if any. Beam may turn the exception that it raised into one of its own.
_seen: list[int] = []


class Stopped(KeyboardInterrupt):
    """Someone asked the job to stop. `kept` says what is finished."""

    def __init__(self, signum: int = signal.SIGINT, kept: str = "what is finished is kept") -> None:
        super().__init__(signum)
        self.signum = signum
        self.kept = kept

    @property
    def code(self) -> int:
        """The exit code that tells a shell which signal it was."""
        return 128 + self.signum

    def __str__(self) -> str:
        name = signal.Signals(self.signum).name
        return f"stopped by {name}: {self.kept}; run the same command again to resume"


def _stop(signum: int, _: FrameType | None) -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    _seen.append(signum)
    raise Stopped(signum)


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Lets the first signal raise Stopped in the main thread; the second ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _seen.clear()
    before = [signal.signal(each, _stop) for each in _SIGNALS]
    try:
        yield
    finally:
        for each, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(each, handler)


def ignore() -> None:
    """For processes whose end is their launcher's to decide, whatever reaches the whole group."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)


def die_with_parent() -> None:
    """The system ends this process when the thread that started it is gone, however that ended (on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def check() -> None:
    """Raises Stopped if a signal has come."""
    if _seen:
        raise Stopped(_seen[0])


def stop_main() -> None:
    """Stops the main thread from another one, also where it waits."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
