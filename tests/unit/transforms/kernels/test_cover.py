from __future__ import annotations

import itertools
import json
import time
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malmungchi.transforms.kernels import cover as kernel
from malmungchi.transforms.kernels.candidates import forest
from malmungchi.transforms.kernels.cover import cover, cover_against
from malmungchi.transforms.kernels.minhash import (
    band_hashes,
    min_matches,
    permutations,
    signatures,
    sketches,
)
from malmungchi.transforms.kernels.shingles import fold
from malmungchi.transforms.kernels.strings import hashes
from malmungchi.transforms.kernels.utf8 import string_buffers
from tests.unit.transforms.dedup.test_candidates import roots
from tests.unit.transforms.kernels.test_shingles import codepoints

# Few letters and a base text with a few changes, so that near-duplicates at every similarity occur.
BASE = "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허고노도로모보소오조초코토포호"
CHANGE = st.tuples(st.integers(0, len(BASE)), st.integers(0, 3), st.text("가나다xyz", max_size=3))
DOCUMENT = st.one_of(
    st.text("ab", max_size=12),
    st.lists(CHANGE, max_size=3).map(
        lambda changes: "".join(
            [(text := BASE), *[text := text[:at] + new + text[at + cut :] for at, cut, new in changes]][-1:]
        )
    ),
)
DOCUMENTS = st.lists(st.tuples(DOCUMENT, st.integers(0, 2)), max_size=25)
THRESHOLD = st.sampled_from([0.05, 0.3, 0.5, 2 / 3, 0.75, 0.8, 0.9, 1.0])


def reference(
    documents: list[tuple[str, int]], n: int, threshold: float, known: list[float] | None = None
) -> tuple[list[int], list[float]]:
    sets = [{t[i : i + n] for i in range(max(len(t) - n + 1, min(len(t), 1)))} for t, _ in documents]
    keeper, score = [-1] * len(sets), list(known or [0.0] * len(sets))
    kept: list[int] = []
    for d, own in enumerate(sets):
        for k in kept:
            if documents[k][1] == documents[d][1] and own and sets[k]:
                similarity = len(own & sets[k]) / len(own | sets[k])
                if similarity >= threshold and similarity > score[d]:
                    keeper[d], score[d] = k, similarity
        if score[d] == 0:
            kept.append(d)
    return keeper, score


