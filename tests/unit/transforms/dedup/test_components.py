from __future__ import annotations

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.transforms.kernels.components import Components, components

NODE = st.one_of(st.integers(0, 20), st.sampled_from([2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))
EDGES = st.lists(st.tuples(NODE, NODE), max_size=60)


def reference(edges: list[tuple[int, int]]) -> dict[int, int]:
    groups = {node: {node} for edge in edges for node in edge}
    for a, b in edges:
        joined = groups[a] | groups[b]
        for node in joined:
            groups[node] = joined
    return {node: min(group) for node, group in groups.items()}


def arrays(edges: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([a for a, _ in edges], np.uint64), np.array([b for _, b in edges], np.uint64)


@given(EDGES, st.integers(0, 60), st.randoms(use_true_random=False))
def test_components_are_those_of_sets(edges: list[tuple[int, int]], cut: int, random: object) -> None:
    nodes, root = components([arrays(edges[:cut]), arrays(edges[cut:])])
    assert dict(zip(nodes.tolist(), root.tolist(), strict=True)) == reference(edges)
    assert nodes.tolist() == sorted(set(nodes.tolist()))
    random.shuffle(edges)  # type: ignore[attr-defined]
    again = components([arrays([(b, a) for a, b in edges])])
    assert again[0].tolist() == nodes.tolist()
    assert again[1].tolist() == root.tolist()


def test_long_chains_across_many_blocks() -> None:
    count = 300_000
    nodes = np.random.RandomState(0).permutation(count).astype(np.uint64)
    found, root = components((nodes[k : k + 50_001], nodes[k + 1 : k + 50_002]) for k in range(0, count - 1, 50_000)
                             if len(nodes[k : k + 50_001]) == len(nodes[k + 1 : k + 50_002]))  # fmt: skip
    assert len(np.unique(root)) <= 2
    assert (found == np.sort(found)).all()


def test_memory_is_at_most_32_bytes_for_each_node() -> None:
    count = 3_000_000
    state = np.random.RandomState(0)
    warm = np.arange(4, dtype=np.uint64)
    components([(warm, warm)])
    tracemalloc.start()
    trees = Components()
    for _ in range(count // 100_000):
        a = state.randint(0, 1 << 63, 100_000, dtype=np.uint64)
        trees.add(a, a)
    grown = tracemalloc.get_traced_memory()[1]
    # Counted is what is reserved; a quarter of the nodes' room may be in reserve and not resident.
    assert grown / count <= 32
    tracemalloc.reset_peak()
    nodes, _ = trees.finish()
    assert tracemalloc.get_traced_memory()[1] / count <= 32.5
    tracemalloc.stop()
    assert len(nodes) == count
