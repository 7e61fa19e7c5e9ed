"""The whole build on an object store, against a real server, also one that fails and is slow."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import corpus, s3
from tests.test_build import digests, malmungchi, write


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder whose sub-folders are the server's buckets, with inputs in one."""
    s3.find_server()
    folder = tmp_path_factory.mktemp("buckets")
    for name in ("raw", "work", "releases"):
        (folder / name).mkdir()
    write(folder / "raw" / "in" / "a.jsonl", corpus.rows(300, 1))
    rows = corpus.rows(200, 2)
    pq.write_table(pa.Table.from_pylist(rows), folder / "raw" / "in" / "b.parquet")
    return folder


@pytest.fixture(scope="module")
def port(buckets: Path) -> Iterator[int]:
    with s3.server(buckets) as port:
        yield port


@pytest.fixture(scope="module")
def release(buckets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a local build makes of the same files."""
    output = tmp_path_factory.mktemp("local") / "out"
    malmungchi("build", "--input", buckets / "raw" / "in" / "*", "--output", output)
    return output


def run(stage: str, name: str, port: int, check: bool = True, workers: int = 2) -> subprocess.CompletedProcess[str]:
    """A stage from one bucket to another, with its staging area in a third."""
    return malmungchi(
        stage, "--input", "s3://raw/in/*", "--output", f"s3://releases/{name}", "--staging", f"s3://work/{name}",
        "--workers", workers, "--execution-chunk-bytes", "64KiB", check=check, env=s3.environment(port),
    )  # fmt: skip


def left(folder: Path) -> list[Path]:
    """Objects in a folder of a bucket."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_same_release_as_locally_and_nothing_is_left(buckets: Path, release: Path, port: int) -> None:
    faults = s3.Faults()
    with s3.proxy(port, faults) as watched:
        run("build", "plain", watched)
    assert digests(buckets / "releases" / "plain") == digests(release)
    assert not left(buckets / "work")
    assert faults.seen["range"] > 0
    assert faults.seen["copy"] == 0
    assert faults.seen["POST"] == faults.seen["deletions"]  # no upload in parts
    env = s3.environment(port)
    assert "every checksum" in malmungchi("verify", "s3://releases/plain", env=env).stdout
    assert "stands for" in malmungchi("inspect", "s3://releases/plain", "--duplicates", env=env).stdout
    assert "already" in run("build", "plain", port).stderr


def test_it_goes_on_after_one_stage(buckets: Path, release: Path, port: int) -> None:
    run("refine", "resumed", port)
    assert not (buckets / "releases" / "resumed" / "manifest.json").exists()
    assert "finished tasks are kept" in run("build", "resumed", port).stderr
    assert digests(buckets / "releases" / "resumed") == digests(release)
    assert not left(buckets / "work")


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("errors", s3.Faults(error500=0.05, error503=0.05, seed=1)),
        ("dropped", s3.Faults(cut=0.04, drop=0.04, seed=2)),
        ("slow", s3.Faults(delay=0.05)),
    ],
)
def test_a_bad_server_costs_time_but_nothing_else(
    name: str, faults: s3.Faults, buckets: Path, release: Path, port: int
) -> None:
    with s3.proxy(port, faults) as bad:
        run("build", name, bad)
    assert name == "slow" or sum(faults.seen.values()) > faults.seen["pass"]
    assert digests(buckets / "releases" / name) == digests(release)
    assert not left(buckets / "work")


@pytest.mark.parametrize("faults", [s3.Faults(error503=1.0), s3.Faults(drop=1.0)], ids=["refuses", "drops"])
def test_a_server_that_only_fails_is_an_error_that_says_what_to_do(faults: s3.Faults, port: int) -> None:
    start = time.monotonic()
    with s3.proxy(port, faults) as dead:
        done = run("build", "dead", dead, check=False)
    assert time.monotonic() - start < 90
    assert faults.seen["pass"] == 0 < sum(faults.seen.values())
    assert done.returncode == 1
    assert "s3://raw/in" in done.stderr
    assert "start the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert s3.SECRET not in done.stderr + done.stdout
    assert s3.KEY not in done.stderr + done.stdout


def test_a_server_that_dies_on_the_way_stops_the_job_which_then_goes_on(
    buckets: Path, release: Path, port: int
) -> None:
    run("refine", "dies", port)
    before = {
        path: hashlib.sha256(path.read_bytes()).hexdigest() for path in left(buckets / "work" / "dies" / "refine")
    }
    faults = s3.Faults()
    with s3.proxy(port, faults) as bad:
        command = malmungchi_in_background("dies", bad)
        while faults.seen["PUT"] < 8 and command.poll() is None:
            time.sleep(0.02)
        faults.error503 = 1.0
        _, said = command.communicate(timeout=150)
    assert command.returncode == 1, said
    assert "s3://" in said
    assert "start the same command again" in said
    assert "Traceback" not in said
    assert s3.SECRET not in said
    after = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in left(buckets / "work" / "dies" / "refine")}
    assert after == before
    run("build", "dies", port)
    assert digests(buckets / "releases" / "dies") == digests(release)


def malmungchi_in_background(name: str, port: int) -> subprocess.Popen[str]:
    """`run` of the whole build, not waited for."""
    import sys

    from tests.conftest import ROOT

    command = [
        sys.executable, "-m", "pipelines.cli", "build", "--input", "s3://raw/in/*", "--output", f"s3://releases/{name}",
        "--staging", f"s3://work/{name}", "--workers", "2", "--execution-chunk-bytes", "64KiB",
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, env=s3.environment(port), stderr=subprocess.PIPE, text=True)
