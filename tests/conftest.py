"""What tests share: builders of chunks, and the real data where it is there."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support import needs

if TYPE_CHECKING:
    from tests.support.cluster import Cluster
    from tests.support.elsewhere import Environment

settings.register_profile("default", deadline=None, max_examples=100)
settings.load_profile("default")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where something is known to be here, a test that is skipped for want of it has failed."""
    report = yield
    needs.insist(report)
    return report


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real corpora and labelled sets; tests that need it skip where it is absent."""
    return needs.data_folder()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    from tests.support.elsewhere import build_wheel

    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment of its own with the wheel, its kernels compiled as the image's build does it."""
    from tests.support.elsewhere import Environment

    place = Environment(tmp_path_factory.mktemp("elsewhere"), wheel)
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
