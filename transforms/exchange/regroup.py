"""The shuffle of an exchange: Beam groups the references that tasks leave, partition by partition."""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import orjson

from malmungchi.schemas.exchange import Layout
from malmungchi.schemas.work import Slice
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.segments import Segments, in_order, split
from malmungchi.transforms.io.private import Private
from malmungchi.transforms.io.progress import report

# In pipelines, tasks travel by their names, several to an element, one on a line; and slices packed: the slices of many
# tasks in a partition are one value. A runner takes a kilobyte for each value of a group, whatever its size.
_PACKED = tuple[int, bytes]


def join_names(names: Iterable[str]) -> str:
    """Tasks as one element."""
    return "\n".join(sorted(names))


def split_names(names: str) -> list[str]:
    """The tasks of an element."""
    return names.split("\n")


def pack_slices(found: Iterable[tuple[str, Slice]]) -> bytes:
    """(channel, slice) as one value: a third of it is the same names again and again."""
    return zlib.compress(orjson.dumps([[channel, *part] for channel, part in found]), 1)


def unpack_slices(values: Iterable[bytes]) -> Iterator[tuple[str, Slice]]:
    """(channel, slice) of all values of a group."""
    return ((channel, Slice(*place)) for value in values for channel, *place in orjson.loads(zlib.decompress(value)))


def packed_slices(names: str, staging: str, channels: tuple[str, ...]) -> Iterator[tuple[int, bytes]]:
    """(partition, the slices of some channels that the tasks of an element left there)."""
    found: dict[int, list[tuple[str, Slice]]] = defaultdict(list)
    for name in split_names(names):
        for partition, place in records.slices(name, staging, channels):
            found[partition].append(place)
    for partition, places in found.items():
        yield partition, pack_slices(places)


def _bunches(group: tuple[int, Iterable[bytes]], layout: Layout, rounds: int) -> Iterator[tuple[str, list[Slice]]]:
    """Segments of one group of partitions, by the names of the tasks that split them: runs of about as many bytes."""
    number, members = group
    for channel, found in _by_channel(members).items():
        bunch: list[Slice] = []
        size = count = 0
        for part in in_order(found):
            if bunch and size + part.length > layout.bunch_bytes:
                yield records.split_task(channel, rounds, number, count), bunch
                bunch, size, count = [], 0, count + 1
            bunch.append(part)
            size += part.length
        yield records.split_task(channel, rounds, number, count), bunch


def _split(bunch: tuple[str, Iterable[list[Slice]]], staging: str, layout: Layout, rounds: int) -> str:
    name, (parts,) = bunch
    channel = name.split("/")[1].split("-")[0]

    def work(segments: Segments) -> dict[str, Any]:
        split(parts, channel, staging, segments)
        return {"rows": sum(part.rows for part in parts)}

    records.run(staging, name, work, layout, rounds)
    return name


@dataclasses.dataclass
class Settle(beam.PTransform):
    """PCollection[str] of finished tasks -> tasks that have the same rows of some channels in segments of one partition
    each. Where the exchange has one round these are the tasks themselves.

    The order of rows, as `in_order` reads them, is the same after one round or many.
    """

    staging: str
    channels: tuple[str, ...]
    layout: Layout

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[str]:
        for rounds in range(1, len(self.layout.strides(self.channels[0]))):
            pcoll = (
                pcoll
                | f"ReadRecords{rounds}"
                >> beam.FlatMap(packed_slices, self.staging, self.channels).with_output_types(_PACKED)
                | f"GroupSlices{rounds}" >> beam.GroupByKey()
                | f"Bunch{rounds}"
                >> beam.FlatMap(_bunches, self.layout, rounds).with_output_types(tuple[str, list[Slice]])
                | f"DealBunches{rounds}" >> beam.GroupByKey()
                | f"Split{rounds}"
                >> beam.Map(Private(_split, self.staging, self.layout, rounds)).with_output_types(str)
            )
        return pcoll


