"""The steps that each document goes through, and what follows from them. A new one is a file and a line in STEPS."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from typing import Any

import apache_beam as beam
import pyarrow as pa

from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Config, is_fixed, register
from malmungchi.schemas.exchange import staged_schema
from malmungchi.schemas.release import published_schema
from malmungchi.transforms.text.base import RunStep, Step, StepError, apply

# As module:class, in the order of the document's way.
STEPS = (
    "malmungchi.transforms.extract.step:ExtractStep",
    "malmungchi.transforms.text.normalize:NormalizeStep",
    "malmungchi.transforms.text.language:LanguageStep",
)


@functools.cache
def _load(place: str) -> Step:
    module, _, kind = place.partition(":")
    try:
        found: Step = getattr(importlib.import_module(module), kind)()
    except (ImportError, AttributeError) as error:
        raise StepError(f"the step {place} cannot be loaded: {error}") from error
    if found.settings not in (None, Config) and not is_fixed(found.settings):
        register(found.settings)
    return found


def steps() -> list[Step]:
    """All steps, in order. Their sections of settings are registered. Raises StepError."""
    return [_load(place) for place in STEPS]


def settings_of(step: Step, config: Config) -> Any:
    """The step's own settings, or the whole configuration if that is what it declares; None if it has none."""
    if step.settings is Config:
        return config
    return None if step.settings is None else config.section(step.settings)


def columns() -> list[pa.Field]:
    """What the steps add to a document."""
    return [field for step in steps() for field in step.columns]


def staged() -> pa.Schema:
    """Rows of documents in the staging area."""
    return staged_schema(columns())


def published() -> pa.Schema:
    """Rows of documents in a release."""
    return published_schema(columns())


def apply_steps(chunk: Chunk, config: Config) -> Chunk:
    """The chunk behind all steps."""
    return functools.reduce(lambda done, step: apply(done, step, settings_of(step, config)), steps(), chunk)


@dataclasses.dataclass
class RunSteps(beam.PTransform):
    """PCollection[Chunk] -> PCollection[Chunk], through all steps."""

    config: Config

    def expand(self, chunks: beam.PCollection[Chunk]) -> beam.PCollection[Chunk]:
        for step in steps():
            chunks |= step.name >> RunStep(step, settings_of(step, self.config))
        return chunks
