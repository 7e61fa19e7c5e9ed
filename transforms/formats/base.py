"""What a format is, and which there are. A new one is one file and a line in `BUILT_IN`, or an entry point."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.registry import Registry
from malmungchi.schemas.settings import ConfigError, Section

if TYPE_CHECKING:
    import pyarrow as pa

    from malmungchi.transforms.formats.source import Source

# The order is that in which they are asked whether a file is theirs.
BUILT_IN = {
    "jsonl": "malmungchi.transforms.formats.jsonl:JsonLines",
    "parquet": "malmungchi.transforms.formats.parquet:Parquet",
    "csv": "malmungchi.transforms.formats.csv:Csv",
    "text": "malmungchi.transforms.formats.text:Text",
    "html": "malmungchi.transforms.formats.text:Html",
}


class FormatError(ConfigError):
    """A format that does not exist or cannot be loaded; the message says what to do."""


class InputError(MalmungchiError):
    """Input that cannot be used; the message names it and says what to do."""


@dataclasses.dataclass(frozen=True)
class Split:
    """A part of a file that one task reads.

    What `start` and `end` count is the format's own affair (bytes, row groups); `end` is -1 for "to its end".
    `first_row` is the number of the file's rows before it. `bytes` are decompressed ones, estimated where nothing
    tells them.
    """

    start: int = 0
    end: int = -1
    first_row: int = 0
    bytes: int = 0


class Broken(NamedTuple):
    """A place from which on a file, or a part of it, cannot be read: its row (0: the file), rule and cause."""

    row: int
    rule: str
    cause: str


class Rows(Protocol):
    """Some rows of a split, one behind the other. `size` is their input in bytes, `count` about their number."""

    @property
    def size(self) -> int: ...

    @property
    def count(self) -> int: ...

    def documents(self) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """(document rows, rejects). Called, if at all, before the next rows are asked for."""
        ...


class Format(Protocol):
    """How the bytes of a file become rows.

    Roles of columns, dates, metadata, limits, compression, hashing, the borders of chunks and whether the file is what
    was planned are dealt with outside, once for all formats.
    """

    name: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]]
    # The dataclass of its settings: a section of the YAML file, and flags. None if it has none.
    settings: ClassVar[type[Section] | None]
    # What a row is called in messages.
    unit: ClassVar[str]
    # Whether its files may be compressed as a whole; if not, it reads here and there in the file.
    streams: ClassVar[bool]
    # How much larger than its file its text is, about, where the compression does not tell.
    expansion: ClassVar[int]
    # As how many stripes at most a file is read that cannot be split, by codec.
    stripes: ClassVar[dict[str, int]]

    def recognises(self, name: str, head: bytes) -> bool:
        """Whether a file is of this format, by its name without the extension of a compression, and first bytes."""
        ...

    def columns(self, source: Source) -> list[str]:
        """Names of the columns, among which the roles are found; none for an empty or unreadable file.

        Raises InputError for a file that is none of this format, if that can be told before any work.
        """
        ...

    def split(self, source: Source, target: int) -> list[Split]:
        """Parts of about `target` bytes of input; none if it is read as one."""
        ...

    def read(self, split: Split, source: Source, target: int) -> Iterator[Rows | Broken]:
        """The rows of a part, in order, at most about `target` bytes at a time."""
        ...


class Base:
    """What most formats have in common."""

    extensions: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[type[Section] | None] = None
    unit: ClassVar[str] = "row"
    streams: ClassVar[bool] = True
    expansion: ClassVar[int] = 1
    stripes: ClassVar[dict[str, int]] = {}

    def recognises(self, name: str, head: bytes) -> bool:
        """By the name's extension."""
        return name.lower().endswith(self.extensions)

    def split(self, source: Source, target: int) -> list[Split]:
        """None: it is read as one."""
        return []


# Formats of other packages are entry points of the group: name = "package.module:Class". Those named here as a set have
# no settings.
_REGISTRY: Registry[Format] = Registry(
    "format", "malmungchi.formats", BUILT_IN, frozenset({"jsonl", "parquet", "text", "html"}), FormatError
)
names, get, formats, load_settings = _REGISTRY.names, _REGISTRY.get, _REGISTRY.all, _REGISTRY.load_settings


@functools.cache
def extensions() -> frozenset[str]:
    """Those of all formats."""
    return frozenset(extension for format in formats() for extension in format.extensions)


def settings_of(format: Format, config: Any) -> Any:
    """The format's own settings; None if it has none."""
    return None if format.settings is None else config.section(format.settings)
