"""Planning: from what the user names to files, formats, columns and the layout. Nothing is written here."""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from pipelines.memory import give_back
from schemas.config import Config
from schemas.exchange import layout
from schemas.plan import Plan
from schemas.work import Columns, InputFile
from transforms import storage
from transforms.columns import guess_columns, peek_columns
from transforms.decompress import BrokenError, codec_of, expansion, open_decompressed
from transforms.documents import FORMATS, uncompressed
from transforms.exchange import REQUESTS
from transforms.read import version_of

# How much larger than its file the text of a Parquet file is, about: only used to size the layout.
_PARQUET_EXPANSION = 3

# The beginning of a file that tells JSON lines from one JSON document.
_HEAD = 64 << 10

# Bytes that are read of a file in a store, to look into it: there may be many files.
_AHEAD = 256 << 10


class InputError(ValueError):
    """Input that cannot be used; the message names it and says what to do."""


def _root(pattern: str) -> str:
    """The folder part of an address before its first wildcard."""
    return re.split(r"[*?[]", pattern, maxsplit=1)[0].rpartition("/")[0]


def format_of(name: str) -> str:
    """jsonl, parquet or text, by the name's extension without that of a compression. Raises InputError."""
    stem = uncompressed(name)
    extension = posixpath.splitext(stem)[1].lower()
    if extension not in FORMATS:
        known = ", ".join(sorted(FORMATS))
        raise InputError(
            f"{name}: unknown kind of file {extension or '(no extension)'!r}; known: {known}, also compressed"
        )
    if FORMATS[extension] == "parquet" and stem != posixpath.basename(name):
        raise InputError(f"{name}: Parquet is read as it is, with its columns compressed; decompress this file first")
    return FORMATS[extension]


def _check_lines(name: str, head: bytes, columns: Sequence[str]) -> None:
    """Raises InputError for one JSON document instead of lines, by its first bytes and the columns of its rows."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    lines = [line.strip() for line in text.split(b"\n", 2)[:2]]
    # Of an array that has a line for each element, the last element alone is a row.
    array = text.startswith(b"[") and (not columns or (lines[0] == b"[" and lines[-1].endswith(b",")))
    if array or (lines[0] == b"{" and not columns):
        make = ".[]" if array else "."
        raise InputError(f"{name}: a JSON document, not JSON lines: `jq -c '{make}'` makes lines of it")


def _opening(file: BinaryIO, codec: str) -> bytes:
    """The first decompressed bytes; none of a broken file, of which the reader will say what is wrong."""
    file.seek(0)
    try:
        return open_decompressed(file, codec).read(_HEAD)
    except BrokenError:
        return b""


@contextlib.contextmanager
def _said(uri: str) -> Iterator[None]:
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
    with _said(folder), os.scandir(folder) as found:
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
    with _said(path):
        info: dict[str, Any] = fs.info(path)
    return info


def _expand(pattern: str) -> list[tuple[str, str, dict[str, Any]]]:
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


def discover(inputs: Sequence[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """(uri, name, info) of all input files, sorted by name, which is unique.

    A file that is named twice, through symbolic links or by two patterns, is read once, under its first name. Raises
    InputError for a pattern without a match, what is no file, and two files that would have the same name.
    """
    by_place: dict[str, tuple[str, str, dict[str, Any]]] = {}
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


def _look(ordinal: int, found: tuple[str, str, dict[str, Any]], config: Config) -> InputFile:
    """A file of the plan, by its first bytes."""
    uri, name, info = found
    kind = format_of(name)
    if info["size"] is None:
        raise InputError(f"{storage.shown(uri)}: the server does not say how large this file is; download it first")
    columns = Columns("text")
    with _said(uri), storage.open_input(uri, _AHEAD) as file:
        codec = "none" if kind == "parquet" else codec_of(name, file.read(16))
        if kind != "text":
            head = _opening(file, codec) if kind == "jsonl" else b""
            names = peek_columns(file, kind, codec, config.read)
            if kind == "jsonl":
                _check_lines(name, head, names)
            columns = guess_columns(names, config.read, name)
    return InputFile(ordinal, name, uri, kind, codec, int(info["size"]), version_of(info), columns)


def make_plan(inputs: Sequence[str], config: Config) -> Plan:
    """Lists and looks into the inputs. Raises InputError, ConfigError, PermissionError before any work is done."""
    found = discover(inputs)
    remote = any("://" in uri for uri, _, _ in found)
    with ThreadPoolExecutor(REQUESTS if remote else 1) as pool:  # each mostly waits
        files = list(pool.map(_look, range(len(found)), found, itertools.repeat(config)))
    give_back()  # a Parquet footer may have taken hundreds of megabytes
    estimate = sum(
        file.size * (_PARQUET_EXPANSION if file.format == "parquet" else expansion(file.codec)) for file in files
    )
    return Plan(config, files, estimate, layout(estimate, config.shards.target_bytes))


def counted(count: int, noun: str) -> str:
    """A number of things in words: 1 shard, 2 shards, 3 processes."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def human(size: float) -> str:
    """Bytes in words: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
