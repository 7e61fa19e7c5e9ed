"""refine: input files -> normalised Korean documents with fingerprints, in exchange files, and rejects."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from malmungchi.pipelines.stages import STEPS
from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.plan import Plan
from malmungchi.schemas.work import Share
from malmungchi.transforms.exchange.items import PlanWork
from malmungchi.transforms.exchange.stage import StageChunks
from malmungchi.transforms.exchange.tally import TallyChunks
from malmungchi.transforms.formats.read import ReadDocuments
from malmungchi.transforms.io.private import Private


def refine(root: beam.Pipeline, plan: Plan, staging: str, shares: list[Share]) -> Any:
    """Puts the refine stage into a pipeline; `shares` are those of who reads."""
    config = plan.config
    chunks = (
        root
        | "PlanWork" >> PlanWork(shares, staging, config, plan.chunk_bytes)
        | "ReadDocuments" >> ReadDocuments(config, plan.chunk_bytes, staging)
    )
    for name, step in STEPS.items():
        chunks |= name >> beam.Map(Private(step, getattr(config, name))).with_output_types(Chunk)
    return (
        chunks
        | "StageChunks" >> StageChunks(staging, plan.layout, config.fingerprint, config.deduplicate)
        | "TallyChunks" >> TallyChunks(plan.files, staging)
    )
