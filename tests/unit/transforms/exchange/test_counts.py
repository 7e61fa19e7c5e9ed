"""Counts: a monoid that goes through JSON."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.transforms.exchange.counts import Counts, total

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
