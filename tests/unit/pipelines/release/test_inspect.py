"""inspect: a document's own fate, and nothing else's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from malmungchi.pipelines.cli.main import main
from malmungchi.schemas.release import LEDGER, REJECTS, SCHEMA_VERSION, File, Input, Manifest
from malmungchi.transforms.text.steps import published

KEPT = {"text": "글", "language": "ko", "language_detector": "script", "hangul_share": 1.0, "chars": 1, "letters": 1}
NAMES = ("a.jsonl", "b.jsonl", "c.jsonl", "x/d.jsonl", "y/d.jsonl")


@pytest.fixture
def release(tmp_path: Path) -> str:
    """Two documents of one id, each with duplicates of its own; and three rejects by two rules."""
    rows: dict[str, list[dict[str, Any]]] = {
        "data": [
            {**KEPT, "id": "twin", "duplicate_count": 13, "cluster_id": "a" * 32, "file": "a.jsonl", "row": 1},
            {**KEPT, "id": "twin", "duplicate_count": 2, "cluster_id": "b" * 32, "file": "b.jsonl", "row": 1},
        ],
        "duplicates": [
            {"dropped_id": f"copy-{cluster}{i}", "kept_id": "twin", "rule": "near_duplicate", "score": 0.9,
             "cluster_id": cluster * 32, "file": "c.jsonl", "row": i}
            for cluster, count in (("a", 12), ("b", 1)) for i in range(count)
        ],
        "rejects": [
            {"file": "a.jsonl", "row": row, "id": f"a.jsonl:{row}", "step": "read", "rule": rule, "value": "x"}
            for row, rule in ((2, "no_text"), (3, "invalid_json"), (4, "no_text"))
        ],
    }  # fmt: skip
    rows["data"][0]["url"] = "https://kept.example/?q=1"
    rows["rejects"][1]["url"] = "https://gone.example/?q=1"
    rows["duplicates"][12]["url"] = "https://copy.example/?q=1"
    schemas = {"data": published(), "rejects": REJECTS, "duplicates": LEDGER}
    files = []
    for folder, found in rows.items():
        path = tmp_path / folder / "0.parquet"
        path.parent.mkdir()
        pq.write_table(pa.Table.from_pylist(found, schemas[folder]), path)
        files.append(File(f"{folder}/0.parquet", len(found), path.stat().st_size, ""))
    rejected = {"read.no_text": 2, "read.invalid_json": 1, "deduplicate.near_duplicate": 13}
    manifest = Manifest(
        schema_version=SCHEMA_VERSION, config_digest="", versions={}, files=files,
        inputs=[Input(name, 1, "") for name in NAMES],
        config={"deduplicate": {"threshold": 0.8}, "shards": {}, "fingerprint": {}, "language": {}},
        counts={"input": 18, "kept": 2, "rejected": rejected}, sources={}, languages={}, warnings=[],
    )  # fmt: skip
    (tmp_path / "manifest.json").write_bytes(manifest.to_json())
    return str(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["inspect", *arguments]) == code
    out, err = capsys.readouterr()
    return err if code else out


def test_documents_of_one_id_have_their_own_duplicates(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, release, "--id", "twin", "--limit", "50")
    first, second = out.split("twin: kept, from b.jsonl row 1")
    assert first.count("copy-a") == 12
    assert "copy-b" not in first
    assert second.count("copy-b") == 1
    assert "copy-a" not in second


def test_a_limit_holds_for_one_document_too(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, release, "--id", "twin")
    assert out.count("copy-a") == 10
    assert "and 2 more" in out
    out = said(capsys, release, "--id", "twin", "--limit", "1")
    assert "b.jsonl row 1" not in out
    assert "and 11 more" in out
    assert "and 1 more" in out


def test_a_rule_means_rejects(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--rule", "no_text"], ["--rejects", "--rule", "no_text"]):
        out = said(capsys, release, *arguments)
        assert out.count("no_text") == 2
        assert "invalid_json" not in out
    assert said(capsys, release, "--rejects").count("a.jsonl:") == 3
    assert said(capsys, release, "--rule", "read.no_text") == said(capsys, release, "--rule", "no_text")
    err = said(capsys, release, "--rule", "notext", code=1)
    there = "read.no_text, read.invalid_json, deduplicate.near_duplicate"
    assert err == f"no row was dropped by a rule notext; did you mean 'no_text'? (what dropped rows here: {there})\n"
    assert said(capsys, release, "--rule", "near_duplicate").count("dropped_id") == 10
    assert said(capsys, release, "--rule", "deduplicate.near_duplicate", "--limit", "99").count("dropped_id") == 13
    assert "leave out" in said(capsys, release, "--duplicates", "--rule", "no_text", code=1)


def test_a_sample_of_a_rule_is_the_same_each_time_and_grows(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    def rows(limit: int) -> list[int]:
        found = said(capsys, release, "--rule", "near_duplicate", "--limit", str(limit), "--json")
        return [row["row"] for row in json.loads(found)["duplicates"]]

    assert len(rows(13)) == 13
    assert rows(13) != sorted(rows(13))  # not the first ones
    assert all(rows(size) == rows(13)[:size] for size in range(1, 13))


def test_documents_are_looked_up_by_file_and_row(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "twin: kept, from b.jsonl row 1" in said(capsys, release, "--file", "b.jsonl", "--row", "1")
    assert "dropped at read by rule no_text" in said(capsys, release, "--file", "in/a.jsonl", "--row", "2")
    assert "copy-a3: dropped at deduplicate" in said(capsys, release, "--file", "./c.jsonl", "--row", "3")
    assert said(capsys, release, "--file", "/x/y/a.jsonl").count("from a.jsonl row") == 4
    assert said(capsys, release, "--file", "a.jsonl", "--row", "9", code=1) == "a.jsonl: no row 9 was read\n"
    err = said(capsys, release, "--file", "aa.jsonl", code=1)
    assert err == "aa.jsonl: no input of this release has this name; did you mean 'a.jsonl'?\n"
    assert "several inputs end in this name: x/d.jsonl, y/d.jsonl" in said(capsys, release, "--file", "d.jsonl", code=1)
    assert "no row of it was read" in said(capsys, release, "--file", "y/d.jsonl", code=1)
    assert "say of which, with --file" in said(capsys, release, "--row", "3", code=1)


def test_documents_are_looked_up_by_address(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    for url, told in (
        ("kept", "twin: kept, from a.jsonl row 1"),
        ("gone", "a.jsonl row 3"),
        ("copy", "copy-b0: dropped"),
    ):
        assert told in said(capsys, release, "--url", f"https://{url}.example/?q=1")
    err = said(capsys, release, "--url", "https://none.example/", code=1)
    assert err == "https://none.example/: no document with this address was read\n"


KEYS = ["release", "asked", "kept", "rejects", "duplicates", "clusters", "total"]


@pytest.mark.parametrize(
    "asked", [[], ["--id", "twin"], ["--rejects"], ["--rule", "no_text"], ["--duplicates"], ["--file", "a.jsonl"]]
)
def test_json_has_the_same_keys_whatever_is_asked(
    asked: list[str], release: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(said(capsys, release, *asked, "--json", "--limit", "1"))
    assert list(found) == KEYS
    assert list(found["total"]) == KEYS[2:6]
    for kind in KEYS[2:6]:
        assert len(found[kind]) == min(1, found["total"][kind])


def test_json_of_nothing_is_json_too(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", release, "--id", "nobody", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["total"] == dict.fromkeys(KEYS[2:6], 0)
    assert err == "nobody: no document with this id was read\n"


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_is_one_or_more(release: str, limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["inspect", release, f"--limit={limit}"])
    assert stop.value.code == 2
    assert f"'{limit}' is not a whole number of at least 1" in capsys.readouterr().err
