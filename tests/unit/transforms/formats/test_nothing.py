"""Values that say nothing are null, and nothing else is."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.schemas.config import Config, Deduplicate, Read
from malmungchi.schemas.work import WorkItem
from malmungchi.transforms.formats.nothing import told
from malmungchi.transforms.formats.read import read_item

NOTHING = [
    "N/A",
    "n/a ",
    "NONE",
    "None",
    "null",
    "Unknown",
    "-",
    " — ",
    "없음",
    "미상",
    "NOASSERTION",
    "해당 없음",
    "",
    "  ",
]
SOMETHING = ["CC-BY-4.0", "none of these", "-1", "공공누리 1유형", "N", "0", "https://a.kr/-", "나", "미상환"]


@pytest.mark.parametrize("value", [*NOTHING, unicodedata.normalize("NFD", "없음")])
def test_what_says_nothing_is_null(value: str) -> None:
    assert told(pa.array(["MIT", value, None])).to_pylist() == ["MIT", None, None]


@pytest.mark.parametrize("value", SOMETHING)
def test_what_says_something_stays(value: str) -> None:
    assert told(pa.array([value])).to_pylist() == [value]


@given(st.lists(st.one_of(st.none(), st.sampled_from(NOTHING + SOMETHING), st.text(max_size=90))))
def test_each_value_is_judged_by_itself(values: list[str | None]) -> None:
    alone = [told(pa.array([value], pa.string()))[0].as_py() for value in values]
    assert told(pa.array(values, pa.string())).to_pylist() == alone


def test_rows_that_say_nothing_take_what_their_input_says(tmp_path: Path) -> None:
    row = {"text": "글이 있다", "url": "-", "license": "없음", "source": "N/A", "published_at": "미상"}
    (tmp_path / "news.jsonl").write_text(json.dumps(row, ensure_ascii=False))
    plan = make_plan([str(tmp_path / "news.jsonl")], Config())
    (chunk,) = read_item(WorkItem("0-0", plan.files[0], 0, -1, 0, 0, True), Config(), 1 << 20)
    (found,) = chunk.rows.to_pylist()
    expected = {"url": None, "license": None, "source": "news", "published_at": None, "metadata": None}
    assert {name: found[name] for name in expected} == expected


def test_names_are_compared_in_nfc(tmp_path: Path) -> None:
    row = {"본문칸": "글이 있다", "id": "가-1", "출처칸": "신문"}
    line = unicodedata.normalize("NFD", json.dumps(row, ensure_ascii=False))
    (tmp_path / "a.jsonl").write_text(line)
    config = Config(
        Read(text="본문칸", source="출처칸"), deduplicate=Deduplicate(priority=[unicodedata.normalize("NFD", "신문")])
    )
    plan = make_plan([str(tmp_path / "a.jsonl")], config)
    (chunk,) = read_item(WorkItem("0-0", plan.files[0], 0, -1, 0, 0, True), config, 1 << 20)
    (found,) = chunk.rows.to_pylist()
    assert (found["id"], found["source"]) == ("가-1", "신문")
    assert config.deduplicate.priority == ["신문"]
