"""`--limit N`: so many rows, exactly, and the same ones each time."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from malmungchi.pipelines.cli.main import main
from malmungchi.schemas.config import from_mapping
from malmungchi.schemas.settings import ConfigError
from tests.pipeline.test_build import digests, write
from tests.support import corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines, compressed and not, with a broken one and one without a text; a file that breaks off, and small texts."""
    folder = tmp_path_factory.mktemp("inputs")
    write(folder / "a.jsonl", [*corpus.rows(500, 1), {"id": "nothing"}])
    lines = (folder / "a.jsonl").read_bytes()
    packed = gzip.compress(lines + b'{"id": "torn", "text": "\n')
    (folder / "b.jsonl.gz").write_bytes(packed)
    (folder / "cut.jsonl.bz2").write_bytes(bz2.compress(lines)[:-40])
    for n in range(120):
        (folder / f"{n}.txt").write_text(f"{n}번째 글이다. 사람들이 조용히 기다린다.", encoding="utf-8")
    return folder


def built(folder: Path, output: Path, *options: str, code: int = 0) -> Path:
    assert main(["build", "--input", str(folder / "*"), "--output", str(output), "--quiet", *options]) == code
    return output


def rows(release: Path) -> set[tuple[str, int]]:
    """Files and rows of all that was read."""
    folders = [release / name for name in ("data", "rejects", "duplicates") if (release / name).exists()]
    tables = [ds.dataset(place).to_table(columns=["file", "row"]) for place in folders]
    return {(row["file"], row["row"]) for table in tables for row in table.to_pylist()}


@pytest.fixture(scope="module")
def everything(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, int]]:
    return rows(built(folder, tmp_path_factory.mktemp("all") / "out"))


@pytest.mark.parametrize("limit", [1, 50, 700])
def test_so_many_rows_and_the_same_each_time(
    limit: int, folder: Path, everything: set[tuple[str, int]], tmp_path: Path
) -> None:
    one = built(folder, tmp_path / "one", "--limit", str(limit))
    manifest = json.loads((one / "manifest.json").read_text())
    assert manifest["counts"]["input"] == limit == len(rows(one))
    assert rows(one) < everything
    assert manifest["sample"] == f"{limit} rows"
    assert manifest["config"]["read"]["limit"] == limit
    assert f"only {limit} were read" in (one / "README.md").read_text()
    assert f"행 {limit}개만 읽었습니다" in (one / "README.md").read_text()
    assert main(["verify", str(one)]) == 0
    small = ("--workers", "2", "--execution-chunk-bytes", "16KiB")
    assert digests(built(folder, tmp_path / "two", "--limit", str(limit), *small)) == digests(one)


def test_a_larger_number_has_the_smaller_one_in_it(folder: Path, tmp_path: Path) -> None:
    found = [rows(built(folder, tmp_path / str(limit), "--limit", str(limit))) for limit in (20, 40, 300)]
    assert found[0] < found[1] < found[2]
    assert len({file for file, _ in found[2]}) > 10  # of all files


def test_more_than_there_are_is_all(folder: Path, everything: set[tuple[str, int]], tmp_path: Path) -> None:
    assert rows(built(folder, tmp_path / "out", "--limit", "9999")) == everything


def test_a_sample_is_limited_too(folder: Path, tmp_path: Path) -> None:
    sample = built(folder, tmp_path / "sample", "--sample", "20%")
    both = built(folder, tmp_path / "both", "--sample", "20%", "--limit", "30")
    assert len(rows(both)) == 30
    assert rows(both) < rows(sample)
    assert json.loads((both / "manifest.json").read_text())["sample"] == "20%, 30 rows"
    card = (both / "README.md").read_text()
    assert "only 20% were read" in card
    assert "only 30 were read" in card


def test_a_job_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    """Also where what is known of the rows is lost in part."""
    whole = built(folder, tmp_path / "whole", "--limit", "77")
    options = ("--limit", "77", "--execution-chunk-bytes", "64KiB")
    output = tmp_path / "out"
    assert main(["refine", "--input", str(folder / "*"), "--output", str(output), "--quiet", *options]) == 0
    known = sorted(output.glob("_staging/plan-*/limit/**/*.json"))
    assert len(known) > 5
    known[1].unlink()
    known[-1].write_text("{")
    assert digests(built(folder, output, *options)) == digests(whole)


def test_it_is_told_before_and_when_something_is_not_found(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(built(folder, tmp_path / "out", "--limit", "3"))
    read = {row for file, row in rows(Path(output)) if file == "a.jsonl"}
    capsys.readouterr()
    assert main(["inspect", output, "--file", "a.jsonl", "--row", str(1 + max(read, default=0))]) == 1
    assert "was read; the release is a sample, 3 rows of its input" in capsys.readouterr().err
    assert main(["build", "--input", str(folder / "*"), "--output", f"{output}-2", "--limit", "3", "--dry-run"]) == 0
    assert "a sample, by hash: 3 rows; all rows are read twice to find it" in capsys.readouterr().out


@pytest.mark.parametrize("limit", ["-1", "1000001"])
def test_a_number_that_makes_no_sense(
    limit: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built(folder, tmp_path / "out", "--limit", limit, code=1)
    assert f"read.limit = {limit}: 0 to 1e+06" in capsys.readouterr().err


def test_it_is_one_number_for_all_inputs() -> None:
    with pytest.raises(ConfigError, match=r"inputs\.1\.read\.limit: it is one for all inputs; set read\.limit"):
        from_mapping({"inputs": [{"files": "a.jsonl", "read": {"limit": 5}}]})


def test_a_sample_of_one_input_is_of_that_one_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.jsonl", corpus.rows(300, 4))
    sampled = {"files": str(tmp_path / "a.jsonl"), "read": {"sample": "10%"}}
    job = {"inputs": [sampled, {"files": str(tmp_path / "b.jsonl")}]}
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    assert main(["build", "--config", str(tmp_path / "job.yaml"), "--output", str(tmp_path / "out"), "--quiet"]) == 0
    found = [file for file, _ in rows(tmp_path / "out")]
    assert found.count("b.jsonl") == 300
    assert 10 < found.count("a.jsonl") < 60
