"""A task: work with a name, done once. Its record, written last, says that it is done and where its results are."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import orjson
import xxhash

from schemas.work import Slice
from transforms import storage
from transforms.exchange import DamagedError, Segments

# Every folder of the staging area in which tasks leave their records.
STAGES = ("cut", "refine", "candidates", "components", "exact", "texts", "verified", "publish")

# Where cut files leave their parts, `<file>-<part>.jsonl`.
BLOCKS = "blocks"


@dataclasses.dataclass(frozen=True)
class Record:
    """What a finished task left: slices of its exchange file by channel and partition, and its counts."""

    task: str
    slices: list[tuple[str, int, Slice]]
    counts: dict[str, Any]

    def channel(self, name: str) -> Iterator[tuple[int, Slice]]:
        """(partition, slice) of one channel."""
        return ((partition, part) for channel, partition, part in self.slices if channel == name)


def record_uri(staging: str, task: str) -> str:
    """Where a task's record stands; `task` is stage/name."""
    return storage.join(staging, f"{task}.json")


def load(staging: str, task: str) -> Record | None:
    """The record of a finished task, None if it is not finished. A record that is not whole counts as none."""
    try:
        found = orjson.loads(storage.read_bytes(record_uri(staging, task)))
        data = found["record"]
        if found["checksum"] != _checksum(data):
            return None
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
        return None
    uri = f"{task}.arrow"
    slices = [(channel, partition, Slice(uri, *place)) for channel, partition, *place in data["slices"]]
    return Record(task, slices, data["counts"])


def need(staging: str, task: str) -> Record:
    """The record of a task that has been finished. Raises DamagedError if it is not there."""
    record = load(staging, task)
    if record is None:
        raise DamagedError(f"{task}.arrow", "its record is gone or damaged")
    return record


def _checksum(data: dict[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(orjson.dumps(data))


def run(staging: str, task: str, work: Callable[[Segments], dict[str, Any]]) -> Record:
    """Does a task unless it is done already: `work` adds segments and returns the counts.

    Done twice, or by two workers at once, it leaves the same bytes.
    """
    done = load(staging, task)
    if done is not None:
        return done
    uri = f"{task}.arrow"
    with storage.create(storage.join(staging, uri)) as file:
        segments = Segments(file, uri)
        counts = work(segments)
    return finish(staging, task, segments.slices, counts)


def finish(staging: str, task: str, slices: list[tuple[str, int, Slice]], counts: dict[str, Any]) -> Record:
    """Writes the record: from here on the task is done."""
    places = [[channel, partition, *part[1:]] for channel, partition, part in slices]
    data = {"counts": counts, "slices": places}
    storage.write_bytes(record_uri(staging, task), orjson.dumps({"checksum": _checksum(data), "record": data}))
    return Record(task, slices, counts)


def undo(staging: str, uri: str) -> str:
    """Makes the task that wrote a staged file unfinished again, so that the next run does it; its name.

    The tasks of its stage whose files are gone altogether go with it: whoever loses one file mostly loses many.
    """
    stage, _, name = uri.rpartition("/")
    task = f"cut/{name.split('-')[0]}" if stage == BLOCKS else uri.removesuffix(".arrow")
    storage.remove(record_uri(staging, task))
    if stage not in (BLOCKS, "cut"):  # a cut has a record only
        storage.remove(storage.join(staging, uri))
        found = set(storage.names(storage.join(staging, stage)))
        for other in found:
            if other.endswith(".json") and other.removesuffix(".json") + ".arrow" not in found:
                storage.remove(storage.join(staging, stage, other))
    return task


def tasks(staging: str, stage: str) -> list[str]:
    """Names of the finished tasks of a stage, sorted."""
    found = storage.names(storage.join(staging, stage))
    return [f"{stage}/{name.removesuffix('.json')}" for name in found if name.endswith(".json")]


def slices(name: str, staging: str, channels: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, Slice]]]:
    """(partition, (channel, slice)) that a finished task left in some channels."""
    for channel, partition, part in need(staging, name).slices:
        if channel in channels:
            yield partition, (channel, part)


@dataclasses.dataclass
class Regroup(beam.PTransform):
    """PCollection[str] of finished tasks -> their slices of some channels, grouped by partition.

    This is the shuffle of an exchange: Beam groups references, the data stays where it is.
    """

    staging: str
    channels: tuple[str, ...]

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[Any]:
        return (
            pcoll
            | "ReadRecords"
            >> beam.FlatMap(slices, self.staging, self.channels).with_output_types(tuple[int, tuple[str, Slice]])
            | "GroupSlices" >> beam.GroupByKey()
        )


# What a task of a stage does with the slices of its partition, by channel: adds segments, returns its counts.
Work = Callable[[int, dict[str, list[Slice]], Segments], dict[str, Any]]


def _run_partition(
    group: tuple[int, Iterable[tuple[str, Slice]]], staging: str, stage: str, needs: str, work: Work
) -> Iterator[str]:
    partition, members = group
    parts: dict[str, list[Slice]] = defaultdict(list)
    for channel, part in members:
        parts[channel].append(part)
    if needs not in parts:
        return
    name = f"{stage}/{partition:06d}"
    run(staging, name, lambda segments: work(partition, parts, segments))
    yield name


@dataclasses.dataclass
class RunTasks(beam.PTransform):
    """Grouped slices -> one task of a stage for each partition that has slices of the channel `needs`; its name."""

    staging: str
    stage: str
    needs: str
    work: Work

    def expand(self, pcoll: beam.PCollection[Any]) -> beam.PCollection[str]:
        return pcoll | beam.FlatMap(_run_partition, self.staging, self.stage, self.needs, self.work).with_output_types(
            str
        )
