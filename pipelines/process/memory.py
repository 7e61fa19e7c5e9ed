"""How a process that does the work uses its memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator

import psutil

# New objects after which Python looks for garbage while modules are loaded: where kernels are compiled there is much.
_LOADED = 100_000

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's mallopt


def available() -> int:
    """Bytes of memory that the processes of this machine, or of this container, may have in all."""
    total = int(psutil.virtual_memory().total)
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError), open(file) as limit:  # "max" where there is none
            total = min(total, int(limit.read()))
    return total


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Keeps the garbage collector away from imports, and from whatever else is loaded for good.

    It would scan all of it again and again, which takes as long as the loading (measured), and later in each
    worker, where scanning a page that is shared with the parent copies it.
    """
    before = gc.get_threshold()
    gc.set_threshold(_LOADED, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not gc.get_freeze_count():  # else it would keep what a job in this process has left
            gc.freeze()


def give_back() -> None:
    """Gives freed memory back to the system, once: before a process with a kept heap is forked."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)


def keep_heap() -> None:
    """Makes the C library keep freed memory, and Arrow allocate from it.

    Each chunk needs the same megabytes as the one before. Handed back to the system in between, they are mapped and
    zeroed anew each time, which takes a sixth of a worker's time (measured on the way from read to stage). What is
    larger than any part of a chunk, as in the windows of verification, would tear the heap: it comes and goes.
    """
    import pyarrow as pa  # not by the launcher, which needs this module before anything else

    pa.set_cpu_count(1)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
            libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
            libc.mallopt(_ARENA_MAX, 1)
            pa.set_memory_pool(pa.system_memory_pool())
