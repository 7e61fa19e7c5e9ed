"""The files behind the addresses and patterns that a user names. Needs neither Beam nor Arrow: it is there at once."""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from malmungchi.schemas.errors import MalmungchiError
from malmungchi.transforms.io import storage

# (uri, name, information) of an input file, before it is looked into.
Found = tuple[str, str, dict[str, Any]]


class InputError(MalmungchiError):
    """Input that cannot be used; the message names it and says what to do."""


def _root(pattern: str) -> str:
    """The folder part of an address before its first wildcard."""
    return re.split(r"[*?[]", pattern, maxsplit=1)[0].rpartition("/")[0]


@contextlib.contextmanager
def said(uri: str) -> Iterator[None]:
    """Turns what a file system says of an address into an InputError."""
    try:
        yield
    except FileNotFoundError:
        gone = "this symbolic link leads nowhere" if os.path.islink(uri) else "there is no such file"
        raise InputError(f"{storage.shown(uri)}: {gone}") from None
    except PermissionError:
        raise InputError(f"{storage.shown(uri)}: no permission to read it") from None
    except OSError as error:
        raise InputError(f"{storage.shown(uri)}: {error.strerror or type(error).__name__}") from error


def _wild(part: str) -> bool:
    return any(char in part for char in "*?[")


def _matches(folder: str, parts: Sequence[str], above: frozenset[str]) -> Iterator[str]:
    """Local paths below a folder that match the parts of a pattern, through symbolic links too.

    fsspec's own glob passes over links and over folders that cannot be read, and says nothing. `**` does not follow a
    link that leads back to a folder it is in (`above`): what is there has been found.
    """
    part, rest = parts[0], parts[1:]
    if part == "**":
        above |= {os.path.realpath(folder)}
        yield from _matches(folder, rest or ["*"], above)
    elif not _wild(part):
        place = posixpath.join(folder, part)
        if rest and os.path.isdir(place):
            yield from _matches(place, rest, above)
        elif not rest and os.path.lexists(place):
            yield place
        return
    with said(folder), os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if part == "**":
            if entry.is_dir() and os.path.realpath(entry.path) not in above:
                yield from _matches(entry.path, parts, above)
        elif fnmatch.fnmatchcase(entry.name, part):
            if not rest:
                yield entry.path
            elif entry.is_dir():
                yield from _matches(entry.path, rest, above)


def _glob(fs: Any, path: str) -> dict[str, dict[str, Any]]:
    """Information on the files that a pattern stands for, by their paths. Folders among them are left out."""
    if not storage.is_local(fs):
        return {place: info for place, info in fs.glob(path, detail=True).items() if info["type"] != "directory"}
    root = _root(path)
    found = (
        _matches(root or "/", path.removeprefix(root).strip("/").split("/"), frozenset())
        if os.path.isdir(root or "/")
        else ()
    )
    return {place: _info(fs, place) for place in found if not os.path.isdir(place)}


def _info(fs: Any, path: str) -> dict[str, Any]:
    with said(path):
        info: dict[str, Any] = fs.info(path)
    return info


def _expand(pattern: str) -> list[Found]:
    """(uri, name below the pattern's root, info) of the files that a pattern stands for."""
    fs, path = storage.resolve(pattern)
    http = "http" in str(fs.protocol)
    if not http and _wild(path) and not fs.exists(path):
        found = _glob(fs, path)
        if not found:
            raise InputError(f"{pattern}: no file matches; check the path, and quote the pattern for the shell")
    else:
        found = {path: _info(fs, path)}
        if found[path]["type"] == "directory":
            raise InputError(f"{pattern}: this is a folder; name its files, as in '{pattern.rstrip('/')}/*.jsonl.zst'")
    for place, info in found.items():
        if info["type"] != "file":
            raise InputError(f"{place}: this is a pipe, a socket or a device; write what comes out of it to a file")
        try:
            place.encode()
        except UnicodeEncodeError:
            name = os.fsencode(place).decode(errors="backslashreplace")
            raise InputError(f"{name}: the name is not valid UTF-8; rename the file") from None
    bare = {place: urlsplit(place).path if http else place for place in found}  # a query may hold a token
    root = _root(path) if len(found) > 1 or (_wild(path) and not http) else bare.get(path, path).rpartition("/")[0]
    return [
        (fs.unstrip_protocol(place) if "://" in pattern else place, bare[place].removeprefix(root).lstrip("/"), info)
        for place, info in found.items()
    ]


def discover(inputs: Sequence[str]) -> list[Found]:
    """(uri, name, info) of all input files, sorted by name, which is unique.

    A file that is named twice, through symbolic links or by two patterns, is read once, under its first name. Raises
    InputError for a pattern without a match, what is no file, and two files that would have the same name.
    """
    by_place: dict[str, Found] = {}
    for pattern in inputs:
        for uri, name, info in _expand(pattern):
            place = os.path.realpath(uri) if "://" not in uri else uri
            if place not in by_place or name < by_place[place][1]:
                by_place[place] = (uri, name, info)
    found = sorted(by_place.values(), key=lambda item: item[1])
    for (first, name, _), (second, other, _) in itertools.pairwise(found):
        if name == other:
            raise InputError(
                f"{first} and {second} would both be called {name!r}: name them by one pattern from a folder above "
                f"both, as in '{posixpath.commonpath([first, second])}/*/{posixpath.basename(name)}'"
            )
    return found
