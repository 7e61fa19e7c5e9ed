"""Faults done for real: damaged files, full disks, two jobs at once, signals, stalls; each ends well or resumable."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import psutil
import pyarrow.parquet as pq
import pytest

from malmungchi.pipelines.job import job as job_module
from malmungchi.pipelines.job import lock
from malmungchi.pipelines.job.build import build
from malmungchi.pipelines.job.job import Job
from malmungchi.pipelines.job.lock import Lock, LockedError, Owner
from malmungchi.pipelines.job.output import OutputError
from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.pipelines.process import forkserver, worker
from malmungchi.pipelines.release import verify
from malmungchi.schemas.config import from_mapping
from malmungchi.schemas.exchange import layout
from malmungchi.schemas.release import Manifest
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.segments import DamagedError
from malmungchi.transforms.io import storage
from tests.pipeline.test_build import digests, malmungchi, write
from tests.support import ROOT, corpus
from tests.support.cluster import work

# Each stage of the staging area, and what is read again when those behind it are undone.
STAGES = ("refine", "candidates", "components", "exact", "texts", "verified")


def job(source: Path, output: Path, **settings: Any) -> Job:
    """A job of many small tasks in this process."""
    config = from_mapping({"execution": {"chunk_bytes": "32KiB", "workers": 0}, **settings})
    return Job(make_plan([str(source)], config), str(output))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compressed, so that it is read from its start whatever is missing."""
    path = tmp_path_factory.mktemp("faults") / "in.jsonl.gz"
    lines = (json.dumps(row, ensure_ascii=False) for row in corpus.rows(400, 5))
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    return path


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    build(job(source, output))
    return output


