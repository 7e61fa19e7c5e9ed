"""Compiled loops over Arrow buffers: numba, cached, nogil, no Python objects, no Beam.

Each kernel is named after its step and has a plain-Python reference in the tests that it must equal.
"""

from malmungchi.transforms.kernels import cache

cache.settle()  # before the first kernel is decorated: numba looks for its folder then
