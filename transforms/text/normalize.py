"""NORMALIZE: NFC, and no invisible characters left. Never NFKC, which destroys Korean (ㅋㅋㅠㅠ, ㈜, ㎡, ①)."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import unicodedata
from enum import StrEnum
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Normalize
from malmungchi.transforms.kernels import normalize as kernel
from malmungchi.transforms.kernels.utf8 import string_array, string_buffers
from malmungchi.transforms.text.base import Drops, Outcome, RunStep, apply


def normalize_text(text: pa.StringArray, config: Normalize) -> pa.StringArray:
    """The cleaned column, in NFC. Doing it twice changes nothing.

    What goes: Hangul fillers outside old syllables, zero-width and directional marks (joiners inside emoji stay),
    control characters, blanks at line ends, blank lines at the edges. What is replaced: all line ends by a line
    feed, half-width jamo by compatibility jamo, ㆍ between words by a middle dot. No letter is ever removed, and of
    marks on one letter only what is beyond the thousandth.
    """
    column, suspect = _clean(text, config)
    if suspect.any():
        mask = pa.array(suspect)
        column = pc.replace_with_mask(column, mask, _settle(text.filter(mask), config))
    return column


def _clean(text: pa.StringArray, config: Normalize) -> tuple[pa.StringArray, np.ndarray]:
    """(cleaned column, bool[rows]: which may not be in NFC, before or behind)."""
    data, offsets, suspect = kernel.clean(*string_buffers(text), kernel.table(**dataclasses.asdict(config)))
    return string_array(data, offsets), suspect.astype(bool)


def _settle(text: pa.StringArray, config: Normalize) -> pa.StringArray:
    """NFC first, since the rules look at whole characters; and in turns until nothing changes, since what they remove
    may have kept characters from composing."""
    before = _compose(text)
    while True:
        after = _compose(_clean(before, config)[0])
        if after.equals(before):
            return after
        before = after


# Marks on one letter, one behind the other: more are cut. To put them in order takes time that grows with the square of
# their number, hours for a text of nothing else; no writing has more than some ten (Unicode's Stream-Safe Text: 30).
MARKS = 1000


@functools.cache
def _marks() -> re.Pattern[str]:
    """Finds more than MARKS characters that canonical ordering moves."""
    found = [cp for cp in range(0x300, 0x20000) if unicodedata.combining(chr(cp))]
    runs = [[cp for _, cp in run] for _, run in itertools.groupby(enumerate(found), lambda pair: pair[1] - pair[0])]
    ranges = "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs)
    return re.compile(f"([{ranges}]{{{MARKS}}})[{ranges}]+")


def _compose(text: pa.StringArray) -> pa.StringArray:
    bounded = (_marks().sub(r"\1", value) if len(value) > MARKS else value for value in text.to_pylist())
    return pa.array([unicodedata.normalize("NFC", value) for value in bounded], pa.string())


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
