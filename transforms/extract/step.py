"""EXTRACT: texts of payloads, by their media types. Rows that have a text already pass through."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.schemas.config import Config
from malmungchi.transforms.extract import base
from malmungchi.transforms.extract.base import Extracted, Hints, UnreadableError
from malmungchi.transforms.formats.rows import parse_dates
from malmungchi.transforms.text.base import Drops, Outcome


class ExtractRule(StrEnum):
    """Why a payload is dropped; extractors may have rules of their own."""

    NO_EXTRACTOR = "no_extractor"
    NOT_UTF8 = "not_utf8"


class ExtractStep:
    """Makes the text of each row that has a payload, and drops rows where that is impossible.

    Where a chunk has payloads, its rows have the columns payload (binary), media_type, charset (strings) and input,
    the number of the input whose settings hold. What a payload says of its text besides comes into the columns license,
    published_at and url where they are empty, and else into the metadata.
    """

    name: ClassVar[str] = "extract"
    columns: ClassVar[tuple[pa.Field, ...]] = ()
    rules: ClassVar[type[StrEnum]] = ExtractRule
    settings: ClassVar[type[Config]] = Config

    def __call__(self, rows: pa.RecordBatch, settings: Config) -> Outcome:
        """The texts, and no more payloads."""
        if "payload" not in rows.schema.names:
            return Outcome()
        base.load_settings()
        of_input = functools.cache(settings.of)
        texts: list[str] = rows["text"].to_pylist()
        found: list[Extracted | None] = [None] * rows.num_rows
        gone = np.zeros(rows.num_rows, bool)
        rules, causes = ([""] * rows.num_rows for _ in range(2))
        columns = [rows[name].to_pylist() for name in ("payload", "media_type", "charset", "input")]
        for row, (payload, media_type, charset, number) in enumerate(zip(*columns, strict=True)):
            if payload is None:
                continue
            try:
                found[row] = one = _extract(payload, Hints(media_type or "", charset or ""), of_input(number))
                texts[row] = _clean(one.text)
            except UnreadableError as error:
                gone[row], rules[row], causes[row] = True, error.rule, error.cause
        made = {"text": pa.array(texts, pa.string()), "payload": pa.nulls(rows.num_rows, pa.binary())}
        outcome = Outcome({**made, **_besides(rows, found)})
        if not gone.any():
            return outcome
        return Outcome(outcome.columns, Drops(gone, pa.array(rules, pa.string()), pa.array(causes, pa.string()), ""))


def _extract(payload: bytes, hints: Hints, config: Config) -> Extracted:
    extractor = base.of(hints.media_type)
    if extractor is None:
        known = ", ".join(media_type for each in base.extractors() for media_type in each.media_types)
        raise UnreadableError(ExtractRule.NO_EXTRACTOR, f"{hints.media_type or 'no media type'}; known: {known}")
    settings = None if extractor.settings is None else config.section(extractor.settings)
    return extractor.extract(payload, hints, settings)


def _clean(text: str) -> str:
    """Without lone surrogates, which are no text."""
    return text.encode(errors="replace").decode()


def _besides(rows: pa.RecordBatch, found: Sequence[Extracted | None]) -> dict[str, pa.Array]:
    """The columns that change by what payloads say besides their texts."""
    members: list[dict[str, str]] = [{} for _ in found]
    columns: dict[str, pa.Array] = {}
    for name in ("url", "license", "published_at"):
        said = [_clean(getattr(one, name)) or None if one else None for one in found]
        if not any(said):
            continue
        new = pa.array(said, pa.string())
        if name == "published_at":
            dates, bad = parse_dates(new)
            there, same = pc.or_(rows[name].is_valid(), pa.array(bad)), pc.equal(rows[name], dates)
            columns[name] = pc.coalesce(rows[name], dates)
        else:
            there, same = rows[name].is_valid(), pc.equal(rows[name], new)
            columns[name] = pc.coalesce(rows[name], new)
        other = pc.and_(pc.and_(there, pc.invert(pc.fill_null(same, False))), new.is_valid())
        for row in np.flatnonzero(other.to_numpy(zero_copy_only=False)).tolist():
            members[row][name] = str(said[row])
    for row, one in enumerate(found):
        if one:
            members[row] |= {_clean(name): _clean(value) for name, value in one.metadata.items() if value}
    if any(members):
        columns["metadata"] = pa.array(map(_with_members, rows["metadata"].to_pylist(), members), pa.string())
    return columns


def _with_members(metadata: str | None, members: dict[str, Any]) -> str | None:
    """A metadata object with some more members, as far as it has none of their names."""
    if metadata is not None:
        members = {name: value for name, value in members.items() if name not in orjson.loads(metadata)}
    if not members:
        return metadata
    more = orjson.dumps(members).decode()
    return more if metadata is None or len(metadata) == 2 else f"{metadata[:-1]},{more[1:]}"
