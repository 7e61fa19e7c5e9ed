"""What an extractor is, and which there are. A new one is one file and a line in `BUILT_IN`, or an entry point."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
from typing import Any, ClassVar, Protocol

from malmungchi.schemas.config import register
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.settings import ConfigError, Section, did_you_mean

# Extractors of other packages are entry points of this group: name = "package.module:Class".
GROUP = "malmungchi.extractors"

BUILT_IN = {"html": "malmungchi.transforms.extract.html:Html"}

# Those without settings, as in formats.
_PLAIN = frozenset({"html"})


class ExtractorError(ConfigError):
    """An extractor that does not exist or cannot be loaded; the message says what to do."""


class UnreadableError(MalmungchiError):
    """A payload of which no text can be made: the rule and the cause of the reject that it becomes."""

    def __init__(self, rule: str, cause: str) -> None:
        super().__init__(f"{rule}: {cause}")
        self.rule = rule
        self.cause = cause


@dataclasses.dataclass(frozen=True)
class Hints:
    """What is known of a payload from outside: its media type, and its encoding as somebody says ("" for nobody)."""

    media_type: str
    charset: str = ""


@dataclasses.dataclass(frozen=True)
class Extracted:
    """The text of a payload."""

    text: str


class Extractor(Protocol):
    """How the text of a payload is found."""

    name: ClassVar[str]
    media_types: ClassVar[tuple[str, ...]]
    # The dataclass of its settings: a section of the YAML file, and flags. None if it has none.
    settings: ClassVar[type[Section] | None]

    def extract(self, payload: bytes, hints: Hints, settings: Any) -> Extracted:
        """The text, not normalized. Raises UnreadableError where there is none to be had."""
        ...


@functools.cache
def names() -> dict[str, str]:
    """Where each extractor is, by its name, as module:class. Those of other packages come behind ours."""
    found = dict(BUILT_IN)
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        found.setdefault(point.name, point.value)
    return found


@functools.cache
def get(name: str) -> Extractor:
    """The extractor of a name. Raises ExtractorError if there is none, or it cannot be loaded."""
    if name not in names():
        known = ", ".join(names())
        raise ExtractorError(f"no extractor is called {name!r}{did_you_mean(name, names())} (known: {known})")
    module, _, kind = names()[name].partition(":")
    try:
        found: Extractor = getattr(importlib.import_module(module), kind)()
    except (ImportError, AttributeError) as error:
        raise ExtractorError(f"the extractor {name!r} ({names()[name]}) cannot be loaded: {error}") from error
    if found.settings is not None:
        register(found.settings)
    return found


def extractors() -> list[Extractor]:
    """All extractors. Their sections of settings are registered."""
    return [get(name) for name in names()]


@functools.cache
def load_settings() -> None:
    """Registers the settings of all extractors."""
    for name in names():
        if name not in _PLAIN:
            get(name)


@functools.cache
def of(media_type: str) -> Extractor | None:
    """The extractor of a media type, whatever parameters stand behind it."""
    bare = media_type.partition(";")[0].strip().lower()
    return next((each for each in extractors() if bare in each.media_types), None)
