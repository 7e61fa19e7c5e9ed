"""The whole build, as a user runs it."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import duckdb
import polars
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from malmungchi.pipelines.job import inventory
from malmungchi.pipelines.job import job as job_module
from malmungchi.pipelines.job.build import build
from malmungchi.pipelines.job.output import OutputError
from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.schemas.config import Config
from malmungchi.schemas.errors import CountError
from malmungchi.schemas.release import LEDGER, REJECTS
from malmungchi.transforms.text import steps
from tests.support import ROOT, corpus


def malmungchi(*arguments: object, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own."""
    command = [sys.executable, "-m", "malmungchi", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, **options)
    if check and done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def digests(release: Path, *folders: str) -> dict[str, str]:
    """sha256 of each file of a release; where its inputs were is no part of it."""
    files = sorted(path for path in release.rglob("*") if path.is_file() and path != release / "inputs.json")
    chosen = {path.relative_to(release).as_posix(): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in chosen.items()
        if not folders or name.split("/")[0] in folders
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files: plain, with a broken line and a line without text, and one that is cut into parts."""
    folder = tmp_path_factory.mktemp("inputs")
    write(folder / "a.jsonl", corpus.rows(300, 1))
    lines = [json.dumps(row, ensure_ascii=False) for row in corpus.rows(200, 2)]
    lines[10] = '{"id": "torn", "text": "끝이 없'
    lines[20] = '{"id": "empty-handed"}'
    lines.append(json.dumps({"id": "s1-00121", "text": corpus.text(random.Random(99))}, ensure_ascii=False))
    (folder / "b.jsonl").write_text("\n".join(lines), encoding="utf-8")
    write(folder / "sub" / "c.jsonl", corpus.rows(400, 3))
    return folder


@pytest.fixture(scope="module")
def release(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of the three files, made in one process."""
    output = tmp_path_factory.mktemp("release") / "out"
    malmungchi("build", "--input", inputs / "*.jsonl", "--input", inputs / "sub" / "c.jsonl", "--output", output)
    return output


def test_the_release_is_whole(release: Path) -> None:
    manifest = json.loads((release / "manifest.json").read_text())
    counts = manifest["counts"]
    assert counts["input"] == 300 + 201 + 400
    assert counts["input"] == counts["kept"] + sum(counts["rejected"].values())
    assert counts["rejected"]["read.invalid_json"] == 1
    assert counts["rejected"]["read.no_text"] == 1
    assert counts["rejected"]["deduplicate.exact_duplicate"] > 30
    assert counts["rejected"]["deduplicate.near_duplicate"] > 30
    assert counts["rejected"]["language.not_korean"] > 30
    assert sum(source["input"] for source in manifest["sources"].values()) == counts["input"]
    assert {item["name"] for item in manifest["inputs"]} == {"a.jsonl", "b.jsonl", "c.jsonl"}
    assert sorted(path.name for path in release.iterdir()) == [
        "README.md", "data", "duplicates", "inputs.json", "manifest.json", "rejects"
    ]  # fmt: skip
    assert malmungchi("verify", release).stdout.strip().endswith("OK: all checksums, counts and schemas match")
    for item in manifest["inputs"]:
        assert len(item["sha256"]) == 64


def test_input_digests_are_those_of_the_files(release: Path, inputs: Path) -> None:
    manifest = json.loads((release / "manifest.json").read_text())
    said = {item["name"]: item["sha256"] for item in manifest["inputs"]}
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs.rglob("*.jsonl")}
    assert said == files


