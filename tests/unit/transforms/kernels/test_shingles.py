from __future__ import annotations

import itertools
import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.exact_pairs import shingle_sets
from malmungchi.transforms.kernels.shingles import BLOCK, SHORT, fold, fold_table
from malmungchi.transforms.kernels.utf8 import string_buffers

# Where folds are not one to one: sharp s, ligatures, dotted I, final sigma, Cherokee, full width, Hangul, jamo.
TRICKY = "ßẞﬀﬃİΐΣςſŉǰꭰᏸＡｂ가힣ᄀㅋ㈎①½²٣नमस्ते𐐀𝔸𠀀\U000323af\U000e01ef\u200d \n.—-5.5~7:1 C#+👍👎<>→✓✗₩$%|─\ue0bc\uf8f7"
TEXT = st.builds(
    lambda text, times: unicodedata.normalize("NFC", text * times),
    st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(TRICKY)), max_size=60),
    st.sampled_from([1, 1, 4]),  # long ones too
)


def reference(text: str) -> str:
    """What of a text is compared, in plain Python."""
    letters = [c for c in text.casefold() if c.isalnum() or "\ue000" <= c <= "\uf8ff"]
    if len(letters) >= SHORT:
        return "".join(letters)
    out = ""
    for before, char, after in zip([*" ", *text], text, [*text[1:], " "], strict=False):
        kept = [c for c in char.casefold() if c.isalnum() or "\ue000" <= c <= "\uf8ff"]
        drawn = char == "|" or "\u2500" <= char <= "\u259f"
        if char in ".:/~-‐‑‒–—〜～":
            kept = [char] * (after.isascii() and after.isdigit())
        elif char == "#":
            kept = [char] * (any(c.isalnum() or "\ue000" <= c <= "\uf8ff" for c in before.casefold()))
        elif (unicodedata.category(char) in ("Sm", "Sc", "So") and not drawn) or char in "%‰":
            kept = [char]
        out += "".join(kept)
    return out


def codepoints(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The texts' own code points, not folded."""
    arrays = [np.frombuffer(text.encode("utf-32-le"), np.uint32) for text in texts]
    starts = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
    return np.concatenate([np.empty(0, np.uint32), *arrays]), starts


def split(values: np.ndarray, starts: np.ndarray) -> list[np.ndarray]:
    return [values[a:b] for a, b in itertools.pairwise(starts)]


@given(st.lists(TEXT, max_size=6), st.integers(0, 2))
def test_fold_is_pythons(texts: list[str], skip: int) -> None:
    column = pa.array(texts, pa.string())[skip:]
    folded = split(*fold(*string_buffers(column)))
    assert [part.tobytes().decode("utf-32-le") for part in folded] == [reference(text) for text in texts[skip:]]


def test_fold_of_every_character() -> None:
    every = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    folded, starts = fold(*string_buffers(pa.array(every, pa.string())), short=0)
    assert folded.tobytes().decode("utf-32-le") == reference("".join(every))
    folded, starts = fold(*string_buffers(pa.array(every, pa.string())))
    assert folded.tobytes().decode("utf-32-le") == "".join(map(reference, every))
    # The buffer's size rests on this.
    assert all(len(part) <= len(c.encode()) for part, c in zip(split(folded, starts), every, strict=True))


def test_fold_table_has_no_large_values() -> None:
    table, expansions = fold_table()
    assert table[ord("가")] == ord("가")
    assert len(expansions) < 1000


@settings(max_examples=60)
@given(
    st.lists(st.one_of(st.text("ab가", max_size=40), st.text("ab", min_size=BLOCK, max_size=BLOCK + 40)), max_size=5),
    st.integers(1, 64),
)
def test_shingle_sets_are_sets_of_ngrams(texts: list[str], n: int) -> None:
    meaning: dict[int, str] = {}
    for text, hashes in zip(texts, split(*shingle_sets(*codepoints(texts), n)), strict=True):
        grams = list(dict.fromkeys(text[i : i + n] for i in range(max(len(text) - n + 1, min(len(text), 1)))))
        assert len(hashes) == len(grams)
        for h, gram in zip(hashes.tolist(), grams, strict=True):
            assert h != 0
            assert meaning.setdefault(h, gram) == gram
    assert len(set(meaning.values())) == len(meaning)


def test_hashes_are_well_mixed() -> None:
    hashes, _ = shingle_sets(np.arange(0xAC00, 0xAC00 + 11172, dtype=np.uint32), np.array([0, 11172]), 5)
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 0.03
    low, high = hashes & np.uint64(0xFFF), hashes >> np.uint64(52)
    for part in (low, high):
        counts = np.bincount(part.astype(np.int64), minlength=4096)
        assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() == pytest.approx(4096, rel=0.15)
