"""Malmungchi (말뭉치): raw Korean text in, deduplicated Parquet shards for model trainers out."""

from typing import TYPE_CHECKING

from malmungchi._lazy import lazy

if TYPE_CHECKING:
    from malmungchi.pipelines.job.build import build
    from malmungchi.pipelines.job.dry_run import dry_run
    from malmungchi.pipelines.job.job import Job
    from malmungchi.pipelines.plan.planner import make_plan
    from malmungchi.pipelines.release.inspect import inspect
    from malmungchi.pipelines.release.verify import verify
    from malmungchi.schemas.chunk import Chunk
    from malmungchi.schemas.config import (
        Config,
        Deduplicate,
        Execution,
        Fingerprint,
        Input,
        Language,
        Normalize,
        Read,
        Shards,
    )
    from malmungchi.schemas.errors import MalmungchiError
    from malmungchi.schemas.plan import Plan
    from malmungchi.schemas.release import Manifest
    from malmungchi.schemas.settings import ConfigError
    from malmungchi.schemas.work import InputFile, WorkItem
    from malmungchi.transforms.dedup.fingerprint import ComputeFingerprints
    from malmungchi.transforms.exchange.stage import StageChunks
    from malmungchi.transforms.formats.read import ReadDocuments
    from malmungchi.transforms.text.language import FilterLanguage
    from malmungchi.transforms.text.normalize import NormalizeText

__all__ = [
    "Chunk",
    "ComputeFingerprints",
    "Config",
    "ConfigError",
    "Deduplicate",
    "Execution",
    "FilterLanguage",
    "Fingerprint",
    "Input",
    "InputFile",
    "Job",
    "Language",
    "MalmungchiError",
    "Manifest",
    "Normalize",
    "NormalizeText",
    "Plan",
    "Read",
    "ReadDocuments",
    "Shards",
    "StageChunks",
    "WorkItem",
    "build",
    "dry_run",
    "inspect",
    "make_plan",
    "verify",
]

_PLACES = {
    "Chunk": "malmungchi.schemas.chunk",
    "ComputeFingerprints": "malmungchi.transforms.dedup.fingerprint",
    "Config": "malmungchi.schemas.config",
    "ConfigError": "malmungchi.schemas.settings",
    "Deduplicate": "malmungchi.schemas.config",
    "Execution": "malmungchi.schemas.config",
    "FilterLanguage": "malmungchi.transforms.text.language",
    "Fingerprint": "malmungchi.schemas.config",
    "Input": "malmungchi.schemas.config",
    "InputFile": "malmungchi.schemas.work",
    "Job": "malmungchi.pipelines.job.job",
    "Language": "malmungchi.schemas.config",
    "MalmungchiError": "malmungchi.schemas.errors",
    "Manifest": "malmungchi.schemas.release",
    "Normalize": "malmungchi.schemas.config",
    "NormalizeText": "malmungchi.transforms.text.normalize",
    "Plan": "malmungchi.schemas.plan",
    "Read": "malmungchi.schemas.config",
    "ReadDocuments": "malmungchi.transforms.formats.read",
    "Shards": "malmungchi.schemas.config",
    "StageChunks": "malmungchi.transforms.exchange.stage",
    "WorkItem": "malmungchi.schemas.work",
    "build": "malmungchi.pipelines.job.build",
    "dry_run": "malmungchi.pipelines.job.dry_run",
    "inspect": "malmungchi.pipelines.release.inspect",
    "make_plan": "malmungchi.pipelines.plan.planner",
    "verify": "malmungchi.pipelines.release.verify",
}

__getattr__, __dir__ = lazy(__name__, _PLACES)
