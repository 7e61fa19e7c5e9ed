"""deduplicate: bands and content hashes -> a verdict for each document that has a duplicate."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from schemas.plan import Plan
from transforms.candidates import FindCandidates
from transforms.exact import FindExactDuplicates
from transforms.verify import GatherTexts, VerifyCandidates


def deduplicate(root: beam.Pipeline, plan: Plan, staging: str, chunks: list[str]) -> Any:
    """Puts the deduplicate stage into a pipeline; `chunks` names the finished tasks of refine."""
    config, layout = plan.config, plan.layout
    staged = root | "Chunks" >> beam.Create(chunks).with_output_types(str)
    exact = staged
    if config.deduplicate.near:
        members = staged | "FindCandidates" >> FindCandidates(staging, layout, config.fingerprint, config.deduplicate)
        exact = (staged, members) | "WithMembers" >> beam.Flatten()
    resolved = exact | "FindExactDuplicates" >> FindExactDuplicates(staging, layout, config.deduplicate)
    if not config.deduplicate.near:
        return resolved
    texts = (staged, resolved) | "WithWanted" >> beam.Flatten() | "GatherTexts" >> GatherTexts(staging, layout)
    return (
        (resolved, texts)
        | "WithTexts" >> beam.Flatten()
        | "VerifyCandidates" >> VerifyCandidates(staging, layout, config.fingerprint, config.deduplicate)
    )


if __name__ == "__main__":
    from pipelines.cli import stage_main

    raise SystemExit(stage_main("deduplicate"))
