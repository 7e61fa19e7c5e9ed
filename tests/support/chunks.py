"""Builders of chunks, as a reader would yield them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.document import DOCUMENT, REJECT, empty


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
