"""Where compiled kernels go when numba finds no place for them: a folder that nobody else can have touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from malmungchi.transforms.kernels import cache

NOBODY = 65534


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files of an account that can write nothing else."""
    locked = tmp_path / "file"
    locked.touch()  # nothing can be made below a file, even by root
    monkeypatch.setattr(cache, "_HERE", str(locked / "__pycache__"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(locked))
    monkeypatch.setenv(cache.VARIABLE, str(locked))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delitem(sys.modules, "numba", raising=False)  # its settings stay as they are
    tmp_path.chmod(0o1777)
    return tmp_path


def test_a_folder_of_this_account_among_the_temporary_files(place: Path) -> None:
    cache.settle()
    folder = place / f"malmungchi-kernels-{os.geteuid()}"
    assert os.environ[cache.VARIABLE] == str(folder)
    assert (folder.stat().st_mode & 0o777, folder.stat().st_uid) == (0o700, os.geteuid())
    cache.settle()
    assert os.environ[cache.VARIABLE] == str(folder)


def test_what_numba_finds_itself_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "home"))
    cache.settle()
    assert os.environ[cache.VARIABLE] == str(place / "file")
    assert not list(place.glob("malmungchi-kernels-*"))


@pytest.mark.parametrize("trap", ["link", "open", "file", "replaceable"])
def test_a_trap_is_not_stepped_into(trap: str, place: Path) -> None:
    folder = place / f"malmungchi-kernels-{os.geteuid()}"
    if trap == "link":
        (place / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(place / "elsewhere")
    elif trap == "open":
        folder.mkdir()
        folder.chmod(0o777)
    elif trap == "file":
        folder.touch()
    else:
        place.chmod(0o777)
    with pytest.raises(OSError, match=r"malmungchi-kernels-.*set NUMBA_CACHE_DIR to a folder that only"):
        cache.settle()


def test_another_accounts_folder_is_not_used(place: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can make the folder of another account")
    folder = place / "malmungchi-kernels-0"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(OSError, match="belongs to this account alone"):
        cache.settle()


def test_a_read_only_installation_without_a_home(wheel: Path) -> None:
    """Installed by root, run by an account that can write neither the packages nor a home."""
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to become an account without a home")
    with tempfile.TemporaryDirectory(prefix="malm-test-") as name:
        folder = Path(name)  # pytest's own is closed to other accounts
        folder.chmod(0o755)
        work = folder / "work"
        work.mkdir()
        work.chmod(0o1777)
        packages = folder / "packages"
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", packages, wheel]
        subprocess.run([*map(str, install), "--disable-pip-version-check"], check=True)
        (folder / "in.jsonl").write_text('{"text": "아침마다 우유를 배달하던 청년은 비가 와도 늦지 않았다."}\n')
        others = os.pathsep.join(path for path in sys.path if Path(path).name == "site-packages")

        def as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
            account = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
            return subprocess.run(
                [*account, sys.executable, "-P", *words],
                env={"PATH": os.environ["PATH"], "HOME": "/dev/null", "TMPDIR": str(work),
                     "PYTHONPATH": f"{packages}{os.pathsep}{others}"},
                cwd="/", capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip

        if as_nobody("-c", "import psutil").returncode:
            pytest.skip(f"other accounts cannot read the packages of {sys.executable}")
        build = ["build", "--input", str(folder / "in.jsonl"), "--output", str(work / "out")]
        done = as_nobody("-m", "malmungchi", *build)
        assert done.returncode == 0, done.stderr
        assert (work / "out" / "manifest.json").exists()
        kept = work / f"malmungchi-kernels-{NOBODY}"
        assert kept.stat().st_mode & 0o777 == 0o700
        assert list(kept.rglob("*.nbc"))
