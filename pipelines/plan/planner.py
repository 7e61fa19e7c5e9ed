"""Planning: from the files found to formats, columns and the layout. Nothing is written here."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import posixpath
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from malmungchi.pipelines.plan.discover import Found, discover, said
from malmungchi.pipelines.process.memory import give_back, loading
from malmungchi.schemas.config import Config, Read
from malmungchi.schemas.exchange import layout
from malmungchi.schemas.plan import Plan
from malmungchi.schemas.settings import did_you_mean
from malmungchi.schemas.work import ROLES, Columns, InputFile
from malmungchi.transforms.exchange.segments import REQUESTS
from malmungchi.transforms.formats import base
from malmungchi.transforms.formats.base import InputError
from malmungchi.transforms.formats.columns import ColumnsError, guess_columns, in_file
from malmungchi.transforms.formats.contents import COMPRESSED_HEAD, HEAD, recognise
from malmungchi.transforms.formats.folders import by_role, partitions
from malmungchi.transforms.formats.rows import uncompressed
from malmungchi.transforms.formats.source import Source, version_of
from malmungchi.transforms.formats.split import expected_bytes
from malmungchi.transforms.io import storage
from malmungchi.transforms.io.decompress import codec_of, refused
from malmungchi.transforms.text import steps

# Bytes that are read of a file in a store, to look into it: there may be many files.
_AHEAD = 256 << 10

# Bytes of a row, at most about, where only a number of rows is known.
_ROW_BYTES = 64 << 10


def format_of(name: str, head: bytes, asked: str = "") -> base.Format:
    """The format of a file: what its input says, else what its first bytes say beyond doubt, else by its name without
    the extension of a compression, and its first bytes. Raises InputError."""
    stem = uncompressed(name)
    content = recognise(head)
    asked = asked or (content.format if content else "")
    found = base.get(asked) if asked else next((each for each in base.formats() if each.recognises(stem, head)), None)
    if found is None:
        known = ", ".join(sorted(extension for each in base.formats() for extension in each.extensions))
        extension = posixpath.splitext(stem)[1].lower() or "(no extension)"
        raise InputError(
            f"{name}: unknown kind of file {extension!r}; known: {known}, also compressed. Say what it is as the "
            "`format` of its input"
        )
    if not found.streams and stem != posixpath.basename(name):
        raise InputError(
            f"{name}: {found.name.capitalize()} is read as it is, with its columns compressed; decompress this file "
            "first"
        )
    return found


def _look(ordinal: int, found: Found, config: Config) -> tuple[InputFile, list[str]]:
    """(a file of the plan, the names of its columns), by its first bytes."""
    given = config.inputs[found.input]
    if found.info["size"] is None:
        shown = storage.shown(found.uri)
        raise InputError(f"{shown}: the server does not say how large this file is; download it first")
    with said(found.uri), storage.open_input(found.uri, _AHEAD) as raw:
        head = raw.read(HEAD)
        format = format_of(found.name, head, given.format)
        codec = codec_of(found.name, head[:16]) if format.streams else "none"
        file = InputFile(
            ordinal,
            found.name,
            found.uri,
            format.name,
            codec,
            int(found.info["size"]),
            version_of(found.info),
            Columns("text"),
            found.input,
            given.source,
            given.license,
        )
        if codec == "zstd" and (cause := refused(head + raw.read(COMPRESSED_HEAD), file.size)):
            raise InputError(f"{found.name}: {cause}")
        source = Source(file, raw, config)
        names = [] if source.stranger else format.columns(source)
        columns = _columns(tuple(names), source.read, found.name)
    roles, metadata = by_role(partitions(f"{found.root}/{found.name}"), names)
    if format.single and not given.source:
        roles.setdefault("source", _collection(found))
    changes: dict[str, Any] = {**roles, **({"metadata": metadata} if metadata else {})}
    return dataclasses.replace(file, columns=columns, **changes), names


@functools.lru_cache(1024)
def _guessed(names: tuple[str, ...], read: Read) -> Columns:
    return guess_columns(names, read, "", steps.published().names)


def _columns(names: tuple[str, ...], read: Read, file: str) -> Columns:
    """What `guess_columns` says, which of many files is mostly the same."""
    try:
        return _guessed(names, read)
    except ColumnsError:
        return guess_columns(names, read, file, steps.published().names)


def _collection(found: Found) -> str:
    """The name of the folder below which a file was looked for; "" if it has none."""
    return _folder_name(found.root, "://" in found.uri)


@functools.lru_cache(1024)
def _folder_name(root: str, elsewhere: bool) -> str:
    folder = root if elsewhere else os.path.abspath(root)
    return unicodedata.normalize("NFC", posixpath.basename(folder.rstrip("/")))


def _check_named(files: list[InputFile], names: list[list[str]], config: Config) -> None:
    """Raises ColumnsError for a column that the settings of some files name and none of them has."""
    for number in range(len(config.inputs)):
        read = config.of(number).read
        alike = [at for at, file in enumerate(files) if config.of(file.input).read == read]
        known = {name for at in alike for name in names[at]}
        for role in ROLES:
            name = getattr(read, role)
            if name and known and in_file(name, sorted(known)) not in known:
                raise ColumnsError(f"no input has a column {name!r} (read.{role}){did_you_mean(name, sorted(known))}")


def look_into(found: Sequence[Found], config: Config) -> Plan:
    """The plan for what `discover` found. Raises InputError, ConfigError, PermissionError before any work is done."""
    remote = any("://" in each.uri for each in found)
    files, names = list[InputFile](), list[list[str]]()
    base.formats()  # loaded once, before threads ask
    with loading(), ThreadPoolExecutor(REQUESTS) as pool:  # each mostly waits, if it is elsewhere
        looks = (pool.map if remote else map)(_look, range(len(found)), found, itertools.repeat(config))
        for file, some in looks:
            files.append(file)
            names.append(some)
    _check_named(files, names, config)
    give_back()  # a Parquet footer may have taken hundreds of megabytes
    estimate = sum(map(expected_bytes, files))
    kept = sum(int(expected_bytes(file) * config.of(file.input).read.share) for file in files)
    if config.read.limit:
        kept = min(kept, config.read.limit * _ROW_BYTES)
    return Plan(config, files, estimate, layout(kept, config.shards.target_bytes))


def sample_of(config: Config) -> str:
    """The share of its inputs that a job reads, as it was given; several if they differ; then the number of rows, if
    that is limited; empty for all."""
    given = {config.of(number).read.sample.strip() for number in range(len(config.inputs))} or {config.read.sample}
    limit = [f"{config.read.limit} rows"] if config.read.limit else []
    return ", ".join([*sorted(given - {""}), *limit])


def make_plan(inputs: Sequence[str], config: Config) -> Plan:
    """Lists and looks into the inputs: addresses and patterns, and those of the configuration. Raises what `discover`
    and `look_into` do."""
    config = config.with_inputs(inputs)
    return look_into(discover(config.inputs), config)


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
