"""Builds on a Dask cluster whose workers have the wheel in an environment of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import dask
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.transforms.window import FixedWindows

from malmungchi.pipelines.runners import dask_cluster, dask_core
from malmungchi.pipelines.runners.base import ClusterError, RunnerError
from malmungchi.pipelines.runners.causes import StageError
from tests.pipeline.test_build import digests, malmungchi, write
from tests.support import ROOT, corpus
from tests.support.cluster import Cluster, ended, in_each_stage, launch, records, work
from tests.support.elsewhere import Environment, free_port, kill

SETTINGS = ("--execution-chunk-bytes", "512KiB")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough for some dozens of work items, and several tasks in each stage."""
    folder = tmp_path_factory.mktemp("inputs")
    for number in (1, 2):
        write(folder / f"{number}.jsonl", corpus.rows(6_000, number, sentences=20))
    return folder


@pytest.fixture(scope="module")
def release(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the local runner makes of them."""
    output = tmp_path_factory.mktemp("local") / "out"
    malmungchi("build", "--input", inputs / "*.jsonl", "--output", output, "--workers", 2, *SETTINGS)
    return digests(output)


def arguments(cluster: Cluster, inputs: Path, output: Path) -> tuple[object, ...]:
    return ("--input", inputs / "*.jsonl", "--output", output, *SETTINGS, "--runner", "dask",
            f"--dask_client_address={cluster.address}")  # fmt: skip


# ---- builds


def test_the_workers_have_the_wheel_and_not_the_checkout(elsewhere: Environment) -> None:
    said = elsewhere.run(
        "-c", "import malmungchi, sys; print(malmungchi.__file__, *sys.path, sep='\\n')"
    ).stdout.split()
    assert said[0].startswith(str(elsewhere.home))
    assert str(ROOT) not in said


def test_the_same_bytes_though_workers_are_killed_in_each_stage_and_one_is_added(
    cluster: Cluster, inputs: Path, release: dict[str, str], tmp_path: Path
) -> None:
    for _ in range(3):
        cluster.add(wait=False)
    output = tmp_path / "out"
    job = launch("build", *arguments(cluster, inputs, output))
    in_each_stage(
        job,
        output / "_staging",
        [lambda: cluster.replace(0), lambda: cluster.kill(1), lambda: cluster.kill(2)],
    )
    ended(job)
    assert [worker.poll() is None for worker in cluster.workers] == [False, False, False, True]
    assert digests(output) == release


def test_the_same_bytes_with_several_threads_stages_one_by_one_and_a_damaged_file_between_them(
    cluster: Cluster, inputs: Path, release: dict[str, str], tmp_path: Path
) -> None:
    cluster.add(threads=3)
    for stage in ("refine", "deduplicate", "publish"):
        module = ["malmungchi", stage, *map(str, arguments(cluster, inputs, tmp_path / "out")), "--workers", "2"]
        done = subprocess.run(
            [sys.executable, "-m", *module], cwd=ROOT, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert ("damaged staged file" in done.stderr) == (stage == "deduplicate"), done.stderr
        if stage == "refine":
            file = min((work(tmp_path / "out" / "_staging") / "refine").rglob("*.arrow"))
            file.write_bytes(bytes(file.stat().st_size))
    assert digests(tmp_path / "out") == release


def test_without_any_worker_left_it_stops_and_goes_on_locally(
    cluster: Cluster, inputs: Path, release: dict[str, str], tmp_path: Path
) -> None:
    for _ in range(3):
        cluster.add(wait=False)
    output = tmp_path / "out"
    job = launch("build", *arguments(cluster, inputs, output))
    while records(output / "_staging", "refine") < 4:
        assert job.poll() is None
        time.sleep(0.01)
    for number in range(3):
        cluster.kill(number)
    start = time.monotonic()
    _, said = job.communicate(timeout=60)
    assert time.monotonic() - start < dask_cluster.LONELY_SECONDS + 10
    assert job.returncode == 1
    assert "all workers of the Dask cluster are gone" in said
    assert "run the same command again" in said
    assert "Traceback" not in said
    done = malmungchi("build", "--input", inputs / "*.jsonl", "--output", output, *SETTINGS)
    assert "finished tasks are kept" in done.stderr
    assert digests(output) == release


def test_without_its_scheduler_it_stops(cluster: Cluster, inputs: Path, tmp_path: Path) -> None:
    cluster.add()
    job = launch("build", *arguments(cluster, inputs, tmp_path / "out"))
    while records(tmp_path / "out" / "_staging", "refine") < 4:
        assert job.poll() is None
        time.sleep(0.01)
    assert cluster.scheduler
    kill(cluster.scheduler)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 1
    assert "the Dask scheduler is gone. What is finished is kept" in said
    assert "Traceback" not in said


def test_a_task_that_ends_its_workers_is_an_error_that_says_what_to_do(elsewhere: Environment, tmp_path: Path) -> None:
    cluster = Cluster(elsewhere, tmp_path, free_port())
    try:
        cluster.start(more={"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"})
        for _ in range(3):
            cluster.add(wait=False)
        options = PipelineOptions([f"--dask_client_address={cluster.address}"])
        pipeline = beam.Pipeline(runner=dask_cluster.CoreRunner(), options=options)
        _ = pipeline | beam.Create([1]) | beam.Map(lambda _: __import__("os")._exit(1))
        with pytest.raises(ClusterError, match=r"killed 2 workers, probably for lack of memory.*--nthreads 1"):
            pipeline.run()
    finally:
        cluster.close()


def test_a_queue_that_the_scheduler_forgets_is_gone_on_with(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask forgets it now and then when a worker is lost; here it looks only when a client lets go of something."""

    def forget(dask_scheduler: Any) -> None:
        look = dask_scheduler.stimulus_queue_slots_maybe_opened

        def seldom(*, stimulus_id: str) -> None:
            if stimulus_id.startswith("client-releases-keys"):
                look(stimulus_id=stimulus_id)

        dask_scheduler.stimulus_queue_slots_maybe_opened = seldom

    cluster.add()
    monkeypatch.setattr(dask_cluster, "_IDLE_SECONDS", 0.5)
    options = PipelineOptions([f"--dask_client_address={cluster.address}", "--dask_npartitions=4"])
    with dask_cluster.connected(options) as client:
        client.run_on_scheduler(forget)
        pipeline = beam.Pipeline(runner=dask_cluster.CoreRunner(), options=options)
        _ = pipeline | beam.Create([1, 2, 3, 4]) | beam.Map(lambda number: number)
        done: list[Any] = []
        thread = threading.Thread(target=lambda: done.append(pipeline.run().state), daemon=True)
        thread.start()
        thread.join(60)
        assert done == ["DONE"]


# ---- what is refused before anything starts


def refused(cluster: Cluster, inputs: Path, output: Path) -> str:
    done = malmungchi("build", *arguments(cluster, inputs, output), check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not output.exists()
    return done.stderr


def test_a_cluster_without_workers_or_without_a_scheduler(cluster: Cluster, inputs: Path, tmp_path: Path) -> None:
    assert "has no workers" in refused(cluster, inputs, tmp_path / "out")
    cluster.close()
    assert f"no Dask scheduler answers at {cluster.address}" in refused(cluster, inputs, tmp_path / "out")


def test_a_worker_without_the_wheel(cluster: Cluster, inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    bare = Cluster(Environment(tmp_path / "bare", None), tmp_path, cluster.port)
    bare.address = cluster.address
    try:
        bare.add()
        assert "lacks the module malmungchi: install the wheel" in refused(cluster, inputs, tmp_path / "out")
    finally:
        bare.close()


def test_a_worker_that_does_not_see_the_files(cluster: Cluster, inputs: Path, tmp_path: Path) -> None:
    if os.geteuid() or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("no mount namespace may be made here: that needs root")
    hidden = f'mount -t tmpfs none {inputs} && exec "$@"'
    cluster.add(prefix=["unshare", "--mount", "sh", "-c", hidden, "sh"])
    said = refused(cluster, inputs, tmp_path / "out")
    assert f"--input {inputs}" in said
    assert "does not see" in said


def test_a_worker_of_another_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    theirs, paths = dask_cluster.look([str(tmp_path)])
    monkeypatch.setattr(dask_cluster, "connected", contextlib.nullcontext)
    monkeypatch.setattr(dask_cluster, "ask", lambda *_: {"tcp://one": (theirs, paths)})
    dask_cluster.check([], [("--output", f"file://{tmp_path}/out")])
    monkeypatch.setattr(dask_cluster, "ask", lambda *_: {"tcp://one": ({**theirs, "pyarrow": "1.0"}, paths)})
    with pytest.raises(RunnerError, match=r"worker tcp://one has pyarrow 1\.0, the launcher .*: install the same"):
        dask_cluster.check([], [("--output", str(tmp_path / "out"))])


@pytest.mark.parametrize(
    ("found", "before", "after", "same"),
    [
        ((1, 5), (1, 5), (1, 5), True),
        (None, (1, 5), (1, 5), False),
        ((2, 5), (1, 5), (1, 5), False),
        ((1, 4), (1, 5), (1, 5), False),
        ((1, 6), (1, 5), (1, 7), True),  # somebody is at work there
        ((2, 6), (1, 5), (1, 7), False),
    ],
)
def test_when_two_machines_see_the_same_folder(found: Any, before: Any, after: Any, same: bool) -> None:
    assert dask_cluster._is_the_same(found, before, after) == same


def test_a_worker_of_another_version_that_comes_later() -> None:
    with pytest.raises(StageError, match=r"a Dask worker has malmungchi .*, the launcher 0\.0: install the same"):
        dask_core.apply([], b"", ("0.0", ""))


# ---- the portable core of Beam


def outcome(build: Callable[[Any], Any]) -> list[Any]:
    """What a pipeline gives out, computed by Dask in this process."""
    pipeline = beam.Pipeline(runner=dask_cluster.CoreRunner())
    build(pipeline)
    bags = dask.compute(*dask_core.translate(pipeline, 4), scheduler="sync")
    return sorted(element for bag in bags for element in bag)


def numbers(root: beam.Pipeline) -> beam.PCollection:
    return root | beam.Create(list(range(10)))


def test_what_is_in_the_core_is_done_as_elsewhere() -> None:
    def build(root: beam.Pipeline) -> Any:
        ones = root | "ones" >> beam.Create([(n % 3, n) for n in range(10)]) | beam.Reshuffle()
        more = ones | beam.MapTuple(lambda key, value: (key, value + 100)) | beam.Filter(lambda pair: pair[0])
        both = (ones, more) | beam.Flatten() | beam.GroupByKey()
        return both | beam.FlatMapTuple(lambda key, values: [(key, sum(values))])

    expected = {key: sum(n + (n + 100 if key else 0) for n in range(10) if n % 3 == key) for key in range(3)}
    assert dict(outcome(build)) == expected


def test_nothing_in_nothing_out() -> None:
    assert outcome(lambda root: root | beam.Create([]) | beam.Map(lambda n: (n, n)) | beam.GroupByKey()) == []


def test_every_end_of_a_pipeline_is_reached() -> None:
    def build(root: beam.Pipeline) -> None:
        source = numbers(root)
        _ = source | "a" >> beam.Map(lambda n: n)
        _ = source | "b" >> beam.Map(lambda n: n + 10)

    assert outcome(build) == list(range(20))


def test_an_element_goes_through_all_steps_before_the_next_one_is_read() -> None:
    held: list[int] = []

    def read(_: int) -> Iterator[int]:
        for n in range(100):
            held.append(n)
            yield n

    outcome(lambda root: root | beam.Create([0]) | beam.FlatMap(read) | beam.Map(lambda _: held.pop()))
    assert held == []


class Late(beam.DoFn):
    """Gives out what a bundle held, at its end."""

    def process(self, element: Any) -> None:
        pass

    def finish_bundle(self) -> Iterator[Any]:
        yield from ()


SEEN = beam.DoFn.StateParam(ReadModifyWriteStateSpec("seen", beam.coders.VarIntCoder()))


class Stateful(beam.DoFn):
    """Remembers."""

    def process(self, element: Any, seen: Any = SEEN) -> None:
        pass


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda root: numbers(root) | beam.Map(max, beam.pvalue.AsList(root | "m" >> beam.Create([1]))), "side input"),
        (lambda root: numbers(root) | beam.FlatMap(lambda n: [n]).with_outputs("odd", main="even"), "several outputs"),
        (lambda root: numbers(root) | beam.ParDo(Late()), "finish_bundle"),
        (lambda root: numbers(root) | beam.Map(lambda n: (n, n)) | beam.ParDo(Stateful()), "state"),
        (lambda root: numbers(root) | beam.WindowInto(FixedWindows(1)), "more than its element"),
        (lambda root: root | beam.io.ReadFromText("/etc/hostname", validate=False), "Read"),
        (lambda root: numbers(root) | beam.combiners.Count.Globally(), "outside the portable core"),
    ],
    ids=["side input", "outputs", "finish_bundle", "state", "windows", "read", "combine"],
)  # fmt: skip
def test_what_is_outside_the_core_is_refused(build: Callable[[Any], Any], what: str) -> None:
    with pytest.raises(RunnerError, match="outside the portable core") as refusal:
        outcome(build)
    assert what in str(refusal.value)


def test_a_value_that_only_other_runners_understand_is_an_error() -> None:
    with pytest.raises(Exception, match="outside the portable core"):
        outcome(lambda root: numbers(root) | beam.Map(lambda n: beam.window.TimestampedValue(n, 0)))


@pytest.mark.alone
def test_a_cluster_that_does_not_answer_is_an_error_within_seconds() -> None:
    options = PipelineOptions([f"--dask_client_address=tcp://127.0.0.1:{free_port()}"])
    start = time.monotonic()
    with pytest.raises(RunnerError, match="no Dask scheduler answers"), dask_cluster.connected(options):
        pass
    assert time.monotonic() - start < 30
