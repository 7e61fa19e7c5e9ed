"""Compiles the kernels of languages and duplicates, about one half of the whole, and leaves them in numba's cache.

`python -m malmungchi.transforms.kernels.ahead` is the second process of a first run, while the first one compiles what
a job needs before: reading, normalisation, fingerprints.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from malmungchi.transforms.kernels import candidates, components, cover, language, minhash, strings

_TEXT = "國民 가나 word <b>of</b> the day.\n".encode()


def _languages() -> None:
    data, offsets = np.frombuffer(bytearray(_TEXT), np.uint8), np.array([0, len(_TEXT)], np.int32)
    rows, table = np.zeros(1, np.int64), language.script_table()
    language.prose(data, offsets, rows, language.byte_table(), len(_TEXT))
    language.count_scripts(data, offsets, table, len(language.SCRIPTS))
    language.hangul_after_han(data, offsets, rows, table, language.hanja_table())


def _similarity() -> None:
    codepoints, starts = np.arange(8, dtype=np.uint32), np.array([0, 4, 8])
    cover.cover(codepoints, starts, np.zeros(2, np.uint64), 2, 0.5, np.zeros(2))


def _candidates() -> None:
    nodes = np.arange(2, dtype=np.uint64)
    signatures = np.zeros((2, 64), np.uint32)
    sketches = minhash.sketches(signatures)
    candidates.forest(np.zeros(2, np.uint64), nodes, sketches, 1, 64, 2)
    components.components([(nodes, nodes)])
    offsets = np.array([0, 1], np.int32)
    strings.gather(
        np.frombuffer(b"a", np.uint8), offsets[:1].astype(np.int64), np.empty(1, np.uint8), offsets[:1], offsets[1:]
    )


# The order in which a job comes to need them.
KERNELS: tuple[Callable[[], None], ...] = (_languages, _similarity, _candidates)


def main() -> None:
    """Compiles them one after the other, as long as the process that has asked for it lives."""
    parent = os.getppid()
    for kernel in KERNELS:
        if os.getppid() == parent:
            kernel()


if __name__ == "__main__":
    main()
