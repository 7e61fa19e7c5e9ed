"""The exact join of near-duplicates against brute force."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.exact_pairs import exact_pairs
from tests.support import corpus


def column(texts: list[str]) -> pa.StringArray:
    return pa.array([unicodedata.normalize("NFC", text) for text in texts], pa.string())


def brute_force(texts: list[str], threshold: float, n: int) -> dict[tuple[int, int], float]:
    sets = []
    for text in texts:
        folded = "".join(c for c in unicodedata.normalize("NFC", text).casefold() if c.isalnum())
        sets.append({folded[i : i + n] for i in range(max(1, len(folded) - n + 1))} if folded else set())
    found = {}
    for j, b in enumerate(sets):
        for i, a in enumerate(sets[:j]):
            if a and b and (jaccard := len(a & b) / len(a | b)) >= threshold:
                found[i, j] = jaccard
    return found


def joined(texts: list[str], threshold: float, n: int) -> dict[tuple[int, int], float]:
    found = exact_pairs([column(texts[:3]), column(texts[3:])], threshold, n)
    pairs = list(zip(found.left.tolist(), found.right.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    return dict(zip(pairs, found.jaccard.tolist(), strict=True))


@given(
    st.lists(st.text(st.sampled_from("가나다 aAß1.漢"), max_size=30), max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 30), st.text("가나다라", max_size=3)), max_size=12),
    st.sampled_from([0.1, 0.5, 0.8, 0.9, 1.0]),
    st.integers(1, 6),
)
def test_the_join_equals_brute_force(
    texts: list[str], edits: list[tuple[int, int, str]], threshold: float, n: int
) -> None:
    for which, place, word in edits:  # near copies of what is there
        if which < len(texts):
            texts = [*texts, texts[which][:place] + word + texts[which][place:]]
    assert joined(texts, threshold, n) == brute_force(texts, threshold, n)


@pytest.mark.parametrize("threshold", [0.3, 0.8])
def test_the_join_equals_brute_force_on_documents(threshold: float) -> None:
    texts = [row["text"] for row in corpus.rows(300, 5, sentences=8)]
    found = joined(texts, threshold, 5)
    assert found == brute_force(texts, threshold, 5)
    assert len(found) > 100


def test_a_similarity_of_just_the_threshold_is_a_pair() -> None:
    assert joined(["abcdefgh", "abcdefghi"], 0.8, 5) == {(0, 1): 0.8}


def test_more_pairs_than_there_was_room_for() -> None:
    assert len(joined(["같은 글입니다."] * 60, 0.8, 5)) == 60 * 59 // 2


def test_a_threshold_out_of_range_is_an_error() -> None:
    with pytest.raises(ValueError, match="threshold 0"):
        exact_pairs([column(["가"])], 0.0)
