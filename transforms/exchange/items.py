"""The work items of a job, and which of them are finished."""

from __future__ import annotations

from collections.abc import Callable

from malmungchi.schemas.work import WorkItem, work_item
from malmungchi.transforms.exchange import records


def items_of(record: records.Record) -> list[WorkItem]:
    """The work items that a finished cut gave."""
    return [work_item(item) for item in record.counts["items"]]


def finished_chunks(
    staging: str, item: WorkItem, task: Callable[[str, int], str] = records.chunk_task
) -> list[records.Record] | None:
    """The records of all chunks of an item, by the names of their tasks, None if one is missing."""
    found: list[records.Record] = []
    while not found or not found[-1].counts["last"]:
        record = records.load(staging, task(item.id, len(found)))
        if record is None:
            return None
        found.append(record)
    return found


def unfinished(staging: str, ordinal: int) -> str:
    """What of a file is not refined, in a few words; empty if it is done."""
    record = records.load(staging, records.cut_task(ordinal))
    if record is None:
        return "input"
    return next((f"item {item.id} of" for item in items_of(record) if finished_chunks(staging, item) is None), "")
