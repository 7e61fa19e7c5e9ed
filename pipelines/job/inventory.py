"""The inventory: what a stage must have left behind, whatever the runner says."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from malmungchi.pipelines.stages import task_counts
from malmungchi.schemas.errors import CountError, MalmungchiError
from malmungchi.schemas.plan import Plan
from malmungchi.schemas.release import File, Input
from malmungchi.schemas.work import InputFile
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.counts import Counts, total
from malmungchi.transforms.exchange.items import finished_chunks, items_of, unfinished
from malmungchi.transforms.exchange.segments import REQUESTS
from malmungchi.transforms.exchange.tally import NAMED, units
from malmungchi.transforms.formats.split import bundles
from malmungchi.transforms.io import storage
from malmungchi.transforms.shards.pack import Shard
from malmungchi.transforms.shards.write import rejects_task, shard_task

# Results of requests that are held.
_BLOCK = 1024

# What an error names of that which is missing.
_NAMED = 5


class IncompleteError(MalmungchiError):
    """Not all work of a stage is done."""


def _missing(stage: str, what: list[str]) -> IncompleteError:
    names = ", ".join(what[:_NAMED]) + (f" and {len(what) - _NAMED} more" if len(what) > _NAMED else "")
    return IncompleteError(f"{stage}: {names} not done; run the same command again to do only that")


def _load(staging: str, names: list[str]) -> Iterator[records.Record | None]:
    """Records of tasks, in order, None for one that is not finished. Requests to a store mostly wait."""
    with ThreadPoolExecutor(REQUESTS) as pool:
        for start in range(0, len(names), _BLOCK):
            yield from pool.map(records.load, itertools.repeat(staging), names[start : start + _BLOCK])


@dataclasses.dataclass(frozen=True)
class Refined:
    """What refine left: the tallies of its chunks, their number, the rows that were read, the inputs, the sum of all
    counts, and by cause the number of files that gave no document, and the names of the first of them."""

    tallies: list[str]
    chunks: int
    rows: int
    inputs: list[Input]
    counts: Counts
    barren: dict[str, tuple[int, list[str]]]


# Hashes that are held beyond those asked for.
_HELD = 1 << 20

# No hash of a row is larger.
_LARGEST = (1 << 64) - 1


def limited(plan: Plan, staging: str) -> int:
    """The largest hash of the place of a row that is read, of which `read.limit` says how many there are. Raises
    IncompleteError when a chunk has not been looked at."""
    most, found, held = plan.config.read.limit, [np.empty(0, np.uint64)], 0
    for hashes in _hashes(plan, staging):
        found.append(hashes)
        held += len(hashes)
        if held > most + _HELD:
            found, held = [np.sort(np.concatenate(found))[:most]], most
    smallest = np.sort(np.concatenate(found))[:most]
    return int(smallest[-1]) if len(smallest) == most else _LARGEST


def _hashes(plan: Plan, staging: str) -> Iterator[np.ndarray]:
    """uint64: the smallest hashes of each chunk."""
    for first, *_ in bundles(plan.files, plan.chunk_bytes):
        cut = records.load(staging, records.cut_task(first.ordinal))
        if cut is None:
            raise _missing("limit", [first.name])
        for item in items_of(cut):
            chunks = finished_chunks(staging, item, records.limit_task)
            if chunks is None:
                raise _missing("limit", [first.name])
            yield from (np.array(chunk.counts["hashes"], np.uint64) for chunk in chunks)


def refined(plan: Plan, staging: str, name: bool = True) -> Refined:
    """Raises IncompleteError when a file is not cut, or a work item not staged. It names some of what is missing, which
    takes a look at each file's records, if `name` is set."""
    together = bundles(plan.files, plan.chunk_bytes)
    starts = units(together)
    tallies = [records.tally_task(unit) for unit in range(len(starts) - 1)]
    missing: list[str] = []
    inputs: list[Input] = []
    chunks = rows = 0
    parts: list[Counts] = []
    barren: dict[str, tuple[int, list[str]]] = {}
    for unit, record in enumerate(_load(staging, tallies)):
        files = plan.files[starts[unit] : starts[unit + 1]]
        if record is None:
            if not name:
                raise _missing("refine", [tallies[unit]])
            firsts = [group[0] for group in together if starts[unit] <= group[0].ordinal < starts[unit + 1]]
            missing += _unfinished(staging, firsts, _NAMED - len(missing)) or [tallies[unit]]
            if len(missing) >= _NAMED:
                break
            continue
        counts = record.counts
        inputs += [Input(file.name, file.size, digest) for file, digest in zip(files, counts["digests"], strict=True)]
        chunks += len(counts["chunks"])
        rows += sum(count for _, count in counts["chunks"])
        parts.append(Counts.from_json(counts))
        for why, number, *some in counts["barren"]:
            before, names = barren.get(why, (0, []))
            barren[why] = before + number, [*names, *(plan.files[at].name for at in some)][:NAMED]
    if missing:
        raise _missing("refine", missing)
    return Refined(tallies, chunks, rows, inputs, total(parts), barren)


