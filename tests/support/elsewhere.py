"""Another environment than the checkout's: the wheel installed in it, and nothing of the checkout on its path.

Its other packages are those of the environment that runs the tests, which a .pth file adds at the end of its path. Such
a file's own folder is not searched for more of them, so the editable install of the checkout stays out.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.needs import lacks

PACKAGES = ("malmungchi", "pipelines", "transforms", "schemas")


def build_wheel(folder: Path) -> Path:
    """The wheel, built from a copy so that nothing is left behind in the checkout. Skips where that cannot be done."""
    version = importlib.metadata.version("setuptools") if importlib.util.find_spec("setuptools") else "0"
    if int(version.partition(".")[0]) < 77:
        pytest.skip(f"building the wheel needs setuptools 77, here is {version}: install requirements-dev.lock")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in (*PACKAGES, "tests", "samples"):  # the last two must stay out of it
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    return pack(source, folder / "dist")


def pack(source: Path, folder: Path) -> Path:
    """The wheel of a project, made in `folder`."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), "."]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = folder.glob("*.whl")
    return file


class Environment:
    """A virtual environment in `folder` with a wheel in it, or without ours if there is none; made unless it is there.
    `away` is a folder to work in that has nothing to do with it."""

    def __init__(self, folder: Path, wheel: Path | None) -> None:
        self.home, self.away = folder / "environment", folder / "away"
        self._cache = folder / "kernels"
        if not self.home.exists():
            self._make(wheel)
        (self.packages,) = self.home.glob("lib/python*/site-packages")

    def _make(self, wheel: Path | None) -> None:
        self.away.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.home], check=True)
        (packages,) = self.home.glob("lib/python*/site-packages")
        others = [path for path in sys.path if Path(path).name == "site-packages"]
        (packages / "others.pth").write_text("\n".join(others) + "\n")
        if wheel is not None:
            self.pip("install", "--no-deps", "--no-index", wheel)

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.home / "bin" / "python")

    def pip(self, *words: object) -> None:
        """Installs or uninstalls something there."""
        command = [sys.executable, "-m", "pip", "--python", self.python, "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, *map(str, words)], check=True)

    def variables(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """The environment variables of a process there: its programs first, and no way back to the checkout."""
        kept = {**os.environ, **(more or {})}
        return {
            **{name: value for name, value in kept.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")},
            "PATH": f"{self.home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "NUMBA_CACHE_DIR": str(self._cache),
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *command: object, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs its Python with some arguments; checked."""
        words = [self.python, *map(str, command)]
        done = subprocess.run(
            words, cwd=self.away, env=self.variables(more), capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def start(
        self, *command: object, log: Path, prefix: Sequence[str] = (), more: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts its Python with some arguments, in a process group of its own; what it says goes to `log`."""
        with log.open("ab") as file:
            return subprocess.Popen(
                [*prefix, self.python, *map(str, command)], cwd=self.away, env=self.variables(more), stdout=file,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip


def find_program(name: str) -> str:
    """Path of a program that `make NAME` builds, or the environment names; skips the test where it is absent."""
    make = ["make", "--silent", "--no-print-directory", f"where-{name}"]
    built = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    found = os.environ.get(name.upper()) or (built if Path(built).is_file() else "") or shutil.which(name) or ""
    if not found:
        lacks("go", f"no {name} here: `make {name}` builds it with Go (or set {name.upper()} to where it is)")
    return found


# Below the ports that the system gives to outgoing connections (32768 up), some for each worker of pytest-xdist.
_FIRST_PORT, _PORTS = 20_000, 1_000
_numbers = itertools.count(os.getpid())  # another run beside this one begins elsewhere


def free_port() -> int:
    """A port that nobody listens on, and that no other worker is given, nor this one soon again."""
    first = _FIRST_PORT + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) * _PORTS
    for number in itertools.islice(_numbers, _PORTS):
        port = first + number % _PORTS
        with socket.socket() as place, contextlib.suppress(OSError):
            place.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no free port from {first} on")


def until(done: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits for something to come true."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain"
        time.sleep(0.02)


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


@contextlib.contextmanager
def closing(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ends processes, and all that they have started, when the block does."""
    try:
        yield
    finally:
        for process in processes:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its group as `kill -9` does."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()
