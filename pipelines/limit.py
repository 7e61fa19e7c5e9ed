"""limit: which rows a job reads of which only a number is asked for; before refine, in a pipeline of its own."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from malmungchi.schemas.plan import Plan
from malmungchi.schemas.work import Share
from malmungchi.transforms.exchange import records
from malmungchi.transforms.formats.limit import HashPlaces
from malmungchi.transforms.formats.work import PlanWork


def limit(root: beam.Pipeline, plan: Plan, staging: str, shares: list[Share]) -> Any:
    """Puts the pass into a pipeline; `shares` are those of who reads."""
    return (
        root
        | "PlanWork" >> PlanWork(shares, staging, plan.config, plan.chunk_bytes, records.limit_task)
        | "HashPlaces" >> HashPlaces(plan.config, plan.chunk_bytes, staging)
    )
