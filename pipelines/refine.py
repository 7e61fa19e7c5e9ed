"""refine: input files -> normalised Korean documents with fingerprints, in exchange files, and rejects."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from malmungchi.schemas.plan import Plan
from malmungchi.schemas.work import Share
from malmungchi.transforms.dedup.fingerprint import ComputeFingerprints
from malmungchi.transforms.exchange.stage import StageChunks
from malmungchi.transforms.exchange.tally import TallyChunks
from malmungchi.transforms.formats.read import ReadDocuments
from malmungchi.transforms.formats.split import bundles
from malmungchi.transforms.formats.work import PlanWork
from malmungchi.transforms.text.steps import RunSteps


def refine(root: beam.Pipeline, plan: Plan, staging: str, shares: list[Share], largest: int | None = None) -> Any:
    """Puts the refine stage into a pipeline; `shares` are those of who reads, `largest` is the largest hash of a row
    that is read, if not all are."""
    config = plan.config
    return (
        root
        | "PlanWork" >> PlanWork(shares, staging, config, plan.chunk_bytes)
        | "ReadDocuments" >> ReadDocuments(config, plan.chunk_bytes, staging, largest)
        | "RunSteps" >> RunSteps(config)
        | "ComputeFingerprints" >> ComputeFingerprints(config.fingerprint)
        | "StageChunks" >> StageChunks(staging, plan.layout, config.fingerprint, config.deduplicate)
        | "TallyChunks" >> TallyChunks(bundles(plan.files, plan.chunk_bytes), staging)
    )
