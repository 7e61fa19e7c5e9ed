"""inspect: a document's own fate, and nothing else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from malmungchi.pipelines.cli.main import main
from malmungchi.schemas.release import LEDGER, REJECTS, SCHEMA_VERSION, File, Manifest
from malmungchi.transforms.text.steps import published

KEPT = {"text": "글", "language": "ko", "language_detector": "script", "hangul_share": 1.0, "chars": 1, "letters": 1}


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
    schemas = {"data": published(), "rejects": REJECTS, "duplicates": LEDGER}
    files = []
    for folder, found in rows.items():
        path = tmp_path / folder / "0.parquet"
        path.parent.mkdir()
        pq.write_table(pa.Table.from_pylist(found, schemas[folder]), path)
        files.append(File(f"{folder}/0.parquet", len(found), path.stat().st_size, ""))
    rejected = {"read.no_text": 2, "read.invalid_json": 1, "deduplicate.near_duplicate": 13}
    manifest = Manifest(
        schema_version=SCHEMA_VERSION, config_digest="", versions={}, inputs=[], files=files,
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
    err = said(capsys, release, "--rule", "notext", code=1)
    assert err.strip() == "no rejects by rule notext; there are: invalid_json, no_text"
    err = said(capsys, release, "--rule", "near_duplicate", code=1)
    assert err.strip().endswith("; for duplicates use --duplicates")
    assert "leave out" in said(capsys, release, "--duplicates", "--rule", "no_text", code=1)


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_is_one_or_more(release: str, limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["inspect", release, f"--limit={limit}"])
    assert stop.value.code == 2
    assert f"'{limit}'is not a whole number of at least 1" in capsys.readouterr().err
