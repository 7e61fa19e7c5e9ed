"""Errors without the text they quote. Workers of every runner log the traceback of what fails, on machines and in
services that are not ours, and a message may hold the text of a document."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from malmungchi.schemas.errors import MalmungchiError

# Set in the environment of a worker or the launcher, it shows all of an error, document text included.
TRACEBACK = "MALMUNGCHI_TRACEBACK"

_PACKAGE = __name__.partition(".")[0]


class TaskError(MalmungchiError):
    """A task failed in a way that was not foreseen."""


def unexpected(kind: str, place: str) -> str:
    """What is reported of an error whose message is withheld."""
    return (
        f"unexpected {kind} at {place or 'an unknown place'}. Its message is left out, since it may quote a document; "
        f"set {TRACEBACK}=1 where it happened to see all of it, and please report it"
    )


def without_message(error: Exception) -> Exception:
    """The error itself if it is ours, the operating system's or that of an import, else a TaskError with its kind and
    place. One of ours whose class another package defines becomes a MalmungchiError of the same message."""
    kind = type(error)
    if isinstance(error, MalmungchiError):
        # The launcher, which is told of it as text, may not know the class of somebody's format or step.
        return error if _is_inside(kind.__module__) else MalmungchiError(str(error))
    # An import's message is the name of a module. Errors of the system may be others' as well, with addresses in them.
    if isinstance(error, ImportError | OSError) and kind.__module__ == "builtins":
        return error
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        if _is_inside(module) and module != __name__:
            place = f"{module.partition('.')[2].replace('.', '/')}.py:{line}"
    return TaskError(unexpected(kind.__name__, place))


def _is_inside(module: str) -> bool:
    """Whether a module is one of this package, which launcher and workers both have."""
    return module.partition(".")[0] == _PACKAGE


class Private:
    """A function of an element and some arguments, for `beam.Map` or `beam.FlatMap`, that is given documents. Raises
    what `without_message` makes of its errors, and nothing that led to them."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._function = function
        self._arguments = arguments
        self.__name__ = function.__name__  # as Beam calls the step

    def __call__(self, element: Any) -> Any:
        """What the function returns, or an iterator over what it yields."""
        with _without_messages():
            found = self._function(element, *self._arguments)
        return _each(found) if isinstance(found, Iterator) else found


def _each(found: Iterator[Any]) -> Iterator[Any]:
    with _without_messages():
        yield from found


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        raise without_message(error) from None