def _unfinished(staging: str, files: list[InputFile], count: int) -> list[str]:
    found = ((unfinished(staging, file.ordinal), file.name) for file in files)
    return [f"{what} {name!r}" for what, name in itertools.islice(filter(lambda item: item[0], found), count)]


@dataclasses.dataclass(frozen=True)
class Deduplicated:
    """What deduplicate left. `documents` and `bytes` are what partitions hold, `dropped` and `dropped_bytes` what of
    it has a duplicate that stays."""

    documents: np.ndarray
    bytes: np.ndarray
    dropped: np.ndarray
    dropped_bytes: np.ndarray


def deduplicated(plan: Plan, staging: str, kept: int) -> Deduplicated:
    """Raises IncompleteError when a partition of an exchange has no finished task, and CountError when partitions do
    not hold the `kept` documents of refine."""
    for stage, count in task_counts(plan).items():
        missing = {records.partition_task(stage, number) for number in range(count)} - set(
            records.tasks(staging, stage)
        )
        if missing:
            raise _missing("deduplicate", sorted(missing))
    groups = range(-(-plan.layout.partitions // plan.layout.fan_out))
    names = [records.sizes_task(group) for group in groups]
    sums: list[np.ndarray] = []
    for name, record in zip(names, _load(staging, names), strict=True):
        if record is None:
            raise _missing("deduplicate", [name])
        sums.append(np.hstack([np.array(record.counts[channel], np.int64) for channel in ("rows", "verdicts")]))
    documents, bytes_, dropped, dropped_bytes = np.concatenate(sums).T
    if documents.sum() != kept:
        raise CountError(f"{kept} documents were staged, {documents.sum()} have come to their partitions")
    return Deduplicated(documents, bytes_, dropped, dropped_bytes)


@dataclasses.dataclass(frozen=True)
class Published:
    """What publish left: its files, and the sum of all counts."""

    files: list[File]
    counts: Counts


def published(staging: str, output: str, shards: list[Shard], reject_partitions: list[int]) -> Published:
    """Raises IncompleteError when a shard or a file of rejects is missing. A task whose files are not there, or not as
    long as they were written, counts as unfinished from then on."""
    names = [shard_task(shard.index) for shard in shards]
    names += [rejects_task(index) for index in range(len(reject_partitions))]
    done = set(records.tasks(staging, "publish"))  # a new job asks the store once, not once for each file
    there = [name for name in names if name in done]
    left = dict(zip(there, _load(staging, there), strict=True))
    with ThreadPoolExecutor(REQUESTS) as pool:
        stands = list(pool.map(_stands, itertools.repeat(output), left.values()))
    for name, whole in zip(there, stands, strict=True):
        if not whole:
            records.undo(staging, f"{name}.arrow")
            left[name] = None
    found = [record for name in names if (record := left.get(name)) is not None]
    if len(found) < len(names):
        raise _missing("publish", [name for name in names if left.get(name) is None])
    files: list[File] = []
    for record in found:
        files += [File(**file) for file in record.counts["files"]]
    files.sort(key=lambda file: file.path)
    return Published(files, total(Counts.from_json(record.counts) for record in found))


def _stands(output: str, record: records.Record | None) -> bool:
    """Whether the files that a task published are there, as long as they were written."""
    return record is not None and all(
        storage.size(storage.join(output, file["path"])) == file["bytes"] for file in record.counts["files"]
    )
