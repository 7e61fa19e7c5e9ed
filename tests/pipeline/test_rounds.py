"""Exchange in rounds, and components in ranges: the same bytes as in one go, whatever the bounds."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.pipelines.job.build import build
from malmungchi.pipelines.job.job import Job
from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.pipelines.runners import drive
from malmungchi.pipelines.stages import TASK_FOLDERS
from malmungchi.schemas.config import from_mapping
from malmungchi.schemas.exchange import FAN_OUT, Layout, layout
from malmungchi.transforms.dedup import candidates
from malmungchi.transforms.dedup.components import join
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.regroup import Settle
from malmungchi.transforms.exchange.segments import Segments, read_slices
from malmungchi.transforms.kernels.components import components
from tests.pipeline.test_build import digests, write
from tests.support import corpus
from tests.support.cluster import work

# As if the input were larger than it is: 32 partitions, 43 of bands, 8 ranges of contents.
SIZE = 1 << 28


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write(folder / "a.jsonl", corpus.rows(500, 21))
    write(folder / "b.jsonl", corpus.rows(200, 22))
    return folder


def release(source: Path, output: Path, how: Layout) -> Path:
    execution = {"workers": 0, "chunk_bytes": 1 << 15, "keep_staging": True}
    config = from_mapping({"execution": execution, "shards": {"target_bytes": 1 << 16, "min_shards": 4}})
    plan = dataclasses.replace(make_plan([f"{source}/*.jsonl"], config), layout=how)
    build(Job(plan, str(output)))
    return output


def published(output: Path) -> dict[str, str]:
    return digests(output, "data", "duplicates", "rejects", "README.md", "manifest.json")


@pytest.fixture(scope="module")
def in_one_round(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(source, tmp_path_factory.mktemp("one") / "out", layout(SIZE))


@pytest.mark.parametrize(("fan_out", "bunch_bytes"), [(2, 1 << 20), (16, 1 << 12)])
def test_the_same_bytes_in_rounds(
    fan_out: int, bunch_bytes: int, source: Path, in_one_round: Path, tmp_path: Path
) -> None:
    how = layout(SIZE, fan_out=fan_out, bunch_bytes=bunch_bytes)
    output = release(source, tmp_path / "out", how)
    assert published(output) == published(in_one_round)
    staging = work(output / "_staging")
    assert not (work(in_one_round / "_staging") / "split").exists()
    for channel in ("rows", "exact", "bands", "candidates", "wanted", "texts", "verdicts"):
        rounds = len(how.strides(channel)) - 1
        found = {path.name for path in (staging / "split").glob(f"{channel}-*")}
        assert found == {f"{channel}-{number}" for number in range(1, rounds + 1)}, channel
    for stage in TASK_FOLDERS:
        for name in records.tasks(str(staging), stage):
            record = records.need(str(staging), name)
            for channel in {channel for channel, _, _ in record.slices}:
                assert len({partition for _, partition in record.channel(channel)}) <= fan_out


def test_the_same_bytes_when_band_hashes_are_looked_at_part_by_part(
    source: Path, in_one_round: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_ENTRIES", 100)
    output = release(source, tmp_path / "out", layout(SIZE))
    assert published(output) == published(in_one_round)
    counts = [
        [records.need(str(staging), name).counts for name in records.tasks(str(staging), "candidates")]
        for staging in (work(output / "_staging"), work(in_one_round / "_staging"))
    ]
    assert max(count["entries"] for count in counts[0]) > 300
    assert sum(count["edges"] for count in counts[0]) >= sum(count["edges"] for count in counts[1]) > 0


@pytest.mark.parametrize("terabytes", [0.001, 0.1, 1, 10, 100])
def test_no_task_writes_more_segments_than_it_may(terabytes: float) -> None:
    how = layout(int(terabytes * 1e12))
    for channel in ("rows", "exact", "bands", "rejects", "edges", "members", "wanted"):
        strides = how.strides(channel)
        assert strides[-1] == 1
        assert all(wide == narrow * FAN_OUT for wide, narrow in itertools.pairwise(strides))
        first = -(-how.parts(channel) // strides[0])
        assert first <= (FAN_OUT if len(strides) == 1 else FAN_OUT // 16)


def test_rows_keep_their_order_through_rounds(tmp_path: Path) -> None:
    """Stronger than the same release, which sorts again: a partition is read row by row as after one round."""
    schema = pa.schema([pa.field("n", pa.int64(), nullable=False)])
    source = np.random.default_rng(0)
    how = dataclasses.replace(layout(SIZE, fan_out=3, bunch_bytes=512), partitions=40)
    staging, names = str(tmp_path), [f"stage/{number:06d}" for number in range(5)]
    where = source.integers(0, 40, 500)
    for number, name in enumerate(names):
        mine = np.arange(number * 100, number * 100 + 100)
        rows = pa.RecordBatch.from_arrays([pa.array(mine)], schema=schema)
        scatter = functools.partial(_scatter, rows=rows, where=where[mine], compress=number % 2 == 0)
        records.run(staging, name, scatter, how)
    assert len(how.strides("numbers")) == 5

    def settle(root: beam.Pipeline) -> None:
        names_ = root | beam.Create(names).with_output_types(str)
        names_ | Settle(staging, ("numbers",), how)  # type: ignore[unused-ignore]

    drive.run(settle)
    last = [name for name in records.tasks(staging, "split") if name.startswith("split/numbers-4/")]
    slices = [found for name in last for found in records.need(staging, name).channel("numbers")]
    for partition in range(40):
        table = read_slices([part for number, part in slices if number == partition], staging, schema)
        assert table["n"].to_pylist() == np.flatnonzero(where == partition).tolist()


def _scatter(segments: Segments, rows: pa.RecordBatch, where: np.ndarray, compress: bool) -> dict[str, int]:
    segments.scatter("numbers", rows, where, compress)
    return {}


def test_the_folder_of_a_task_holds_few_names() -> None:
    names = [records.partition_task("exact", number) for number in range(400_000)]
    names += [
        records.task_name("refine", f"{file:08d}-{item:06d}", file, item) for file in range(300) for item in range(500)
    ]
    assert len(set(names)) == len(names)
    folders: dict[str, int] = {}
    for name in names:
        folder = name.rpartition("/")[0]
        folders[folder] = folders.get(folder, 0) + 2  # a file and its record
    assert max(folders.values()) < 40_000
    assert records.partition_task("exact", 3) == "exact/000003"


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=80), st.integers(1, 10), st.integers(1, 80))
def test_components_range_by_range_are_those_of_one_go(pairs: list[tuple[int, int]], limit: int, cut: int) -> None:
    def hashed(numbers: list[int]) -> np.ndarray:
        return np.array(numbers, np.uint64) * np.uint64(0x9E3779B97F4A7C15)

    pairs = [(a, b) for a, b in pairs if a != b]
    edges = [(hashed([a for a, _ in some]), hashed([b for _, b in some])) for some in (pairs[:cut], pairs[cut:])]
    parts = list(join(iter(edges), len(pairs), limit))
    node, root = components(edges)
    assert np.concatenate([part for part, _ in parts]).tolist() == node.tolist()
    assert np.concatenate([part for _, part in parts]).tolist() == root.tolist()


def test_a_chain_through_many_ranges_is_one_component() -> None:
    chain = np.random.default_rng(0).integers(0, 1 << 63, 20_000, dtype=np.uint64) * np.uint64(2)
    edges = [
        (chain[at : at + 1000], chain[at + 1 : at + 1001][: len(chain[at : at + 1000])])
        for at in range(0, 19_000, 1000)
    ]
    parts = list(join(iter(edges), 19_000, 100))
    assert len(parts) == 1520
    roots = np.concatenate([root for _, root in parts])
    assert len(roots) == 19_001
    assert set(roots.tolist()) == {int(chain[:19_001].min())}


@pytest.mark.parametrize("shard_bytes", [64 << 20, 256 << 20, 512 << 20, 5 << 30])
def test_partitions_are_no_larger_than_shards(shard_bytes: int) -> None:
    for terabytes in (0.001, 0.1, 1, 10):
        size = int(terabytes * 1e12)
        partitions = layout(size, shard_bytes).partitions
        assert partitions == FAN_OUT or size / partitions <= shard_bytes
