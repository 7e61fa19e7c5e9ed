"""What folders say of rows."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.schemas.config import Config, Input
from malmungchi.schemas.work import WorkItem
from malmungchi.transforms.formats.folders import partitions
from malmungchi.transforms.formats.read import read_item


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.parquet", {}),
        ("lang=ko/분야=경제/b.parquet", {"lang": "ko", "분야": "경제"}),
        ("time=12%3A30/b=c.parquet", {"time": "12:30"}),
        ("lang=__HIVE_DEFAULT_PARTITION__/x.parquet", {}),
        ("k=1/k=2/x", {"k": "2"}),
        ("=1/2=/x", {"2": ""}),
    ],
)
def test_partitions(path: str, expected: dict[str, str]) -> None:
    assert partitions(path) == expected


def rows(pattern: str, **own: Any) -> list[dict[str, Any]]:
    plan = make_plan([], Config(inputs=[Input([pattern], **own)]))
    found: list[dict[str, Any]] = []
    for file in plan.files:
        for chunk in read_item(WorkItem("0-0", file, 0, -1, 0, 0, True), plan.config, 1 << 20):
            found += chunk.rows.to_pylist()
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two partitions of two rows each, of which one has columns of its own for what the folders say."""
    for source, other in (("신문", {}), ("books", {"source": [None, "mine"], "n": [1, None], "lang": ["x", "y"]})):
        place = tmp_path / f"source={source}" / "lang=ko" / "date=2024-03-01"
        place.mkdir(parents=True)
        pq.write_table(pa.table({"text": ["하나", "둘"], **other}), place / "part-0.parquet")
    return tmp_path


def test_partitions_become_columns(folder: Path) -> None:
    found = rows(f"{folder}/**/*.parquet", source="input")
    assert [row["source"] for row in found] == ["books", "mine", "신문", "신문"]
    assert {row["published_at"] for row in found} == {datetime.datetime(2024, 3, 1, tzinfo=datetime.UTC)}
    assert [json.loads(row["metadata"]) for row in found] == [
        {"n": 1, "lang": "x"},
        {"lang": "y"},
        {"lang": "ko"},
        {"lang": "ko"},
    ]


def test_folders_before_the_wildcard_count(folder: Path) -> None:
    assert {row["source"] for row in rows(f"{folder}/source=신문/*/*/*.parquet")} == {"신문"}


@pytest.mark.parametrize(("pattern", "source"), [("**/*.txt", "모음"), ("ab/*.txt", "ab"), ("ab/1.txt", "ab")])
def test_a_folder_of_texts_is_one_source(pattern: str, source: str, tmp_path: Path) -> None:
    for name in ("ab/1.txt", "ab/2.txt", "cd/1.txt"):
        (tmp_path / "모음" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "모음" / name).write_text("글")
    below = tmp_path / "모음" / pattern
    assert {row["source"] for row in rows(str(below))} == {source}
    assert {row["source"] for row in rows(str(below), source="mine")} == {"mine"}
