"""What there is of one kind (formats, extractors), by name: ours, and what other packages bring by entry point."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from malmungchi.schemas.config import register
from malmungchi.schemas.settings import ConfigError, Section, did_you_mean


class Named(Protocol):
    """What all of them have: a name, and maybe settings, which are a section of the YAML file, and flags."""

    name: ClassVar[str]
    settings: ClassVar[type[Section] | None]


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """Things of one kind by name, loaded when they are asked for.

    `built_in` says where ours are, as module:class; those of other packages are the entry points of `group`, which come
    behind ours and cannot replace them. Of ours, those in `plain` have no settings: they need not be loaded to know all
    flags, which takes time at the start of each command.
    """

    def __init__(
        self, kind: str, group: str, built_in: dict[str, str], plain: frozenset[str], error: type[ConfigError]
    ) -> None:
        self._kind, self._group = kind, group
        self._built_in, self._plain, self._error = built_in, plain, error
        self._loaded: dict[str, T] = {}

    @functools.cached_property
    def _places(self) -> dict[str, str]:
        found = dict(self._built_in)
        for point in sorted(importlib.metadata.entry_points(group=self._group), key=lambda point: point.name):
            found.setdefault(point.name, point.value)
        return found

    def names(self) -> dict[str, str]:
        """Where each is, by its name, as module:class."""
        return self._places

    def get(self, name: str) -> T:
        """The one of a name, its section of settings registered. Raises the registry's error if there is none, or it
        cannot be loaded."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> T:
        places = self._places
        if name not in places:
            known = ", ".join(places)
            raise self._error(f"no {self._kind} is called {name!r}{did_you_mean(name, places)} (known: {known})")
        module, _, kind = places[name].partition(":")
        try:
            found: Any = getattr(importlib.import_module(module), kind)()
        except (ImportError, AttributeError) as error:
            raise self._error(f"the {self._kind} {name!r} ({places[name]}) cannot be loaded: {error}") from error
        if found.settings is not None:
            register(found.settings)
        made: T = found
        return made

    def all(self) -> list[T]:
        """Every one, in the order of names()."""
        return [self.get(name) for name in self._places]

    def load_settings(self) -> None:
        """Registers the sections of settings of all."""
        for name in self._places:
            if name not in self._plain:
                self.get(name)
