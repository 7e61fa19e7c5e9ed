"""inspect: look into a release, and explain the fate of one document."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import unicodedata
from collections.abc import Mapping, Sequence

import orjson
import pyarrow as pa

from malmungchi.pipelines.release import words
from malmungchi.pipelines.release.find import Answer, InspectError, Release, UnknownError
from malmungchi.schemas.names import MANIFEST
from malmungchi.schemas.release import Manifest, ManifestError
from malmungchi.transforms.io import storage


def inspect(release: str, arguments: argparse.Namespace) -> int:
    """Prints what is asked for; 1 when there is no such document, file or rule. Raises InspectError for `--rule` or
    `--row` where it means nothing, and for a release that cannot be read."""
    try:
        return _inspect(release, arguments)
    except pa.ArrowException as error:
        raise InspectError(
            f"{release}: a file cannot be read ({type(error).__name__}): `malmungchi verify {release}` says which"
        ) from error


def _looked_up(arguments: argparse.Namespace, release: Release) -> dict[str, str | int]:
    """The columns by which documents are looked up, with their values; none if that is not what is asked."""
    if arguments.id is not None:
        return {"id": unicodedata.normalize("NFC", arguments.id)}
    if arguments.url is not None:
        return {"url": arguments.url}
    if arguments.file is not None:
        row = {} if arguments.row is None else {"row": arguments.row}
        return {"file": release.file(arguments.file), **row}
    return {}


def _inspect(release: str, arguments: argparse.Namespace) -> int:
    single = [arguments.id, arguments.url, arguments.file]
    if arguments.rule and (any(value is not None for value in single) or arguments.duplicates):
        raise InspectError(
            "--rule chooses among all that was dropped; leave it out, or leave out --id, --url, --file and --duplicates"
        )
    if arguments.row is not None and arguments.file is None:
        raise InspectError("--row is the row of a file: say of which, with --file")
    if arguments.text and arguments.duplicates:
        raise InspectError(
            "--text goes with rows: for those of duplicates use --rule exact_duplicate or near_duplicate"
        )
    try:
        manifest = Manifest.from_json(storage.read_bytes(storage.join(release, MANIFEST)))
    except FileNotFoundError:
        print(f"{release}: no {MANIFEST}: this is not a release, or it is not finished", file=sys.stderr)
        return 1
    except ManifestError as error:
        raise InspectError(f"{release}: {MANIFEST} is {error}; inspect a release of this version") from error
    asked = Release(release, manifest, arguments.limit)
    try:
        looked_up = _looked_up(arguments, asked)
        answer = _answer(asked, looked_up, arguments)
    except UnknownError as error:
        print(error, file=sys.stderr)
        return 1
    unread = _add_texts(answer, manifest, arguments.input) if arguments.text else 0
    if arguments.json:
        print(orjson.dumps(dataclasses.asdict(answer), option=orjson.OPT_INDENT_2).decode())
    elif looked_up:
        threshold = manifest.config["deduplicate"]["threshold"]
        print("".join(f"{line}\n" for line in words.fate(answer, threshold)), end="")
    else:
        print(*(words.clusters if arguments.duplicates else words.rows)(answer), sep="\n")
    if looked_up and answer.is_empty:
        print(_nothing(looked_up, manifest), file=sys.stderr)
        return 1
    return unread


def _add_texts(answer: Answer, manifest: Manifest, inputs: Sequence[str]) -> int:
    """Adds the texts of dropped rows and says which inputs cannot be read; 1 if that is so of all rows."""
    from malmungchi.pipelines.release import reread  # loads all formats and steps

    rows = [*answer.rejects, *answer.duplicates]
    troubles = list(reread.add_texts(rows, answer.release, manifest, inputs))
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    return int(bool(troubles) and not any(row["text"] for row in rows))


def _answer(release: Release, looked_up: Mapping[str, str | int], arguments: argparse.Namespace) -> Answer:
    if looked_up:
        return release.look_up(looked_up)
    if arguments.rule:
        return release.by_rule(arguments.rule)
    if arguments.duplicates:
        return release.clusters()
    return release.first("rejects" if arguments.rejects else "data")


def _nothing(looked_up: Mapping[str, str | int], manifest: Manifest) -> str:
    """That nothing was read that is called so."""
    what = {"id": "no document with this id", "url": "no document with this address", "file": "no row of it"}
    name = next(iter(looked_up))
    said = f"{looked_up[name]}: {what[name]} was read"
    if "row" in looked_up:
        said = f"{looked_up['file']}: no row {looked_up['row']} was read"
    return f"{said}; the release is a sample, {manifest.sample} of its input" if manifest.sample else said
