"""Counts: a monoid that goes through JSON."""

from __future__ import annotations

import itertools
import random
import tracemalloc

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.transforms.exchange import counts
from malmungchi.transforms.exchange.counts import MOST, OTHERS, Counts, total

NUMBER = st.integers(1, 1000)
NAME = st.sampled_from(["", "a", "나", "jsonl"])
COUNTS = st.builds(
    Counts,
    kept=st.integers(0, 1000),
    rejected=st.dictionaries(st.tuples(NAME, NAME, NAME, NAME), NUMBER),
    sources=st.dictionaries(NAME, NUMBER),
    languages=st.dictionaries(NAME, NUMBER),
    dropped=st.dictionaries(st.tuples(NAME, NAME), NUMBER),
    clashes=st.integers(0, 1000),
    reject_partitions=st.frozensets(NUMBER),
)


@given(COUNTS, COUNTS, COUNTS)
def test_they_add_up_in_any_order_and_zero_changes_nothing(a: Counts, b: Counts, c: Counts) -> None:
    assert a + Counts() == Counts() + a == a
    assert (a + b) + c == a + (b + c) == total([c, b, a])
    assert total([]) == Counts()


@given(COUNTS, COUNTS)
def test_they_come_back_from_json_as_they_were(a: Counts, b: Counts) -> None:
    assert Counts.from_json(orjson.loads(orjson.dumps({**a.to_json(), "files": []}))) == a
    assert orjson.dumps((a + b).to_json()) == orjson.dumps((b + a).to_json())


def test_sums() -> None:
    a = Counts(kept=1, rejected={("read", "no_text", "", "s"): 2}, sources={"s": 1}, reject_partitions=frozenset({1}))
    b = Counts(kept=2, rejected={("read", "no_text", "", "s"): 3}, sources={"t": 2}, reject_partitions=frozenset({2}))
    both = a + b
    assert both.kept == 3
    assert both.read == 8
    assert both.rejected == {("read", "no_text", "", "s"): 5}
    assert both.sources == {"s": 1, "t": 2}
    assert both.reject_partitions == {1, 2}


@given(st.lists(COUNTS, max_size=8), st.randoms())
def test_sums_of_many_sources_are_the_same_in_any_order(parts: list[Counts], chance: random.Random) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "MOST", 2)
        expected = total(parts)
        mixed = chance.sample(parts, len(parts))
        at = chance.randint(0, len(parts))
        assert total([total(mixed[:at]), total(mixed[at:])]) == expected
        assert len(expected.named - {OTHERS}) <= 2
        assert expected.read == sum(part.read for part in parts)
        for name in expected.named - {OTHERS}:
            assert expected.sources.get(name, 0) == sum(part.sources.get(name, 0) for part in parts)
        # What comes out of a job later has some of the sources only, and is counted by the same names.
        some = total(Counts(sources=part.sources) for part in parts).among(expected.named)
        assert some.sources == Counts(sources=expected.sources).sources


def test_memory_is_bounded_for_millions_of_sources() -> None:
    names = (f"site-{number}.kr" for number in itertools.count())
    parts = (Counts(kept=20_000, sources=dict.fromkeys(itertools.islice(names, 20_000), 1)) for _ in range(50))
    tracemalloc.start()
    found = total(parts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    assert found.kept == sum(found.sources.values()) == 1_000_000
    assert len(found.sources) == MOST + 1
    assert len(orjson.dumps(found.to_json())) < 200_000
