"""What a step of text is, and how it is applied to a chunk. `steps` lists them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Protocol

import apache_beam as beam
import numpy as np
import pyarrow as pa

from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.transforms.io.private import Private


class StepError(MalmungchiError):
    """A step that does not exist, cannot be loaded, or does not do what it declares."""


class Drops(NamedTuple):
    """Which rows go (bool), and why: a rule of the step, the value seen, and the threshold that it did not meet.

    Each is a string array over all rows, of which only those of rows that go are read, or one string for all.
    `measured` and `bound` are value and threshold as numbers, float64 over all rows (NaN: none) or one for all; without
    them, texts that are nothing but a number are read as one.
    """

    rows: np.ndarray
    rule: pa.Array | str
    value: pa.Array | str
    threshold: pa.Array | str
    measured: np.ndarray | None = None
    bound: np.ndarray | float | None = None


class Outcome(NamedTuple):
    """What a step makes of rows: columns over all of them by name, new ones or in the place of others, and drops."""

    columns: Mapping[str, pa.Array] = {}
    drops: Drops | None = None


class Step(Protocol):
    """A pure function of document rows. Neither the chunk nor the order of rows may make a difference to a row."""

    # Also the section of its settings, and the `step` of its rejects.
    name: ClassVar[str]
    # What it adds; these columns are staged and published.
    columns: ClassVar[tuple[pa.Field, ...]]
    # Why it drops rows.
    rules: ClassVar[type[StrEnum]]
    # The dataclass of its settings, None if it has none; Config if it needs the settings of others.
    settings: ClassVar[type[Any] | None]

    def __call__(self, rows: pa.RecordBatch, settings: Any) -> Outcome:
        """`rows` have the columns of DOCUMENT and those of the steps before; `settings` are its own, or None."""
        ...


def apply(chunk: Chunk, step: Step, settings: Any) -> Chunk:
    """The chunk with what a step adds, without what it drops. Raises StepError if it adds other columns than it
    declares."""
    columns, drops = step(chunk.rows, settings)
    known = {field.name: field for field in (*chunk.rows.schema, *step.columns)}
    if differ := (columns.keys() - known.keys()) | ({field.name for field in step.columns} - columns.keys()):
        raise StepError(f"step {step.name}: what it returns and what it declares differ in {', '.join(sorted(differ))}")
    chunk = chunk.with_columns([known[name] for name in columns], list(columns.values()))
    if drops is None:
        return chunk
    stay = ~drops.rows
    return chunk.keep(stay, step.name, drops.rule, drops.value, drops.threshold, drops.measured, drops.bound)


@dataclasses.dataclass
class RunStep(beam.PTransform):
    """PCollection[Chunk] -> PCollection[Chunk] with what the step adds; rows that it drops go to the rejects."""

    step: Step
    settings: Any = None

    def expand(self, chunks: beam.PCollection[Chunk]) -> beam.PCollection[Chunk]:
        return chunks | beam.Map(Private(apply, self.step, self.settings)).with_output_types(Chunk)
