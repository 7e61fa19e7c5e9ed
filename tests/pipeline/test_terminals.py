"""The command line on any terminal, and on none: closed streams, other encodings, names that look like markup."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.test_build import digests, write
from tests.support import corpus


def run(command: str, *words: object, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Runs `malmungchi` as the shell does, with redirections behind it."""
    line = " ".join([sys.executable, "-m", "malmungchi", *(f"'{word}'" for word in words), command])
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, env={"PATH": "/usr/bin:/bin", **variables}, check=False
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = corpus.rows(30)
    rows[0] |= {"id": "smile", "text": f"{rows[0]['text']} 웃는 얼굴 😀 [/bold] :smile:", "source": "[/속보]"}
    return write(tmp_path_factory.mktemp("terminals") / "in.jsonl", rows)


@pytest.fixture(scope="module")
def release(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("release") / "out"
    assert run("", "build", "--input", source, "--output", output).returncode == 0
    return output


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("more", [[], ["--quiet"]])
def test_closed_streams_are_no_matter(
    closed: str, more: list[str], source: Path, release: Path, tmp_path: Path
) -> None:
    assert run(closed, "build", "--input", source, "--output", tmp_path / "out", *more).returncode == 0
    assert digests(tmp_path / "out") == digests(release)


@pytest.mark.parametrize("encoding", ["euc-kr", "ascii", "cp949", "latin-1"])
def test_what_a_terminal_cannot_show_is_replaced(encoding: str, release: Path) -> None:
    done = run("", "inspect", release, "--id", "smile", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert b"smile" in done.stdout


def test_what_looks_like_markup_is_shown_as_it_is(source: Path, tmp_path: Path) -> None:
    words = ["--deduplicate-priority", "[/bold],:smile:", "--workers", "0"]
    done = run("", "build", "--input", source, "--output", tmp_path / "[red]out", *words, LC_ALL="C.UTF-8")
    assert done.returncode == 0, done.stderr
    assert b"[red]out" in done.stderr
    assert b"[/bold], :smile:" in done.stderr


def test_verify_notes_what_others_left_and_does_not_mind(release: Path) -> None:
    left = [release / "data" / name for name in (".DS_Store", "._train.parquet", "Thumbs.db")]
    for path in left:
        path.touch()
    (release / "data" / ".ipynb_checkpoints").mkdir()
    try:
        done = run("", "verify", release)
        assert (done.returncode, done.stderr.count(b"note:")) == (0, 1), done.stderr
        (release / "data" / "more.parquet").touch()
        assert run("", "verify", release).returncode == 1
    finally:
        for path in (*left, release / "data" / "more.parquet"):
            path.unlink(missing_ok=True)
        (release / "data" / ".ipynb_checkpoints").rmdir()
