"""What an extractor is, and which ones there are. A new one is one file and a line in `BUILT_IN`, or an entry point."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.registry import Registry
from malmungchi.schemas.settings import ConfigError, Section

BUILT_IN = {"html": "malmungchi.transforms.extract.html:Html"}


class ExtractorError(ConfigError):
    """An extractor that does not exist or cannot be loaded; the message says what to do."""


class UnreadableError(MalmungchiError):
    """A payload that no text can be made of: the rule and the cause of the reject that it becomes."""

    def __init__(self, rule: str, cause: str) -> None:
        super().__init__(f"{rule}: {cause}")
        self.rule = rule
        self.cause = cause


@dataclasses.dataclass(frozen=True)
class Hints:
    """What is known of a payload from outside: its media type, and its encoding as declared ("" if it is not)."""

    media_type: str
    charset: str = ""


@dataclasses.dataclass(frozen=True)
class Extracted:
    """The text of a payload, and what the payload says of it besides; "" for nothing.

    `published_at` is a date as the input may have one (2024-03-05T09:12:00+09:00; without a zone, UTC). `metadata` has
    strings by their usual names: title, author, language …. A row's own columns come first: what they say already, and
    the payload says otherwise, is kept in the row's metadata.
    """

    text: str
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    published_at: str = ""
    license: str = ""
    url: str = ""


class Extractor(Protocol):
    """How the text of a payload is found."""

    name: ClassVar[str]
    media_types: ClassVar[tuple[str, ...]]
    # The dataclass of its settings: a section of the YAML file, and flags. None if it has none.
    settings: ClassVar[type[Section] | None]

    def extract(self, payload: bytes, hints: Hints, settings: Any) -> Extracted:
        """The text, not normalized; `settings` are those of its section that hold for the payload's input, or None.

        Raises UnreadableError where there is none to be had.
        """
        ...


# Extractors of other packages are entry points of the group: name = "package.module:Class". Those named here as a set
# have no settings.
_REGISTRY: Registry[Extractor] = Registry(
    "extractor", "malmungchi.extractors", BUILT_IN, frozenset({"html"}), ExtractorError
)
names, get, extractors, load_settings = _REGISTRY.names, _REGISTRY.get, _REGISTRY.all, _REGISTRY.load_settings


@functools.cache
def of(media_type: str) -> Extractor | None:
    """The extractor of a media type; parameters after it do not matter."""
    bare = media_type.partition(";")[0].strip().lower()
    return next((each for each in extractors() if bare in each.media_types), None)
