"""A step is one file and one line in STEPS: the rest follows from what it declares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from malmungchi.pipelines.cli.main import main
from malmungchi.schemas import config
from malmungchi.transforms.text import steps
from malmungchi.transforms.text.base import Outcome, StepError, apply
from tests.support import corpus
from tests.support.chunks import chunk_of
from tests.support.tiny_step import LinesStep, PlainStep


@pytest.fixture
def one_line_more(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two steps more, and their settings."""
    here = "tests.support.tiny_step"
    monkeypatch.setattr(steps, "STEPS", (*steps.STEPS, f"{here}:LinesStep", f"{here}:PlainStep"))
    monkeypatch.setattr(config, "_BROUGHT", dict(config._BROUGHT))
    yield
    steps._load.cache_clear()


@pytest.mark.usefixtures("one_line_more")
def test_a_step_that_is_one_line_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Of every fifth document there are only three lines.
    rows = [
        {**row, "text": "\n".join(str(row["text"]).split("\n")[: 3 if i % 5 == 1 else None])}
        for i, row in enumerate(corpus.rows(120))
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "job.yaml").write_text("lines:\n  least: 5\n", encoding="utf-8")
    output = tmp_path / "out"
    arguments = ["--config", str(tmp_path / "job.yaml"), "--input", str(tmp_path / "in.jsonl"), "--output", str(output)]
    assert main(["build", "--dry-run", *arguments]) == 0
    assert "lines.least = 5" in capsys.readouterr().out
    assert main(["build", "--quiet", *arguments]) == 0
    assert main(["verify", str(output)]) == 0

    data = pq.read_table(output / "data")
    assert data["lines"].to_pylist() == [len(text.split("\n")) for text in data["text"].to_pylist()]
    assert min(data["lines"].to_pylist()) == 12
    assert pq.read_schema(next((output / "data").iterdir())).field("lines") == LinesStep.columns[0]
    rejects = [row for row in pq.read_table(output / "rejects").to_pylist() if row["step"] == "lines"]
    assert len(rejects) > 15
    lines = {row["id"]: str(row["text"].count("\n") + 1) for row in rows}
    for row in rejects:
        assert (row["rule"], row["value"], row["threshold"]) == ("too_few_lines", lines[row["id"]], "5")
    manifest = json.loads((output / "manifest.json").read_bytes())
    assert manifest["counts"]["rejected"]["lines.too_few_lines"] == len(rejects)
    assert manifest["config"]["lines"] == {"least": 5}

    capsys.readouterr()
    assert main(["inspect", str(output), "--rule", "too_few_lines", "--limit", "1"]) == 0
    assert "lines" in capsys.readouterr().out
    other = tmp_path / "other.yaml"
    other.write_text("lines:\n  leest: 5\n", encoding="utf-8")
    assert main(["build", "--config", str(other), *arguments[2:]]) == 1
    assert "unknown setting lines.leest; did you mean 'least'?" in capsys.readouterr().err


def test_what_a_step_returns_is_what_it_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = chunk_of(["글", "또"])
    assert apply(chunk, PlainStep(), None) is not None
    for outcome in (Outcome(), Outcome({"lines": pa.array([1, 1], pa.int32()), "words": pa.array([1, 1])})):
        monkeypatch.setattr(LinesStep, "__call__", lambda *_, found=outcome: found)
        with pytest.raises(StepError, match="step lines: what it returns and what it declares differ in"):
            apply(chunk, LinesStep(), None)


def test_a_step_that_is_not_there_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "STEPS", ("malmungchi.transforms.text.nowhere:Step",))
    with pytest.raises(StepError, match="nowhere:Step cannot be loaded"):
        steps.steps()


def test_rules_and_names_are_told_without_running_anything() -> None:
    assert {step.name: [rule.value for rule in step.rules] for step in steps.steps()} == {
        "extract": ["no_extractor", "not_utf8"],
        "normalize": ["empty"],
        "language": ["not_korean", "mixed", "no_letters", "private_use"],
    }
