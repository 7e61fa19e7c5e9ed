"""A number of rows: those whose places (file and row) have the smallest hashes. To know which these are, all rows are
read once before the work begins.

Places, not ids: no two rows have the same one, so that the number is exact. It depends on the names of the files below
their inputs and on their content alone, and a larger number of rows has the smaller one in it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import pyarrow.compute as pc

from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Config
from malmungchi.schemas.work import WorkItem
from malmungchi.transforms.exchange import records
from malmungchi.transforms.formats.places import place_hashes
from malmungchi.transforms.formats.read import finished, read_item
from malmungchi.transforms.io import progress
from malmungchi.transforms.io.private import Private


def smallest(chunk: Chunk, limit: int) -> np.ndarray:
    """uint64, sorted: the hashes of the chunk's rows, at most the `limit` smallest. A file as a whole is no row."""
    rejects = chunk.rejects.filter(pc.greater(chunk.rejects["row"], 0))
    found = np.concatenate([place_hashes(chunk.rows), place_hashes(rejects)])
    found.sort()
    return found[:limit]


def _hash(item: WorkItem, config: Config, chunk_bytes: int, staging: str) -> Iterator[str]:
    name = functools.partial(records.limit_task, item.id)
    for chunk in read_item(item, config, chunk_bytes, finished(staging, name, item.stripe)):
        hashes = smallest(chunk, config.read.limit).tolist()
        records.finish(staging, name(chunk.sequence), [], {"hashes": hashes, "last": chunk.last})
        progress.report("limit", chunk.rows.num_rows, chunk.input_bytes)
        yield name(chunk.sequence)


@dataclasses.dataclass
class HashPlaces(beam.PTransform):
    """PCollection[WorkItem] -> names of the records of their chunks, with the smallest hashes of each."""

    config: Config
    chunk_bytes: int
    staging: str

    def expand(self, items: beam.PCollection) -> beam.PCollection:
        hashed = beam.FlatMap(Private(_hash, self.config, self.chunk_bytes, self.staging))
        return items | hashed.with_output_types(str)
