"""doctor: what a big job will rest on, tried on the very runner and storage that it will have, before it starts.

The questions run as a pipeline of the same few steps that a build is made of, so that whoever answers is a worker. Each
answer is a file in the staging area. At the end a tiny build is compared byte by byte with one on the local runner.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import itertools
import os
import random
import socket
import statistics
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import orjson

from malmungchi.pipelines.job.build import build
from malmungchi.pipelines.job.display import Display
from malmungchi.pipelines.job.job import Job
from malmungchi.pipelines.plan.planner import human, make_plan
from malmungchi.pipelines.process.memory import available
from malmungchi.pipelines.process.preload import made_up
from malmungchi.pipelines.runners import drive, registry
from malmungchi.pipelines.runners.base import RunnerError
from malmungchi.pipelines.runners.versions import versions
from malmungchi.schemas.config import Config
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.transforms.io import storage

OK, WARNING, PROBLEM = "ok", "warning", "PROBLEM"

# What a worker process takes at most, about (see the README's measurements), and what it had better have.
_MEMORY_BYTES = 1 << 30

_OBJECT_BYTES = 8 << 20
_RANGE_BYTES = 64 << 10
_RANGES = 20

# Below the one, or above the other, storage is what a job will wait for.
_SLOW_PUT = 20e6
_SLOW_RANGE_SECONDS = 0.05

_CLOCK_SECONDS = 30.0

# Of all inputs, so many are read.
_INPUTS = 3

# How long a question takes at least, so that not one worker answers them all.
_ANSWER_SECONDS = 0.5


class DoctorError(MalmungchiError):
    """A worker cannot do what it was asked; the message holds no text of any document."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what to do about it."""

    level: str
    what: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.level:8} {self.what}" + (f"\n{'':9}→ {self.advice}" if self.advice else "")


# ---- on the workers


def _content(name: str) -> bytes:
    return random.Random(name).randbytes(_OBJECT_BYTES)


