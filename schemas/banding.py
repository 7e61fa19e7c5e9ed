"""Bands and rows of a signature, by the recall that they give.

Two documents of Jaccard similarity s agree in a value of their signatures with probability s, so they share at least
one of b bands of r values with probability 1 - (1 - s**r)**b (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets,
3.4). Of pairs that do, the sketches lose at most SKETCH_MISS; all others are verified exactly.
"""

from __future__ import annotations

import math

# Near-duplicates at the threshold that are found at least; those above it are found more often.
RECALL = 0.9995

# Share of the pairs at the threshold that the cut by sketches may lose.
SKETCH_MISS = 1e-5

MOST_BANDS = 256
MOST_ROWS = 64


def recall(threshold: float, bands: int, rows: int) -> float:
    """The share of pairs of similarity `threshold` that become candidates, at least."""
    agree = threshold**rows
    shared = 1.0 if agree >= 1 else -math.expm1(bands * math.log1p(-agree))
    return max(0.0, shared - SKETCH_MISS)


def choose(threshold: float, permutations: int, bands: int = 0, rows: int = 0) -> tuple[int, int]:
    """(bands, rows) for a signature of at most so many values; what is not 0 is taken as it is.

    Rows are as many as leave RECALL at the threshold: more of them propose fewer pairs in vain. Where even one row is
    too many, bands are as many as it takes, up to MOST_BANDS.
    """
    if bands and rows:
        return bands, rows
    if rows:
        return min(MOST_BANDS, max(1, permutations // rows)), rows
    for tried in range(min(MOST_ROWS, permutations // (bands or 1)), 0, -1):
        found = bands or min(MOST_BANDS, permutations // tried)
        if recall(threshold, found, tried) >= RECALL:
            return found, tried
    if bands:
        return bands, 1
    needed = range(max(1, permutations), MOST_BANDS + 1)
    return next((found for found in needed if recall(threshold, found, 1) >= RECALL), MOST_BANDS), 1
