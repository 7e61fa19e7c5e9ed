"""Public names: all there, imported when first used."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PACKAGES = ["malmungchi", "malmungchi.pipelines", "malmungchi.transforms", "malmungchi.schemas"]

_IMPORT = """
import sys, time
before = set(sys.modules)
start = time.perf_counter()
import malmungchi
print(time.perf_counter() - start, *{name.partition(".")[0] for name in set(sys.modules) - before})
"""


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_what_its_module_holds(name: str) -> None:
    package = importlib.import_module(name)
    assert set(package.__all__) == package._PLACES.keys()
    assert set(package.__all__) <= set(dir(package))
    for public, module in package._PLACES.items():
        assert getattr(package, public) is getattr(importlib.import_module(module), public)


def test_the_package_holds_the_names_of_its_rooms() -> None:
    everything, *rooms = [importlib.import_module(name) for name in PACKAGES]
    assert set(everything.__all__) == {public for room in rooms for public in room.__all__}


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="module 'malmungchi' has no attribute 'biuld'"):
        importlib.import_module("malmungchi").biuld  # noqa: B018


def test_the_import_is_fast_and_loads_nothing_else() -> None:
    done = [
        subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(3)
    ]
    assert min(float(seconds) for seconds, *_ in done) < 0.05
    assert not {"apache_beam", "pyarrow", "numpy", "numba", "yaml", "fsspec"} & set(done[0])
