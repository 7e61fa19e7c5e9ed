"""The folder for temporary files: whose it is, and what becomes of those whose process is dead."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from malmungchi.pipelines.process import identity, temporary


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    temporary.folder.cache_clear()
    yield tmp_path
    temporary.folder.cache_clear()


def test_it_is_there_while_used_and_until_it_is_removed(place: Path) -> None:
    with temporary.used():
        (mine,) = place.iterdir()
        assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(mine)
        before = set(mine.iterdir())
        with temporary.used():
            assert tempfile.gettempdir() == str(mine)
        assert set(mine.iterdir()) == before
    assert tempfile.gettempdir() == str(place)
    assert os.environ.get("TMPDIR") != str(mine)
    assert mine.exists()
    temporary.remove()
    assert not list(place.iterdir())


def test_only_what_dead_processes_of_this_machine_have_left_is_removed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        left = {name: place / temporary._name(process.pid) for name, process in (("dead", dead), ("living", living))}
        left["recycled"] = place / f"{temporary._ours()}{temporary._digest(living.pid, 'another birth')[:8]}"
        with monkeypatch.context() as other:
            other.setattr(identity, "host", lambda: "another boot")
            temporary._ours.cache_clear()
            left["elsewhere"] = place / f"{temporary._ours()}01234567"
        temporary._ours.cache_clear()
        left["foreign"] = place / "malm-notes"
        dead.wait()
        for folder in left.values():
            (folder / "pymp-x").mkdir(parents=True)
        with temporary.used():
            pass
        assert {name for name, folder in left.items() if folder.exists()} == {"living", "elsewhere", "foreign"}
    finally:
        living.communicate(b"\n")
        temporary.remove()
