"""The first run: kernels are compiled, on two processors, and the user is told what takes so long.

numba compiles a function when it is first called, one after the other. As soon as it has to, a second process compiles
what the job will need later (`transforms.kernels.ahead`), and leaves it in the cache.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator

from numba.core import event

from malmungchi.transforms.kernels import ahead

MESSAGE = "compiling kernels, which takes about 10 seconds at the first run"


class _Beginning(event.Listener):  # type: ignore[misc, unused-ignore]
    """Waits for the first compilation. `helper` is the second process from then on."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._begun = say, False
        self.helper: subprocess.Popen[bytes] | None = None

    def on_start(self, event: event.Event) -> None:
        if self._begun:
            return
        self._begun = True
        self._say(MESSAGE)
        # -P: what lies in the working directory is not ours. Without the second process all takes longer, no more.
        with contextlib.suppress(OSError):
            self.helper = subprocess.Popen(
                [sys.executable, "-P", "-m", ahead.__name__],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

    def on_end(self, event: event.Event) -> None:
        pass


@contextlib.contextmanager
def announced(say: Callable[[str], None]) -> Iterator[None]:
    """Says it once if kernels are compiled in the block, and has a second process compile others meanwhile, which ends
    with the block."""
    beginning = _Beginning(say)
    event.register("numba:compile", beginning)
    try:
        yield
    finally:
        event.unregister("numba:compile", beginning)
        if beginning.helper is not None:
            beginning.helper.kill()
            beginning.helper.wait()
