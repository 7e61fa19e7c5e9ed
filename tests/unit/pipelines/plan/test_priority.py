"""A source that `deduplicate.priority` names and that cannot be there is told before the work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from malmungchi.pipelines.cli.main import main
from malmungchi.pipelines.plan import priority
from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.schemas.config import Config, Deduplicate, Input


def files(folder: Path, *names: str, **columns: str) -> list[str]:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps({"text": "글이다", **columns}) + "\n", encoding="utf-8")
    return [str(folder / name) for name in names]


def said(inputs: list[str], *names: str, given: list[Input] | None = None) -> str:
    config = Config(deduplicate=Deduplicate(priority=list(names)), inputs=given or [])
    return priority.warning(make_plan(inputs, config))


def test_files_are_sources_where_no_column_is(tmp_path: Path) -> None:
    places = files(tmp_path, "news.jsonl", "law.jsonl")
    assert said(places, "law", "news") == ""
    assert said(places) == ""
    found = said(places, "law", "nwes")
    assert "cannot be there: nwes; did you mean 'news'? No input" in found
    assert "are named: law, news. Write one of these" in found


def test_an_inputs_source_and_a_folder_count(tmp_path: Path) -> None:
    (tmp_path / "novels").mkdir()
    (tmp_path / "novels" / "one.txt").write_text("이야기", encoding="utf-8")
    places = files(tmp_path, "a.jsonl")
    given = [Input([str(tmp_path / "novels" / "*.txt")]), Input(places, source="법령")]
    assert said([], "novels", "법령", given=given) == ""
    assert "named: novels, 법령." in said([], "a", given=given)


def test_a_column_may_give_any_name(tmp_path: Path) -> None:
    assert said([*files(tmp_path, "a.jsonl", source="신문"), *files(tmp_path, "b.jsonl")], "anything") == ""


def test_a_plan_of_many_sources_names_some(tmp_path: Path) -> None:
    found = said(files(tmp_path, *(f"part{n:02d}.jsonl" for n in range(30))), "x")
    assert "part19 and 10 more. Write" in found


@pytest.mark.parametrize("dry", [True, False])
def test_it_is_said_before_the_work(tmp_path: Path, dry: bool, capsys: pytest.CaptureFixture[str]) -> None:
    (place,) = files(tmp_path, "law.jsonl")
    arguments = ["build", "--input", place, "--output", str(tmp_path / "out"), "--deduplicate-priority", "laws"]
    assert main([*arguments, *(["--dry-run"] if dry else [])]) == 0
    out, err = capsys.readouterr()
    told = "warning: deduplicate.priority names sources that cannot be there: laws; did you mean 'law'?"
    assert told in (out if dry else err)
    assert dry or err.index(told) < err.index("refine")
