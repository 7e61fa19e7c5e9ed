"""Data that crosses steps: Arrow schemas, chunks, slices, configuration, manifest."""

from typing import TYPE_CHECKING

from malmungchi._lazy import lazy

if TYPE_CHECKING:
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

__all__ = [
    "Chunk",
    "Config",
    "ConfigError",
    "Deduplicate",
    "Execution",
    "Fingerprint",
    "Input",
    "InputFile",
    "Language",
    "MalmungchiError",
    "Manifest",
    "Normalize",
    "Plan",
    "Read",
    "Shards",
    "WorkItem",
]

_PLACES = {
    "Chunk": "malmungchi.schemas.chunk",
    "Config": "malmungchi.schemas.config",
    "ConfigError": "malmungchi.schemas.settings",
    "Deduplicate": "malmungchi.schemas.config",
    "Execution": "malmungchi.schemas.config",
    "Fingerprint": "malmungchi.schemas.config",
    "Input": "malmungchi.schemas.config",
    "InputFile": "malmungchi.schemas.work",
    "Language": "malmungchi.schemas.config",
    "MalmungchiError": "malmungchi.schemas.errors",
    "Manifest": "malmungchi.schemas.release",
    "Normalize": "malmungchi.schemas.config",
    "Plan": "malmungchi.schemas.plan",
    "Read": "malmungchi.schemas.config",
    "Shards": "malmungchi.schemas.config",
    "WorkItem": "malmungchi.schemas.work",
}

__getattr__, __dir__ = lazy(__name__, _PLACES)
