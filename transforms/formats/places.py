"""Rows by their place, file and row, in an order that is always the same and has nothing to do with content."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.transforms.kernels import strings
from malmungchi.transforms.kernels.utf8 import string_buffers


def place_hashes(rows: pa.RecordBatch) -> np.ndarray:
    """uint64 for each row, of its file and row."""
    names = pc.binary_join_element_wise(rows["file"], rows["row"].cast(pa.string()), ":")
    return strings.hashes(*string_buffers(names))


def within(rows: pa.RecordBatch, largest: int) -> pa.RecordBatch:
    """The rows whose places have a hash of at most `largest`. What stands for a file as a whole stays."""
    if not rows.num_rows:
        return rows
    inside = place_hashes(rows) <= np.uint64(largest)
    return rows.filter(pa.array(inside | (np.asarray(rows["row"]) == 0)))
