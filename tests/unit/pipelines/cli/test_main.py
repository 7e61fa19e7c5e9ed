"""What the command line says of errors: one line for those that a user can mend, and a bug is said to be one."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

from malmungchi import pipelines, schemas, transforms
from malmungchi.pipelines.cli import main as module
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.transforms.io.private import TRACEBACK

SECRET = "비밀문장"


def fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> int:
    def run(argv: object) -> int:
        raise error

    monkeypatch.setattr(module, "_run", run)
    return module.main([])


@pytest.mark.parametrize("error", [MalmungchiError("a.csv: mend it"), OSError("a.csv: mend it")])
def test_what_a_user_can_mend_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail(monkeypatch, error) == 1
    assert capsys.readouterr().err == "malmungchi: a.csv: mend it\n"


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, KeyError])
def test_a_bug_is_said_to_be_one_without_its_message(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail(monkeypatch, kind(SECRET)) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"malmungchi: this is a bug: unexpected {kind.__name__} at pipelines/cli/main.py:")
    assert "please report it" in said
    assert SECRET not in said
    assert said.count("\n") == 1
    monkeypatch.setenv(TRACEBACK, "1")
    assert fail(monkeypatch, kind(SECRET)) == 1
    assert SECRET in capsys.readouterr().err


def test_all_errors_of_ours_have_one_base() -> None:
    found = set()
    for package in (pipelines, schemas, transforms):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if info.name.endswith("__main__"):
                continue
            for _, kind in inspect.getmembers(importlib.import_module(info.name), inspect.isclass):
                if issubclass(kind, Exception) and kind.__module__.startswith("malmungchi."):
                    found.add(kind)
    assert MalmungchiError in found
    assert len(found) >= 18
    assert [kind for kind in found if not issubclass(kind, MalmungchiError)] == []


def test_the_program_ends_with_its_exit_code_whatever_threads_are_left() -> None:
    """A thread of another library that still holds something neither delays the end nor changes the code."""
    code = (
        "import atexit, sys, threading, time\n"
        "from malmungchi.pipelines.cli.main import command\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "atexit.register(print, 'cleaned up')\n"
        "sys.argv = ['malmungchi', *sys.argv[1:]]\n"
        "command()\n"
    )
    for words, expected in ((["formats"], 0), (["verify", "/nowhere"], 1), (["build", "--nope"], 2)):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout.splitlines()[-1]) == (expected, "cleaned up")