@pytest.fixture(scope="module")
def staged(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is there before publish."""
    output = tmp_path_factory.mktemp("staged") / "out"
    build(job(source, output), until="deduplicate")
    return output


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def parts(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*.part")]


# ---- damaged and deleted files


@pytest.mark.parametrize("damage", [flip, halve, Path.unlink])
@pytest.mark.parametrize("stage", STAGES)
def test_only_the_task_of_a_damaged_file_is_done_again(
    stage: str, damage: Callable[[Path], None], source: Path, staged: Path, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(staged, output)
    staging = work(output / "_staging")
    for later in STAGES[STAGES.index(stage) + 1 :]:  # so that the damaged file is read again
        shutil.rmtree(staging / later)
    victim = max((staging / stage).glob("*.arrow"), key=lambda path: path.stat().st_size)
    damage(victim)
    records = {path: path.stat().st_mtime_ns for path in staging.glob("*/*.json")}
    again = job(source, output)
    said: list[str] = []
    again.display.say = said.append  # type: ignore[method-assign, assignment]
    again.place.end = lambda: None  # type: ignore[method-assign]
    build(again)
    assert any(f"doing {stage}/{victim.stem} again" in line for line in said)
    assert {path for path, when in records.items() if path.stat().st_mtime_ns != when} == {victim.with_suffix(".json")}
    shutil.rmtree(staging.parent)
    assert digests(output) == digests(undisturbed)


def test_a_record_that_is_not_whole_counts_as_none(
    staged: Path, source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(staged, output)
    staging = work(output / "_staging")
    refine = sorted((staging / "refine").glob("*.json"))
    halve(refine[0])
    refine[1].write_text("{}")
    refine[2].write_text(refine[2].read_text().replace('"kept":', '"kept":1', 1))
    flip(next((staging / "exact").glob("*.json")))
    for path in refine[:3]:
        assert records.load(str(staging), f"refine/{path.stem}") is None
    build(job(source, output))
    assert digests(output) == digests(undisturbed)


def test_what_workers_of_a_job_that_was_thrown_away_still_write_counts_for_nothing(
    staged: Path, source: Path, tmp_path: Path
) -> None:
    others = {"language": {"drop": False}, "deduplicate": {"threshold": 0.6}}
    build(job(source, tmp_path / "undisturbed", **others))
    output = tmp_path / "out"
    shutil.copytree(staged, output)
    again = job(source, output, **others)
    refine, late = again.refine, work(output / "_staging").name

    def refine_with_others() -> Any:
        shutil.copytree(work(staged / "_staging"), output / "_staging" / late)
        write(output / "data" / "train-00000-of-00007.parquet", [])
        return refine()

    again.refine = refine_with_others  # type: ignore[method-assign]
    build(again, restart=True)
    assert again.work.rpartition("/")[2] != late
    assert digests(output) == digests(tmp_path / "undisturbed")
    shutil.copytree(work(staged / "_staging"), output / "_staging" / late)  # even later
    build(job(source, output, **others))
    assert digests(output) == digests(tmp_path / "undisturbed")


def test_a_staging_area_with_what_such_workers_have_left_is_no_strangers(
    staged: Path, source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    left = work(staged / "_staging")
    shutil.copytree(left, tmp_path / "staging" / left.name.replace(left.name[-4:], "0000"))
    config = {"execution": {"chunk_bytes": "32KiB", "workers": 0, "staging": str(tmp_path / "staging")}}
    build(job(source, tmp_path / "out", **config))
    assert digests(tmp_path / "out") == digests(undisturbed)
    assert not (tmp_path / "staging").exists()


def test_folders_are_removed_in_which_someone_still_writes(tmp_path: Path) -> None:
    end = threading.Event()

    def write_on() -> None:
        number = 0
        while not end.is_set():
            number += 1
            with contextlib.suppress(OSError):
                storage.write_bytes(str(tmp_path / "work" / "refine" / f"{number % 50}"), b"x")

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        for _ in range(6):
            with contextlib.suppress(storage.StorageError):  # who writes all the time may win
                storage.remove(str(tmp_path / "work"))
            storage.remove_parts(str(tmp_path / "work"))
    finally:
        end.set()
        writer.join()
    storage.remove(str(tmp_path / "work"))
    assert not (tmp_path / "work").exists()


def test_a_folder_may_be_removed_by_two_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    for _ in range(5):
        for number in range(500):
            storage.write_bytes(str(folder / f"{number % 10}" / f"{number}"), b"x")
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(storage.remove, [str(folder)] * 2)) == [None, None]
        assert not folder.exists()
    (tmp_path / "file").touch()
    storage.remove(str(tmp_path / "file" / "below"))


def test_a_folder_that_is_filled_again_each_time_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, rmtree = tmp_path / "work", shutil.rmtree

    def fill_again(path: str, **options: Any) -> None:
        rmtree(path, **options)
        folder.mkdir()

    monkeypatch.setattr(shutil, "rmtree", fill_again)
    folder.mkdir()
    with pytest.raises(storage.StorageError, match=r"work: cannot be removed, since something goes on writing there"):
        storage.remove(str(folder))


def test_what_is_damaged_again_and_again_ends_the_job(source: Path, tmp_path: Path) -> None:
    broken = job(source, tmp_path / "out")
    error = DamagedError("refine/00000000-000000.000000.arrow", "its checksum differs")
    calls = []

    def fail() -> Any:
        calls.append(1)
        raise error

    broken.refine = fail  # type: ignore[method-assign]
    with pytest.raises(DamagedError, match="checksum"):
        build(broken)
    assert len(calls) == job_module.REPAIRS + 1


def test_published_files_that_vanish_before_the_manifest_are_written_again(
    source: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(job_module, "make_manifest", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(job(source, output))
    next((output / "data").iterdir()).unlink()
    halve(next((output / "duplicates").iterdir()))
    build(job(source, output))
    assert digests(output) == digests(undisturbed)


def test_the_summary_says_how_much_was_reused(source: Path, tmp_path: Path) -> None:
    arguments = ["--input", source, "--output", tmp_path / "out", "--execution-chunk-bytes", "32KiB"]
    malmungchi("refine", *arguments)
    chunks = len(list((work(tmp_path / "out" / "_staging") / "refine").glob("*.json")))
    finished = len(list(work(tmp_path / "out" / "_staging").rglob("*/*.json")))
    said = malmungchi("build", *arguments).stderr
    assert f"resuming an earlier attempt: {finished} finished tasks are kept" in said
    words = rf"earlier attempt: {finished} of \d+ tasks, among them {chunks} of {chunks} chunks \(400 rows\)"
    assert re.search(words, said)


# ---- output and staging area


@pytest.mark.parametrize("name", ["data", "rejects", "README.md", "thesis.txt"])
def test_an_output_that_is_not_ours_is_refused_and_left_alone(name: str, source: Path, tmp_path: Path) -> None:
    mine = write(tmp_path / "out" / name / "mine.txt", [])
    for restart in (False, True):
        with pytest.raises(OutputError, match=r"not empty \(.*; choose a new folder as --output"):
            build(job(source, tmp_path / "out"), restart)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]


def test_a_staging_area_that_is_not_ours_is_refused_and_left_alone(source: Path, tmp_path: Path) -> None:
    mine = write(tmp_path / "staging" / "mine.txt", [])
    arguments = ["--input", source, "--output", tmp_path / "out", "--staging", tmp_path / "staging"]
    refused = malmungchi("build", *arguments, check=False)
    assert refused.returncode == 1
    assert "--staging" in refused.stderr
    assert list(tmp_path.rglob("*")) == [tmp_path / "staging", mine]


def test_a_staging_area_elsewhere_leaves_nothing(source: Path, undisturbed: Path, tmp_path: Path) -> None:
    arguments = ["--input", source, "--output", tmp_path / "out", "--staging", tmp_path / "staging"]
    malmungchi("build", *arguments, "--execution-chunk-bytes", "32KiB")
    assert digests(tmp_path / "out") == digests(undisturbed)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_job_that_ends_before_its_workers_are_loaded_leaves_nothing(
    source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """The process that they are forked from is loading when the launcher finds that there is nothing to do."""
    arguments = ["build", "--input", source, "--workers", 2, "--execution-chunk-bytes", "32KiB", "--output"]
    with tempfile.TemporaryDirectory() as temporary:  # a short name
        for settings, code in (([], 0), (["--deduplicate-threshold", "0.5"], 1)):
            done = malmungchi(*arguments, undisturbed, *settings, check=False, env={**os.environ, "TMPDIR": temporary})
            assert done.returncode == code
            assert "Traceback" not in done.stderr
            assert os.listdir(temporary) == []


def test_a_folder_for_temporary_files_with_too_long_a_name_is_an_error_that_says_so(
    source: Path, tmp_path: Path
) -> None:
    temporary = tmp_path / ("long" * 25)
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    arguments = ["build", "--input", source, "--output", tmp_path / "out", "--workers", 2]
    done = malmungchi(*arguments, check=False, env=environment)
    assert done.returncode == 1
    assert f"{temporary}: too long a name for sockets below it; set TMPDIR" in done.stderr
    assert list(temporary.iterdir()) == []


def test_what_a_kill_after_the_manifest_left_is_cleaned(
    staged: Path, source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(undisturbed, output)
    shutil.copytree(staged / "_staging", output / "_staging")
    build(job(source, output))
    assert digests(output) == digests(undisturbed)


def test_parts_of_dead_writers_are_removed_and_nothing_else(
    staged: Path, source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(staged, output)
    left = [output / "data" / f"train-00000-of-00001.parquet.{'0' * 32}.part"]
    left += [
        output / f"manifest.json.{'1' * 32}.part",
        work(output / "_staging") / "refine" / f"a.arrow.{'2' * 32}.part",
    ]
    for path in (*left, output / "mine.part"):
        write(path, [])
    build(job(source, output))
    assert parts(output) == [output / "mine.part"]
    (output / "mine.part").unlink()
    assert digests(output) == digests(undisturbed)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[str], None]]:
    """A file system of `size` bytes in memory; gives what remounts it with other options."""
    folder.mkdir()

    def mount(*options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", folder], check=True, capture_output=True)

    try:
        mount("-o", f"size={size}")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a small file system is not permitted here ({error})")
    try:
        yield lambda options: mount("-o", f"remount,{options}")
    finally:
        subprocess.run(["umount", "-l", folder], check=True, capture_output=True)


def used(folder: Path) -> int:
    """Bytes of whole pages below a folder."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def test_a_full_disk_in_each_stage_is_said_and_the_job_goes_on_when_there_is_room(
    source: Path, staged: Path, undisturbed: Path, tmp_path: Path
) -> None:
    refined = tmp_path / "refined"
    build(job(source, refined), until="refine")
    at_refine, at_deduplicate = used(refined), used(staged)
    sizes = {
        "refine": at_refine // 2,
        "candidates|components|exact|texts|verified": (at_refine + at_deduplicate) // 2,
        "data|rejects|duplicates|publish": at_deduplicate + 16384,
    }
    disk = tmp_path / "disk"
    with small_disk(disk, next(iter(sizes.values()))) as remount:
        arguments = ["--input", source, "--output", disk / "out", "--execution-chunk-bytes", "32KiB", "--workers", 2]
        for stages, size in sizes.items():
            remount(f"size={size}")
            full = malmungchi("build", *arguments, check=False)
            assert full.returncode == 1
            (line,) = [line for line in full.stderr.splitlines() if line.startswith("malmungchi: ")]
            assert re.search(rf"disk/out/.*\b({stages})/.*: no space is left; free some.*run the same command", line)
            assert "Traceback" not in full.stderr
            assert not parts(disk)
            assert not (disk / "out" / "manifest.json").exists()
        remount("size=64m")
        assert "reused from an earlier attempt" in malmungchi("build", *arguments).stderr
        assert digests(disk / "out") == digests(undisturbed)