def test_every_reader_reads_it(release: Path, tmp_path: Path) -> None:
    shards = sorted((release / "data").glob("*.parquet"))
    table = ds.dataset(release / "data").to_table()
    assert table.schema.equals(steps.published())
    assert all(pq.read_schema(file).equals(steps.published()) for file in shards)
    assert all(pq.read_metadata(file).num_rows for file in shards)
    assert ds.dataset(release / "rejects").schema.equals(REJECTS)
    assert ds.dataset(release / "duplicates").schema.equals(LEDGER)
    counted = duckdb.execute(f"select count(*) from '{release}/data/*.parquet'").fetchall()
    assert counted == [(table.num_rows,)]
    frame = polars.read_parquet(release / "data" / "*.parquet")
    assert frame.shape == (table.num_rows, table.num_columns)
    keys = pc.unique(table["id"])
    assert len(keys) == table.num_rows - 1  # one id was given twice on purpose, and both rows are there
    files = str(release / "data" / "*.parquet")
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert loaded.num_rows == table.num_rows


def test_the_card_says_how_to_read_it(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line of the card runs as it stands, in the release's folder, and each folder is a configuration."""
    manifest = json.loads((release / "manifest.json").read_text())
    lines = re.search(r"```python\n(.*?)```", (release / "README.md").read_text(), re.DOTALL)
    assert lines
    rows = sum(file["rows"] for file in manifest["files"] if file["path"].startswith("data/"))
    monkeypatch.chdir(release)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    for line in lines[1].splitlines():
        tool = importlib.import_module(line.partition(".")[0])
        if tool is pa:
            importlib.import_module("pyarrow.dataset")
        found = eval(line, {tool.__name__: tool, "os": os})
        assert tool is duckdb or '"rejects"' in line or len(found) == rows, line
    for folder, name in (("data", "default"), ("rejects", "rejects"), ("duplicates", "duplicates")):
        loaded = datasets.load_dataset(str(release), name, split="train", cache_dir=str(tmp_path))
        table = ds.dataset(release / folder).to_table()
        assert loaded.num_rows == table.num_rows
        assert loaded.column_names == table.column_names
        assert {field.name: field.type for field in loaded.features.arrow_schema} == {
            field.name: field.type for field in table.schema
        }


def test_columns_explain_themselves(release: Path) -> None:
    for folder in ("data", "rejects", "duplicates"):
        for file in (release / folder).iterdir():
            for field in pq.read_schema(file):
                assert len(field.metadata[b"description"]) > 5, (folder, field.name)


def test_the_manifest_counts_by_source_and_licence(release: Path) -> None:
    manifest = json.loads((release / "manifest.json").read_text())
    table = ds.dataset(release / "data").to_table(columns=["source", "license", "text"])
    size = pc.binary_length(table["text"])
    for column, groups in (("source", manifest["sources"]), ("license", manifest["licenses"])):
        summed = pa.table({"name": pc.fill_null(table[column], ""), "size": size}).group_by("name")
        found = {row["name"]: (row["count_all"], row["size_sum"]) for row in
                 summed.aggregate([([], "count_all"), ("size", "sum")]).to_pylist()}  # fmt: skip
        said = {name: (group["kept"], group["text_bytes"]) for name, group in groups.items() if group["kept"]}
        assert said == found
    assert manifest["release"] == {"name": "", "version": "", "contact": "", "date": ""}


def test_ids_that_clash_are_told_and_both_documents_stay(release: Path) -> None:
    rows = pq.read_table(release / "data", columns=["id", "file"]).filter(pc.field("id") == "s1-00121")
    assert rows["file"].to_pylist() == ["a.jsonl", "b.jsonl"]
    warnings = json.loads((release / "manifest.json").read_text())["warnings"]
    assert [warning.split(":")[0] for warning in warnings] == ["1 document(s) have an id that another one has already"]


def test_what_is_not_a_column_is_kept_as_metadata(release: Path) -> None:
    row = (
        ds.dataset(release / "data")
        .to_table(filter=(pc.field("id") == "s1-00121") & (pc.field("file") == "a.jsonl"))
        .to_pylist()[0]
    )
    assert json.loads(row["metadata"]) == {"topic": 1}
    assert (row["source"], row["license"], row["file"], row["row"]) == ("source-1", "CC0-1.0", "a.jsonl", 122)


def _shingles(text: str) -> set[str]:
    folded = "".join(c for c in text.casefold() if c.isalnum())
    return {folded[i : i + 5] for i in range(max(1, len(folded) - 4))}


def test_every_dropped_document_truly_resembles_a_kept_one_and_no_pair_is_left(release: Path, inputs: Path) -> None:
    texts = {}
    for path in inputs.rglob("*.jsonl"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                texts[path.name, number] = json.loads(line)["text"]
            except (ValueError, KeyError):
                continue
    kept = (
        ds.dataset(release / "data")
        .to_table(columns=["id", "file", "row", "duplicate_count", "cluster_id"])
        .to_pylist()
    )
    pairs = ds.dataset(release / "duplicates").to_table().to_pylist()
    sets = {place: _shingles(text) for place, text in texts.items()}
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in kept:
        by_id.setdefault(row["id"], []).append(row)

    def similarity(a: set[str], b: set[str]) -> float:
        return len(a & b) / len(a | b)

    for pair in pairs:
        dropped = sets[pair["file"], pair["row"]]
        scores = [similarity(dropped, sets[row["file"], row["row"]]) for row in by_id[pair["kept_id"]]]
        assert max(scores) == pytest.approx(pair["score"])
        assert pair["score"] >= 0.8
        assert (pair["rule"] == "exact_duplicate") <= (pair["score"] == 1.0)
    left = [(row, sets[row["file"], row["row"]]) for row in kept]
    for i, (_, one) in enumerate(left):
        for _, other in left[i + 1 :]:
            assert similarity(one, other) < 0.8
    assert sum(row["duplicate_count"] for row in kept) == len(kept) + len(pairs)
    clusters = {row["cluster_id"]: row["duplicate_count"] for row in kept}
    assert all(pair["cluster_id"] in clusters for pair in pairs)


def test_the_same_bytes_for_any_workers_chunks_order_and_place(release: Path, inputs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(inputs, moved)
    attempts: list[list[object]] = [
        ["--workers", 1, "--input", inputs / "*.jsonl", "--input", inputs / "sub" / "c.jsonl"],
        ["--workers", 2, "--input", inputs / "sub" / "c.jsonl", "--input", inputs / "*.jsonl",
         "--execution-chunk-bytes", "16KiB"],
        ["--workers", 3, "--input", moved / "sub" / "c.jsonl", "--input", moved / "b.jsonl",
         "--input", moved / "a.jsonl", "--execution-chunk-bytes", "100KiB", "--staging", tmp_path / "elsewhere"],
        ["--runner", "DirectRunner", "--input", moved / "*.jsonl", "--input", moved / "sub" / "*.jsonl",
         "--execution-chunk-bytes", "5KiB"],
    ]  # fmt: skip
    for number, arguments in enumerate(attempts):
        output = tmp_path / f"out-{number}"
        malmungchi("build", "--output", output, *arguments)
        assert digests(output) == digests(release)


def test_inspect_explains_fates(release: Path) -> None:
    pair = ds.dataset(release / "duplicates").to_table().to_pylist()[0]
    said = malmungchi("inspect", release, "--id", pair["dropped_id"]).stdout
    assert pair["rule"] in said
    assert pair["kept_id"] in said
    said = malmungchi("inspect", release, "--id", pair["kept_id"]).stdout
    assert "kept" in said
    assert pair["dropped_id"] in said
    assert "not_korean" in malmungchi("inspect", release, "--id", "s1-00000").stdout
    assert "no document" in malmungchi("inspect", release, "--id", "nobody", check=False).stderr
    at = ("inspect", release, "--file", pair["file"], "--row", pair["row"], "--json")
    assert json.loads(malmungchi(*at).stdout)["duplicates"] == [pair]
    assert "stands for" in malmungchi("inspect", release, "--duplicates").stdout
    assert "invalid_json" in malmungchi("inspect", release, "--rejects", "--rule", "invalid_json").stdout
    assert "s" in malmungchi("inspect", release, "--limit", "1").stdout


def test_a_finished_release_is_left_alone_and_others_are_refused(release: Path, inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(release, output)
    sources = ["--input", inputs / "*.jsonl", "--input", inputs / "sub" / "c.jsonl", "--output", output]
    assert "already" in malmungchi("build", *sources).stderr
    shorter = tmp_path / "shorter"
    shutil.copytree(inputs, shorter)
    (shorter / "b.jsonl").write_bytes((shorter / "b.jsonl").read_bytes()[:-1])
    changed = [str(source).replace(str(inputs), str(shorter)) for source in sources]
    refused = malmungchi("build", *changed, check=False)
    assert refused.returncode == 1
    assert "b.jsonl had" in refused.stderr
    refused = malmungchi("build", *sources, "--deduplicate-threshold", "0.9", check=False)
    assert refused.returncode == 1
    assert "deduplicate.threshold was 0.8, is 0.9. Choose another --output" in refused.stderr
    # Of the same size, but changed since the release was made.
    file = shorter / "b.jsonl"
    file.write_bytes((inputs / "b.jsonl").read_bytes())
    assert "already" in malmungchi("build", *changed).stderr
    file.write_bytes(file.read_bytes().replace(b"torn", b"worn"))
    refused = malmungchi("build", *changed, check=False)
    assert refused.returncode == 1
    assert "inputs: b.jsonl has the same size, but other content now" in refused.stderr
    other = tmp_path / "mine"
    write(other / "thesis.txt", [])
    refused = malmungchi("build", "--input", inputs / "a.jsonl", "--output", other, check=False)
    assert "not empty" in refused.stderr
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


def test_an_unfinished_job_goes_on_but_is_not_mixed(release: Path, inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    sources = ["--input", inputs / "*.jsonl", "--input", inputs / "sub" / "c.jsonl", "--output", output]
    malmungchi("refine", *sources)
    refused = malmungchi("build", *sources, "--deduplicate-threshold", "0.9", check=False)
    assert refused.returncode == 1
    assert "deduplicate.threshold was 0.8, is 0.9" in refused.stderr
    assert not (output / "manifest.json").exists()
    assert "finished tasks are kept" in malmungchi("build", *sources).stderr
    assert digests(output) == digests(release)
    again = tmp_path / "again"
    sources[-1] = again
    malmungchi("refine", *sources)
    malmungchi("build", *sources, "--deduplicate-threshold", "0.9", "--restart")
    assert json.loads((again / "manifest.json").read_text())["config"]["deduplicate"]["threshold"] == 0.9


def test_what_breaks_a_strict_job_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", corpus.rows(3, 1))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()) + b"rubbish")
    for workers in (0, 1):
        arguments = ("--input", tmp_path / "a.jsonl.gz", "--output", tmp_path / "out", "--strict", "--workers", workers)
        failed = malmungchi("build", *arguments, check=False)
        assert failed.returncode == 1
        assert "malmungchi: corrupt: a.jsonl.gz, line 4: unexpected bytes after the end of the gzip" in failed.stderr


def test_a_release_of_nothing_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"text": "Nothing in here is Korean, not a single word of it."}] * 2)
    arguments = ("--input", tmp_path / "a.jsonl", "--output", tmp_path / "out", "--deduplicate-priority", "a,b")
    said = malmungchi("build", *arguments).stderr
    assert "warning: no document was kept of 2 read: see rejects/ for the reasons" in said
    assert "warning: deduplicate.priority names sources that no document has: b\n" in said
    assert "path: data/*.parquet" in (tmp_path / "out" / "README.md").read_text()


def test_the_stages_one_by_one_make_the_same_release(release: Path, inputs: Path, tmp_path: Path) -> None:
    sources = ["--input", inputs / "*.jsonl", "--input", inputs / "sub" / "c.jsonl", "--output", tmp_path / "out"]
    for stage in ("refine", "deduplicate", "publish"):
        command = [sys.executable, "-m", "malmungchi", stage, *map(str, sources)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    assert digests(tmp_path / "out", "data", "duplicates", "rejects", "manifest.json") == digests(
        release, "data", "duplicates", "rejects", "manifest.json"
    )


@pytest.mark.alone
def test_a_killed_worker_is_an_error_within_seconds_and_the_job_goes_on(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", corpus.rows(20_000, 7))
    arguments = ["build", "--input", source, "--output", tmp_path / "out", "--execution-chunk-bytes", "64KiB"]
    command = [sys.executable, "-m", "malmungchi", *map(str, arguments), "--workers", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("_staging/*/refine/*.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    launcher = psutil.Process(process.pid)
    workers = [child for child in launcher.children(recursive=True) if child.ppid() != process.pid]
    workers[0].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - killed < 10
    assert process.returncode == 1
    assert "worker process ended" in said
    assert "run the same command again" in said
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in workers)
    assert "finished tasks are kept" in malmungchi(*arguments, "--workers", "2").stderr
    malmungchi("build", "--input", source, "--output", tmp_path / "undisturbed")
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


def test_a_dry_run_writes_nothing(inputs: Path, tmp_path: Path) -> None:
    said = malmungchi("build", "--input", inputs / "*.jsonl", "--output", tmp_path / "out", "--dry-run").stdout
    assert "a.jsonl" in said
    assert "chunks of up to" in said
    assert "shard" in said
    assert "memory" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--input", "nowhere/*.jsonl"], "no file matches"),
        (["--input", "nowhere.jsonl"], "no such file"),
        (["--input", "tests"], "this is a folder"),
        (["--input", "pyproject.toml"], "unknown kind of file"),
        (["--input", "samples/notes.jsonl", "--read-text", "본문없음"], "본문없음"),
        (["--input", "samples/notes.jsonl", "--language-korean-shar", "1"], "language-korean-share"),
    ],
)
def test_mistakes_are_said_before_any_work(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = malmungchi("build", *arguments, "--output", tmp_path / "out", check=False)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_nothing_kept_is_still_a_release(tmp_path: Path) -> None:
    source = write(tmp_path / "english.jsonl", [{"id": "1", "text": "Nothing here is Korean at all, not a word."}])
    malmungchi("build", "--input", source, "--output", tmp_path / "out", "--quiet")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["counts"] == {"input": 1, "kept": 0, "rejected": {"language.not_korean": 1}}
    assert not (tmp_path / "out" / "data").exists()
    malmungchi("verify", tmp_path / "out")


def test_empty_input_is_a_release_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    malmungchi("build", "--input", tmp_path / "empty.jsonl", "--output", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"]["input"] == 0
    malmungchi("verify", tmp_path / "out")


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_verify_finds_what_is_off(release: Path, tmp_path: Path) -> None:
    shard = sorted((release / "data").iterdir())[0].name

    def check(number: int, change: Any, words: str) -> None:
        copy = tmp_path / str(number)
        shutil.copytree(release, copy)
        change(copy)
        done = malmungchi("verify", copy, check=False)
        assert done.returncode == 1
        assert words in done.stderr

    def edit(copy: Path) -> None:
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["counts"]["kept"] += 1
        manifest["counts"]["input"] += 1
        (copy / "manifest.json").write_text(json.dumps(manifest, indent=2))

    check(0, lambda copy: _flip(copy / "data" / shard), "sha256")
    check(1, lambda copy: (copy / "data" / shard).unlink(), "missing")
    check(2, lambda copy: shutil.copy(copy / "data" / shard, copy / "data" / "extra.parquet"), "not in the manifest")
    check(3, edit, "is not what")
    check(4, lambda copy: os.truncate(copy / "manifest.json", 100), "cut short")
    check(5, lambda copy: (copy / "manifest.json").unlink(), "this is not a release")


def test_more_than_a_task_can_hold_in_one_partition_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.jsonl"
    rows = [{**row, "id": "the same"} for row in corpus.rows(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(job_module, "_LARGEST_PARTITION", 10_000)
    job = job_module.Job(make_plan([str(path)], Config()), str(tmp_path / "out"))
    with pytest.raises(OutputError, match=r"most documents have the same id.*read\.id"):
        build(job)


def test_a_source_that_does_not_add_up_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in corpus.rows(60)))
    published = inventory.published

    def moved(*arguments: Any) -> inventory.Published:
        found = published(*arguments)
        sources = found.counts.sources
        one, other = sorted(sources)[:2]
        wrong = {**sources, one: sources[one] - 1, other: sources[other] + 1}
        return dataclasses.replace(found, counts=dataclasses.replace(found.counts, sources=wrong))

    monkeypatch.setattr(inventory, "published", moved)
    job = job_module.Job(make_plan([str(path)], Config()), str(tmp_path / "out"))
    with pytest.raises(CountError, match="for a source"):
        build(job)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_bands_that_miss_too_much_are_told(inputs: Path, tmp_path: Path) -> None:
    """By the dry run, by the build, and in the manifest; and none is told where the threshold chooses them."""
    low = ("build", "--input", inputs / "a.jsonl", "--deduplicate-threshold", "0.6", "--workers", "1")
    by_hand = (*low, "--fingerprint-bands", "22", "--fingerprint-rows", "5")
    told = "22 bands of 5 rows find 83.15 % of the pairs whose similarity is the threshold, 0.6, not 99.95 %"
    assert told in malmungchi(*by_hand, "--output", tmp_path / "a", "--dry-run").stdout
    assert told in malmungchi(*by_hand, "--output", tmp_path / "a").stderr
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert any(told in warning for warning in manifest["warnings"])
    assert manifest["near_duplicates"] == {"threshold": 0.6, "bands": 22, "rows": 5, "recall": 0.831503}
    shown = malmungchi(*low, "--output", tmp_path / "b", "--dry-run").stdout
    assert "36 bands of 3 rows find 99.98 % of the pairs" in shown
    malmungchi(*low, "--output", tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert not any("bands" in warning for warning in manifest["warnings"])
    assert manifest["near_duplicates"]["recall"] >= 0.9995
    assert manifest["config"]["fingerprint"]["bands"] == 36


def test_a_sample_is_the_same_rows_each_time(release: Path, inputs: Path, tmp_path: Path) -> None:
    """Of documents and of rejects; whatever the workers and chunks; a larger one holds the smaller."""

    def rows(output: Path) -> set[tuple[str, int]]:
        tables = [ds.dataset(output / folder).to_table(columns=["file", "row"]) for folder in
                  ("data", "rejects", "duplicates") if (output / folder).exists()]  # fmt: skip
        return {(row["file"], row["row"]) for table in tables for row in table.to_pylist()}

    files = ("build", "--input", inputs / "*.jsonl", "--input", inputs / "sub" / "c.jsonl")
    found = {}
    for name, *options in (("tenth", "--sample", "10%"), ("again", "--sample", "10%", "--workers", "2",
                           "--execution-chunk-bytes", "16KiB"), ("third", "--sample", "0.3")):  # fmt: skip
        malmungchi(*files, "--output", tmp_path / name, *options)
        assert malmungchi("verify", tmp_path / name).stdout.strip().endswith("match")
        found[name] = rows(tmp_path / name)
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        assert manifest["counts"]["input"] == len(found[name])
        assert manifest["sample"] == options[1]
        assert f"only {options[1]} were read" in (tmp_path / name / "README.md").read_text()
    assert digests(tmp_path / "tenth") == digests(tmp_path / "again")
    assert 0.05 < len(found["tenth"]) / 901 < 0.17
    assert 0.2 < len(found["third"]) / 901 < 0.4
    assert found["tenth"] < found["third"] < rows(release)
    assert json.loads((release / "manifest.json").read_text())["sample"] == ""
    assert "This is a sample" not in (release / "README.md").read_text()
    said = malmungchi(*files, "--output", tmp_path / "none", "--sample", "101%", check=False)
    assert said.returncode
    assert "--read-sample: read.sample = '101%': a share above 0" in said.stderr
