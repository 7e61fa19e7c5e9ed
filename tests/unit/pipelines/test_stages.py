"""The table of stages holds together: whatever a stage needs, one before it gives."""

from __future__ import annotations

import dataclasses

import pytest

from malmungchi.pipelines.stages import CHANNELS, TABLE, TASK_FOLDERS, deduplication, task_counts, writers
from malmungchi.schemas.config import Config, Deduplicate
from malmungchi.schemas.exchange import Layout, layout
from malmungchi.schemas.plan import Plan

HOW = dataclasses.replace(layout(1 << 30), partitions=7, exact_ranges=5, band_partitions=3, reject_partitions=2)


@pytest.mark.parametrize("how", [HOW, layout(10**12)])
def test_a_stage_needs_what_stages_before_it_give_in_the_same_partitions(how: Layout) -> None:
    given: set[str] = set()
    for row in TABLE:
        assert set(row.needs) <= given, row.name
        assert len({how.parts(channel) for channel in row.needs}) <= 1, row.name
        given |= set(row.gives)
    assert given == set(CHANNELS)
    assert {channel for row in TABLE for channel in row.needs} == given


def test_a_name_is_one_stage_with_a_folder() -> None:
    names = [row.name for row in TABLE]
    assert len(set(names)) == len(names)
    assert set(names) - {"rejects"} <= set(TASK_FOLDERS)


def test_who_writes_a_channel() -> None:
    assert writers("verdicts") == ("exact", "verified")
    assert writers("rows", "verdicts") == ("refine", "exact", "verified")


@pytest.mark.parametrize("near", [True, False])
def test_what_is_not_asked_for_is_left_out(near: bool) -> None:
    plan = Plan(Config(deduplicate=Deduplicate(near=near)), [], 0, HOW)
    whole = {"candidates": 3, "components": 1, "exact": 5, "texts": 7, "verified": 7}
    assert task_counts(plan) == (whole if near else {"exact": 5})
    assert [row.name for row in deduplication(plan)] == list(task_counts(plan))