def _groups(names: str, staging: str, fan_out: int) -> Iterator[tuple[int, str]]:
    """Tasks by the groups of partitions whose documents they have brought, or dropped."""
    found: dict[int, list[str]] = defaultdict(list)
    for name in split_names(names):
        for group in {partition // fan_out for _, partition, *_ in records.need(staging, name).counts.get("sizes", [])}:
            found[group].append(name)
    for group, members in found.items():
        yield group, join_names(members)


def _measure(group: tuple[int, Iterable[str]], staging: str, layout: Layout) -> str:
    number, names = group
    name = records.sizes_task(number)
    if records.load(staging, name) is None:
        first = number * layout.fan_out
        sums = {channel: [[0, 0] for _ in range(first, min(first + layout.fan_out, layout.partitions))]
                for channel in ("rows", "verdicts")}  # fmt: skip
        for member in itertools.chain.from_iterable(map(split_names, filter(None, names))):
            for channel, partition, documents, size in records.need(staging, member).counts["sizes"]:
                if 0 <= partition - first < len(sums[channel]):
                    sums[channel][partition - first][0] += documents
                    sums[channel][partition - first][1] += size
        records.finish(staging, name, [], sums)
    return name


@dataclasses.dataclass
class MeasurePartitions(beam.PTransform):
    """Tasks with `rows` and `verdicts` -> the records that say how many documents and bytes of text each partition has,
    and how many of them are dropped."""

    staging: str
    layout: Layout

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[str]:
        of = (
            pcoll
            | "Settle" >> Settle(self.staging, ("rows", "verdicts"), self.layout)
            | "Groups" >> beam.FlatMap(_groups, self.staging, self.layout.fan_out).with_output_types(tuple[int, str])
        )
        numbers = range(-(-self.layout.partitions // self.layout.fan_out))
        every = pcoll.pipeline | "AllGroups" >> beam.Create(
            [(number, "") for number in numbers], reshuffle=False
        ).with_output_types(tuple[int, str])
        return (
            (of, every)
            | "WithAll" >> beam.Flatten()
            | "ByGroup" >> beam.GroupByKey()
            | "Measure" >> beam.Map(_measure, self.staging, self.layout).with_output_types(str)
        )


@dataclasses.dataclass
class Regroup(beam.PTransform):
    """PCollection[str] of finished tasks -> their slices of some channels, packed, grouped by partition.

    This is the shuffle of an exchange: Beam groups references, the data stays where it is. The channels are split into
    the same partitions. With `all`, a partition without slices has a group as well.
    """

    staging: str
    channels: tuple[str, ...]
    layout: Layout
    all: bool = False

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[Any]:
        found = (
            pcoll
            | "Settle" >> Settle(self.staging, self.channels, self.layout)
            | "ReadRecords" >> beam.FlatMap(packed_slices, self.staging, self.channels).with_output_types(_PACKED)
        )
        if self.all:
            numbers = range(self.layout.parts(self.channels[0]))
            every = (
                pcoll.pipeline
                | "Partitions" >> beam.Create(numbers, reshuffle=False).with_output_types(int)
                | "NoSlice" >> beam.Map(_without).with_output_types(_PACKED)
            )
            found = (found, every) | "WithAll" >> beam.Flatten()
        return found | "GroupSlices" >> beam.GroupByKey()


def _without(partition: int) -> tuple[int, bytes]:
    return partition, pack_slices([])


def _by_channel(values: Iterable[bytes]) -> dict[str, list[Slice]]:
    found: dict[str, list[Slice]] = defaultdict(list)
    for channel, part in unpack_slices(values):
        found[channel].append(part)
    return found


@dataclasses.dataclass
class PartitionTasks(beam.PTransform):
    """The names of a stage's tasks, one for each of so many partitions."""

    stage: str
    count: int

    def expand(self, root: beam.Pipeline) -> beam.PCollection[str]:
        numbers = root | "Partitions" >> beam.Create(range(self.count)).with_output_types(int)
        return numbers | "Name" >> beam.Map(_named, self.stage).with_output_types(str)


def _named(partition: int, stage: str) -> str:
    return records.partition_task(stage, partition)


# What a task of a stage does with the slices of its partition, by channel: adds segments, returns its counts.
Work = Callable[[int, dict[str, list[Slice]], Segments], dict[str, Any]]


def _run_partition(
    group: tuple[int, Iterable[bytes]], staging: str, stage: str, needs: str, work: Work, layout: Layout
) -> str:
    partition, parts = group[0], _by_channel(group[1])
    name = records.partition_task(stage, partition)
    records.run(staging, name, lambda segments: work(partition, parts, segments) if needs in parts else {}, layout)
    report("deduplicate", 1, sum(part.length for found in parts.values() for part in found))
    return name


@dataclasses.dataclass
class RunTasks(beam.PTransform):
    """PCollection[str] of finished tasks -> one task of a stage for each partition of their slices of some channels.

    Every partition has its task, so that the launcher knows without asking what there must be. The task of one without
    slices of the first channel has nothing to do.
    """

    staging: str
    stage: str
    channels: tuple[str, ...]
    work: Work
    layout: Layout

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[str]:
        run_partition = Private(_run_partition, self.staging, self.stage, self.channels[0], self.work, self.layout)
        return (
            pcoll
            | "Regroup" >> Regroup(self.staging, self.channels, self.layout, all=True)
            | "RunPartition" >> beam.Map(run_partition).with_output_types(str)
        )
