"""What `--workers` means to each runner, and what is refused before anything starts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from malmungchi.pipelines.cli import main as cli
from malmungchi.pipelines.job import build, display
from malmungchi.pipelines.runners import base, registry
from malmungchi.pipelines.runners.base import RunnerError
from tests.pipeline.test_build import write
from tests.support import corpus
from tests.support.elsewhere import free_port, until

DASK = ["--runner=dask", "--dask_client_address=tcp://host:8786"]
FLINK = ["--runner=FlinkRunner", "--flink_master=host:8081"]
SPARK = ["--runner=SparkRunner", "--spark_master_url=spark://host:7077"]
PORTABLE = ["--runner=PortableRunner", "--job_endpoint=host:8099"]
DATAFLOW = ["--runner=DataflowRunner", "--sdk_container_image=registry/malmungchi:1"]
is_there = registry._is_there


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Dataflow needs is large, and not among the locked packages."""
    monkeypatch.setattr(registry, "_is_there", lambda module: True)


SIDE_CAR = ["--environment_type=EXTERNAL", "--environment_config=localhost:50000"]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ([], "local"),
        (["--runner=DirectRunner"], "local"),
        (["--runner", "direct"], "local"),
        (["--runner=fnapirunner"], "local"),
        (["--runner=Flink"], "flink"),
        (["--runner=apache_beam.runners.dask.dask_runner.DaskRunner"], "dask"),
        (["--runner=PrismRunner"], "prism"),
        (["--runner=mine.runners.Fine"], "mine.runners.Fine"),
        (["--runner=Flink", "--runner=Spark"], "spark"),
    ],
)
def test_runners_have_the_names_that_beam_gives_them(asked: list[str], name: str) -> None:
    assert registry.runner_of(asked).name == name


@pytest.mark.parametrize("asked", ["InteractiveRunner", "flnk", "BundleBasedDirectRunner", "KafkaStreamsRunner"])
def test_a_runner_that_cannot_do_a_job_is_refused(asked: str) -> None:
    with pytest.raises(RunnerError, match="known: direct, fnapi, dask") as refusal:
        registry.runner_of(["--runner", asked])
    assert ("did you mean 'flink'" in str(refusal.value)) == (asked == "flnk")


@pytest.mark.parametrize(
    ("given", "workers", "added"),
    [
        ([], 8, []),
        (DASK, 0, []),
        (DASK, 8, ["--dask_npartitions=32"]),
        (FLINK, 0, [*SIDE_CAR, "--flink_version=1.20", "--sdk_worker_parallelism=0", "--flink_submit_uber_jar"]),
        (FLINK, 16, [*SIDE_CAR, "--flink_version=1.20", "--sdk_worker_parallelism=0", "--flink_submit_uber_jar",
                     "--parallelism=16"]),
        ([*FLINK, "--job_endpoint=jobs:8099"], 0, [*SIDE_CAR, "--flink_version=1.20", "--sdk_worker_parallelism=0"]),
        (["--runner=FlinkRunner"], 4, []),
        (SPARK, 4, [*SIDE_CAR, "--sdk_worker_parallelism=0"]),
        ([*SPARK, "--spark_rest_url=http://host:6066"], 4, [*SIDE_CAR, "--sdk_worker_parallelism=0",
                                                            "--spark_submit_uber_jar"]),
        (PORTABLE, 4, [*SIDE_CAR, "--sdk_worker_parallelism=4"]),
        ([*PORTABLE, "--environment_type=LOOPBACK"], 0, []),
        ([*PORTABLE, "--environment_type=DOCKER", "--environment_config=image:1"], 0, []),
        (DATAFLOW, 4, ["--num_workers=4", "--max_num_workers=4"]),
        (["--runner=PrismRunner"], 4, []),
    ],
)  # fmt: skip
def test_workers_means_what_matters_to_the_runner(given: list[str], workers: int, added: list[str]) -> None:
    assert registry.complete(given, workers) == [*given, *added]


@pytest.mark.parametrize(
    "given",
    [
        [*DASK, "--dask_npartitions=7"],
        [*FLINK, "--flink_submit_uber_jar", "--flink_version=1.19", "--parallelism=3", "--sdk_worker_parallelism=2",
         "--environment_type=PROCESS", "--environment_config={}"],
        [*SPARK, "--environment_type=EXTERNAL", "--environment_options=external_service_address=pool:1",
         "--sdk_worker_parallelism=2"],
        [*PORTABLE, "--environment_type=EXTERNAL", "--environment_config=pool:1", "--sdk_worker_parallelism=2"],
        [*DATAFLOW, "--num_workers=3", "--max_num_workers=3"],
    ],
)  # fmt: skip
def test_what_the_user_has_said_stays(given: list[str]) -> None:
    assert registry.complete(given, 8) == given


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--runner=dask"], "--dask_client_address"),
        ([*DASK, "--dask_partition_size=3"], "--dask_npartitions"),
        (["--runner=DataflowRunner"], "--sdk_container_image"),
        (["--runner=PortableRunner"], "--job_endpoint"),
        ([*PORTABLE, "--environment_type=DOCKER"], "lacks this package"),
        ([*FLINK, "--streaming"], "batch job"),
        (["--direct_num_workers=3"], "--workers"),
        (["--direct_running_mode=multi_threading"], "--workers"),
    ],
)
def test_what_is_missing_or_has_no_effect_is_refused(given: list[str], words: str) -> None:
    with pytest.raises(RunnerError, match=words):
        registry.complete(given, 0)


