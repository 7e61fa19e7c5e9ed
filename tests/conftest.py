"""What tests share: builders of chunks, and the real data where it is there."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import settings
from malmungchi.schemas.chunk import DOCUMENT, REJECT, Chunk, empty

if TYPE_CHECKING:
    from tests.cluster import Cluster
    from tests.elsewhere import Environment

settings.register_profile("default", deadline=None, max_examples=100)
settings.load_profile("default")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real corpora and labelled sets; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("MALMUNGCHI_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "labels").is_dir():
        pytest.skip(f"no real data in {folder} (set MALMUNGCHI_DATA to where it is)")
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    from tests.elsewhere import build_wheel

    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment of its own with the wheel, its kernels compiled as the image's build does it."""
    from tests.elsewhere import Environment

    place = Environment(tmp_path_factory.mktemp("elsewhere"), wheel)
    place.run("-m", "malmungchi.pipelines.process.preload")
    return place


@pytest.fixture
def cluster(elsewhere: Environment, tmp_path: Path) -> Iterator[Cluster]:
    """A Dask scheduler there, without workers yet."""
    from tests.cluster import Cluster
    from tests.elsewhere import free_port

    found = Cluster(elsewhere, tmp_path, free_port())
    try:
        found.start()
        yield found
    finally:
        found.close()


def documents(texts: list[str], **columns: list[Any]) -> pa.RecordBatch:
    """Document rows as a reader would yield them."""
    count = len(texts)
    rows = {
        "ordinal": list(range(1, count + 1)),
        "id": [f"doc-{i}" for i in range(count)],
        "text": texts,
        "file": ["a.jsonl"] * count,
        "row": list(range(1, count + 1)),
        **columns,
    }
    arrays = [pa.array(rows.get(field.name, [None] * count), field.type) for field in DOCUMENT]
    return pa.RecordBatch.from_arrays(arrays, schema=DOCUMENT)


def chunk_of(texts: list[str], **columns: list[Any]) -> Chunk:
    """A chunk of documents, the only one of its work item."""
    return Chunk("00000000-000000", 0, True, documents(texts, **columns), empty(REJECT))


def pytest_unconfigure() -> None:
    """The command line has told the garbage collector to leave alone what is loaded, which DuckDB would call a leak."""
    gc.unfreeze()
