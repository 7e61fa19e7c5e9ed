"""deduplicate: bands and content hashes -> a verdict for each document that has a duplicate."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from malmungchi.pipelines.refine import Chunks
from malmungchi.schemas.plan import Plan
from malmungchi.transforms.dedup.candidates import FindCandidates
from malmungchi.transforms.dedup.exact import FindExactDuplicates
from malmungchi.transforms.dedup.verify_pairs import GatherTexts, VerifyCandidates
from malmungchi.transforms.exchange.records import MeasurePartitions


def stages(plan: Plan) -> dict[str, int]:
    """The stages of deduplication, and how many tasks each has."""
    layout = plan.layout
    if not plan.config.deduplicate.near:
        return {"exact": layout.exact_ranges}
    return {
        "candidates": layout.band_partitions,
        "components": layout.parts("edges"),
        "exact": layout.exact_ranges,
        "texts": layout.partitions,
        "verified": layout.partitions,
    }


def deduplicate(root: beam.Pipeline, plan: Plan, staging: str, tallies: list[str]) -> Any:
    """Puts the deduplicate stage into a pipeline; `tallies` names those of refine."""
    config, layout = plan.config, plan.layout
    staged = root | "Chunks" >> Chunks(tallies, staging)
    exact = staged
    if config.deduplicate.near:
        members = staged | "FindCandidates" >> FindCandidates(staging, layout, config.fingerprint, config.deduplicate)
        exact = (staged, members) | "WithMembers" >> beam.Flatten()
    resolved = exact | "FindExactDuplicates" >> FindExactDuplicates(staging, layout, config.deduplicate)
    measure = "MeasurePartitions" >> MeasurePartitions(staging, layout)
    if not config.deduplicate.near:
        return (staged, resolved) | "WithVerdicts" >> beam.Flatten() | measure
    texts = (staged, resolved) | "WithWanted" >> beam.Flatten() | "GatherTexts" >> GatherTexts(staging, layout)
    verified = (
        (resolved, texts)
        | "WithTexts" >> beam.Flatten()
        | "VerifyCandidates" >> VerifyCandidates(staging, layout, config.fingerprint, config.deduplicate)
    )
    return (staged, resolved, verified) | "WithVerdicts" >> beam.Flatten() | measure
