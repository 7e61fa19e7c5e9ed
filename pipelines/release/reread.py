"""Texts of dropped rows, read again from the inputs: a release holds no text that was dropped.

Where its inputs are stands beside a release in `inputs.json`: the plan of the job. Since the same input gives the same
release wherever it lies, that file is no part of the release, and the manifest does not know it.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from malmungchi.pipelines.plan.discover import discover
from malmungchi.pipelines.release.find import InspectError, Row
from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Config, Execution, Input
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.names import INPUTS
from malmungchi.schemas.plan import CHUNK_BYTES, Plan
from malmungchi.schemas.release import Manifest
from malmungchi.schemas.work import InputFile
from malmungchi.transforms.formats import base
from malmungchi.transforms.formats.read import read_item
from malmungchi.transforms.formats.source import Source, open_unchanged, version_of
from malmungchi.transforms.formats.split import parts
from malmungchi.transforms.io import storage
from malmungchi.transforms.io.decompress import BrokenError
from malmungchi.transforms.text.base import apply
from malmungchi.transforms.text.steps import settings_of, steps

_PIECE = 1 << 20

# Bytes of a line that is no document, of those that are shown.
_LINE = 1 << 16


class RereadError(MalmungchiError):
    """An input cannot be read again; the message says why."""


def record(plan: Plan) -> bytes:
    """What is kept beside a release: the plan, without what may be a signature in an address."""
    inputs = [dataclasses.replace(each, files=list(map(storage.shown, each.files))) for each in plan.config.inputs]
    config = dataclasses.replace(plan.config, inputs=inputs, execution=Execution())
    files = [dataclasses.replace(file, uri=storage.shown(file.uri)) for file in plan.files]
    return dataclasses.replace(plan, config=config, files=files).to_json()


def add_texts(rows: Sequence[Row], release: str, manifest: Manifest, inputs: Sequence[str]) -> Iterator[str]:
    """Adds to rows of `rejects/` and `duplicates/` their `text`, as the step that dropped them saw it, or else
    `no_text`, which says why there is none. Says which files cannot be read again.

    `inputs` are addresses or patterns of where inputs are now that were moved. Raises InspectError if it is not known
    how the release was made, and what `discover` does.
    """
    plan = _plan(release)
    digests = {file.name: file.sha256 for file in manifest.inputs}
    moved = [(each.uri, each.name) for each in discover([Input([pattern]) for pattern in inputs])]
    files = {file.name: _now(file, moved) for file in plan.files}
    by_file: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_file[row["file"]].append(row)
    for name, mine in sorted(by_file.items()):
        wanted = {row["row"]: row.get("step", "") for row in mine}
        why, found = "", dict[int, str]()
        try:
            found = _texts(_unchanged(files[name], digests[name]), plan.config, wanted)
        except (MalmungchiError, OSError) as error:
            why = str(error) if isinstance(error, MalmungchiError) else f"{name} cannot be read: {error.strerror}"
            yield why
        for row in mine:
            row["text"] = found.get(row["row"])
            row["no_text"] = None if row["text"] is not None else why or _no_text(row)


def _no_text(row: Row) -> str:
    if not row["row"]:
        return "this row stands for the file as a whole"
    return f"nothing could be read here as a text: {row.get('value')}"


def _plan(release: str) -> Plan:
    uri = storage.join(release, INPUTS)
    try:
        return Plan.from_json(storage.read_bytes(uri))
    except FileNotFoundError:
        raise InspectError(f"{uri} is missing: it says where the inputs are, to read texts from") from None
    except (MalmungchiError, ValueError, KeyError, TypeError) as error:
        raise InspectError(f"{uri} is damaged, or of another version of this program") from error


def _now(file: InputFile, moved: Sequence[tuple[str, str]]) -> InputFile:
    """The file where it is now."""
    here = [uri for uri, name in moved if file.name == name or f"/{uri}".endswith(f"/{file.name}")]
    return dataclasses.replace(file, uri=here[0], version="") if len(here) == 1 else file


def _unchanged(file: InputFile, digest: str) -> InputFile:
    """The file if it has the content that it had. Raises RereadError."""
    shown = storage.shown(file.uri)
    if file.uri.endswith("?…"):
        raise RereadError(f"{file.name} was read from {shown}, whose rest is not kept: give all of it with --input")
    fs, path = storage.resolve(file.uri)
    try:
        info = fs.info(path)
    except FileNotFoundError:
        raise RereadError(f"{file.name} is gone; it was {shown}. Say where it is now with --input") from None
    if info["size"] not in (None, file.size):
        raise RereadError(f"{file.name} has changed since the build: it has {info['size']} bytes, and had {file.size}")
    version = version_of(info)
    if version != file.version and storage.sha256(file.uri)[0] != digest:
        raise RereadError(f"{file.name} has changed since the build: it has other content than it had ({shown})")
    return dataclasses.replace(file, version=version)


def _texts(file: InputFile, config: Config, wanted: Mapping[int, str]) -> dict[int, str]:
    """Texts by row, of those that are there; `wanted` are rows with the step that dropped them."""
    broken = {row for row, step in wanted.items() if step == "read" and row}
    found = _lines(file, config, broken) if broken and base.get(file.format).unit == "line" else {}
    rows = sorted(row for row in wanted if row and row not in broken)
    items = parts(file, config, CHUNK_BYTES) if rows else []
    starts = [item.first_row for item in items]
    for at in sorted({bisect.bisect_left(starts, row) - 1 for row in rows}):
        last = starts[at + 1] if at + 1 < len(starts) else rows[-1]
        for chunk in read_item(items[at], config, CHUNK_BYTES):
            for step in set(wanted.values()):
                mine = [row for row in rows if wanted[row] == step]
                found |= _before(step, _only(chunk, mine), config)
            if chunk.rows.num_rows and chunk.rows["row"][-1].as_py() >= min(last, rows[-1]):
                break
    return found


def _only(chunk: Chunk, rows: Sequence[int]) -> Chunk:
    chosen = np.flatnonzero(np.isin(np.asarray(chunk.rows["row"]), rows))
    return dataclasses.replace(chunk, rows=chunk.rows.take(pa.array(chosen)))


def _before(step: str, chunk: Chunk, config: Config) -> dict[int, str]:
    """The texts of a chunk by row, as the step sees them."""
    for each in steps() if chunk.rows.num_rows else []:
        if each.name == step:
            break
        chunk = apply(chunk, each, settings_of(each, config))
    texts = zip(chunk.rows["row"].to_pylist(), chunk.rows["text"].to_pylist(), strict=True)
    return {row: text for row, text in texts if text}


def _lines(file: InputFile, config: Config, wanted: set[int]) -> dict[int, str]:
    """Lines of a file, as they stand there, as far as they are shown."""
    found: dict[int, str] = {}
    number, line = 1, b""
    with open_unchanged(file) as raw, contextlib.suppress(BrokenError):
        stream = Source(file, raw, config).stream()
        while number <= max(wanted) and (data := stream.read(_PIECE)):
            *ended, rest = data.split(b"\n")
            for part in ended:
                if number in wanted:
                    found[number] = (line + part)[:_LINE].decode(errors="replace")
                number, line = number + 1, b""
            line = (line + rest)[:_LINE]
    if line and number in wanted:
        found[number] = line.decode(errors="replace")
    return found
