"""A task: work with a name, done once. Its record, written last, says that it is done and where its results are.

A task's name is its place in the staging area: the folder of its stage, and what tells it from the others there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import xxhash

from malmungchi.schemas.exchange import Layout
from malmungchi.schemas.work import Slice
from malmungchi.transforms.exchange.segments import DamagedError, Segments
from malmungchi.transforms.io import storage

# Records that sum up those of many tasks. They stand for these, so they go when one of these does.
REFINED = "tally/refine"
SIZES = "tally/sizes"

# Names in one folder at most: tasks are numbered, by one number or two, and in a folder these differ in so many bits.
_FOLDER_BITS = 14


def task_name(stage: str, leaf: str, *numbers: int) -> str:
    """Name of a task or file `leaf` of a stage that has these numbers. The first stand in the stage's own folder, where
    there are more they stand in sub-folders."""
    folders = [number >> _FOLDER_BITS // len(numbers) for number in numbers]
    return "/".join([stage, "-".join(f"{folder:06d}" for folder in folders), leaf] if any(folders) else [stage, leaf])


def cut_task(ordinal: int) -> str:
    """Name of the task that splits a file into work items."""
    return task_name("cut", f"{ordinal:08d}", ordinal)


def list_task(ordinal: int) -> str:
    """Name of the record that lists the files that are dealt out with a file."""
    return task_name("list", f"{ordinal:08d}", ordinal)


def chunk_task(item: str, sequence: int) -> str:
    """Name of the task that stages a chunk."""
    return task_name("refine", f"{item}.{sequence:06d}", *map(int, item.split("-")))


def limit_task(item: str, sequence: int) -> str:
    """Name of the record with the smallest hashes of a chunk's rows."""
    return task_name("limit", f"{item}.{sequence:06d}", *map(int, item.split("-")))


def partition_task(stage: str, partition: int) -> str:
    """Name of the task of a stage for one partition."""
    return task_name(stage, f"{partition:06d}", partition)


def split_task(channel: str, rounds: int, group: int, bunch: int) -> str:
    """Name of the task that splits a bunch of segments of a group of partitions."""
    return task_name(f"split/{channel}-{rounds}", f"{group:06d}-{bunch:06d}", group, bunch)


def sizes_task(group: int) -> str:
    """Name of the record with the sizes of a group of partitions."""
    return task_name(SIZES, f"{group:06d}", group)


def tally_task(unit: int) -> str:
    """Name of the record that sums up the chunks of a unit."""
    return task_name(REFINED, f"{unit:06d}", unit)


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


def run(
    staging: str,
    task: str,
    work: Callable[[Segments], dict[str, Any]],
    layout: Layout | None = None,
    rounds: int = 0,
) -> Record:
    """Does a task unless it is done already: `work` adds segments and returns the counts. How these are split
    `layout` says, and how many `rounds` of the exchange their rows have behind them.

    Done twice, or by two workers at once, it leaves the same bytes.
    """
    done = load(staging, task)
    if done is not None:
        return done
    uri = f"{task}.arrow"
    with storage.create(storage.join(staging, uri)) as file:
        segments = Segments(file, uri, layout, rounds)
        counts = work(segments)
    if segments.sizes:
        counts = {**counts, "sizes": segments.sizes}
    return finish(staging, task, segments.slices, counts)


def finish(staging: str, task: str, slices: list[tuple[str, int, Slice]], counts: dict[str, Any]) -> Record:
    """Writes the record: from here on the task is done."""
    places = [[channel, partition, *part[1:]] for channel, partition, part in slices]
    data = {"counts": counts, "slices": places}
    storage.write_bytes(record_uri(staging, task), orjson.dumps({"checksum": _checksum(data), "record": data}))
    return Record(task, slices, counts)


def undo(staging: str, uri: str) -> str:
    """Makes the task that wrote a staged file unfinished again, so that the next run does it; its name.

    Tasks of the same folder whose files are missing altogether are undone too: who loses one file often loses many.
    """
    folder = uri.rpartition("/")[0]
    stage = uri.split("/")[0]
    task = uri.removesuffix(".arrow")
    storage.remove(record_uri(staging, task))
    if stage == "refine":
        storage.remove(storage.join(staging, REFINED))
    storage.remove(storage.join(staging, uri))
    found = set(storage.names(storage.join(staging, folder)))
    for other in found:
        if other.endswith(".json") and other.removesuffix(".json") + ".arrow" not in found:
            storage.remove(storage.join(staging, folder, other))
    return task


def tasks(staging: str, stage: str) -> list[str]:
    """Names of the finished tasks of a stage, sorted."""
    names = storage.names(storage.join(staging, stage))
    found = [f"{stage}/{name.removesuffix('.json')}" for name in names if name.endswith(".json")]
    for name in names:
        if "." not in name:  # a sub-folder
            found += tasks(staging, f"{stage}/{name}")
    return sorted(found)


def slices(name: str, staging: str, channels: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, Slice]]]:
    """(partition, (channel, slice)) that a finished task left in some channels."""
    for channel, partition, part in need(staging, name).slices:
        if channel in channels:
            yield partition, (channel, part)
