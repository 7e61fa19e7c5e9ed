"""The doctor finds what is right, and each thing that is not."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from malmungchi.pipelines.job import diagnosis, doctor, questions
from malmungchi.pipelines.job.build import build
from malmungchi.pipelines.runners import drive
from malmungchi.pipelines.runners.versions import versions
from malmungchi.schemas.config import Config, Execution
from malmungchi.transforms.io import storage
from tests.pipeline.test_build import malmungchi, write
from tests.support import ROOT, corpus, s3
from tests.support.cluster import Cluster, prism, worker_pool
from tests.support.elsewhere import Environment


def left(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file()]


def warnings(said: str) -> list[str]:
    """What was warned of, problems included; the speed of storage is the business of whoever else uses this machine."""
    lines = [line for line in said.splitlines() if line.startswith((diagnosis.WARNING, diagnosis.PROBLEM))]
    return [line for line in lines if "MB/s to write" not in line]


# ---- on real runners


def test_all_is_well_on_this_machine(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", corpus.rows(5))
    done = malmungchi("doctor", "--input", source, "--staging", tmp_path / "work", "--output", tmp_path / "releases")
    for words in ("versions: launcher and workers agree", "memory:", "clock:", "staging: written", "output: written",
                  "MB/s to write", "has the same bytes as the local one"):  # fmt: skip
        assert words in done.stdout
    assert warnings(done.stdout) == []
    assert left(tmp_path) == [str(source)]


def test_on_dask_with_an_object_store_only_shared_processes_are_found_fault_with(
    cluster: Cluster, elsewhere: Environment, tmp_path: Path
) -> None:
    buckets = tmp_path / "buckets"
    (buckets / "work").mkdir(parents=True)
    with s3.server(buckets) as port:
        environment = s3.environment(port)
        for threads in (1, 2):
            cluster.add(threads=threads, more=environment)
        done = malmungchi("doctor", "--staging", "s3://work/here", "--runner=dask",
                          f"--dask_client_address={cluster.address}", env=environment)  # fmt: skip
    assert "workers: 2 processes on 1 hosts" in done.stdout
    assert f"imported from {elsewhere.home}" in done.stdout
    assert "same bytes as the local one" in done.stdout
    (warning,) = warnings(done.stdout)
    assert warning.startswith("warning  threads: 1 worker processes did several tasks at once")
    assert left(buckets / "work") == []


def test_all_is_well_on_prism(elsewhere: Environment, tmp_path: Path) -> None:
    with prism(elsewhere) as (server, _), worker_pool(elsewhere) as pool:
        done = malmungchi("doctor", "--staging", tmp_path, "--runner=portable", f"--job_endpoint=localhost:{server}",
                          f"--environment_config=localhost:{pool}")  # fmt: skip
    assert "same bytes as the local one" in done.stdout
    # Prism may split a bundle that takes its time, and gives both parts to its one worker process.
    assert all(warning.startswith("warning  threads: 1 worker processes") for warning in warnings(done.stdout))


def test_a_missing_wheel_is_a_problem_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    bare = Environment(tmp_path / "bare", None)
    with prism(bare) as (server, _), worker_pool(bare) as pool:
        done = malmungchi("doctor", "--staging", tmp_path, "--runner=portable", f"--job_endpoint=localhost:{server}",
                          f"--environment_config=localhost:{pool}", check=False)  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.startswith("PROBLEM  the runner cannot run a pipeline: no module named")
    assert "install the wheel" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_staging_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = malmungchi("doctor", "--staging", tmp_path / "file" / "work", check=False)
    assert done.returncode == 1
    assert "PROBLEM" in done.stdout
    assert str(tmp_path / "file") in done.stdout


def test_what_workers_cannot_see_is_refused(tmp_path: Path) -> None:
    flink = ("--runner=FlinkRunner", "--flink_master=host:8081")
    assert "give --staging URL" in malmungchi("doctor", *flink, check=False).stderr
    said = malmungchi("doctor", "--staging", tmp_path, *flink, check=False).stderr
    assert "is a path of this machine, which the workers of flink do not see" in said


# ---- what answers mean


ANSWER = {
    "host": "a", "pid": 1, "begun": 1000.0, "ended": 1001.0, "versions": versions(), "package": "/x/pipelines",
    "memory": 4 << 30, "places": {"staging": {"put": 100e6, "range": 0.01, "broken": []}},
}  # fmt: skip


def change(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(ANSWER), **changes}


def test_good_answers_are_all_ok() -> None:
    found = diagnosis.diagnose([change(), change(pid=2)], 999.0, 1002.0)
    assert {finding.level for finding in found} == {diagnosis.OK}
    assert diagnosis.conclusion(found) == "all is well"
    assert "2 processes on 1 hosts (a)" in found[0].what


def place(**changes: Any) -> dict[str, Any]:
    return {"staging": {**ANSWER["places"]["staging"], **changes}}  # type: ignore[index]


@pytest.mark.parametrize(
    ("others", "level", "words", "advice"),
    [
        ([change(pid=2, versions={**versions(), "pyarrow": "1.0"})], "PROBLEM", "pyarrow 1.0", "same wheel"),
        ([change(pid=2, memory=1 << 30)], "PROBLEM", "memory: a has 1.1 GB for 2", "1 GB"),
        ([change(pid=2, begun=400.0)], "warning", "off by at least 599 s", "NTP"),
        ([change(pid=2, ended=5000.0)], "warning", "off by at least 3998 s", "NTP"),
        ([change(begun=1000.1)], "warning", "1 worker processes did several", "one thread"),
        ([change(pid=2, places=place(broken=["an object is seen before it is whole"]))], "PROBLEM", "seen", "S3"),
        ([change(pid=2, places=place(put=1e6)), change(pid=3, places=place(put=1e6))], "warning", "1 MB/s", "region"),
        ([change(pid=2, places=place(range=1)), change(pid=3, places=place(range=1))], "warning", "1000.0 ms", ""),
    ],
    ids=["versions", "memory", "late", "early", "threads", "broken", "slow to write", "slow to read"],
)  # fmt: skip
def test_each_bad_answer_is_found_and_comes_with_advice(
    others: list[dict[str, Any]], level: str, words: str, advice: str
) -> None:
    found = diagnosis.diagnose([change(), *others], 999.0, 1002.0)
    (bad,) = [finding for finding in found if finding.level != diagnosis.OK]
    assert bad.level == level
    assert diagnosis.conclusion(found) == (
        "1 problems, 0 warnings" if level == diagnosis.PROBLEM else "0 problems, 1 warnings"
    )
    assert words in bad.what
    assert advice in bad.advice


# ---- storage that breaks its promises


def test_good_storage_breaks_none(tmp_path: Path) -> None:
    found = questions.try_place(str(tmp_path), "object")
    assert found["broken"] == []
    assert found["put"] > 0


@contextmanager
def in_the_open(uri: str, durable: bool = False) -> Iterator[BinaryIO]:
    """What a store does that shows uploads as they grow."""
    with open(uri, "wb", buffering=0) as file:
        yield file


@pytest.mark.parametrize(
    ("name", "fake", "what"),
    [
        ("create", in_the_open, "before it is whole"),
        ("names", lambda uri: [], "not listed"),
        ("remove", lambda uri: None, "still there"),
        ("exists", lambda uri: True, "still there"),
        ("read_range", lambda uri, offset, length: bytes(length), "ranged read"),
        ("read_bytes", lambda uri: bytes(8 << 20), "old content"),
    ],
)
def test_each_broken_promise_is_found(
    name: str, fake: Any, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(storage, name, fake)
    assert any(what in broken for broken in questions.try_place(str(tmp_path), "object")["broken"])


# ---- runners that do


def settings(tmp_path: Path) -> Config:
    return Config(execution=Execution(staging=str(tmp_path / "work")))


def test_a_runner_that_only_says_it_is_done_is_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(drive, "run", lambda *_: None)
    (found,) = doctor.examine([], settings(tmp_path))
    assert found.level == diagnosis.PROBLEM
    assert "0 are here" in found.what


def test_a_build_that_differs_is_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = build

    def wrong(job: Any) -> None:
        real(job)
        if job.staging.startswith(str(tmp_path)):
            card = Path(job.output) / "README.md"
            card.write_bytes(card.read_bytes().replace(b"e", b"f", 1))

    monkeypatch.setattr(doctor, "build", wrong)
    monkeypatch.chdir(ROOT)
    found = doctor.examine([], settings(tmp_path))[-1]
    assert found.level == diagnosis.PROBLEM
    assert "differs from the local one in README.md" in found.what
    assert not os.path.exists(tmp_path / "work")
