"""Bands follow the threshold: enough of them that what is alike is found."""

from __future__ import annotations

import numpy as np
import pytest

from malmungchi.pipelines.plan.recall import found, in_words, warning
from malmungchi.schemas.banding import MOST_BANDS, RECALL, choose, recall
from malmungchi.schemas.config import Config, from_mapping


def config(threshold: float, **fingerprint: int) -> Config:
    return from_mapping({"deduplicate": {"threshold": threshold}, "fingerprint": fingerprint})


def test_the_default_is_22_bands_of_5() -> None:
    assert (Config().fingerprint.bands, Config().fingerprint.rows, Config().fingerprint.num_perm) == (22, 5, 110)
    assert warning(Config()) == ""


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0])
@pytest.mark.parametrize("permutations", [110, 128, 256])
def test_what_is_chosen_finds_the_pairs_at_the_threshold(threshold: float, permutations: int) -> None:
    bands, rows = choose(threshold, permutations)
    assert recall(threshold, bands, rows) >= RECALL
    assert bands * rows <= permutations or rows == 1
    # One row more would propose fewer pairs in vain, but miss too many.
    more = rows + 1
    assert more > min(64, permutations) or recall(threshold, min(MOST_BANDS, permutations // more), more) < RECALL


def test_the_recall_is_that_of_random_signatures() -> None:
    source = np.random.default_rng(5)
    for threshold, bands, rows in ((0.6, 22, 5), (0.5, 10, 2)):
        agree = source.random((200_000, bands, rows)) < threshold
        seen = np.any(np.all(agree, axis=2), axis=1).mean()
        assert recall(threshold, bands, rows) == pytest.approx(seen, abs=0.004)


def test_what_is_set_by_hand_is_told_with_its_recall() -> None:
    by_hand = config(0.6, bands=22, rows=5)
    assert (by_hand.fingerprint.bands, by_hand.fingerprint.rows) == (22, 5)
    assert found(by_hand)["recall"] == pytest.approx(0.8317, abs=1e-3)
    assert "22 bands of 5 rows find 83.15 %" in warning(by_hand)
    assert "fingerprint.bands" in warning(by_hand)
    chosen = config(0.6)
    assert warning(chosen) == ""
    assert "the threshold, 0.6" in in_words(chosen)
    # What the warning advises, done.
    assert warning(config(0.6, bands=0, rows=0)) == ""
    assert config(0.8, rows=4).fingerprint.bands == 27
    assert config(0.8, bands=30).fingerprint.rows == 3
    assert found(from_mapping({"deduplicate": {"near": False}})) == {}


def test_settings_are_the_same_after_a_plan_was_kept() -> None:
    made = config(0.6)
    assert from_mapping(made.content()) == made
