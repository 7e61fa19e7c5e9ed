"""What the answers of workers mean for a big job, and what to do about it."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from malmungchi.pipelines.plan.planner import human
from malmungchi.pipelines.runners.versions import versions

OK, WARNING, PROBLEM = "ok", "warning", "PROBLEM"

# What a worker process takes at most, about (see the README's measurements), and what it had better have.
_MEMORY_BYTES = 1 << 30

# Below the one, or above the other, storage is what a job will wait for.
_SLOW_PUT = 20e6
_SLOW_RANGE_SECONDS = 0.05

_CLOCK_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what to do about it."""

    level: str
    what: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.level:8} {self.what}" + (f"\n{'':9}→ {self.advice}" if self.advice else "")


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
            f"threads: {shared} worker processes did several tasks at once, which Python mostly runs in turn",
            "give each worker process one thread, and start more of them (dask worker --nthreads 1, "
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
            yield Finding(PROBLEM, what, "a worker takes up to about 700 MB: give it 1 GB, or run fewer on this host")
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
            "set it by NTP: object stores refuse requests that are minutes off, and locks rely on heartbeats",
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


def conclusion(findings: Sequence[Finding]) -> str:
    """All of it in a line."""
    problems, warnings = (sum(finding.level == level for finding in findings) for level in (PROBLEM, WARNING))
    return f"{problems} problems, {warnings} warnings" if problems or warnings else "all is well"
