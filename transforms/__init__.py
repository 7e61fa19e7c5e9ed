"""The steps a document goes through: pure functions over chunks and arrays, and thin PTransforms over them."""

from typing import TYPE_CHECKING

from malmungchi._lazy import lazy

if TYPE_CHECKING:
    from malmungchi.transforms.dedup.fingerprint import ComputeFingerprints
    from malmungchi.transforms.exchange.stage import StageChunks
    from malmungchi.transforms.formats.read import ReadDocuments
    from malmungchi.transforms.text.language import FilterLanguage
    from malmungchi.transforms.text.normalize import NormalizeText

__all__ = [
    "ComputeFingerprints",
    "FilterLanguage",
    "NormalizeText",
    "ReadDocuments",
    "StageChunks",
]

_PLACES = {
    "ComputeFingerprints": "malmungchi.transforms.dedup.fingerprint",
    "FilterLanguage": "malmungchi.transforms.text.language",
    "NormalizeText": "malmungchi.transforms.text.normalize",
    "ReadDocuments": "malmungchi.transforms.formats.read",
    "StageChunks": "malmungchi.transforms.exchange.stage",
}

__getattr__, __dir__ = lazy(__name__, _PLACES)
