"""Other people's `pipelines`, `transforms` and `schemas`, on the path or installed, are never taken for ours."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from tests.pipeline.test_build import digests, write
from tests.support import corpus
from tests.support.elsewhere import Environment, pack

NAMES = ("pipelines", "transforms", "schemas")

# Whoever imports it instead of ours hears of it.
STRANGER = 'raise ImportError("a stranger was imported: " + __name__)\n'

# Every module of ours can be imported, and comes from where the wheel was installed.
IMPORT_ALL = """
import importlib, pkgutil, sys
import malmungchi
names = [module.name for module in pkgutil.walk_packages(malmungchi.__path__, "malmungchi.")]
for name in names:
    if not name.endswith("__main__"):
        assert importlib.import_module(name).__file__.startswith(sys.prefix), name
assert not {"pipelines", "transforms", "schemas"} & set(sys.modules)
print(len(names))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's project with packages and a module of the names of our folders."""
    folder = tmp_path / "project"
    for name in ("pipelines", "schemas"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(STRANGER)
        (folder / name / "user.py").write_text(STRANGER)
    (folder / "transforms.py").write_text(STRANGER)
    write(folder / "in.jsonl", corpus.rows(60))
    return folder


def run(place: Environment, folder: Path, *command: object, **more: str) -> str:
    """Runs a program of an environment in a folder; what it says on stdout."""
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env={**place.variables(), **more}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("as_module", [False, True])
def test_a_project_on_the_path_is_not_taken_for_ours(
    as_module: bool, project: Path, elsewhere: Environment, tmp_path: Path
) -> None:
    program = [elsewhere.python, "-m", "malmungchi"] if as_module else [elsewhere.home / "bin" / "malmungchi"]
    build = [*program, "build", "--input", project / "in.jsonl", "--workers", 2, "--output"]
    run(elsewhere, elsewhere.away, *build, tmp_path / "undisturbed")
    run(elsewhere, project, *build, tmp_path / "out", PYTHONPATH=".")
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


def contents(place: Environment) -> dict[str, str]:
    """sha256 of each file of ours that is installed there."""
    files = [path for path in (place.packages / "malmungchi").rglob("*") if path.suffix != ".pyc" and path.is_file()]
    return {str(path.relative_to(place.packages)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_wheel_with_our_folders_names_comes_and_goes_and_leaves_ours_whole(
    project: Path, wheel: Path, tmp_path: Path
) -> None:
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "strangers"\nversion = "1"\n'
        '[tool.setuptools]\npackages = ["pipelines", "schemas"]\npy-modules = ["transforms"]\n'
    )
    strangers = pack(project, tmp_path / "dist")
    place = Environment(tmp_path, wheel)
    before = contents(place)
    modules = [name for name in before if name.endswith(".py") and name != "malmungchi/__init__.py"]

    def works() -> None:
        assert contents(place) == before
        assert int(run(place, place.away, place.python, "-c", IMPORT_ALL)) == len(modules) > 0
        said = run(place, place.away, place.home / "bin" / "malmungchi", "build", "--dry-run",
                   "--input", project / "in.jsonl", "--output", tmp_path / "out")  # fmt: skip
        assert "in.jsonl" in said

    works()
    place.pip("install", "--no-deps", "--no-index", strangers)
    assert all(any(place.packages.glob(f"{name}*")) for name in NAMES)
    works()
    place.pip("uninstall", "--yes", "strangers")
    assert not any(any(place.packages.glob(f"{name}*")) for name in NAMES)
    works()
    # The other way round: ours goes, theirs stays.
    place.pip("install", "--no-deps", "--no-index", strangers)
    place.pip("uninstall", "--yes", "malmungchi")
    assert all(any(place.packages.glob(f"{name}*")) for name in NAMES)
    assert not contents(place)
