"""The whole build on an object store, against a real server, also one that fails and is slow."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.test_faults import start, wait_for
from tests.pipeline.test_build import digests, malmungchi, write
from tests.support import ROOT, corpus, s3
from tests.support.cluster import work


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


def arguments(stage: str, name: str) -> list[str]:
    """Of a stage from one bucket to another, with its staging area in a third."""
    places = ["--input", "s3://raw/in/*", "--output", f"s3://releases/{name}", "--staging", f"s3://work/{name}"]
    return [stage, *places, "--workers", "2", "--execution-chunk-bytes", "64KiB"]


def run(stage: str, name: str, port: int) -> subprocess.CompletedProcess[str]:
    return malmungchi(*arguments(stage, name), env=s3.environment(port))


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
    assert "OK: all checksums" in malmungchi("verify", "s3://releases/plain", env=env).stdout
    assert "stands for" in malmungchi("inspect", "s3://releases/plain", "--duplicates", env=env).stdout
    assert "already" in run("build", "plain", port).stderr


def test_what_is_larger_than_100_megabytes_is_one_upload_too(buckets: Path, port: int, tmp_path: Path) -> None:
    """In a process of its own, whose file system has our settings and no other test's."""
    script = tmp_path / "upload.py"
    script.write_text(
        "from malmungchi.transforms.io import storage\n"
        "with storage.create('s3://work/large') as file:\n"
        "    for _ in range(110):\n"
        "        file.write(bytes(1 << 20))\n"
    )
    faults = s3.Faults()
    with s3.proxy(port, faults) as watched:
        subprocess.run([sys.executable, script], env=s3.environment(watched), cwd=ROOT, check=True)
    assert (buckets / "work" / "large").stat().st_size == 110 << 20
    assert faults.seen["POST"] == 0
    (buckets / "work" / "large").unlink()


def test_a_second_job_is_refused_while_the_first_lives_and_takes_over_when_it_is_dead(
    buckets: Path, release: Path, port: int
) -> None:
    environment = s3.environment(port)
    first = start(*arguments("build", "shared"), env=environment)
    wait_for(lambda: list((buckets / "work" / "shared").glob("*/refine/*.json")))
    psutil.Process(first.pid).suspend()
    second = malmungchi(*arguments("build", "shared"), check=False, env=environment)
    assert second.returncode == 1
    assert f"process {first.pid} on" in second.stderr
    assert "is working on this job" in second.stderr
    first.kill()
    first.communicate()
    third = run("build", "shared", port)
    assert "taking over from" in third.stderr
    assert "finished tasks are kept" in third.stderr
    assert digests(buckets / "releases" / "shared") == digests(release)
    assert not left(buckets / "work")


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("errors", s3.Faults(error500=0.05, error503=0.05, seed=1)),
        ("dropped", s3.Faults(cut=0.04, drop=0.04, seed=2)),
        ("slow", s3.Faults(delay=0.03)),
    ],
)
def test_a_bad_server_costs_time_but_nothing_else(
    name: str, faults: s3.Faults, buckets: Path, release: Path, port: int
) -> None:
    with s3.proxy(port, faults) as bad:
        run("build", name, bad)
    for fate in ("error500", "error503", "cut", "drop"):
        assert (faults.seen[fate] > 0) == (getattr(faults, fate) > 0), faults.seen
    assert digests(buckets / "releases" / name) == digests(release)
    assert not left(buckets / "work")


@pytest.mark.parametrize("faults", [s3.Faults(error503=1.0), s3.Faults(drop=1.0)], ids=["refuses", "drops"])
def test_a_server_that_only_fails_is_an_error_that_says_what_to_do(faults: s3.Faults, port: int) -> None:
    began = time.monotonic()
    with s3.proxy(port, faults) as dead:
        done = malmungchi(*arguments("build", "dead"), check=False, env=s3.environment(dead, retry_seconds=3))
    assert 2 < time.monotonic() - began < 30
    assert faults.seen["pass"] == 0 < sum(faults.seen.values())
    assert done.returncode == 1
    assert "s3://raw/in" in done.stderr
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert s3.SECRET not in done.stderr + done.stdout
    assert s3.KEY not in done.stderr + done.stdout


def test_a_server_that_dies_on_the_way_stops_the_job_which_then_goes_on(
    buckets: Path, release: Path, port: int
) -> None:
    run("refine", "dies", port)
    refined = work(buckets / "work" / "dies") / "refine"
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in left(refined)}
    assert before
    faults = s3.Faults()
    with s3.proxy(port, faults) as bad:
        command = start(*arguments("build", "dies"), env=s3.environment(bad, retry_seconds=3))
        while faults.seen["PUT"] < 8 and command.poll() is None:
            time.sleep(0.02)
        faults.error503 = 1.0
        died = time.monotonic()
        _, said = command.communicate(timeout=60)
    assert time.monotonic() - died < 30
    assert command.returncode == 1, said
    assert "s3://" in said
    assert "run the same command again" in said
    assert "Traceback" not in said
    assert s3.SECRET not in said
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in left(refined)} == before
    run("build", "dies", port)
    assert digests(buckets / "releases" / "dies") == digests(release)
