"""The packages on which a release depends, and their versions here."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence

# What must agree between the launcher and its workers.
PACKAGES = (
    "malmungchi", "apache-beam", "pyarrow", "numpy", "numba", "langdetect", "datasketch", "orjson", "xxhash", "fsspec",
)  # fmt: skip


def versions(more: Sequence[str] = ()) -> dict[str, str]:
    """The versions of Python and of the packages on which a release depends, and of some more, in this environment."""
    found = {"python": platform.python_version()}
    for package in (*PACKAGES, *more):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found
