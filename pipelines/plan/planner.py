"""Planning: from the files found to formats, columns and the layout. Nothing is written here."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from malmungchi.pipelines.plan.discover import Found, InputError, discover, said
from malmungchi.pipelines.process.memory import give_back
from malmungchi.schemas.config import Config
from malmungchi.schemas.exchange import layout
from malmungchi.schemas.plan import Plan
from malmungchi.schemas.settings import did_you_mean
from malmungchi.schemas.work import ROLES, Columns, InputFile
from malmungchi.transforms.exchange.segments import REQUESTS
from malmungchi.transforms.formats.columns import ColumnsError, guess_columns, peek_columns
from malmungchi.transforms.formats.read import version_of
from malmungchi.transforms.formats.rows import FORMATS, uncompressed
from malmungchi.transforms.io import storage
from malmungchi.transforms.io.decompress import BrokenError, codec_of, expansion, open_decompressed

# How much larger than its file the text of a Parquet file is, about: only used to size the layout.
_PARQUET_EXPANSION = 3

# The beginning of a file that tells JSON lines from one JSON document.
_HEAD = 64 << 10

# Bytes that are read of a file in a store, to look into it: there may be many files.
_AHEAD = 256 << 10


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
        make = "'.[]'` makes" if array else "'.document[]'` (or whatever its list of documents is called) makes"
        raise InputError(f"{name}: a JSON document, not JSON lines: `jq -c {make} lines of it")


def _opening(file: BinaryIO, codec: str) -> bytes:
    """The first decompressed bytes; none of a broken file, of which the reader will say what is wrong."""
    file.seek(0)
    try:
        return open_decompressed(file, codec).read(_HEAD)
    except BrokenError:
        return b""


def _look(ordinal: int, found: Found, config: Config) -> tuple[InputFile, list[str]]:
    """(a file of the plan, the names of its columns), by its first bytes."""
    uri, name, info = found
    kind = format_of(name)
    if info["size"] is None:
        raise InputError(f"{storage.shown(uri)}: the server does not say how large this file is; download it first")
    columns, names = Columns("text"), list[str]()
    with said(uri), storage.open_input(uri, _AHEAD) as file:
        codec = "none" if kind == "parquet" else codec_of(name, file.read(16))
        if kind != "text":
            head = _opening(file, codec) if kind == "jsonl" else b""
            names = peek_columns(file, kind, codec, config.read)
            if kind == "jsonl":
                _check_lines(name, head, names)
            columns = guess_columns(names, config.read, name)
    return InputFile(ordinal, name, uri, kind, codec, int(info["size"]), version_of(info), columns), names


def _check_named(config: Config, names: set[str]) -> None:
    """Raises ColumnsError for a column that the configuration names and no input has."""
    for role in ROLES:
        name = getattr(config.read, role)
        if name and names and name not in names:
            raise ColumnsError(f"no input has a column {name!r} (read.{role}){did_you_mean(name, sorted(names))}")


def expected_bytes(file: InputFile) -> int:
    """The decompressed size of a file, about."""
    return file.size * (_PARQUET_EXPANSION if file.format == "parquet" else expansion(file.codec))


def look_into(found: Sequence[Found], config: Config) -> Plan:
    """The plan for what `discover` found. Raises InputError, ConfigError, PermissionError before any work is done."""
    remote = any("://" in uri for uri, _, _ in found)
    files, names = list[InputFile](), set[str]()
    with ThreadPoolExecutor(REQUESTS if remote else 1) as pool:  # each mostly waits
        for file, some in pool.map(_look, range(len(found)), found, itertools.repeat(config)):
            files.append(file)
            names.update(some)
    _check_named(config, names)
    give_back()  # a Parquet footer may have taken hundreds of megabytes
    estimate = sum(map(expected_bytes, files))
    return Plan(config, files, estimate, layout(estimate, config.shards.target_bytes))


def make_plan(inputs: Sequence[str], config: Config) -> Plan:
    """Lists and looks into the inputs. Raises what `discover` and `look_into` do."""
    return look_into(discover(inputs), config)


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
