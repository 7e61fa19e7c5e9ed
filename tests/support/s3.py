"""A real S3 server for tests, and a proxy in front of it that fails by script."""

from __future__ import annotations

import contextlib
import os
import random
import select
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from malmungchi.transforms.io.storage import RETRY_SECONDS
from tests.support.elsewhere import free_port
from tests.support.needs import lacks

KEY, SECRET = "tester-key-7f3a", "tester-secret-91c4"


def find_server() -> str:
    """Path of versitygw; skips the test where it is absent."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = [str(path) for path in cache.glob("malmungchi/versitygw-*/versitygw")]
    found = [os.environ.get("VERSITYGW"), shutil.which("versitygw"), *built]
    if not any(found):
        lacks("go", "no S3 server: make versitygw (needs Go), or set VERSITYGW to where one is")
    return next(filter(None, found))


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """Serves the sub-folders of `folder` as buckets; the port."""
    command = find_server()
    port = free_port()
    process = subprocess.Popen(
        [command, "--port", f"127.0.0.1:{port}", "posix", str(folder)],
        env={**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            assert process.poll() is None, "the S3 server ended"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def environment(port: int, retry_seconds: float = 30) -> dict[str, str]:
    """What a client needs to reach the server or a proxy at `port`, and how long it may try."""
    return {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        RETRY_SECONDS: str(retry_seconds),
    }


@dataclass
class Faults:
    """Shares of the requests that fail, each in its way; the others wait `delay` seconds and pass.

    `cut` breaks off the answer after some bytes, `drop` closes the connection without one. The n-th request's fate
    depends on the seed only. `seen` counts the fates, and the requests by method.
    """

    error500: float = 0.0
    error503: float = 0.0
    cut: float = 0.0
    drop: float = 0.0
    delay: float = 0.0
    seed: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._source = random.Random(self.seed)
        self._lock = threading.Lock()

    def next(self) -> str:
        """The fate of the next request."""
        fates = ("error500", "error503", "cut", "drop")
        with self._lock:
            value = self._source.random()
            fate = "pass"
            for name in fates:
                value -= getattr(self, name)
                if value < 0:
                    fate = name
                    break
            self.seen[fate] += 1
            return fate

    def count(self, request: bytes) -> None:
        """Notes method and headers of a request."""
        line, _, headers = request.partition(b"\r\n")
        with self._lock:
            self.seen[line.split(b" ")[0].decode()] += 1
            self.seen["range"] += b"\nrange:" in headers.lower()
            self.seen["deletions"] += line.startswith(b"POST") and b"?delete" in line
            self.seen["copy"] += b"\nx-amz-copy-source:" in headers.lower()


def _read_head(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            return b""
        data += more
    return data


def _refusal(fate: str) -> bytes:
    status, code = ("500 Internal Server Error", "InternalError") if fate == "error500" else (
        "503 Service Unavailable", "ServiceUnavailable")  # fmt: skip
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>made to fail</Message></Error>".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close"
    return head.encode() + b"\r\n\r\n" + body


def _drain(client: socket.socket, seconds: float) -> None:
    """Takes what a client still sends, so that it reads the answer before the connection is gone."""
    client.settimeout(seconds)
    try:
        while client.recv(65536):
            pass
    except OSError:
        pass


def _serve(client: socket.socket, port: int, faults: Faults) -> None:
    with client:
        head = _read_head(client)
        if not head:
            return
        faults.count(head)
        fate = faults.next()
        if fate == "drop":
            return
        if fate in ("error500", "error503"):
            client.sendall(_refusal(fate))
            client.shutdown(socket.SHUT_WR)
            _drain(client, 0.5)
            return
        time.sleep(faults.delay)
        # One request for each connection: its fate is then known before its answer.
        line, _, rest = head.partition(b"\r\n")
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            upstream.sendall(line + b"\r\nConnection: close\r\n" + rest)
            left = 150 if fate == "cut" else None
            while True:
                ready, _, _ = select.select([client, upstream], [], [], 60)
                if not ready:
                    return
                if client in ready:
                    data = client.recv(65536)
                    if not data:
                        return
                    upstream.sendall(data)
                if upstream in ready:
                    data = upstream.recv(65536)
                    if not data:
                        return
                    client.sendall(data[:left])
                    if left is not None and (left := left - len(data)) <= 0:
                        return


@contextmanager
def proxy(port: int, faults: Faults) -> Iterator[int]:
    """A proxy in front of the server at `port` that fails as told; its own port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either side has gone
            _serve(client, port, faults)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
