"""The output of a job and its staging area: who owns them, and what is removed when."""

from __future__ import annotations

import dataclasses
import functools
import re
from concurrent.futures import ThreadPoolExecutor

from malmungchi.pipelines.job import lock
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.names import CARD, FOLDERS, INPUTS, MANIFEST
from malmungchi.schemas.plan import Plan, changes
from malmungchi.schemas.release import Manifest, ManifestError
from malmungchi.transforms.exchange.segments import REQUESTS
from malmungchi.transforms.io import storage

PLAN = "plan.json"

# Inside the output: the staging area unless another is named, and in any case the mark of an unfinished job.
HOME = "_staging"

# The folder there of a plan's intermediate files, and all that a staging area may hold.
_WORK = r"plan-[0-9a-f]{16}$"
_IN_STAGING = "|".join([re.escape(lock.NAME), re.escape(PLAN), _WORK])


class OutputError(MalmungchiError):
    """The output or the staging area cannot be used as it is; the message says what to do."""


@dataclasses.dataclass
class Output:
    """The folder `uri` of a release to be, and the staging area, which a plan takes possession of."""

    plan: Plan
    uri: str

    @property
    def staging(self) -> str:
        """The staging area."""
        return self.plan.config.execution.staging or storage.join(self.uri, HOME)

    @functools.cached_property
    def work(self) -> str:
        """The folder of the staging area for the intermediate files of this very plan.

        Workers on a cluster may still be at tasks of another plan, which `restart` has thrown away.
        """
        return storage.join(self.staging, f"plan-{self.plan.digest()[:16]}")

    @property
    def homes(self) -> list[str]:
        """The folders that a job takes possession of: its staging area, and the output."""
        return sorted({self.staging, storage.join(self.uri, HOME)})

    def is_begun(self) -> bool:
        """Whether an unfinished job has left its plan."""
        return any(storage.exists(storage.join(home, PLAN)) for home in self.homes)

    def is_clear(self) -> bool:
        """Whether nothing is left in the staging area, not even a lock."""
        return not any(storage.names(home) for home in self.homes)

    def examine(self, restart: bool = False) -> Manifest | None:
        """The manifest if this very release is there already, None if there is work to do. Writes nothing.

        Raises OutputError when the output holds something else, or the staging area another job; with `restart`,
        an unfinished job of ours is no obstacle, whatever it was.
        """
        manifest_uri = storage.join(self.uri, MANIFEST)
        if storage.exists(manifest_uri):
            try:
                manifest = Manifest.from_json(storage.read_bytes(manifest_uri))
            except ManifestError as error:
                raise OutputError(f"{manifest_uri}: {error}; choose another --output, or remove this one") from error
            if differs := self._differs(manifest):
                raise OutputError(
                    f"{self.uri} holds a finished release with other {differs}. Choose another --output, or remove it"
                )
            return manifest
        own = storage.join(self.uri, HOME)
        if not self._is_ours(own, restart):
            _need_empty(self.uri, re.escape(HOME), "--output")
            _need_empty(own, _IN_STAGING, "--output")
        if self.staging != own and not self._is_ours(self.staging, restart):
            _need_empty(self.staging, _IN_STAGING, "--staging")
        return None

    def _differs(self, manifest: Manifest) -> str:
        """How a release differs from what this job would make, "" if it does not. Reads only inputs that were changed
        after the release was made."""
        if manifest.config_digest != self.plan.config.digest():
            differs = changes(self.plan.config.content(), manifest.config)
            return f"settings: {'; '.join(differs) or 'of another version'}"
        mine = {file.name: file.size for file in self.plan.files}
        its = {file.name: file.bytes for file in manifest.inputs}
        for name in sorted(mine.keys() | its.keys()):
            if name not in its:
                return f"inputs: {name} is not among them"
            if name not in mine:
                return f"inputs: it has {name} too"
            if mine[name] != its[name]:
                return f"inputs: {name} had {its[name]:,} bytes, and has {mine[name]:,} now"
        made = storage.changed_at(storage.join(self.uri, MANIFEST))
        digests = {file.name: file.sha256 for file in manifest.inputs}
        with ThreadPoolExecutor(REQUESTS) as pool:  # each mostly waits
            changed = list(pool.map(storage.changed_at, [file.uri for file in self.plan.files]))
        for file, at in zip(self.plan.files, changed, strict=True):
            if at > made and storage.sha256(file.uri)[0] != digests[file.name]:
                return f"inputs: {file.name} has the same size, but other content now"
        return ""

    def _is_ours(self, home: str, restart: bool) -> bool:
        """Whether a folder holds the plan of an unfinished job. Raises OutputError if that is another job."""
        uri = storage.join(home, PLAN)
        if not storage.exists(uri):
            return False
        if restart:
            return True
        try:
            before = Plan.from_json(storage.read_bytes(uri))
        except (MalmungchiError, ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{uri} is damaged; use --restart to begin anew") from error
        if before.digest() != self.plan.digest():
            changes = "; ".join(self.plan.differences(before))
            raise OutputError(
                f"{home} holds an unfinished job that differs: {changes}. Run it again as it was, or "
                "use --restart to throw away what it has done"
            )
        return True

    def begin(self, restart: bool) -> None:
        """Makes output and staging area ready: throws away what killed writers left, and says whose they are.

        With `restart`, throws away all that an unfinished job has done. The locks are held.
        """
        if restart:
            if storage.exists(storage.join(self.uri, HOME, PLAN)):
                for name in (*FOLDERS, CARD, INPUTS):
                    storage.remove(storage.join(self.uri, name))
            for home in self.homes:
                self._clear(home)
        for name in storage.names(self.staging):
            if re.match(_WORK, name) and not self.work.endswith(name):
                storage.remove(storage.join(self.staging, name))  # of a job that was thrown away
        self.sweep()
        for home in self.homes:
            if not storage.exists(storage.join(home, PLAN)):
                storage.write_bytes(storage.join(home, PLAN), self.plan.to_json())

    def sweep(self) -> None:
        """Removes what writers left half written that are dead, or have nothing more to write."""
        for folder in (self.uri, self.staging):
            storage.remove_parts(folder)

    def _clear(self, home: str) -> None:
        """Removes all but the lock where a plan stands, else what workers of a job that was thrown away have left."""
        ours = storage.exists(storage.join(home, PLAN))
        names = [name for name in storage.names(home) if name != lock.NAME and (ours or re.match(_WORK, name))]
        for name in sorted(names, key=lambda name: name == PLAN):  # the plan last: it says that the rest is ours
            storage.remove(storage.join(home, name))

    def end(self) -> None:
        """Removes the intermediate files, also those of an attempt that was killed after its manifest was written."""
        if not self.plan.config.execution.keep_staging:
            for home in self.homes:
                self._clear(home)

    def remove_strangers(self, paths: set[str]) -> None:
        """Removes what workers of a job that was thrown away have published meanwhile."""
        for folder in FOLDERS:
            for name in storage.names(storage.join(self.uri, folder)):
                if f"{folder}/{name}" not in paths:
                    storage.remove(storage.join(self.uri, folder, name))


def _need_empty(folder: str, allowed: str, option: str) -> None:
    """Raises OutputError if there is more in a folder than names that begin with a match of a regular expression."""
    foreign = [name for name in storage.names(folder) if not re.match(allowed, name)]
    if foreign:
        raise OutputError(f"{folder} is not empty ({foreign[0]}, …); choose a new folder as {option}")
