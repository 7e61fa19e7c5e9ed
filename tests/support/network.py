"""Hosts of a test's own: network namespaces joined by a bridge that lies in one of them too.

The machine's own network has no part in it: no packet enters or leaves it, and nothing of it is reachable from there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid

from tests.support.needs import lacks

NETWORK = "192.0.2"  # kept for documentation and tests by RFC 5737


class Hosts:
    """A context in which hosts can be made. Skips the test where namespaces may not be made."""

    def __init__(self) -> None:
        self._word = uuid.uuid4().hex[:6]
        self._names: list[str] = []

    def __enter__(self) -> Hosts:
        if not shutil.which("ip"):
            lacks("ip", "no program ip: apt-get install iproute2")
        if os.geteuid():
            lacks("ip", "network namespaces need root")
        try:
            self._switch = self._make("switch")
            self._ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
            self._ip("-n", self._switch, "link", "set", "bridge", "up")
        except subprocess.CalledProcessError as error:
            self.__exit__()
            lacks("ip", f"network namespaces may not be made here: {error.stderr.strip()}")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=False)

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    def _make(self, name: str) -> str:
        space = f"malmungchi-{self._word}-{name}"
        self._ip("netns", "add", space)
        self._names.append(space)
        self._ip("-n", space, "link", "set", "lo", "up")
        return space

    def add(self, name: str) -> tuple[str, list[str]]:
        """A new host: its address, and what to put before a command so that it runs there."""
        number = len(self._names)
        space, port, address = self._make(name), f"port{number}", f"{NETWORK}.{number}"
        self._ip("link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", port, "netns", self._switch)
        self._ip("-n", self._switch, "link", "set", port, "master", "bridge", "up")
        self._ip("-n", space, "address", "add", f"{address}/24", "dev", "eth0")
        self._ip("-n", space, "link", "set", "eth0", "up")
        return address, ["ip", "netns", "exec", space]