@pytest.mark.parametrize(
    ("given", "sees"),
    [
        ([], True),
        (["--runner=PrismRunner"], True),
        (["--runner=FlinkRunner"], True),
        (["--runner=SparkRunner", "--spark_master_url=local[8]"], True),
        (["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"], True),
        (["--runner=PortableRunner", "--job_endpoint=localhost:8099", *SIDE_CAR], True),
        (["--runner=PortableRunner", "--job_endpoint=localhost:8099", "--environment_type=EXTERNAL",
          "--environment_options=external_service_address=pool:1"], False),
        (["--runner=PortableRunner", "--job_endpoint=localhost:8099", "--environment_type=DOCKER"], False),
        ([*PORTABLE, *SIDE_CAR], False),
        ([*FLINK, *SIDE_CAR], False),
        ([*SPARK, *SIDE_CAR], False),
        ([*SPARK, "--spark_rest_url=http://host:6066/v1", *SIDE_CAR], False),
        (DATAFLOW, False),
    ],
)  # fmt: skip
def test_whose_workers_see_this_machine(given: list[str], sees: bool) -> None:
    assert registry.sees_this_machine(given) == sees


def test_a_local_path_is_refused_where_workers_do_not_see_it(tmp_path: Path) -> None:
    given = [*FLINK, *SIDE_CAR]
    for flag in ("--input", "--staging", "--output"):
        with pytest.raises(RunnerError, match=f"{flag} {tmp_path} is a path of this machine") as refusal:
            registry.check(given, {"--elsewhere": ["s3://bucket/a"], flag: [str(tmp_path)]})
        assert "--execution-shared-paths" in str(refusal.value)
    registry.check(given, {"--input": [str(tmp_path)]}, shared=True)
    registry.check(given, {"--input": ["s3://bucket/a"], "--output": ["s3://bucket/b"]})
    with pytest.raises(RunnerError, match="is a path of this machine") as refusal:
        registry.check(DATAFLOW, {"--input": [str(tmp_path)]}, shared=True)
    assert "--execution-shared-paths" not in str(refusal.value)


def test_servers_that_do_not_answer_are_found_before_a_job_starts() -> None:
    port = free_port()
    given = ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}"]
    with pytest.raises(RunnerError, match=f"no job server answers at localhost:{port}"):
        registry.check(given, {})
    given = ["--runner=PrismRunner", "--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"]
    with pytest.raises(RunnerError, match=f"no worker pool answers at localhost:{port}.*--service_port={port}"):
        registry.check(given, {})


def test_a_runners_packages_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_is_there", lambda module: module != "distributed")
    with pytest.raises(RunnerError, match=r"module distributed is not installed: pip install 'malmungchi\[dask\]'"):
        registry.complete(DASK, 0)
    assert is_there("distributed")
    monkeypatch.setattr(registry, "_is_there", lambda module: is_there("no_such_package.below"))
    with pytest.raises(RunnerError, match=r"pip install 'malmungchi\[dataflow\]'"):
        registry.complete(DATAFLOW, 0)


@pytest.mark.parametrize("command", ["build", "refine", "deduplicate", "publish"])
def test_beams_options_go_through_every_command_unchanged(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jobs: list[Any] = []
    monkeypatch.setattr(build, "build", lambda job, *_: jobs.append(job))
    given = [*FLINK, "--parallelism=16", *SIDE_CAR, "--flink_version=1.19", "--flink_submit_uber_jar",
             "--sdk_worker_parallelism=4", "--", "--only_the_job_server=knows"]  # fmt: skip
    source = write(tmp_path / "a.jsonl", corpus.rows(5))
    ours = ["--input", str(source), "--output", str(tmp_path / "out"), "--execution-shared-paths", "--workers", "2"]
    assert cli.main([command, *ours, *given]) == 0
    assert list(jobs[0].arguments) == [word for word in given if word != "--"]


def run(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(arguments) == 1
    return capsys.readouterr().err


def test_mistakes_are_said_in_one_line_and_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "a.jsonl", corpus.rows(5))
    ours = ["build", "--input", str(source), "--output", str(tmp_path / "out")]
    for given in (FLINK, ["--runner=dask"], ["--runner=nonsense"], ["--direct_num_workers=2"]):
        said = run([*ours, *given], capsys)
        assert said.startswith("malmungchi: ")
        assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_of_workers_elsewhere_finished_tasks_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "_ELSEWHERE_SECONDS", 0.01)
    stream = io.StringIO()
    shown = display.Display(stream=stream)
    shown.elsewhere = lambda: "refine 3"
    with shown.stage("refine", 0):
        until(lambda: "refine: finished tasks: refine 3\n" in stream.getvalue())

    def fails() -> str:
        raise OSError

    shown.elsewhere = fails
    with shown.stage("publish", 0):
        until(lambda: "publish: finished tasks: not known at the moment" in stream.getvalue())


class Fine(base.Runner):
    """One of another package."""

    name = "fine"

    def complete(self, given: base.Options, workers: int) -> base.Options:
        return given.default("parallelism", workers)


def test_a_runner_of_another_package_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("fine", f"{__name__}:Fine", registry.ENTRY_POINTS)
    monkeypatch.setattr(metadata, "entry_points", lambda group: metadata.EntryPoints([point]))
    assert registry.complete(["--runner=FineRunner"], 3) == ["--runner=FineRunner", "--parallelism=3"]
    with pytest.raises(RunnerError, match=r"did you mean 'fine'.*spark, fine, or module"):
        registry.runner_of(["--runner=fime"])
