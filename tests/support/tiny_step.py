"""Two steps such as somebody would add: one with a column, a rule and settings, and one with none of these."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.schemas.settings import setting
from malmungchi.transforms.text.base import Drops, Outcome


@dataclasses.dataclass(frozen=True)
class Lines:
    """Documents by their lines."""

    section: ClassVar[str] = "lines"
    least: int = setting(1, "lines that a document must have")


class LinesRule(StrEnum):
    TOO_FEW = "too_few_lines"


class LinesStep:
    """Counts lines, and drops documents of too few."""

    name: ClassVar[str] = "lines"
    columns: ClassVar[tuple[pa.Field, ...]] = (pa.field("lines", pa.int32(), nullable=False),)
    rules: ClassVar[type[StrEnum]] = LinesRule
    settings: ClassVar[type[Any] | None] = Lines

    def __call__(self, rows: pa.RecordBatch, settings: Lines) -> Outcome:
        lines = pc.add(pc.count_substring(rows["text"], "\n"), 1).cast(pa.int32())
        few = np.asarray(lines) < settings.least
        return Outcome({"lines": lines}, Drops(few, LinesRule.TOO_FEW, lines.cast(pa.string()), str(settings.least)))


class NoRule(StrEnum):
    pass


class PlainStep:
    """Changes nothing."""

    name: ClassVar[str] = "plain"
    columns: ClassVar[tuple[pa.Field, ...]] = ()
    rules: ClassVar[type[StrEnum]] = NoRule
    settings: ClassVar[type[Any] | None] = None

    def __call__(self, rows: pa.RecordBatch, settings: None) -> Outcome:
        return Outcome()
