"""The lock of a job on its output and its staging area: a small file that says who works there, and that he lives.

Who finds a lock is refused while its owner lives, and takes it over once it is dead. On the same machine the system
knows whether the owner's process lives. Of another machine only the heartbeats are seen: an owner whose last one
is older than `DEAD_SECONDS`, and who gives none while one watches, is dead.

The file works on any store: it is only ever written whole and read again. Two that start in the same moment: locally
the system lets only one make the file. Elsewhere, and where a dead owner's lock is taken over, both write, and after
`SETTLE_SECONDS` both read; the one whose name stands goes on. One that is so slow that even this misses it is found by
the first heartbeat: whose lock has another owner stops. Until then both do the same tasks to the same bytes, since
nobody works under another plan than the one in the staging area.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable

import orjson
import xxhash

from malmungchi.pipelines.process import identity, signals
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.transforms.io import storage

NAME = "lock.json"

BEAT_SECONDS = 5.0
DEAD_SECONDS = 60.0
WATCH_SECONDS = 12.0
SETTLE_SECONDS = 0.5


class LockedError(MalmungchiError):
    """Another job works on this output or staging area."""


@dataclasses.dataclass(frozen=True)
class Owner:
    """Who holds a lock; `host` and `birth` as in `identity`."""

    id: str
    name: str
    host: str
    pid: int
    birth: str
    beat: float


def _read(uri: str) -> Owner | None:
    """None if there is no lock; what cannot be read is somebody's of whom only changes of the file tell."""
    data = b""
    try:
        data = storage.read_bytes(uri)
        found = orjson.loads(data)
        return Owner(**{field.name: found[field.name] for field in dataclasses.fields(Owner)})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        return Owner("", "an unknown process", "", 0, xxhash.xxh3_64_hexdigest(data), 0.0)


class Lock:
    """Holds the locks of some folders while the block runs. Raises LockedError when another job holds one.

    `lost` says that another job has taken one over; the main thread has then been stopped.
    """

    def __init__(self, folders: Iterable[str], say: Callable[[str], None] = lambda text: None) -> None:
        self._uris = [storage.join(folder, NAME) for folder in sorted(set(folders))]
        self._say = say
        self._me = Owner(
            uuid.uuid4().hex, f"process {os.getpid()} on {socket.gethostname()}", identity.host(), os.getpid(),
            identity.birth(os.getpid()), 0.0,
        )  # fmt: skip
        self._held: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.lost = False

    def _now(self) -> bytes:
        return orjson.dumps(dataclasses.replace(self._me, beat=time.time()))

    def _alive(self, owner: Owner, uri: str) -> bool:
        if owner.host == self._me.host:
            return bool(owner.birth) and identity.birth(owner.pid) == owner.birth
        if abs(time.time() - owner.beat) < DEAD_SECONDS:
            return True
        # Its clock and ours may differ: only what is seen counts.
        self._say(f"{uri}: watching for {WATCH_SECONDS:.0f} s to see whether {owner.name} is alive")
        until = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < until:
            time.sleep(min(1.0, WATCH_SECONDS / 4))
            if (now := _read(uri)) is not None and now != owner:
                return True
        return False

    def _take(self, uri: str) -> None:
        owner = _read(uri)
        if owner is None and storage.claim(uri, self._now()):
            self._held.append(uri)
            if storage.is_local(storage.resolve(uri)[0]):
                return
        else:
            owner = owner or _read(uri)
            if owner is not None and self._alive(owner, uri):
                raise self._locked(owner, uri)
            if owner is not None:
                self._say(f"taking over from {owner.name}, which is dead")
            self._held.append(uri)
            storage.write_bytes(uri, self._now())
        time.sleep(SETTLE_SECONDS)
        owner = _read(uri)
        if owner is not None and owner.id != self._me.id:
            raise self._locked(owner, uri)

    def _locked(self, owner: Owner, uri: str) -> LockedError:
        return LockedError(
            f"{owner.name} is working on this job ({uri}). Wait until it ends, or stop it; if it died on another "
            f"machine, try again in {DEAD_SECONDS:.0f} s"
        )

    def _beat(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            for uri in self._held:
                with contextlib.suppress(OSError, storage.StorageError):  # the next beat may succeed
                    owner = _read(uri)
                    if owner is not None and owner.id not in (self._me.id, ""):
                        self.lost = True
                        signals.stop_main()
                        return
                    storage.write_bytes(uri, self._now())

    def __enter__(self) -> Lock:
        try:
            for uri in self._uris:
                self._take(uri)
        except BaseException:
            self._release(failed=True)
            raise
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end.set()
        self._thread.join(None if kind is None else BEAT_SECONDS)
        self._release(failed=kind is not None)

    def _release(self, failed: bool) -> None:
        for uri in self._held:
            # A store that has failed is not waited for again: who finds the lock sees that its owner is dead.
            with contextlib.suppress(OSError, storage.StorageError), storage.hurried(uri, failed):
                owner = _read(uri)
                if owner is not None and owner.id == self._me.id:
                    storage.remove(uri)
        for uri in self._uris:
            storage.remove_if_empty(uri.rpartition("/")[0])
