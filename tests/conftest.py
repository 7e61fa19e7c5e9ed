"""What tests share: builders of chunks, and the real data where it is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import settings

from schemas.chunk import DOCUMENT, REJECT, Chunk, empty

settings.register_profile("default", deadline=None, max_examples=100)
settings.load_profile("default")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real corpora and labelled sets; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("MALMUNGCHI_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "labels").is_dir():
        pytest.skip(f"no real data in {folder} (set MALMUNGCHI_DATA to where it is)")
    return folder


def documents(texts: list[str], **columns: list[Any]) -> pa.RecordBatch:
    """Document rows as a reader would yield them."""
    count = len(texts)
    rows = {
        "ordinal": list(range(1, count + 1)),
        "id": [f"doc-{i}" for i in range(count)],
        "text": texts,
        "file": ["a.jsonl"] * count,
        "row": list(range(1, count + 1)),
        **columns,
    }
    arrays = [pa.array(rows.get(field.name, [None] * count), field.type) for field in DOCUMENT]
    return pa.RecordBatch.from_arrays(arrays, schema=DOCUMENT)


def chunk_of(texts: list[str], **columns: list[Any]) -> Chunk:
    """A chunk of documents, the only one of its work item."""
    return Chunk("00000000-000000", 0, True, documents(texts, **columns), empty(REJECT))
