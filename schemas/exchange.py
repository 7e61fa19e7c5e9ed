"""Rows of exchange files: what is staged, and what deduplication sends from step to step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pyarrow as pa

from malmungchi.schemas.document import DOCUMENT

CONTENT_HASH = pa.field("content_hash", pa.binary(16), nullable=False)

# The hash of a document's id: its partition, and its place in the release.
KEY = pa.field("key", pa.uint64(), nullable=False)


def staged_schema(added: Sequence[pa.Field]) -> pa.Schema:
    """Channel `rows`: documents by partition, with what the steps have added."""
    return pa.schema([*DOCUMENT, *added, CONTENT_HASH, KEY])


# A document without its text, as exact deduplication needs it. `node` is the first half of the content hash: what
# bands and components call a document, so that identical texts are one node and a million copies cost as one.
_IDENTITY = [
    pa.field("node", pa.uint64(), nullable=False),
    CONTENT_HASH,
    pa.field("ordinal", pa.uint64(), nullable=False),
    pa.field("partition", pa.int32(), nullable=False),
]

# Channel `exact`: one row a document, by range of the node; with what the order of preference looks at.
EXACT = pa.schema(
    [
        *_IDENTITY,
        pa.field("id", pa.string(), nullable=False),
        pa.field("priority", pa.int32(), nullable=False),
        pa.field("licensed", pa.bool_(), nullable=False),
        pa.field("chars", pa.int32(), nullable=False),
        pa.field("bytes", pa.int32(), nullable=False),
        pa.field("date", pa.int64()),
        DOCUMENT.field("copies"),
    ]
)


def band_schema(num_perm: int) -> pa.Schema:
    """Channel `bands`: one row a document and band, by range of the band's hash, which tells bands apart. The sketch
    holds two bits of each value of the signature, in words of 64."""
    sketch_bytes = 2 * 8 * -(-num_perm // 64)
    return pa.schema(
        [
            pa.field("hash", pa.uint64(), nullable=False),
            pa.field("node", pa.uint64(), nullable=False),
            pa.field("sketch", pa.binary(sketch_bytes), nullable=False),
        ]
    )


# Channel `edges`: a spanning forest of the candidate pairs of one range of band hashes.
EDGE = pa.schema([pa.field("a", pa.uint64(), nullable=False), pa.field("b", pa.uint64(), nullable=False)])

# Channel `members`: nodes that have candidates, by range of the node; a component is named by its smallest node.
MEMBER = pa.schema([pa.field("node", pa.uint64(), nullable=False), pa.field("component", pa.uint64(), nullable=False)])

# Channel `candidates`: documents whose near-duplicates are to be looked for, by component. Of documents with the same
# content only the preferred one is verified (`best`); the others share its fate.
CANDIDATE = pa.schema([*EXACT, MEMBER.field("component"), pa.field("best", pa.bool_(), nullable=False)])

# Channel `wanted`: documents of a partition whose text the verification of a component needs.
WANTED = pa.schema([pa.field("ordinal", pa.uint64(), nullable=False), MEMBER.field("component")])

# Channel `texts`: those texts, by component.
TEXT = pa.schema([*WANTED, pa.field("text", pa.string(), nullable=False)])

# Channel `verdicts`: by partition, documents that are dropped, or kept and stand for others.
VERDICT = pa.schema(
    [
        pa.field("ordinal", pa.uint64(), nullable=False),
        pa.field("bytes", pa.int32(), nullable=False),
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field("duplicate_count", pa.int64(), nullable=False),
        pa.field("cluster_id", pa.binary(16), nullable=False),
        pa.field("kept_id", pa.string(), nullable=False),
        pa.field("rule", pa.string()),
        pa.field("score", pa.float64()),
    ]
)

# Tasks of an exchange aim at so many bytes of the job's input each. Fine partitions make even shards, but each costs a
# segment in every chunk: beyond a count that serves small jobs they grow, up to what a task can hold.
_FINE_PARTITION_BYTES = 8 << 20
_PARTITION_BYTES = 64 << 20
_REJECT_BYTES = 256 << 20
_EXACT_BYTES = 128 << 20
_FINE_BAND_BYTES = 6 << 20
_BAND_BYTES = 64 << 20
_FINE_PARTITIONS = 64
_LARGEST_BYTES = 512 << 20

# Many partitions are a multiple of this: where shards have one to four or six of them, they have whole ones.
_DOZEN = 12

# Segments that one task writes for a channel at most. A chunk that does not write them for the last time writes fewer:
# it is small, and each of its segments costs a request.
FAN_OUT = 256
_CHUNK_SHARE = 16

# Bytes of segments that one task of a round splits further.
BUNCH_BYTES = 128 << 20


@dataclasses.dataclass(frozen=True)
class Layout:
    """Into how many parts each exchange is split, and in how many rounds. Fixed when a job is planned, from the size
    of its input."""

    partitions: int
    exact_ranges: int
    band_partitions: int
    reject_partitions: int
    fan_out: int = FAN_OUT
    bunch_bytes: int = BUNCH_BYTES

    def parts(self, channel: str) -> int:
        """Into how many partitions a channel is split in the end."""
        return {
            "exact": self.exact_ranges,
            "members": self.exact_ranges,
            "bands": self.band_partitions,
            "rejects": self.reject_partitions,
            "edges": 1,
        }.get(channel, self.partitions)

    def strides(self, channel: str) -> tuple[int, ...]:
        """How many consecutive partitions share a segment, round by round; 1 in the last, which mostly is the first."""
        strides, first = [1], self.fan_out
        while self.parts(channel) > strides[0] * first:
            strides.insert(0, strides[0] * self.fan_out)
            first = max(1, self.fan_out // _CHUNK_SHARE)
        return tuple(strides)


def layout(
    input_bytes: int, shard_bytes: int = _LARGEST_BYTES, fan_out: int = FAN_OUT, bunch_bytes: int = BUNCH_BYTES
) -> Layout:
    """The layout for about so many bytes of decompressed input, of which shards are to have so many: a shard has whole
    partitions."""

    def parts(size: int) -> int:
        return max(1, -(-input_bytes // size))

    def grown(fine: int, size: int) -> int:
        """Parts of `fine` bytes while these are few, then of `size`, then as many as one round can have, then of
        the largest bytes."""
        few = min(parts(fine), max(_FINE_PARTITIONS, parts(size)))
        return min(few, max(FAN_OUT, parts(min(_LARGEST_BYTES, shard_bytes))))

    partitions = grown(_FINE_PARTITION_BYTES, _PARTITION_BYTES)
    if partitions > FAN_OUT:
        partitions = -(-partitions // _DOZEN) * _DOZEN
    return Layout(
        partitions=partitions,
        exact_ranges=grown(_EXACT_BYTES, _EXACT_BYTES),
        band_partitions=grown(_FINE_BAND_BYTES, _BAND_BYTES),
        reject_partitions=parts(_REJECT_BYTES),
        fan_out=fan_out,
        bunch_bytes=bunch_bytes,
    )
