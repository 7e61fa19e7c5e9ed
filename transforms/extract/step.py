"""EXTRACT: texts of payloads, by their media types. Rows that have a text already pass through."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from malmungchi.transforms.extract import base
from malmungchi.transforms.extract.base import Hints, UnreadableError
from malmungchi.transforms.text.base import Drops, Outcome


class ExtractRule(StrEnum):
    """Why a payload is dropped; extractors may have rules of their own."""

    NO_EXTRACTOR = "no_extractor"
    NOT_UTF8 = "not_utf8"


class ExtractStep:
    """Makes the text of each row that has a payload, and drops rows where that is impossible.

    Where a chunk has payloads, its rows have the columns payload (binary), media_type and charset (strings).
    """

    name: ClassVar[str] = "extract"
    columns: ClassVar[tuple[pa.Field, ...]] = ()
    rules: ClassVar[type[StrEnum]] = ExtractRule
    settings: ClassVar[None] = None

    def __call__(self, rows: pa.RecordBatch, settings: Any) -> Outcome:
        """The texts, and no more payloads."""
        if "payload" not in rows.schema.names:
            return Outcome()
        texts: list[str] = rows["text"].to_pylist()
        gone = np.zeros(rows.num_rows, bool)
        rules, causes = ([""] * rows.num_rows for _ in range(2))
        payloads, types, charsets = (rows[name].to_pylist() for name in ("payload", "media_type", "charset"))
        for row, payload in enumerate(payloads):
            if payload is None:
                continue
            try:
                texts[row] = _text(payload, Hints(types[row] or "", charsets[row] or ""))
            except UnreadableError as error:
                gone[row], rules[row], causes[row] = True, error.rule, error.cause
        columns = {"text": pa.array(texts, pa.string()), "payload": pa.nulls(rows.num_rows, pa.binary())}
        if not gone.any():
            return Outcome(columns)
        return Outcome(columns, Drops(gone, pa.array(rules, pa.string()), pa.array(causes, pa.string()), ""))


def _text(payload: bytes, hints: Hints) -> str:
    extractor = base.of(hints.media_type)
    if extractor is None:
        known = ", ".join(media_type for each in base.extractors() for media_type in each.media_types)
        raise UnreadableError(ExtractRule.NO_EXTRACTOR, f"{hints.media_type or 'no media type'}; known: {known}")
    text = extractor.extract(payload, hints, None).text
    return text.encode(errors="replace").decode()  # lone surrogates are no text
