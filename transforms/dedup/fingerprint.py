"""FINGERPRINT: what deduplication compares documents by, an exact hash and a MinHash signature."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import xxhash

from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Config, Fingerprint
from malmungchi.transforms.io.private import Private
from malmungchi.transforms.kernels.minhash import permutations, signatures
from malmungchi.transforms.kernels.shingles import fold
from malmungchi.transforms.kernels.utf8 import string_buffers

# Text folded at a time: 1 MiB has at most 4 MiB of code points, which fit the second-level cache. A longer document is
# folded alone.
_PART_BYTES = 1 << 20


def fields(config: Fingerprint) -> list[pa.Field]:
    """The columns that `fingerprint` adds: the content hash is XXH3 of the text; `folded_chars` counts the characters
    that shingles are made of; the signature is num_perm little-endian uint32, null for a text too short."""
    return [
        pa.field("content_hash", pa.binary(16), nullable=False),
        pa.field("folded_chars", pa.int32(), nullable=False),
        pa.field("signature", pa.binary(4 * config.num_perm)),
    ]


def parts(offsets: np.ndarray, limit: int) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of consecutive runs of documents of at most `limit` bytes, or of one longer document."""
    start = 0
    while start < len(offsets) - 1:
        end = int(np.searchsorted(offsets, np.int64(offsets[start]) + limit, "right")) - 1
        end = max(end, start + 1)
        yield start, end
        start = end


def fingerprint(chunk: Chunk, config: Fingerprint) -> Chunk:
    """Adds `fields(config)` to a chunk of documents in NFC."""
    data, offsets = string_buffers(chunk.rows.column("text"))
    a, b = permutations(config.num_perm, config.seed)
    docs = len(offsets) - 1
    digests = b"".join(xxhash.xxh3_128_digest(data.data[a:b]) for a, b in itertools.pairwise(offsets.tolist()))
    folded = np.empty(docs, np.int32)
    values = np.empty((docs, config.num_perm), np.uint32)
    for first, end in parts(offsets, _PART_BYTES):
        codepoints, starts = fold(data, offsets[first : end + 1])
        folded[first:end] = np.diff(starts)
        values[first:end] = signatures(codepoints, starts, config.ngram, a, b)
    long_enough = folded >= config.min_chars
    bitmap = pa.py_buffer(np.packbits(long_enough, bitorder="little"))
    columns = [
        pa.Array.from_buffers(pa.binary(16), docs, [None, pa.py_buffer(digests)]),
        pa.array(folded, pa.int32()),
        pa.Array.from_buffers(pa.binary(4 * config.num_perm), docs, [bitmap, pa.py_buffer(values)]),
    ]
    return chunk.with_columns(fields(config), columns)


@dataclasses.dataclass
class ComputeFingerprints(beam.PTransform):
    """Chunks in NFC → the same with `fields(config)`."""

    config: Fingerprint = dataclasses.field(default_factory=lambda: Config().fingerprint)

    def expand(self, pcoll: beam.PCollection[Chunk]) -> beam.PCollection[Chunk]:
        return pcoll | beam.Map(Private(fingerprint, self.config)).with_output_types(Chunk)
