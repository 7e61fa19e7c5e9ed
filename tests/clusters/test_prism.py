"""Builds on Prism, Beam's portable runner: job service, external worker pool and protocol are those of Flink and Spark.

The worker pool has the wheel in an environment of its own, and works in another folder.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.test_faults import QUOTING, SECRET
from tests.pipeline.test_build import digests, malmungchi, write
from tests.support import corpus
from tests.support.cluster import launch, prism, records, worker_pool
from tests.support.elsewhere import Environment, find_program

SETTINGS = ("--execution-chunk-bytes", "64KiB")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    for number in (1, 2, 3):
        write(folder / f"{number}.jsonl", corpus.rows(600, number))
    return folder


@pytest.fixture(scope="module")
def release(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the local runner makes of them."""
    output = tmp_path_factory.mktemp("local") / "out"
    malmungchi("build", "--input", inputs / "*.jsonl", "--output", output, *SETTINGS)
    return digests(output)


def arguments(inputs: Path, output: Path, server: int, pool: int) -> tuple[object, ...]:
    files = inputs / "*.jsonl" if inputs.is_dir() else inputs
    return ("--input", files, "--output", output, *SETTINGS, "--runner", "portable",
            f"--job_endpoint=localhost:{server}", f"--environment_config=localhost:{pool}")  # fmt: skip


def test_the_same_bytes_from_workers_in_another_environment(
    elsewhere: Environment, inputs: Path, release: dict[str, str], tmp_path: Path
) -> None:
    with prism(elsewhere) as (server, _), worker_pool(elsewhere) as pool:
        malmungchi("build", *arguments(inputs, tmp_path / "out", server, pool))
    assert digests(tmp_path / "out") == release
    assert "Starting worker" in (elsewhere.away / "pool.log").read_text()


def test_beams_own_way_to_start_it(inputs: Path, release: dict[str, str], tmp_path: Path) -> None:
    """The workers are threads of the launcher."""
    malmungchi("build", "--input", inputs / "*.jsonl", "--output", tmp_path / "out", *SETTINGS, "--runner=PrismRunner",
               f"--prism_location={find_program('prism')}")  # fmt: skip
    assert digests(tmp_path / "out") == release


def test_workers_without_the_wheel_are_an_error_that_says_so(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    bare = Environment(tmp_path / "bare", None)
    with prism(bare) as (server, _), worker_pool(bare) as pool:
        done = malmungchi("build", *arguments(inputs, tmp_path / "out", server, pool), check=False)
    assert done.returncode == 1
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("malmungchi: ")]
    assert "no module named 'malmungchi' where the workers run: install the wheel of malmungchi" in said
    assert "Traceback" not in done.stderr


def test_a_document_that_a_step_fails_on_stands_in_no_log(elsewhere: Environment, tmp_path: Path) -> None:
    """Beam logs the traceback of what fails on each worker, and sends it to the job server."""
    source = write(tmp_path / "in.jsonl", [{"id": "x", "text": f"{corpus.text(random.Random(1))} {SECRET}"}])
    with prism(elsewhere) as (server, _):
        (elsewhere.packages / "sitecustomize.py").write_text(QUOTING)
        try:
            with worker_pool(elsewhere) as pool:
                done = malmungchi("build", *arguments(source, tmp_path / "out", server, pool), check=False)
        finally:
            (elsewhere.packages / "sitecustomize.py").unlink()
    assert done.returncode == 1
    assert "unexpected ValueError at" in done.stderr
    logs = [path.read_text() for path in elsewhere.away.glob("*.log")]
    assert any("TaskError: unexpected ValueError at" in log for log in logs)
    for text in (done.stdout, done.stderr, *logs):
        assert SECRET not in text


def test_a_job_server_that_dies_is_an_error_and_the_job_goes_on_elsewhere(
    elsewhere: Environment, inputs: Path, release: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with prism(elsewhere) as (server, pid), worker_pool(elsewhere) as pool:
        job = launch("build", *arguments(inputs, output, server, pool))
        while records(output / "_staging", "refine") < 2:
            assert job.poll() is None, job.communicate()
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        _, said = job.communicate(timeout=60)
    assert job.returncode == 1
    assert "the job server no longer answers" in said
    assert "Traceback" not in said
    done = malmungchi("build", "--input", inputs / "*.jsonl", "--output", output, *SETTINGS)
    assert "finished tasks are kept" in done.stderr
    assert digests(output) == release