def _write_slowly(uri: str, content: bytes) -> None:
    with storage.create(uri) as file:
        for start in range(0, len(content), _OBJECT_BYTES // 16):
            file.write(content[start : start + _OBJECT_BYTES // 16])
            time.sleep(0.01)


def _try_place(folder: str, name: str) -> dict[str, Any]:
    """What the storage behind a folder does with one object: speeds, and which promises it breaks."""
    uri, content, broken = storage.join(folder, name), _content(name), []
    start = time.monotonic()
    storage.write_bytes(uri, content)
    put = time.monotonic() - start
    spots = random.Random(name).sample(range(0, _OBJECT_BYTES - _RANGE_BYTES, _RANGE_BYTES), _RANGES)
    seconds = []
    for spot in spots:
        start = time.monotonic()
        if storage.read_range(uri, spot, _RANGE_BYTES) != content[spot : spot + _RANGE_BYTES]:
            broken.append("a ranged read gives other bytes than were written")
        seconds.append(time.monotonic() - start)
    if name not in storage.names(folder):
        broken.append("a written object is not listed at once")
    storage.write_bytes(uri, content[::-1])
    if storage.read_bytes(uri) != content[::-1]:
        broken.append("an object that is written again shows its old content")
    storage.remove(uri)
    if storage.exists(uri):
        broken.append("a removed object is still there")
    writer = threading.Thread(target=_write_slowly, args=(uri, content))
    writer.start()
    while writer.is_alive():
        if storage.size(uri) not in (-1, _OBJECT_BYTES):
            broken.append("an object is seen before it is whole")
        time.sleep(0.005)
    writer.join()
    if storage.read_bytes(uri) != content:
        broken.append("an object has other bytes than were written")
    return {"put": _OBJECT_BYTES / put, "range": statistics.median(seconds), "broken": sorted(set(broken))}


@dataclasses.dataclass(frozen=True)
class Questions:
    """What workers are asked: about `places` by their names, and whether they can read `inputs`."""

    home: str
    places: dict[str, str]
    inputs: tuple[str, ...]


def _answer(group: tuple[int, Iterable[int]], questions: Questions, count: int) -> Iterator[tuple[int, int]]:
    """A worker tells what it is and how it sees storage; what it leaves there is for another one to read."""
    begun = time.time()
    for number in group[1]:
        try:
            places = {name: _try_place(uri, f"object-{number}") for name, uri in questions.places.items()}
            for uri in questions.inputs:
                with storage.open_input(uri) as file:
                    file.read(1)
        except Exception as error:
            raise DoctorError(f"worker on {socket.gethostname()}: {error}") from None
        time.sleep(max(0.0, begun + _ANSWER_SECONDS - time.time()))
        answer = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "begun": begun,
            "ended": time.time(),
            "versions": versions(),
            "package": os.path.dirname(importlib.import_module("malmungchi").__file__ or ""),
            "memory": available(),
            "places": places,
        }
        storage.write_bytes(storage.join(questions.home, "answers", f"{number}.json"), orjson.dumps(answer))
        yield (number + 1) % count, number


def _read_again(group: tuple[int, Iterable[int]], questions: Questions) -> Iterator[int]:
    """A worker reads what most likely another one has written."""
    for number in group[1]:
        for name, uri in questions.places.items():
            found = storage.read_bytes(storage.join(uri, f"object-{number}"))
            if found != _content(f"object-{number}"):
                raise DoctorError(f"worker on {socket.gethostname()}: {name} shows other bytes than were written there")
        storage.write_bytes(storage.join(questions.home, "read", f"{number}.json"), b"{}")
        yield number


def _pipeline(root: beam.Pipeline, questions: Questions, count: int) -> Any:
    return (
        root
        | "Questions" >> beam.Create([(n, n) for n in range(count)]).with_output_types(tuple[int, int])
        | "DealQuestions" >> beam.GroupByKey()
        | "Answer" >> beam.FlatMap(_answer, questions, count).with_output_types(tuple[int, int])
        | "DealAnswers" >> beam.GroupByKey()
        | "ReadAgain" >> beam.FlatMap(_read_again, questions).with_output_types(int)
    )


# ---- on the launcher


def diagnose(answers: list[dict[str, Any]], started: float, ended: float) -> list[Finding]:
    """What the workers' answers mean. `started` and `ended` are the launcher's clock around their pipeline."""
    processes = {(answer["host"], answer["pid"]): answer for answer in answers}
    hosts = Counter(host for host, _ in processes)
    return [
        Finding(OK, f"workers: {len(processes)} processes on {len(hosts)} hosts ({', '.join(sorted(hosts))})"),
        *_about_versions(list(processes.values())),
        *_about_threads(answers),
        *_about_memory(processes, hosts),
        *_about_clocks(list(processes.values()), started, ended),
        *_about_places(answers),
    ]


def _about_versions(answers: list[dict[str, Any]]) -> Iterator[Finding]:
    ours = versions()
    wrong = False
    for answer in answers:
        for name, theirs in answer["versions"].items():
            if theirs != ours[name]:
                wrong = True
                yield Finding(
                    PROBLEM,
                    f"versions: {answer['host']} has {name} {theirs}, this launcher {ours[name]}",
                    "install the same wheel and requirements.lock on both, or launch from the workers' image",
                )
    if not wrong:
        said = ", ".join(f"{name} {ours[name]}" for name in ("malmungchi", "apache-beam", "python"))
        packages = {answer["package"] for answer in answers}
        yield Finding(OK, f"versions: launcher and workers agree ({said}, …); imported from {', '.join(packages)}")


def _about_threads(answers: list[dict[str, Any]]) -> Iterator[Finding]:
    by_process: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for answer in answers:
        by_process[answer["host"], answer["pid"]].append((answer["begun"], answer["ended"]))
    shared = 0
    for spans in by_process.values():
        spans.sort()
        shared += any(later[0] < earlier[1] - 0.1 for earlier, later in itertools.pairwise(spans))
    if shared:
        yield Finding(
            WARNING,
            f"threads: {shared} worker processes did several tasks at once, which Python lets run in turn for the most",
            "give each worker process one thread, and have more of them (dask worker --nthreads 1, "
            "--sdk_worker_parallelism, --number_of_worker_harness_threads=1)",
        )


def _about_memory(processes: dict[tuple[str, int], dict[str, Any]], hosts: Counter[str]) -> Iterator[Finding]:
    least: dict[str, int] = {}
    for (host, _), answer in processes.items():
        least[host] = min(least.get(host, answer["memory"]), answer["memory"])
    for host, memory in sorted(least.items()):
        share = memory // hosts[host]
        what = f"memory: {host} has {human(memory)} for {hosts[host]} worker processes"
        if share < _MEMORY_BYTES:
            yield Finding(PROBLEM, what, "a worker takes up to about 700 MB: give it 1 GB, or have fewer on this host")
        else:
            yield Finding(OK, what)


def _about_clocks(answers: list[dict[str, Any]], started: float, ended: float) -> Iterator[Finding]:
    worst, host = 0.0, ""
    for answer in answers:
        off = max(started - answer["begun"], answer["ended"] - ended, 0.0)
        if off > worst:
            worst, host = off, answer["host"]
    if worst > _CLOCK_SECONDS:
        yield Finding(
            WARNING,
            f"clock: that of {host} is off by at least {worst:.0f} s",
            "let NTP set it: object stores refuse requests that are minutes off, and locks are judged by heartbeats",
        )
    else:
        yield Finding(OK, f"clock: those of all workers are within {_CLOCK_SECONDS:.0f} s of this one")


def _about_places(answers: list[dict[str, Any]]) -> Iterator[Finding]:
    for name in answers[0]["places"]:
        tried = [answer["places"][name] for answer in answers]
        broken = sorted({what for place in tried for what in place["broken"]})
        for what in broken:
            yield Finding(
                PROBLEM,
                f"{name}: {what}",
                "a build rests on storage that shows whole objects, at once: S3, GCS, HDFS and local disks do; choose "
                "another place, and mount no bucket as a file system",
            )
        if not broken:
            yield Finding(OK, f"{name}: written, listed, read and removed by workers; objects are seen whole or not")
        put, seconds = (statistics.median(place[what] for place in tried) for what in ("put", "range"))
        speed = f"{name}: {put / 1e6:.0f} MB/s to write, {1000 * seconds:.1f} ms for a ranged read"
        slow = put < _SLOW_PUT or seconds > _SLOW_RANGE_SECONDS
        if slow:
            yield Finding(
                WARNING, speed, "workers will wait for it: keep it in the workers' region, or on faster disks"
            )
        else:
            yield Finding(OK, speed)


def _ask(questions: Questions, arguments: Sequence[str], workers: int) -> list[Finding]:
    """Asks the workers of a runner, and says what the answers mean."""
    count = max(8, 4 * workers)
    started = time.time()
    try:
        drive.run(lambda root: _pipeline(root, questions, count), arguments, workers)
    except Exception as error:
        return [Finding(PROBLEM, f"the runner does not run a pipeline: {error}", "mend this first, then ask again")]
    ended = time.time()
    names = storage.names(storage.join(questions.home, "answers"))
    read = storage.names(storage.join(questions.home, "read"))
    if len(names) < count or len(read) < count:
        return [
            Finding(
                PROBLEM,
                f"the runner says it is done, but of {count} answers {len(names)} are here, and {len(read)} were read",
                "workers and launcher do not see the same storage (a local path that is not shared?), or the runner "
                "has lost tasks",
            )
        ]
    answers = [orjson.loads(storage.read_bytes(storage.join(questions.home, "answers", name))) for name in names]
    return diagnose(answers, started, ended)


def digests(release: str) -> dict[str, str]:
    """sha256 of each file of a release, by its path in it."""
    found = {}
    for folder in ("", "data", "duplicates", "rejects"):
        for name in storage.names(storage.join(release, folder)):
            path = f"{folder}/{name}" if folder else name
            if "." in name:
                found[path] = hashlib.sha256(storage.read_bytes(storage.join(release, path))).hexdigest()
    return found


def _build(home: str, arguments: Sequence[str], config: Config, workers: int) -> list[Finding]:
    """Builds a tiny release on the runner and another locally, and compares them."""
    with tempfile.TemporaryDirectory(prefix="malmungchi-") as folder:
        source = Path(folder) / "made-up.jsonl"
        made_up(source)
        there = storage.join(home, "input", source.name)
        storage.write_bytes(there, source.read_bytes())
        local = dataclasses.replace(config.execution, staging="", workers=0, chunk_bytes=4 << 10)
        job = Job(make_plan([str(source)], dataclasses.replace(config, execution=local)), f"{folder}/release")
        build(job)
        away = dataclasses.replace(local, staging=storage.join(home, "work"), workers=workers)
        plan = make_plan([there], dataclasses.replace(config, execution=away))
        start = time.monotonic()
        try:
            build(Job(plan, storage.join(home, "release"), arguments))
        except Exception as error:
            return [Finding(PROBLEM, f"a tiny build on this runner fails: {error}", "mend this first, then ask again")]
        seconds = time.monotonic() - start
        ours, theirs = digests(f"{folder}/release"), digests(storage.join(home, "release"))
    differ = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if differ:
        return [
            Finding(
                PROBLEM,
                f"a tiny build on this runner differs from the local one in {', '.join(differ)}",
                "please report this, with the versions above and the runner's name",
            )
        ]
    return [
        Finding(
            OK, f"a tiny build on this runner has the same bytes as the local one ({len(ours)} files, {seconds:.0f} s)"
        )
    ]


def examine(
    arguments: Sequence[str],
    config: Config,
    inputs: Sequence[str] = (),
    output: str = "",
    display: Display | None = None,
) -> list[Finding]:
    """Looks at everything that a job with these arguments and settings would rest on. What it writes, it removes.

    Raises RunnerError when the runner cannot do a job at all, and InputError for inputs that are not there.
    """
    display = display or Display(quiet=True)
    staging = config.execution.staging or output
    if not staging:
        if not registry.sees_this_machine(arguments):
            raise RunnerError("say --staging URL: a place that this machine and all workers read and write")
        staging = tempfile.gettempdir()
    registry.check(arguments, {"--input": inputs, "--output": [output or staging], "--staging": [staging]},
                  config.execution.shared_paths)  # fmt: skip
    word = f"malmungchi-doctor-{uuid.uuid4().hex[:8]}"
    home = storage.join(staging, word)
    places = {"staging": home} if output in ("", staging) else {"staging": home, "output": storage.join(output, word)}
    files = tuple(file.uri for file in make_plan(inputs, config).files[:_INPUTS]) if inputs else ()
    made = [place.rpartition("/")[0] for place in places.values() if not storage.exists(place.rpartition("/")[0])]
    local = registry.is_local(arguments)
    workers = config.execution.workers or (os.cpu_count() or 1 if local else 0)
    try:
        display.say(f"asking workers ({registry.runner_of(arguments).name} runner) …")
        findings = _ask(Questions(home, places, files), arguments, workers)
        if not any(finding.level == PROBLEM for finding in findings):
            display.say("building …")
            findings += _build(home, arguments, config, workers)
    finally:
        with contextlib.suppress(OSError, storage.StorageError):  # of what could not be written either
            for place in places.values():
                storage.remove(place)
            for folder in made:
                storage.remove_if_empty(folder)
    return findings


def conclusion(findings: Sequence[Finding]) -> str:
    """All of it in a line."""
    problems, warnings = (sum(finding.level == level for finding in findings) for level in (PROBLEM, WARNING))
    return f"{problems} problems, {warnings} warnings" if problems or warnings else "all is well"
