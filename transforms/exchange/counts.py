"""Counts of documents: each task leaves its own, and those of a job are their sum."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Counts:
    """What tasks count, zero where they do not. A new count is one more field here: a number, numbers by a name or a
    tuple of names, or a set of numbers. Names are "" for none."""

    kept: int = 0
    rejected: Mapping[tuple[str, str, str, str], int] = dataclasses.field(default_factory=dict)
    """By (step, rule, language, source)."""
    sources: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Of those kept, by source."""
    languages: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Of those kept, by language."""
    dropped: Mapping[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    """Duplicates of those kept, by (rule, source)."""
    clashes: int = 0
    """Documents with the id of another that comes before them."""
    stood_for: int = 0
    """Documents for which those kept stood in an earlier release, these not included."""
    reject_partitions: frozenset[int] = frozenset()
    """Partitions to which rejects have come."""

    def __add__(self, other: Counts) -> Counts:
        return total([self, other])

    @property
    def read(self) -> int:
        """Rows of the input: what is kept, and what is rejected."""
        return self.kept + sum(self.rejected.values())

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON: numbers by names become sorted rows [*names, number]."""
        return {name: _plain(value) for name, value in vars(self).items()}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Counts:
        """The counts that `to_json` made `data` from, which may hold more."""
        zero = vars(Counts())
        return Counts(**{name: _typed(data[name], zero[name]) for name in zero.keys() & data.keys()})


def total(parts: Iterable[Counts]) -> Counts:
    """The sum of counts, however many."""
    sums: dict[str, Any] = {
        name: Counter() if isinstance(zero, Mapping) else set() if isinstance(zero, frozenset) else 0
        for name, zero in vars(Counts()).items()
    }
    for part in parts:
        for name, value in vars(part).items():
            if isinstance(value, int):
                sums[name] += value
            else:
                sums[name].update(value)  # a Counter's adds up
    for name, value in sums.items():
        sums[name] = frozenset(value) if isinstance(value, set) else value
    return Counts(**sums)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return sorted([*key, count] if isinstance(key, tuple) else [key, count] for key, count in value.items())
    return value if isinstance(value, int) else sorted(value)


def _typed(value: Any, zero: Any) -> Any:
    if isinstance(zero, Mapping):
        return {tuple(names) if len(names) > 1 else names[0]: count for *names, count in value}
    return value if isinstance(zero, int) else frozenset(value)
