"""NORMALIZE: NFC, and no invisible characters left. Never NFKC, which destroys Korean (ㅋㅋㅠㅠ, ㈜, ㎡, ①)."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Normalize
from malmungchi.transforms.kernels import normalize as kernel
from malmungchi.transforms.kernels.compose import canonical, compose
from malmungchi.transforms.kernels.utf8 import string_array, string_buffers
from malmungchi.transforms.text.base import Drops, Outcome, RunStep, apply


def normalize_text(text: pa.StringArray, config: Normalize) -> pa.StringArray:
    """The cleaned column, in NFC. Doing it twice changes nothing.

    What goes: Hangul fillers outside old syllables, zero-width and directional marks (joiners inside emoji stay),
    control characters, blanks at line ends, blank lines at the edges. What is replaced: all line ends by a line
    feed, half-width jamo by compatibility jamo, ㆍ between words by a middle dot. No letter is ever removed, and of
    marks on one letter only what is beyond the thousandth. No kind of character makes a document slow: it is composed
    around the characters that need it.
    """
    column, doubt = _clean(text, config, composed=False)
    return _where(doubt > 0, column, text, config)


def _where(open_: np.ndarray, column: pa.StringArray, before: pa.StringArray, config: Normalize) -> pa.StringArray:
    """The column, in the rows `open_` with what is made of those of `before` by composing and cleaning in turns until
    nothing changes.

    NFC comes first, since the rules look at whole characters; and again behind, since what they remove may have kept
    characters from composing.
    """
    if not open_.any():
        return column
    mask = pa.array(open_)
    composed = _compose(before.filter(mask))
    cleaned, _ = _clean(composed, config, composed=True)
    moved = pc.not_equal(cleaned, composed).to_numpy(zero_copy_only=False)
    return pc.replace_with_mask(column, mask, _where(moved, composed, cleaned, config))


def _clean(text: pa.StringArray, config: Normalize, composed: bool) -> tuple[pa.StringArray, np.ndarray]:
    """(cleaned column, uint8[rows] doubt), see `kernel.clean`."""
    classes = kernel.table(**dataclasses.asdict(config))
    data, offsets, doubt = kernel.clean(*string_buffers(text), classes, kernel.singles(), composed)
    return string_array(data, offsets), doubt


def _compose(text: pa.StringArray) -> pa.StringArray:
    """The column in NFC."""
    return string_array(*compose(*string_buffers(text), canonical()))


class NormalizeRule(StrEnum):
    """Why a document is dropped."""

    EMPTY = "empty"  # nothing is left of it


class NormalizeStep:
    """Replaces the text by the normalized one; documents of which nothing is left are dropped."""

    name: ClassVar[str] = "normalize"
    columns: ClassVar[tuple[pa.Field, ...]] = ()
    rules: ClassVar[type[StrEnum]] = NormalizeRule
    settings: ClassVar[type[Any] | None] = Normalize

    def __call__(self, rows: pa.RecordBatch, settings: Normalize) -> Outcome:
        text = normalize_text(rows["text"], settings)
        empty = np.diff(string_buffers(text)[1]) == 0
        return Outcome({"text": text}, Drops(empty, NormalizeRule.EMPTY, "0", "1"))


def normalize(chunk: Chunk, config: Normalize) -> Chunk:
    """The chunk with normalized text; documents of which nothing is left go to the rejects (rule `empty`)."""
    return apply(chunk, NormalizeStep(), config)


@dataclasses.dataclass
class NormalizeText(beam.PTransform):
    """PCollection[Chunk] -> PCollection[Chunk] with normalized text."""

    config: Normalize = dataclasses.field(default_factory=Normalize)

    def expand(self, pcoll: beam.PCollection[Chunk]) -> beam.PCollection[Chunk]:
        return pcoll | RunStep(NormalizeStep(), self.config)
