"""NORMALIZE: NFC, and nothing left that is not seen. Never NFKC, which destroys Korean (ㅋㅋㅠㅠ, ㈜, ㎡, ①)."""

from __future__ import annotations

import dataclasses
import unicodedata

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.chunk import Chunk
from schemas.config import Normalize
from transforms.kernels import normalize as kernel
from transforms.kernels.utf8 import string_array, string_buffers


def normalize_text(text: pa.StringArray, config: Normalize) -> pa.StringArray:
    """The cleaned column, in NFC. Doing it twice changes nothing.

    What goes: Hangul fillers outside old syllables, zero-width and directional marks (joiners inside emoji stay),
    control characters, blanks at line ends, blank lines at the edges. What is replaced: all line ends by a line
    feed, half-width jamo by compatibility jamo, ㆍ between words by a middle dot. No letter is ever removed.
    """
    data, offsets, suspect = kernel.clean(*string_buffers(text), kernel.table(**dataclasses.asdict(config)))
    column = string_array(data, offsets)
    if suspect.any():
        mask = suspect.astype(bool)
        composed = [unicodedata.normalize("NFC", value) for value in column.filter(pa.array(mask)).to_pylist()]
        column = pc.replace_with_mask(column, pa.array(mask), pa.array(composed, pa.string()))
    return column


def normalize(chunk: Chunk, config: Normalize) -> Chunk:
    """The chunk with normalized text; documents of which nothing is left go to the rejects (rule `empty`)."""
    text = normalize_text(chunk.rows["text"], config)
    chunk = chunk.with_columns([chunk.rows.schema.field("text")], [text])
    count = chunk.rows.num_rows
    return chunk.keep(
        np.diff(string_buffers(text)[1]) > 0, "normalize", pa.repeat("empty", count), pa.repeat("0", count), "1"
    )


@dataclasses.dataclass
class NormalizeText(beam.PTransform):
    """PCollection[Chunk] -> PCollection[Chunk] with normalized text."""

    config: Normalize = dataclasses.field(default_factory=Normalize)

    def expand(self, pcoll: beam.PCollection[Chunk]) -> beam.PCollection[Chunk]:
        return pcoll | beam.Map(normalize, self.config).with_output_types(Chunk)