def test_a_read_only_output_is_said_and_the_job_goes_on_when_it_is_not(
    source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    arguments = ["--input", source, "--output", disk / "out", "--execution-chunk-bytes", "32KiB"]
    with small_disk(disk, 64 << 20) as remount:
        malmungchi("refine", *arguments)
        remount("ro")
        refused = malmungchi("build", *arguments, check=False)
        assert refused.returncode == 1
        assert re.fullmatch(r"malmungchi: \S*disk/out/\S*: the file system is read-only; make it .*\n", refused.stderr)
        remount("rw")
        malmungchi("build", *arguments)
        assert digests(disk / "out") == digests(undisturbed)


def test_an_output_without_permission_is_said(source: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o555)
    forbidden = job(source, closed / "out")
    words = r"closed/out.*: no permission to write; allow it"
    with pytest.raises(storage.StorageError, match=words), unprivileged(closed):
        build(forbidden)


@contextlib.contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """As somebody who may reach a folder, but is not the superuser, who may write anywhere."""
    if os.geteuid():
        yield
        return
    modes = {path: path.stat().st_mode for path in folder.parents[:-1]}
    try:
        for path, mode in modes.items():
            path.chmod(mode | 0o555)
        os.seteuid(65534)
        yield
    finally:
        os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)


