"""doctor: tries what a big job will rely on, on the very runner and storage that it will have, before it starts.

Workers answer `questions`, and `diagnosis` says what that means. At the end a tiny build is compared byte by byte with
one on the local runner.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import orjson

from malmungchi.pipelines.job.build import build
from malmungchi.pipelines.job.diagnosis import OK, PROBLEM, Finding, diagnose
from malmungchi.pipelines.job.display import Display
from malmungchi.pipelines.job.job import Job
from malmungchi.pipelines.job.questions import Questions, pipeline
from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.pipelines.process.preload import made_up
from malmungchi.pipelines.runners import drive, registry
from malmungchi.pipelines.runners.base import RunnerError
from malmungchi.schemas.config import Config
from malmungchi.schemas.names import INPUTS
from malmungchi.transforms.io import storage

# Of all inputs, so many are read.
_INPUTS = 3

_FIRST = "fix this first, then run the doctor again"


def _ask(questions: Questions, arguments: Sequence[str], workers: int) -> list[Finding]:
    """Asks the workers of a runner, and says what the answers mean."""
    count = max(8, 4 * workers)
    started = time.time()
    try:
        drive.run(lambda root: pipeline(root, questions, count), arguments, workers)
    except Exception as error:
        return [Finding(PROBLEM, f"the runner cannot run a pipeline: {error}", _FIRST)]
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
    """sha256 of each file of a release, by its path in it; where its inputs were differs, and is no part of it."""
    found = {}
    for folder in ("", "data", "duplicates", "rejects"):
        for name in storage.names(storage.join(release, folder)):
            path = f"{folder}/{name}" if folder else name
            if "." in name and name != INPUTS:
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
            return [Finding(PROBLEM, f"a tiny build on this runner fails: {error}", _FIRST)]
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
    """Looks at everything that a job with these arguments and settings relies on. Removes whatever it writes.

    Raises RunnerError when the runner cannot do a job at all, and InputError for inputs that are not there.
    """
    display = display or Display(quiet=True)
    staging = config.execution.staging or output
    if not staging:
        if not registry.sees_this_machine(arguments):
            raise RunnerError("give --staging URL: a place that this machine and all workers read and write")
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
