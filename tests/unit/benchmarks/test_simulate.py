"""The simulator counts what a real job has: tasks, segments, names. What these cost, its `--check` holds to builds."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.simulate import Cluster, plan_of, report, simulate, spread
from benchmarks.steps import TAKES
from malmungchi.pipelines.inline import CHUNK_STEPS
from malmungchi.pipelines.job.build import build
from malmungchi.pipelines.job.job import Job
from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.pipelines.stages import CHANNELS, TASK_FOLDERS
from malmungchi.schemas.config import Config, from_mapping
from malmungchi.schemas.exchange import Layout, layout
from malmungchi.transforms.exchange import records
from tests.pipeline.test_build import write
from tests.support import corpus
from tests.support.cluster import work

benchmarks = pytest.importorskip("benchmarks.calibrate")


def costs(rows: dict[str, float], stored: dict[str, float]) -> benchmarks.Costs:  # type: ignore[name-defined]
    """Made-up costs, for a corpus that has so many rows and stored MB for each MB of input."""
    steps = (*CHUNK_STEPS, "read past", *TAKES)
    return benchmarks.Costs(
        seconds=dict.fromkeys(steps, 0.01), stored=stored, rows=rows, staged=0.6, kept=0.5,
        segments={"text": (1e-4, 1e-4), "numbers": (1e-5, 1e-5)}, split={"text": 0.01, "numbers": 0.003}, task=1e-4,
        reference=4e-6, reference_kb=(1.2, 0.9), entry=1e-6, start=5.0, start_cpu=5.0, launcher=300.0, worker=260.0,
        fork_server=400.0, memory={step: (150.0, 8.0 if step == "publish" else 2.0) for step in steps},
    )  # fmt: skip


@pytest.mark.parametrize("how", [layout(1 << 28), layout(1 << 28, fan_out=4)])
def test_tasks_and_segments_are_those_of_a_build(how: Layout, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", corpus.rows(1500, 31))
    config = from_mapping({"execution": {"workers": 0, "chunk_bytes": 1 << 15, "keep_staging": True}})
    plan = dataclasses.replace(make_plan([str(source)], config), layout=how)
    build(Job(plan, str(tmp_path / "out")))
    staging = str(work(tmp_path / "out" / "_staging"))
    found: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    stored: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for stage in TASK_FOLDERS[1:-2]:
        for name in records.tasks(staging, stage):
            done["/".join(name.split("/")[: 2 if stage == "split" else 1])] += 1
            for channel, _, part in records.need(staging, name).slices:
                found[channel] += 1
                if stage != "split":
                    rows[channel] += part.rows
                    stored[channel] += part.length
    mb = source.stat().st_size / 1e6
    shape = costs({c: rows[c] / mb for c in CHANNELS}, {c: stored[c] / 1e6 / mb for c in CHANNELS})
    job = simulate(plan, source.stat().st_size, shape, Cluster(2, store=False))
    for step in job.steps:
        if step.name in ("candidates", "components", "exact", "texts", "verified"):
            assert step.tasks == done[step.name]
        if step.name.startswith("split "):
            _, channel, number = step.name.split(" ")
            assert step.tasks == pytest.approx(done[f"split/{channel}-{number}"], rel=0.2, abs=1)
    read = job.total("references")
    assert read == pytest.approx(sum(found.values()) + found["rows"], rel=0.3)


def test_ten_terabytes_are_within_bounds() -> None:
    stored = {
        "rows": 0.21, "exact": 0.008, "bands": 0.09, "rejects": 0.002, "edges": 0.0016, "members": 0.0003,
        "candidates": 0.003, "wanted": 0.0006, "texts": 0.037, "verdicts": 0.006,
    }  # fmt: skip
    assert stored.keys() == set(CHANNELS)
    shape = costs(dict.fromkeys(CHANNELS, 85.0), stored)
    job = simulate(plan_of(1e13, Config()), 1e13, shape, Cluster())
    assert max(job.names.values()) <= 100_000
    assert max(step.memory for step in job.steps) < 2000
    assert job.launcher < 500
    assert all(step.reads / step.tasks < 100_000 for step in job.steps if step.name != "components")
    assert "10.0 TB" in report(job, Cluster())


@pytest.mark.parametrize("gigabytes", [1, 1.7, 3, 10, 24, 77, 333, 1_000, 1_480, 10_000, 33_000, 100_000])
def test_shards_are_even_at_any_size(gigabytes: float) -> None:
    for cv in (0.5, 3.0):
        in_rows, in_bytes, read = spread(gigabytes * 1e9, Config(), cv)
        assert in_rows <= 1.1
        assert in_bytes <= 1.1
        assert read < 1.7
