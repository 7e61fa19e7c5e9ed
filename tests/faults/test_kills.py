"""Builds that are killed at random moments. `python -m benchmarks.kills` does the same as often as one likes."""

from __future__ import annotations

from benchmarks.kills import kill_many


def test_builds_that_are_killed_at_random_moments_end_as_if_nothing_had_been() -> None:
    tally = kill_many(20, seed=4)
    assert sum(tally.kills.values()) == 20
    assert tally.reused
