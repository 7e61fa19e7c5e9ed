"""Whether a process of this machine is alive, told apart from any later process with the same number."""

from __future__ import annotations

import contextlib
import os
import socket
import sys

import psutil


def host() -> str:
    """The machine, its boot and the process namespace: within these, number and birth identify a process."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return f"{file.read().strip()}/{os.readlink('/proc/self/ns/pid')}"
    return f"{socket.gethostname()}/{psutil.boot_time():.0f}"


def birth(pid: int) -> str:
    """When a process of this machine began, in a form that tells it from a later one of its number; "" if dead."""
    with contextlib.suppress(psutil.Error, OSError):
        if psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return ""
        if sys.platform == "linux":  # ticks since boot, which no change of the clock moves
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[19]
        return f"{psutil.Process(pid).create_time():.1f}"
    return ""
