"""A sample of the rows: by hash of their ids, so that it is the same each time, and a larger one holds a smaller."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.transforms.kernels import strings
from malmungchi.transforms.kernels.utf8 import string_buffers

# Odd, so that it only exchanges hashes for others: rows of a sample are spread over all partitions, whose ranges are
# those of the hash itself. 2**64 / golden ratio (Knuth, The Art of Computer Programming, 6.4).
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def sampled(rows: pa.RecordBatch, share: float) -> pa.RecordBatch:
    """The rows whose ids have a hash in the first `share` of all hashes (above 0, at most 1). Rows without an id, which
    stand for a whole file, all stay."""
    if share >= 1 or not rows.num_rows:
        return rows
    hashes = strings.hashes(*string_buffers(pc.fill_null(rows["id"], ""))) * _SPREAD
    inside = hashes < np.uint64(int(share * 2.0**64))
    return rows.filter(pa.array(inside | rows["id"].is_null().to_numpy(zero_copy_only=False)))
