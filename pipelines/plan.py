"""Planning: from what the user names to files, formats, columns and the layout. Nothing is written here."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Sequence
from typing import Any

from schemas.config import Config
from schemas.exchange import layout
from schemas.plan import Plan
from schemas.work import Columns, InputFile
from transforms import storage
from transforms.columns import guess_columns, peek_columns
from transforms.decompress import codec_of

_EXTENSIONS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
}
_COMPRESSIONS = (".gz", ".zst", ".zstd", ".bz2", ".xz")

# How much larger than its file an input is when read, about: measured on Korean text, only used to size the layout.
_EXPANSION = {"none": 1.0, "gzip": 4.0, "zstd": 6.0, "bz2": 6.0, "xz": 6.0}
_PARQUET_EXPANSION = 3.0


class InputError(ValueError):
    """Input that cannot be used; the message names it and says what to do."""


def _root(pattern: str) -> str:
    """The folder part of an address before its first wildcard."""
    fixed = pattern
    for i, char in enumerate(pattern):
        if char in "*?[":
            fixed = pattern[:i]
            break
    return fixed.rpartition("/")[0]


def _version(info: dict[str, Any]) -> str:
    for key in ("ETag", "etag", "checksum", "md5"):
        if info.get(key):
            return str(info[key])
    changed = info.get("mtime", info.get("LastModified", info.get("last_modified", info.get("updated", ""))))
    return f"{info.get('size')}:{changed}"


def format_of(name: str) -> str:
    """jsonl, parquet or text, by the name's extension without that of a compression. Raises InputError."""
    stem = name.lower()
    for extension in _COMPRESSIONS:
        stem = stem.removesuffix(extension)
    extension = posixpath.splitext(stem)[1]
    if extension not in _EXTENSIONS:
        known = ", ".join(sorted(_EXTENSIONS))
        raise InputError(
            f"{name}: unknown kind of file {extension or '(no extension)'!r}; known: {known}, also compressed"
        )
    return _EXTENSIONS[extension]


def _expand(pattern: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(uri, name below the pattern's root, info) of the files that a pattern stands for."""
    fs, path = storage.resolve(pattern)
    http = "http" in str(fs.protocol)
    if not http and any(char in path for char in "*?[") and not fs.exists(path):
        found = {place: info for place, info in fs.glob(path, detail=True).items() if info["type"] == "file"}
        if not found:
            raise InputError(f"{pattern}: no file matches; check the path, and quote the pattern for the shell")
    else:
        try:
            info = fs.info(path)
        except FileNotFoundError:
            raise InputError(f"{pattern}: there is no such file") from None
        if info["type"] == "directory":
            raise InputError(f"{pattern}: this is a folder; name its files, as in '{pattern.rstrip('/')}/*.jsonl.zst'")
        found = {path: info}
    root = _root(path) if len(found) > 1 or any(char in path for char in "*?[") else path.rpartition("/")[0]
    return [
        (fs.unstrip_protocol(place) if "://" in pattern else place, place.removeprefix(root).lstrip("/"), info)
        for place, info in found.items()
    ]


def discover(inputs: Sequence[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """(uri, name, info) of all input files, sorted by name, which is unique.

    Raises InputError for a pattern without a match, a folder, and two files that would have the same name.
    """
    by_uri: dict[str, tuple[str, str, dict[str, Any]]] = {}
    for pattern in inputs:
        for uri, name, info in _expand(pattern):
            if uri not in by_uri or name < by_uri[uri][1]:
                by_uri[uri] = (uri, name, info)
    found = sorted(by_uri.values(), key=lambda item: item[1])
    for (first, name, _), (second, other, _) in itertools.pairwise(found):
        if name == other:
            raise InputError(
                f"{first} and {second} would both be called {name!r}: name them by one pattern from a folder above "
                f"both, as in '{posixpath.commonpath([first, second])}/*/{posixpath.basename(name)}'"
            )
    return found


def make_plan(inputs: Sequence[str], config: Config) -> Plan:
    """Lists and looks into the inputs. Raises InputError, ConfigError, PermissionError before any work is done."""
    files = []
    estimate = 0.0
    for ordinal, (uri, name, info) in enumerate(discover(inputs)):
        kind = format_of(name)
        try:
            with storage.open_input(uri) as file:
                codec = "none" if kind == "parquet" else codec_of(name, file.read(16))
        except PermissionError:
            raise InputError(f"{uri}: no permission to read it") from None
        size = int(info["size"] or 0)
        columns = Columns("text")
        if kind != "text":
            columns = guess_columns(peek_columns(uri, kind, codec, config.read), config.read, name)
        files.append(InputFile(ordinal, name, uri, kind, codec, size, _version(info), columns))
        estimate += size * (_PARQUET_EXPANSION if kind == "parquet" else _EXPANSION[codec])
    return Plan(config, files, int(estimate), layout(int(estimate)))


def human(size: float) -> str:
    """Bytes in words: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
