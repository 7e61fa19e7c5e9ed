"""What was dropped can be looked at: its text is read again from the inputs."""

from __future__ import annotations

import bz2
import dataclasses
import json
import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from malmungchi.pipelines.cli.main import main
from malmungchi.pipelines.release import reread
from malmungchi.schemas.plan import Plan
from tests.pipeline.test_build import write
from tests.support import corpus

ENGLISH = "Nothing in here is Korean at all, and this line is number {}."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Inputs of five formats, each with an English row or file, which is dropped."""
    chance = random.Random(5)
    rows = [{"id": f"p{n}", "text": ENGLISH.format(n) if n == 31 else corpus.text(chance)} for n in range(40)]
    write(tmp_path / "in" / "lines.jsonl", rows[:35])
    with (tmp_path / "in" / "lines.jsonl").open("a", encoding="utf-8") as lines:
        lines.write('{"id": "torn", "text": "끝이 없는\n' + json.dumps(rows[3], ensure_ascii=False) + "\n")
    packed = "".join(json.dumps({"본문": ENGLISH.format(n)}) + "\n" for n in (1, 2))
    (tmp_path / "in" / "packed.jsonl.bz2").write_bytes(bz2.compress(packed.encode()))
    table = pa.table({"text": [ENGLISH.format(n) for n in range(9)]})
    pq.write_table(table, tmp_path / "in" / "t.parquet", row_group_size=2)
    lines_of_csv = 'text,url\n"가\n나다라",https://a\nEnglish only,https://b\n'
    (tmp_path / "in" / "c.csv").write_text(lines_of_csv, encoding="utf-8")
    (tmp_path / "in" / "one.txt").write_text("A text file.\r\nIt  is English. \n", encoding="utf-8")
    (tmp_path / "in" / "page.html").write_text("<p>An English <b>page</b></p>", encoding="utf-8")
    return tmp_path


def built(folder: Path, *options: str, inputs: str = "in/*") -> str:
    output = str(folder / "out")
    place = inputs if "://" in inputs else str(folder / inputs)
    assert main(["build", "--quiet", "--input", place, "--output", output, *options]) == 0
    return output


def asked(
    capsys: pytest.CaptureFixture[str], release: str, *words: str, code: int = 0
) -> tuple[dict[tuple[str, int], dict[str, Any]], str]:
    """(rows by file and row, what else was said)"""
    capsys.readouterr()
    assert main(["inspect", release, *words, "--text", "--json", "--limit", "99"]) == code
    out, err = capsys.readouterr()
    found = json.loads(out)
    return {(row["file"], row["row"]): row for row in [*found["rejects"], *found["duplicates"]]}, err


def test_texts_are_those_that_the_rule_saw(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = built(folder)
    found, err = asked(capsys, release, "--rule", "language.not_korean")
    assert err == ""
    assert {place: row["text"] for place, row in found.items()} == {
        ("lines.jsonl", 32): ENGLISH.format(31),
        ("packed.jsonl.bz2", 1): ENGLISH.format(1),
        ("packed.jsonl.bz2", 2): ENGLISH.format(2),
        **{("t.parquet", n + 1): ENGLISH.format(n) for n in range(9)},
        ("c.csv", 2): "English only",
        ("one.txt", 1): "A text file.\nIt  is English.",
        ("page.html", 1): "An English page",
    }
    found, _ = asked(capsys, release, "--rule", "invalid_json")
    assert found["lines.jsonl", 36]["text"] == '{"id": "torn", "text": "끝이 없는'
    found, _ = asked(capsys, release, "--file", "in/lines.jsonl", "--row", "37")
    assert found["lines.jsonl", 37]["rule"] == "exact_duplicate"
    assert found["lines.jsonl", 37]["text"].count("\n") == 11


def test_a_part_of_a_large_file_is_enough(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows are counted from the file's begin, in whichever part of it they are."""
    write(folder / "big" / "b.jsonl", [{"text": ENGLISH.format(n) + " Words." * 400} for n in range(16_000)])
    release = built(folder, inputs="big/*")
    for row in (1, 6_000, 16_000):
        found, _ = asked(capsys, release, "--file", "b.jsonl", "--row", str(row))
        assert found["b.jsonl", row]["text"].startswith(ENGLISH.format(row - 1))


def test_an_input_that_has_changed_or_gone_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = built(folder)
    place = folder / "in" / "lines.jsonl"
    os.utime(place, (1, 1))  # touched, with the same content
    question = ("--rule", "not_korean")
    assert asked(capsys, release, *question)[1] == ""
    data = place.read_bytes()
    place.write_bytes(data.replace(b"Nothing", b"Nothinx"))
    told = "lines.jsonl has changed since the build: it has other content than it had"
    found, err = asked(capsys, release, *question)
    assert err.startswith(told)
    assert found["lines.jsonl", 32]["no_text"].startswith(told)
    assert found["lines.jsonl", 32]["text"] is None
    assert found["c.csv", 2]["text"] == "English only"
    place.write_bytes(data + b"\n")
    told = f"lines.jsonl has changed since the build: it has {len(data) + 1} bytes, and had {len(data)}"
    assert asked(capsys, release, "--file", "lines.jsonl", "--row", "32", code=1)[1].strip() == told
    place.write_bytes(data)
    (folder / "in").rename(folder / "moved")
    found, err = asked(capsys, release, *question, code=1)
    assert f"c.csv is gone; it was {folder}/in/c.csv. Say where it is now with --input" in err
    assert not any(row["text"] for row in found.values())
    found, err = asked(capsys, release, *question, "--input", str(folder / "moved" / "*"))
    assert err == ""
    assert all(row["text"] for row in found.values())


def test_what_cannot_be_asked_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = built(folder)
    capsys.readouterr()
    assert main(["inspect", release, "--duplicates", "--text"]) == 1
    assert "--text goes with rows" in capsys.readouterr().err
    (folder / "out" / "inputs.json").write_text("{}")
    assert main(["inspect", release, "--rule", "not_korean", "--text"]) == 1
    assert "inputs.json is damaged, or of another version" in capsys.readouterr().err
    (folder / "out" / "inputs.json").unlink()
    assert main(["inspect", release, "--rule", "not_korean", "--text"]) == 1
    assert "inputs.json is missing" in capsys.readouterr().err
    assert main(["verify", release]) == 0


def test_where_inputs_are_holds_no_signature_and_is_no_input(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = built(folder, inputs="in/*.csv")
    plan = Plan.from_json((Path(release) / "inputs.json").read_bytes())
    signed = dataclasses.replace(plan.files[0], uri="https://store.example/c.csv?signature=SECRET")
    told = reread.record(dataclasses.replace(plan, files=[signed]))
    assert b"https://store.example/c.csv?" in told
    assert b"SECRET" not in told
    (Path(release) / "inputs.json").write_bytes(told)
    _, err = asked(capsys, release, "--rule", "not_korean", code=1)
    assert "was read from https://store.example/c.csv?…, whose rest is not kept" in err
    assert main(["build", "--input", str(folder / "**" / "*.json"), "--output", str(folder / "b"), "--dry-run"]) == 1
    assert "passed over 2 files of releases made by this program" in capsys.readouterr().err
