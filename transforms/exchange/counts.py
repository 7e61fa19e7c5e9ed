"""Counts of documents: each task leaves its own, and those of a job are their sum."""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import xxhash

# Sources, and licences, that are counted one by one, at most: a crawl may name millions. They are those whose names
# have the smallest hashes. What is among them of the whole is among them of each part where it occurs, so sums are
# exact in any order.
MOST = 4096

# The name under which all others are counted in sum.
OTHERS = "(others)"

# Fields of Counts by source, which is the last of the names in a key, or the only one; and those by licence.
_BY_SOURCE = ("rejected", "sources", "source_bytes", "dropped")
_BY_LICENSE = ("licenses", "license_bytes")


@dataclasses.dataclass(frozen=True)
class Counts:
    """What tasks count, zero where they do not. A new count is one more field here: a number, numbers by a name or a
    tuple of names, or a set of numbers. Names are "" for none."""

    kept: int = 0
    rejected: Mapping[tuple[str, str, str, str], int] = dataclasses.field(default_factory=dict)
    """By (step, rule, language, source)."""
    sources: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Of those kept, by source."""
    source_bytes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Bytes of text of those kept, by source."""
    licenses: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Of those kept, by licence."""
    license_bytes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Bytes of text of those kept, by licence."""
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

    @property
    def named(self) -> set[str]:
        """The sources that occur."""
        return _named(vars(self), _BY_SOURCE)

    def among(self, names: Collection[str]) -> Counts:
        """The same, with sources that are not among the names counted in sum."""
        return Counts(**{**vars(self), **{field: _among(getattr(self, field), names) for field in _BY_SOURCE}})

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
    """The sum of counts, however many, with at most `MOST` sources and licences one by one."""
    sums: dict[str, Any] = {
        name: Counter() if isinstance(zero, Mapping) else set() if isinstance(zero, frozenset) else 0
        for name, zero in vars(Counts()).items()
    }
    room = 4 * MOST
    for part in parts:
        for name, value in vars(part).items():
            if isinstance(value, int):
                sums[name] += value
            else:
                sums[name].update(value)  # a Counter's adds up
        if _size(sums) > room:
            _bound(sums)
            room = 2 * _size(sums) + 4 * MOST
    _bound(sums)
    for name, value in sums.items():
        sums[name] = frozenset(value) if isinstance(value, set) else value
    return Counts(**sums)


def _source(key: Any) -> str:
    """The source, or the licence, of a key."""
    return key[-1] if isinstance(key, tuple) else key


def _size(sums: Mapping[str, Any]) -> int:
    return sum(len(sums[name]) for name in _BY_SOURCE + _BY_LICENSE)


def _named(fields: Mapping[str, Any], by: Sequence[str]) -> set[str]:
    return {_source(key) for field in by for key in fields[field]}


def _among(counts: Mapping[Any, int], names: Collection[str]) -> Counter[Any]:
    """Counts by keys of which the last name is a source, those not among the names in sum."""
    found: Counter[Any] = Counter()
    for key, count in counts.items():
        if _source(key) not in names:
            key = (*key[:-1], OTHERS) if isinstance(key, tuple) else OTHERS
        found[key] += count
    return found


def _bound(sums: dict[str, Any]) -> None:
    """Leaves at most `MOST` sources and licences one by one."""
    for by in (_BY_SOURCE, _BY_LICENSE):
        names = _named(sums, by) - {OTHERS}
        if len(names) > MOST:
            kept = set(heapq.nsmallest(MOST, names, key=lambda name: (xxhash.xxh3_64_intdigest(name.encode()), name)))
            for field in by:
                sums[field] = _among(sums[field], kept)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return sorted([*key, count] if isinstance(key, tuple) else [key, count] for key, count in value.items())
    return value if isinstance(value, int) else sorted(value)


def _typed(value: Any, zero: Any) -> Any:
    if isinstance(zero, Mapping):
        return {tuple(names) if len(names) > 1 else names[0]: count for *names, count in value}
    return value if isinstance(zero, int) else frozenset(value)
