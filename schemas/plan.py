"""The plan of a job: what it reads, how the work is split, and where it goes."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import orjson

from malmungchi.schemas.config import Config, from_mapping
from malmungchi.schemas.exchange import Layout
from malmungchi.schemas.work import InputFile, input_file

CHUNK_BYTES = 16 << 20
_LARGE_CHUNK_BYTES = 64 << 20
_LARGE_INPUT_BYTES = 4 << 40

# From here on partitions are larger than 128 MiB, since one round has no more of them (FAN_OUT).
_LARGE_PARTITIONS_BYTES = 32 << 30


def changes(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Says which settings differ between `mine` and `theirs`; both as `Config.content` gives them."""
    ours, before = _flat(mine), _flat(theirs)
    return [
        f"{name} was {before.get(name)!r}, is {ours.get(name)!r}"
        for name in [*ours, *(name for name in before if name not in ours)]
        if ours.get(name) != before.get(name)
    ]


def _flat(content: Any, name: str = "") -> dict[str, Any]:
    """The values of nested settings by their whole names: read.text, inputs.2.csv.delimiter."""
    if isinstance(content, list) and content and isinstance(content[0], dict):
        content = {str(number): item for number, item in enumerate(content, 1)}
    if not isinstance(content, dict):
        return {name: content}
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= _flat(value, f"{name}.{key}" if name else key)
    return found


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that decides what a job does. The same plan gives the same tasks, whoever runs them."""

    config: Config
    files: list[InputFile]
    input_bytes: int
    layout: Layout

    @property
    def chunk_bytes(self) -> int:
        """Bytes of input in a chunk, about: large jobs have larger ones, since each segment of each costs a request."""
        large = self.input_bytes >= _LARGE_INPUT_BYTES
        return self.config.execution.chunk_bytes or (_LARGE_CHUNK_BYTES if large else CHUNK_BYTES)

    @property
    def worker_bytes(self) -> int:
        """Memory that a worker takes, about, as measured and simulated; large jobs have large partitions and chunks."""
        return 2_000_000_000 if self.input_bytes >= _LARGE_PARTITIONS_BYTES else 700_000_000

    def to_json(self) -> bytes:
        """As it is kept in the staging area, and beside a release; in one line, since there may be many files."""
        return orjson.dumps(self._fields())

    def _fields(self) -> dict[str, Any]:
        """As for JSON: of many files `asdict` would take seconds."""
        return {**vars(self), "config": dataclasses.asdict(self.config)}

    @staticmethod
    def from_json(data: bytes) -> Plan:
        """Raises ConfigError, KeyError or TypeError when it is not a plan of this version."""
        fields: dict[str, Any] = orjson.loads(data)
        config = fields["config"]
        brought = config.pop("brought")
        return Plan(
            from_mapping({**config, **brought}),
            [input_file(item) for item in fields["files"]],
            fields["input_bytes"],
            Layout(**fields["layout"]),
        )

    def digest(self) -> str:
        """Hex sha256 over all that intermediate files depend on."""
        fields = {**vars(self), "config": self.config.content()}
        fields["chunk_bytes"] = self.chunk_bytes
        return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def differences(self, other: Plan) -> list[str]:
        """Says how another plan of the same output differs."""
        mine, theirs = (
            {**plan.config.content(), "execution": {"chunk_bytes": plan.config.execution.chunk_bytes}}
            for plan in (self, other)
        )
        found = changes(mine, theirs)
        ours, before = {file.name: file for file in self.files}, {file.name: file for file in other.files}
        found += [f"input {name!r} is new" for name in sorted(ours.keys() - before.keys())]
        found += [f"input {name!r} is gone" for name in sorted(before.keys() - ours.keys())]
        for name in sorted(ours.keys() & before.keys()):
            if ours[name].version != before[name].version:
                found.append(f"input {name!r} has changed")
            elif ours[name] != before[name]:
                found.append(
                    f"input {name!r} is read in another way, as the settings or the inputs beside it have changed"
                )
        if not found and self.digest() != other.digest():
            found.append("the way the work is split (another version of this program began it)")
        return found