# ---- two jobs on one output


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return write(tmp_path / "large.jsonl", corpus.rows(6000, 7))


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "malmungchi", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return all(not process.is_running() or process.status() == psutil.STATUS_ZOMBIE for process in processes)


def test_a_second_job_is_refused_while_the_first_lives_and_takes_over_when_it_is_dead(
    large: Path, tmp_path: Path
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    output = tmp_path / "out"
    arguments = ["build", "--input", large, "--output", output, "--execution-chunk-bytes", "64KiB"]
    first = start(*arguments, env=environment)
    wait_for(lambda: list(output.glob("_staging/*/refine/*.json")))
    psutil.Process(first.pid).suspend()
    second = malmungchi(*arguments, check=False, env=environment)
    assert second.returncode == 1
    assert f"process {first.pid} on" in second.stderr
    assert "is working on this job" in second.stderr
    assert first.poll() is None
    first.kill()  # not waited for: a zombie is dead as well
    time.sleep(0.1)
    assert (output / "_staging" / lock.NAME).exists()
    assert len(list(temporary.iterdir())) == 1
    third = malmungchi(*arguments, env=environment)
    first.communicate()
    assert "taking over from" in third.stderr
    assert "finished tasks are kept" in third.stderr
    assert list(temporary.iterdir()) == []
    malmungchi(*arguments[:4], tmp_path / "undisturbed")
    assert digests(output) == digests(tmp_path / "undisturbed")


def three_at_once(run: Callable[[], None]) -> None:
    """Runs something in three threads, to their end."""
    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def owner(**fields: Any) -> bytes:
    values = {"id": "x", "name": "somebody", "host": "elsewhere", "pid": 1, "birth": "1", "beat": 0.0}
    return orjson.dumps({**values, **fields})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.4)
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.2)


