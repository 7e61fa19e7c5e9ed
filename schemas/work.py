"""What a job works on: input files, work items, and slices of exchange files."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import apache_beam as beam
import orjson

# What a column of the input can mean; `Columns` maps each to a column's name.
ROLES = ("text", "id", "url", "source", "license", "published_at", "collected_at")


@dataclasses.dataclass(frozen=True)
class Columns:
    """The input's name for each role; empty where it has none.

    `metadata` has JSON objects that are metadata already, and `copies` how many documents one stands for: a release of
    ours has them. Columns of `left` are read by nobody, and no metadata.
    """

    text: str
    id: str = ""
    url: str = ""
    source: str = ""
    license: str = ""
    published_at: str = ""
    collected_at: str = ""
    metadata: str = ""
    copies: str = ""
    left: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class InputFile:
    """One file of the plan.

    `ordinal` numbers the files in the order of `name`, which is the path below the input's root. `version` changes
    when the file's content may have (entity tag, or size and time of change). `input` is the number of the input in the
    configuration that it belongs to; `source`, `license` and the dates are those of documents that name none, as its
    folders or that input say, and `metadata` is what the folders say besides.
    """

    ordinal: int
    name: str
    uri: str
    format: str
    codec: str
    size: int
    version: str
    columns: Columns
    input: int = -1
    source: str = ""
    license: str = ""
    published_at: str = ""
    collected_at: str = ""
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class WorkItem:
    """A part of an input file that one task reads.

    What `start` and `end` count is up to its format; `end` is -1 for "to its end". `first_row` is the number of
    the input's rows (lines) before it. `bytes` are decompressed ones, estimated where nothing tells
    them. `whole` says that the item is the whole file, so that its reader also computes the file's digest. A file
    that only one after the other can read is an item of several `stripes`: each reads through all of it, and makes
    documents of every chunk in turn, from number `stripe` on. Many small files are one item: `more` are those behind
    `file`, each of them whole.
    """

    id: str
    file: InputFile
    start: int
    end: int
    first_row: int
    bytes: int
    whole: bool
    stripe: int = 0
    stripes: int = 1
    more: list[InputFile] = dataclasses.field(default_factory=list)

    @property
    def files(self) -> list[InputFile]:
        """All its files, in order."""
        return [self.file, *self.more]


@dataclasses.dataclass(frozen=True)
class Share:
    """How the reading of a file is dealt out: if it is larger than `bytes`, to several tasks, which are at most `most`
    where each must read it from its start. Small files are dealt out together: `more` are those behind `file`, or it
    says that they are `listed` in the staging area."""

    file: InputFile
    bytes: int
    most: int
    more: list[InputFile] = dataclasses.field(default_factory=list)
    listed: bool = False


class Slice(NamedTuple):
    """A segment of an exchange file: `rows` rows as one Arrow IPC stream at `offset`, `length` bytes long."""

    uri: str
    offset: int
    length: int
    rows: int
    checksum: int


class _JsonCoder(beam.coders.Coder):
    """Small references as JSON: readable in any log of a runner, and deterministic."""

    kind: type[Any]

    def encode(self, value: Any) -> bytes:
        return orjson.dumps(value)

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> type[Any]:
        return self.kind


class SliceCoder(_JsonCoder):
    """Slice as a JSON array."""

    kind = Slice

    def encode(self, value: Slice) -> bytes:
        return orjson.dumps(list(value))

    def decode(self, encoded: bytes) -> Slice:
        return Slice(*orjson.loads(encoded))


def input_file(data: dict[str, Any]) -> InputFile:
    """The InputFile that `dataclasses.asdict` made `data` from."""
    columns = Columns(**{**data["columns"], "left": tuple(data["columns"]["left"])})
    return InputFile(**{**data, "columns": columns})


def work_item(data: dict[str, Any]) -> WorkItem:
    """The WorkItem that `dataclasses.asdict` made `data` from."""
    return WorkItem(**{**data, **_files(data)})


def _files(data: dict[str, Any]) -> dict[str, Any]:
    return {"file": input_file(data["file"]), "more": [input_file(each) for each in data["more"]]}


class ShareCoder(_JsonCoder):
    """Share as a JSON object."""

    kind = Share

    def decode(self, encoded: bytes) -> Share:
        data = orjson.loads(encoded)
        return Share(**{**data, **_files(data)})


class WorkItemCoder(_JsonCoder):
    """WorkItem as a JSON object."""

    kind = WorkItem

    def decode(self, encoded: bytes) -> WorkItem:
        return work_item(orjson.loads(encoded))


for _coder in (SliceCoder, ShareCoder, WorkItemCoder):
    beam.coders.registry.register_coder(_coder.kind, _coder)
