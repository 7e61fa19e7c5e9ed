"""Chunk: dropping rows, adding columns, and the coder."""

from __future__ import annotations

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.internal import pickler

from malmungchi.schemas.chunk import Chunk, ChunkCoder
from tests.support.chunks import chunk_of


def _fields(chunk: Chunk) -> tuple[object, ...]:
    return (chunk.item, chunk.sequence, chunk.last, chunk.digest, chunk.input_bytes)


def test_a_dropped_row_moves_to_the_rejects_with_its_reason() -> None:
    chunk = chunk_of(["하나", "둘", "셋"], source=["a", "b", None])
    kept = chunk.keep(np.array([True, False, True]), "step", pa.array(["r"] * 3), pa.array(["1", "2", "3"]), "9")
    assert kept.rows["text"].to_pylist() == ["하나", "셋"]
    assert kept.rejects.to_pylist() == [
        {"file": "a.jsonl", "row": 2, "id": "doc-1", "source": "b", "url": None, "license": None, "step": "step",
         "rule": "r", "value": "2", "threshold": "9", "measured": 2.0, "bound": 9.0}
    ]  # fmt: skip
    again = kept.keep(np.array([False, True]), "later", pa.array(["q"] * 2), pa.array(["x", "y"]), "8")
    assert again.rejects["step"].to_pylist() == ["step", "later"]
    assert again.rows.num_rows + again.rejects.num_rows == 3


def test_numbers_are_those_given_or_those_that_texts_say() -> None:
    chunk = chunk_of(["하나", "둘", "셋"], url=["https://example.org/1", None, None], license=["CC0-1.0", None, None])
    gone = np.zeros(3, bool)
    said = chunk.keep(gone, "s", "r", pa.array(["-1.5", "about 3", None]), "67108864").rejects
    assert said.select(["measured", "bound"]).to_pylist() == [
        {"measured": number, "bound": 67108864.0} for number in (-1.5, None, None)
    ]
    assert said["url"].to_pylist() == ["https://example.org/1", None, None]
    assert said["license"].to_pylist() == ["CC0-1.0", None, None]
    given = chunk.keep(gone, "s", "r", "en 0.5", "x=0.3", np.array([0.5, np.nan, 0.25]), 0.3).rejects
    assert given["measured"].to_pylist() == [0.5, None, 0.25]
    assert given["bound"].to_pylist() == [0.3] * 3


def test_columns_are_added_or_replaced() -> None:
    chunk = chunk_of(["하나"]).with_columns([pa.field("n", pa.int32())], [pa.array([1], pa.int32())])
    chunk = chunk.with_columns([pa.field("n", pa.int32())], [pa.array([2], pa.int32())])
    assert chunk.rows["n"].to_pylist() == [2]


def test_the_coder_gives_back_the_chunk_without_its_parents_buffers() -> None:
    chunk = chunk_of([f"문서 {i} " * 50 for i in range(1000)])
    small = Chunk("item", 7, False, chunk.rows.slice(500, 10), chunk.rejects, "ab" * 32, 123)
    coder = beam.coders.registry.get_coder(Chunk)
    assert isinstance(coder, ChunkCoder)
    encoded = coder.encode(small)
    assert len(encoded) < chunk.rows.nbytes / 20
    back = coder.decode(encoded)
    assert _fields(back) == _fields(small)
    assert back.rows.equals(small.rows)
    assert back.rejects.equals(small.rejects)
    assert coder.encode(back) == encoded
    assert coder.estimate_size(small) > 0
    assert pickler.loads(pickler.dumps(coder)).decode(encoded).item == "item"