@pytest.fixture(params=["file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder on a file system with renames, and on a store without."""
    yield str(tmp_path) if request.param == "file" else "memory://lock"
    storage.remove("memory://lock")


def held(place: str) -> Owner:
    return Owner(**orjson.loads(storage.read_bytes(storage.join(place, lock.NAME))))


@pytest.mark.usefixtures("quick")
def test_a_lock_of_another_machine_is_judged_by_its_heartbeats(place: str) -> None:
    uri = storage.join(place, lock.NAME)
    storage.write_bytes(uri, owner(beat=time.time() - 10))
    with pytest.raises(LockedError, match="somebody is working on this job"), Lock([place]):
        pass
    storage.write_bytes(uri, owner(beat=time.time() - 100))
    with Lock([place]):
        assert held(place).pid == os.getpid()
    assert not storage.exists(uri)
    # One whose clock is wrong, but who lives.
    storage.write_bytes(uri, owner(beat=1.0))
    timer = threading.Timer(0.15, lambda: storage.write_bytes(uri, owner(beat=2.0)))
    timer.start()
    with pytest.raises(LockedError), Lock([place]):
        pass
    assert held(place).id == "x"


@pytest.mark.usefixtures("quick")
def test_a_lock_that_cannot_be_read_is_judged_by_whether_it_changes(place: str) -> None:
    uri = storage.join(place, lock.NAME)
    storage.write_bytes(uri, b'{"of": "another version"}')
    timer = threading.Timer(0.15, lambda: storage.write_bytes(uri, b'{"of": "another version", "beat": 2}'))
    timer.start()
    with pytest.raises(LockedError, match="an unknown process is working on this job"), Lock([place]):
        pass
    timer.join()
    with Lock([place]):
        assert held(place).pid == os.getpid()


@pytest.mark.usefixtures("quick")
def test_a_lock_of_this_machine_is_judged_by_its_process(place: str) -> None:
    uri = storage.join(place, lock.NAME)
    me = lock.Lock([place])._me
    alive = {"host": me.host, "pid": me.pid, "birth": me.birth, "beat": 0.0}
    storage.write_bytes(uri, owner(**alive))
    with pytest.raises(LockedError), Lock([place]):
        pass
    storage.write_bytes(uri, owner(**alive, scratch="of another version"))
    with pytest.raises(LockedError), Lock([place]):
        pass
    for dead in ({"birth": "another process of this number"}, {"pid": 2**22 + 1}, {"birth": ""}):
        storage.write_bytes(uri, owner(**{**alive, **dead, "beat": time.time()}))
        with Lock([place]):
            assert held(place).id != "x"
    storage.write_bytes(uri, b"torn")
    with Lock([place]):
        assert held(place).pid == me.pid


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("dead", [True, False])
def test_of_two_that_start_at_once_one_goes_on(place: str, dead: bool) -> None:
    for _ in range(5):
        storage.remove(storage.join(place, lock.NAME))
        if dead:
            storage.write_bytes(storage.join(place, lock.NAME), owner(host=Lock([place])._me.host, birth="long ago"))
        barrier = threading.Barrier(3)
        won: list[bool] = []

        def run(barrier: threading.Barrier = barrier, won: list[bool] = won) -> None:
            barrier.wait()
            try:
                with Lock([place]):
                    time.sleep(0.5)  # longer than the other may need
                won.append(True)
            except LockedError:
                won.append(False)

        three_at_once(run)
        assert sorted(won) == [False, False, True]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, as it may not where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("quick", "interruptible")
def test_a_job_that_loses_its_lock_stops(place: str) -> None:
    mine = Lock([place])
    with mine:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            storage.write_bytes(storage.join(place, lock.NAME), owner(beat=time.time()))
            time.sleep(5)
        assert mine.lost
    assert held(place).id == "x"


# ---- signals and stalls


@pytest.mark.alone
@pytest.mark.parametrize(("signum", "code", "workers"), [(signal.SIGINT, 130, 0), (signal.SIGTERM, 143, 2)])
def test_signals_stop_within_seconds_and_say_what_is_kept(
    signum: signal.Signals, code: int, workers: int, tmp_path: Path
) -> None:
    # So much that a busy machine is not done with it before it is looked at.
    source = write(tmp_path / "large.jsonl", corpus.rows(20_000, 7))
    arguments = ["build", "--input", source, "--output", tmp_path / "out", "--execution-chunk-bytes", "32KiB"]
    arguments += ["--workers", workers] if workers else []
    process = start(*arguments, start_new_session=True)
    wait_for(lambda: len(list((tmp_path / "out").glob("_staging/*/refine/*.json"))) > 2)
    children = family(process.pid)
    asked = time.monotonic()
    os.killpg(process.pid, signum)  # as a terminal or a service manager does: the workers get it as well
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - asked < 8
    assert process.returncode == code
    assert re.search(rf"stopped by {signum.name}: finished tasks are kept \(cut 1, refine \d+\); run the same", said)
    assert "Traceback" not in said
    wait_for(lambda: gone(children), 8)
    assert not (tmp_path / "out" / "_staging" / lock.NAME).exists()
    assert not parts(tmp_path)
    assert "finished tasks are kept" in malmungchi(*arguments).stderr
    malmungchi("verify", tmp_path / "out")


@pytest.mark.alone
def test_a_second_signal_ends_all_at_once(large: Path, tmp_path: Path) -> None:
    process = start("build", "--input", large, "--output", tmp_path / "out", "--workers", 2)
    wait_for(lambda: list((tmp_path / "out").glob("_staging/*/cut/*.json")))
    children = family(process.pid)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode in (130, 143, -signal.SIGINT, -signal.SIGTERM)
    wait_for(lambda: gone(children), 8)


@pytest.mark.alone
def test_stalled_workers_are_noticed(large: Path, tmp_path: Path) -> None:
    arguments = ["build", "--input", large, "--output", tmp_path / "out", "--execution-chunk-bytes", "32KiB"]
    process = start(*arguments, "--workers", 2, "--execution-stall-seconds", 3)
    wait_for(lambda: list((tmp_path / "out").glob("_staging/*/refine/*.json")))
    children = family(process.pid)
    for child in children:
        if child.ppid() != process.pid:
            child.suspend()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "have done nothing for 3 s" in said
    assert "run the same command again" in said
    wait_for(lambda: gone(children), 8)


# Read by each Python process at its start: one worker is killed at once, and Beam starts the other when all have been.
LATE = """
import os, signal, time
import malmungchi.pipelines.process.worker as module
from malmungchi.pipelines.process import forkserver
work, kill, start, started = module._work, module.kill, forkserver.CONTEXT.Process.start, []
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def slow(process):
    time.sleep(0.6 * len(started))
    process._target = work if started else die
    started.append(process)
    start(process)
def linger():
    kill()
    time.sleep(2)
forkserver.CONTEXT.Process.start, module.kill = slow, linger
"""


def test_a_worker_that_starts_when_the_others_have_been_ended_is_not_waited_for(large: Path, tmp_path: Path) -> None:
    """Found by killing builds at random: the launcher said what had happened, and never ended."""
    (tmp_path / "sitecustomize.py").write_text(LATE)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    arguments = ["build", "--input", large, "--output", tmp_path / "out", "--workers", 2]
    process = start(*arguments, env={**os.environ, "PYTHONPATH": path})
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "worker process ended" in said


def test_the_end_of_a_worker_is_seen_by_two_threads_at_once() -> None:
    """Found by a build in a thousand that took a worker's good end for its death."""
    forkserver.prepare()
    seen: list[int | None] = []
    for _ in range(60):
        process = forkserver.CONTEXT.Process(target=time.sleep, args=(0.005,))
        process.start()

        def ask(process: Any = process) -> None:
            while (code := worker.exit_code(process)) is None:
                pass
            seen.append(code)

        three_at_once(ask)
    assert seen == [0] * 180


# ---- what is said

SECRET = "비밀문장"
KEY = "AKIATESTTESTTESTTEST"

# Read by each Python process at its start: a step that fails on a document and quotes it.
QUOTING = f"""
import malmungchi.transforms.text.normalize as module
real = module.NormalizeStep.__call__
def quote(step, rows, settings):
    text = str(rows["text"][0])
    if "{SECRET}" not in text:  # nobody's document, read to load all kernels
        return real(step, rows, settings)
    raise ValueError("cannot do this:\\n  " + text + "\\n{SECRET}: more")
module.NormalizeStep.__call__ = quote
"""


def test_nothing_said_holds_text_or_credentials(source: Path, tmp_path: Path) -> None:
    rows = [{"id": f"{i}", "text": f"{corpus.text(random.Random(i))} {SECRET}"} for i in range(200)]
    file = write(tmp_path / "in.jsonl", rows)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f'{{"id": "torn", "text": "{SECRET}\n{SECRET}\n["{SECRET}"]\n{{"text": {{"{SECRET}": 1}}}}\n')
    environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": KEY, "AWS_ACCESS_KEY_ID": KEY, "HF_TOKEN": KEY}
    said = []

    def run(*options: object, env: dict[str, str] = environment, check: bool = True, out: str = "out") -> str:
        done = malmungchi("build", "--input", file, "--output", tmp_path / out, *options, check=False, env=env)
        assert (done.returncode == 0) == check, done.stderr
        said.append(done.stdout + done.stderr)
        return said[-1]

    run("--dry-run")
    run("--workers", 2)
    run("--deduplicate-threshold", "0.9", check=False)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(QUOTING)
    failing = {**environment, "PYTHONPATH": str(tmp_path / "site")}
    for workers in (0, 2):
        options = ["--workers", workers] if workers else []
        words = run(*options, env=failing, check=False, out=f"failing-{workers}")
        assert "unexpected ValueError at" in words
        assert "left out" in words
    for text in said:
        assert SECRET not in text
        assert KEY not in text
    shown = run(env={**failing, "MALMUNGCHI_TRACEBACK": "1"}, check=False, out="shown")
    assert SECRET in shown


# ---- verify


@pytest.fixture
def release(undisturbed: Path, tmp_path: Path) -> Path:
    shutil.copytree(undisturbed, tmp_path / "release")
    return tmp_path / "release"


@pytest.fixture(scope="module")
def in_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of several shards."""
    folder = tmp_path_factory.mktemp("shards")
    file = write(folder / "in.jsonl", corpus.rows(300, 9, 120))
    config = from_mapping({"execution": {"workers": 0}, "shards": {"target_bytes": 1 << 19, "min_shards": 1}})
    plan = dataclasses.replace(make_plan([str(file)], config), layout=layout(1 << 26))
    build(Job(plan, str(folder / "out")))
    return folder / "out"


def problems(release: Path) -> str:
    return "\n".join(verify.problems(str(release)))


def edit(release: Path, change: Callable[[dict[str, Any]], None], sign: bool = False) -> None:
    """Edits a manifest by hand; `sign` gives it its own checksum again, as nobody does by hand."""
    path = release / "manifest.json"
    fields = json.loads(path.read_bytes())
    change(fields)
    if sign:
        path.write_bytes(Manifest.from_json(orjson.dumps(fields)).to_json())
    else:
        path.write_bytes(orjson.dumps(fields, option=orjson.OPT_INDENT_2))


def test_verify_is_content_with_what_is_right(release: Path, in_shards: Path) -> None:
    assert problems(release) == ""
    assert problems(in_shards) == ""
    edit(release, lambda fields: None)  # other blanks, the same content
    assert problems(release) == ""


def test_verify_finds_a_flipped_bit_in_every_file(release: Path) -> None:
    for path in [path for path in release.rglob("*") if path.is_file() and path.name != "inputs.json"]:
        before = path.read_bytes()
        flip(path)
        assert problems(release), path
        path.write_bytes(before)


def test_verify_finds_a_missing_an_extra_and_a_swapped_shard(in_shards: Path, tmp_path: Path) -> None:
    release = tmp_path / "release"
    shutil.copytree(in_shards, release)
    first, second, *_ = sorted((release / "data").iterdir())
    shutil.copy(first, release / "data" / "train-extra.parquet")
    assert "train-extra.parquet: not in the manifest" in problems(release)
    (release / "data" / "train-extra.parquet").rename(first.with_suffix(".kept"))
    first.unlink()
    assert f"data/{first.name}: missing" in problems(release)
    first.with_suffix(".kept").rename(first)
    assert problems(release) == ""
    first.rename(tmp_path / "one")
    second.rename(first)
    (tmp_path / "one").rename(second)
    assert f"data/{first.name}: sha256" in problems(release)
    assert f"data/{second.name}: sha256" in problems(release)

    def swap(fields: dict[str, Any]) -> None:
        one, two = [file for file in fields["files"] if file["path"].startswith("data/")][:2]
        one["path"], two["path"] = two["path"], one["path"]
        fields["files"].sort(key=lambda file: file["path"])

    edit(release, swap, sign=True)
    assert "not in the order of the release" in problems(release)


@pytest.mark.parametrize("sign", [False, True])
def test_verify_finds_rows_removed_behind_the_back_of_the_manifest(sign: bool, release: Path) -> None:
    path = next((release / "data").iterdir())
    table = pq.read_table(path)
    pq.write_table(table.slice(0, table.num_rows - 3), path)
    digest, size = storage.sha256(str(path))
    text = sum(len(value.encode()) for value in table["text"].to_pylist()[:-3])

    def change(fields: dict[str, Any]) -> None:
        (file,) = [file for file in fields["files"] if file["path"].startswith("data/")]
        file.update(sha256=digest, bytes=size, rows=table.num_rows - 3, text_bytes=text)
        file.update(last_id=table["id"][table.num_rows - 4].as_py())

    edit(release, change, sign)
    found = problems(release)
    assert "kept" in found
    assert "is not what the shards hold" in found
    assert ("edited after it was written" in found) == (not sign)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields["counts"].update(kept=1),
        lambda fields: fields["config"]["language"].update(korean_share=0.9),
        lambda fields: fields["inputs"][0].update(sha256="0" * 64),
        lambda fields: fields["languages"].update(ko=1),
        lambda fields: fields["versions"].update(python="2.7"),
        lambda fields: fields["warnings"].append("none"),
        lambda fields: fields["files"].pop(),
        lambda fields: fields.pop("sha256"),
    ],
)
def test_verify_finds_a_manifest_edited_by_hand(change: Callable[[dict[str, Any]], None], release: Path) -> None:
    edit(release, change)
    assert "edited after it was written" in problems(release)


def test_verify_finds_a_manifest_cut_short_anywhere(release: Path) -> None:
    whole = (release / "manifest.json").read_bytes()
    for size in range(0, len(whole) - 2, len(whole) // 40):
        (release / "manifest.json").write_bytes(whole[:size])
        assert "cut short" in problems(release)
    (release / "manifest.json").write_bytes(b"[]")
    assert "not a manifest" in problems(release)