def arrays(documents: list[tuple[str, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return *codepoints([text for text, _ in documents]), np.array([c for _, c in documents], np.uint64)


@settings(max_examples=300, deadline=None)
@given(documents=DOCUMENTS, n=st.integers(1, 7), threshold=THRESHOLD, limit=st.sampled_from([0, 8, 1000]))
def test_cover_is_that_of_sets(documents: list[tuple[str, int]], n: int, threshold: float, limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "SMALL", limit)
        keeper, score = cover(*arrays(documents), n, threshold)
    assert (keeper.tolist(), score.tolist()) == reference(documents, n, threshold)


@settings(max_examples=100, deadline=None)
@given(
    documents=DOCUMENTS,
    cuts=st.lists(st.integers(0, 25), max_size=3),
    threshold=THRESHOLD,
    limit=st.sampled_from([0, 1000]),
)
def test_windows_give_what_one_call_gives(
    documents: list[tuple[str, int]], cuts: list[int], threshold: float, limit: int
) -> None:
    n = 3
    edges = sorted({0, len(documents), *(min(cut, len(documents)) for cut in cuts)})
    windows = [list(range(a, b)) for a, b in itertools.pairwise(edges)]
    keeper, score = np.full(len(documents), -1), np.zeros(len(documents))
    kept: list[list[int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "SMALL", limit)
        for window in windows:
            new = arrays([documents[d] for d in window])
            for earlier in kept:
                old = arrays([documents[d] for d in earlier])
                found, how = cover_against(*old, *new, n, threshold, score[window])
                for d, k, s in zip(window, found.tolist(), how.tolist(), strict=True):
                    keeper[d], score[d] = (earlier[k] if k >= 0 else keeper[d]), s
            found, how = cover(*new, n, threshold, score[window])
            for d, k, s in zip(window, found.tolist(), how.tolist(), strict=True):
                keeper[d], score[d] = (window[k] if k >= 0 else keeper[d]), s
            kept.append([d for d in window if score[d] == 0])
    assert (keeper.tolist(), score.tolist()) == reference(documents, n, threshold)


def test_known_documents_are_not_kept() -> None:
    documents = [("가나다라마", 0), ("가나다라마", 0), ("가나다라마바", 0)]
    keeper, score = cover(*arrays(documents), 2, 0.5, np.array([0.9, 0.0, 0.0]))
    assert (keeper.tolist(), score.tolist()) == ([-1, -1, 1], [0.9, 0.0, 0.8])
    assert reference(documents, 2, 0.5, [0.9, 0.0, 0.0]) == (keeper.tolist(), score.tolist())


@pytest.mark.parametrize("threshold", [0.0, 1.01, float("nan")])
def test_threshold_is_checked(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        cover(*arrays([("가", 0)]), 5, threshold)


@pytest.mark.parametrize("own", [0.4, 0.15])
def test_a_large_component_of_one_template(own: float) -> None:
    """Pages of one template, most pairs far below or just below the threshold, some planted above it."""
    docs, length, planted = 5_000, 300, 100
    state = np.random.RandomState(0)
    page = np.tile(state.randint(0xAC00, 0xD7A3, length), (docs, 1)).astype(np.uint32)
    page[:, int(length * (1 - own)) :] = state.randint(0xAC00, 0xD7A3, (docs, int(np.ceil(length * own))))
    page[docs - planted :] = page[:planted]
    page[docs - planted :, :3] = 0xAC00
    starts = np.arange(docs + 1) * length
    one = np.zeros(docs, np.uint64)
    cover(page[:20].ravel(), starts[:21], one[:20], 5, 0.8)  # compile
    started = time.process_time()
    keeper, score = cover(page.ravel(), starts, one, 5, 0.8)
    assert time.process_time() - started < 2
    assert np.flatnonzero(keeper >= 0).tolist() == list(range(docs - planted, docs))
    assert keeper[docs - planted :].tolist() == list(range(planted))
    assert (score[keeper >= 0] > 0.9).all()


def test_labelled_documents_end_to_end(real_data: Path) -> None:
    """fold → signatures → bands → forest → components → cover, judged by all pairs of true Jaccard >= 0.8."""
    folder = real_data / "labels"
    with pa.CompressedInputStream(pa.OSFile(str(folder / "neardup_dev_docs.jsonl.zst")), "zstd") as file:
        rows = [json.loads(line) for line in file.read().split(b"\n") if line.strip()]
    ids = {str(row["id"]): k for k, row in enumerate(rows)}
    texts = pa.array([unicodedata.normalize("NFC", row["text"]) for row in rows], pa.string())
    data, starts = fold(*string_buffers(texts))
    bands, per_band = 22, 5
    num_perm = bands * per_band
    signature = signatures(data, starts, 5, *permutations(num_perm, 1))
    node = hashes(data.view(np.uint8), 4 * starts)  # equal letters are one node
    edges = forest(
        band_hashes(signature, bands, per_band).ravel(),
        np.repeat(node, bands),
        np.repeat(sketches(signature), bands, axis=0),
        min_matches(num_perm, 0.8),
        num_perm,
        2048,
    )
    order = np.argsort(-np.diff(starts), kind="stable")
    size = np.diff(starts)[order]
    ends = np.concatenate([[0], np.cumsum(size)])
    walked = np.concatenate([data[starts[d] : starts[d + 1]] for d in order])
    keeper, score = cover(walked, ends, roots(edges, node)[order], 5, 0.8)
    kept = np.ones(len(rows), bool)
    kept[order[keeper >= 0]] = False
    table = pq.read_table(folder / "neardup_dev_exact_pairs.parquet").to_pydict()
    pairs = {(ids[a], ids[b]): s for a, b, s in zip(table["a"], table["b"], table["jaccard"], strict=True) if s >= 0.8}
    missed = sum(kept[a] and kept[b] for a, b in pairs)
    assert 1 - missed / len(pairs) >= 0.9995
    for d in np.flatnonzero(keeper >= 0):
        a, b = order[d], order[keeper[d]]
        assert kept[b]
        assert pairs.get((a, b), pairs.get((b, a))) == pytest.approx(score[d], abs=1e-12)
