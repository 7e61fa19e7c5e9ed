"""What tests share: builders of chunks, and the real data where it is there."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support import needs
from tests.support.once import locked, made_once

if TYPE_CHECKING:
    from tests.support.cluster import Cluster
    from tests.support.elsewhere import Environment

settings.register_profile("default", deadline=None, max_examples=100)
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of clusters take both of two cores, and strike in the middle of a stage."""
    for item in items:
        if "elsewhere" in getattr(item, "fixturenames", ()):
            item.add_marker("alone")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where something is known to be here, a test that is skipped for want of it has failed."""
    report = yield
    needs.insist(report)
    return report


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Lets no two tests that are marked so run at once, whatever pytest-xdist gives to its workers."""
    if request.node.get_closest_marker("alone") is None:
        yield
    else:
        with locked(tmp_path_factory, "alone"):
            yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real corpora and labelled sets; tests that need it skip where it is absent."""
    return needs.data_folder()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    from tests.support.elsewhere import build_wheel

    with made_once(tmp_path_factory, "wheel") as (folder, first):
        if first:
            build_wheel(folder)
        (file,) = (folder / "dist").glob("*.whl")
        return file


@pytest.fixture(scope="session")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment of its own with the wheel, its kernels compiled as the image's build does it."""
    from tests.support.elsewhere import Environment

    with made_once(tmp_path_factory, "elsewhere") as (folder, first):
        place = Environment(folder, wheel)
        if first:
            place.run("-m", "malmungchi.pipelines.process.preload")
        return place


@pytest.fixture
def cluster(elsewhere: Environment, tmp_path: Path) -> Iterator[Cluster]:
    """A Dask scheduler there, without workers yet."""
    from tests.support.cluster import Cluster
    from tests.support.elsewhere import free_port

    found = Cluster(elsewhere, tmp_path, free_port())
    try:
        found.start()
        yield found
    finally:
        found.close()


def pytest_unconfigure() -> None:
    """The command line has told the garbage collector to leave alone what is loaded, which DuckDB would call a leak."""
    gc.unfreeze()
