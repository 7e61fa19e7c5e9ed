from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from malmungchi.transforms.kernels.candidates import forest
from malmungchi.transforms.kernels.components import components
from malmungchi.transforms.kernels.minhash import band_hashes, min_matches, sketches

NUM_PERM = 110


def roots(edges: tuple[np.ndarray, np.ndarray], node: np.ndarray) -> np.ndarray:
    """The root of each node; a node without an edge is its own."""
    found, root = components([edges])
    at = np.minimum(np.searchsorted(found, node), max(len(found) - 1, 0))
    if not len(found):
        return node
    return np.where(found[at] == node, root[at], node)


def similar(state: np.random.RandomState, values: np.ndarray, share: float) -> np.ndarray:
    """Signatures that equal `values` in about `share` of the positions."""
    return np.where(state.rand(*values.shape) < share, values, state.randint(0, 1 << 32, values.shape, dtype=np.uint32))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), max_size=60),
    st.integers(0, 1000),
    st.integers(1, NUM_PERM),
)
def test_forest_joins_what_all_pairs_join(entries: list[tuple[int, int]], seed: int, needed: int) -> None:
    state = np.random.RandomState(seed)
    base = similar(state, np.zeros((13, NUM_PERM), np.uint32), 0.8)
    band = np.array([b for b, _ in entries], np.uint64)
    which = np.array([d for _, d in entries], np.int64)
    node, sketch = which.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15), sketches(base)[which]
    pairs = [
        (node[i], node[j])
        for i in range(len(band))
        for j in range(i)
        if band[i] == band[j] and ((base[which[i]] & 3) == (base[which[j]] & 3)).sum() >= needed
    ]
    expected = components([(np.array([a for a, _ in pairs], np.uint64), np.array([b for _, b in pairs], np.uint64))])
    edges = forest(band, node, sketch, needed, NUM_PERM, 2048)
    mine = roots(edges, np.unique(node))
    assert mine.tolist() == roots((expected[0], expected[1]), np.unique(node)).tolist()
    assert len(edges[0]) == len(mine) - len(set(mine.tolist()))
    order = state.permutation(len(band))
    for bucket in (2048, 4):
        one = forest(band, node, sketch, needed, NUM_PERM, bucket)
        other = forest(band[order], node[order], sketch[order], needed, NUM_PERM, bucket)
        assert one[0].tolist() == other[0].tolist()
        assert one[1].tolist() == other[1].tolist()


def test_large_buckets_neither_explode_nor_lose_pairs() -> None:
    """Pages that share much of a template, among them planted near-duplicates at the threshold itself."""
    count, pairs = 20_000, 1000
    state = np.random.RandomState(0)
    template = state.randint(0, 1 << 32, NUM_PERM, dtype=np.uint32)
    signature = similar(state, np.tile(template, (count, 1)), 0.55)
    signature[:pairs] = similar(state, signature[count - pairs :], 0.8)
    node = state.permutation(count).astype(np.uint64)
    sketch, needed = sketches(signature), min_matches(NUM_PERM, 0.8)
    one = np.zeros(count, np.uint64)
    forest(one[:100], node[:100], sketch[:100], needed, NUM_PERM, 16)  # compile
    started = time.process_time()
    root = roots(forest(one, node, sketch, needed, NUM_PERM, 1024), node)
    assert time.process_time() - started < 3
    assert (root[:pairs] == root[count - pairs :]).mean() >= 0.99
    # Through all bands, where a pair meets about seven times, the loss vanishes.
    bands = band_hashes(signature, 22, 5)
    meet = (bands[:pairs] == bands[count - pairs :]).any(axis=1)
    edges = forest(bands.ravel(), np.repeat(node, 22), np.repeat(sketch, 22, axis=0), needed, NUM_PERM, 256)
    root = roots(edges, node)
    assert (root[:pairs] == root[count - pairs :])[meet].mean() >= 0.999


def test_no_entries() -> None:
    empty = np.empty(0, np.uint64)
    a, b = forest(empty, empty, np.empty((0, 4), np.uint64), 76, NUM_PERM, 2048)
    assert len(a) == len(b) == 0
