"""Inputs with settings of their own, as a user builds them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from malmungchi.pipelines.plan.discover import discover
from malmungchi.schemas.config import Input
from tests.pipeline.test_build import digests, malmungchi

TEXTS = [f"{n}번째 문서입니다. 강가의 마을에는 이야기가 {n * 7}개나 전해 옵니다." for n in range(12)]


def kept(release: Path) -> dict[str, dict[str, Any]]:
    """Rows by their texts."""
    return {row["text"]: row for row in ds.dataset(release / "data").to_table().to_pylist()}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Two sources with different columns and formats."""
    (tmp_path / "articles.jsonl").write_text(
        "".join(json.dumps({"text": text, "key": n}) + "\n" for n, text in enumerate(TEXTS[:6])), encoding="utf-8"
    )
    lines = ["평점;문장;날짜", *(f"{n};{text};2024-05-01" for n, text in enumerate(TEXTS[6:]))]
    (tmp_path / "reviews.dat").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_two_sources_with_different_columns_are_built_together(sources: Path) -> None:
    (sources / "job.yaml").write_text(
        f"""
inputs:
  - files: {sources}/articles.jsonl
    license: KOGL-1
    read:
      id: key
  - files: [{sources}/reviews.dat]
    name: reviews
    format: csv
    source: 평점
    license: no
    read:
      text: 문장
      published_at: 날짜
    csv:
      delimiter: ";"
""",
        encoding="utf-8",
    )
    malmungchi("build", "--config", sources / "job.yaml", "--output", sources / "out")
    rows = kept(sources / "out")
    assert set(rows) == set(TEXTS)
    article, review = rows[TEXTS[0]], rows[TEXTS[6]]
    assert (article["source"], article["license"], article["id"]) == ("articles", "KOGL-1", "0")
    assert (review["source"], review["license"], json.loads(review["metadata"])) == ("평점", "no", {"평점": "0"})
    assert str(review["published_at"].date()) == "2024-05-01"
    manifest = json.loads((sources / "out" / "manifest.json").read_text())
    assert manifest["config"]["inputs"] == [
        {"license": "KOGL-1", "read": {"id": "key"}},
        {"csv": {"delimiter": ";"}, "format": "csv", "license": "no", "read": {"text": "문장", "published_at": "날짜"},
         "source": "평점"},
    ]  # fmt: skip
    malmungchi("verify", sources / "out")
    again = malmungchi("build", "--config", sources / "job.yaml", "--output", sources / "out")
    assert "holds this release already" in again.stderr


def test_a_plain_list_is_what_flags_say(sources: Path) -> None:
    (sources / "job.yaml").write_text(f"inputs:\n  - files: {sources}/articles.jsonl\n", encoding="utf-8")
    malmungchi("build", "--config", sources / "job.yaml", "--output", sources / "list")
    malmungchi("build", "--input", sources / "articles.jsonl", "--output", sources / "flag")
    assert digests(sources / "list") == digests(sources / "flag")


def test_files_of_the_same_name_are_told_apart_by_their_input(tmp_path: Path) -> None:
    for number, folder in enumerate(("hub/news/data", "hub/law/data", "hub/law/more")):
        (tmp_path / folder).mkdir(parents=True)
        line = json.dumps({"text": TEXTS[number]}) + "\n"
        (tmp_path / folder / "train-0.jsonl").write_text(line, encoding="utf-8")
    patterns = [str(tmp_path / folder / "*.jsonl") for folder in ("hub/news/data", "hub/law/data")]
    assert [found.name for found in discover([Input([pattern]) for pattern in patterns])] == [
        "law/data/train-0.jsonl",
        "news/data/train-0.jsonl",
    ]
    named = [Input([patterns[0]], name="뉴스"), Input([patterns[1]])]
    assert [found.name for found in discover(named)] == ["data/train-0.jsonl", "뉴스/train-0.jsonl"]
    alone = [Input([patterns[0]]), Input([str(tmp_path / "hub/law/more/*.jsonl")])]
    assert [found.name for found in discover(alone)] == ["data/train-0.jsonl", "more/train-0.jsonl"]
    malmungchi("build", *(word for pattern in patterns for word in ("--input", pattern)), "--output", tmp_path / "out")
    assert {row["file"] for row in kept(tmp_path / "out").values()} == {
        "law/data/train-0.jsonl", "news/data/train-0.jsonl"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs: a.jsonl\n", "job.yaml:1: inputs: expected a list of inputs, each with `files`"),
        ("inputs:\n  - name: a\n", "job.yaml:2: inputs.1: give its files"),
        ("inputs:\n  - files: a\n    licence: b\n", "unknown setting inputs.1.licence; did you mean 'license'?"),
        ("inputs:\n  - files: a\n    read:\n      tex: b\n", "job.yaml:4: unknown setting inputs.1.read.tex; did you"),
        ("inputs:\n  - files: a\n    read:\n      max_text_bytes: 0\n", "inputs.1.read.max_text_bytes = 0: 1 to"),
        ("inputs:\n  - files: a\n    language:\n      drop: no\n", "job.yaml:3: unknown setting inputs.1.language"),
        ("inputs:\n  - files: nowhere.xyz\n    format: csw\n", "nowhere.xyz: there is no such file"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
    done = malmungchi("build", "--config", tmp_path / "job.yaml", "--output", tmp_path / "out", check=False)
    assert done.returncode == 1
    assert message in done.stderr


def test_a_format_that_does_not_exist_is_told_with_the_nearest(sources: Path) -> None:
    (sources / "job.yaml").write_text(f"inputs:\n  - files: {sources}/reviews.dat\n    format: csw\n", encoding="utf-8")
    done = malmungchi("build", "--config", sources / "job.yaml", "--output", sources / "out", check=False)
    assert "no format is called 'csw'; did you mean 'csv'?" in done.stderr


def test_no_input_is_told(tmp_path: Path) -> None:
    done = malmungchi("build", "--output", tmp_path / "out", check=False)
    assert done.returncode == 1
    assert "no input: give --input URL, or a list `inputs:` in the settings file" in done.stderr


def test_files_without_a_document_are_named_with_their_cause(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    (tmp_path / "good.jsonl").write_text(rows, encoding="utf-8")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "broken.jsonl").write_text('{"text": "a\\n{"text": "b\\n')
    for number in range(7):
        (tmp_path / f"pointer-{number}.jsonl").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    malmungchi("build", "--input", f"{tmp_path}/*.jsonl", "--output", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    pointers, *others = [warning for warning in manifest["warnings"] if "gave no document" in warning]
    assert pointers.startswith("7 files gave no document (read.wrong_content, a Git LFS pointer")
    assert pointers.endswith("pointer-3.jsonl, pointer-4.jsonl and 2 more")
    assert [warning.rpartition(" ")[2] for warning in others] == ["empty.jsonl", "broken.jsonl"]
    assert manifest["counts"]["rejected"]["read.wrong_content"] == 7


def test_many_small_files_give_what_their_rows_give_in_few(tmp_path: Path) -> None:
    """Texts beside JSON lines, an empty file, one that is not UTF-8 and a pointer, more files than are read alone."""
    folder = tmp_path / "in"
    folder.mkdir()
    texts = [f"{n}번째 글입니다. 강 건너 {n * 3}번지 마을에서는 {n * 7}년 동안 같은 노래를 불렀다." for n in range(300)]
    for number, text in enumerate(texts):
        if number % 50 == 7:
            (folder / f"{number:03d}.jsonl").write_text(json.dumps({"text": text}), encoding="utf-8")
        else:
            (folder / f"{number:03d}.txt").write_text(text, encoding="utf-8")
    (folder / "400.txt").write_text("")
    (folder / "401.txt").write_bytes("깨진 글".encode("cp949"))
    (folder / "402.jsonl").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "403.jsonl").write_text("")
    few = tmp_path / "few.jsonl"
    few.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    malmungchi("build", "--input", f"{folder}/*", "--output", tmp_path / "many", "--execution-keep-staging")
    malmungchi("build", "--input", few, "--output", tmp_path / "one")
    many, one = kept(tmp_path / "many"), kept(tmp_path / "one")
    assert many.keys() == one.keys()
    assert {row["source"] for row in many.values()} == {"in", *(f"{n:03d}" for n in range(7, 300, 50))}
    manifest = json.loads((tmp_path / "many" / "manifest.json").read_text())
    expected = {"read.empty_text": 1, "read.not_utf8": 1, "read.wrong_content": 1}
    read = {rule: count for rule, count in manifest["counts"]["rejected"].items() if rule.startswith("read.")}
    assert read == expected
    found = {file["name"]: file["sha256"] for file in manifest["inputs"]}
    assert found == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    barren = " ".join(warning for warning in manifest["warnings"] if "gave no document" in warning)
    assert all(name in barren for name in ("400.txt", "401.txt", "402.jsonl", "403.jsonl"))
    assert len(list((tmp_path / "many" / "_staging").glob("plan-*/cut/*.json"))) == 1
    shutil.rmtree(tmp_path / "many" / "_staging")
    malmungchi("verify", tmp_path / "many")
    # The size of a chunk, and with it which files are read together, changes no byte.
    small = ("--execution-chunk-bytes", "8192", "--execution-workers", "2")
    malmungchi("build", "--input", f"{folder}/*", "--output", tmp_path / "again", *small)
    assert digests(tmp_path / "again") == digests(tmp_path / "many")


def test_a_release_goes_on_as_input_of_the_next(tmp_path: Path) -> None:
    lines = [{"text": TEXTS[n % 4], "id": f"가-{n}", "등급": n, "url": f"https://example.kr/{n}"} for n in range(9)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    malmungchi("build", "--input", tmp_path / "a.jsonl", "--output", tmp_path / "1")
    first = kept(tmp_path / "1")
    assert sorted(row["duplicate_count"] for row in first.values()) == [2, 2, 2, 3]
    again = {"text": TEXTS[0], "id": "다시", "더": None}
    (tmp_path / "b.jsonl").write_text(json.dumps(again) + "\n", encoding="utf-8")
    malmungchi(
        "build", "--input", tmp_path / "1" / "data" / "*.parquet", "--input", tmp_path / "b.jsonl",
        "--output", tmp_path / "2",
    )  # fmt: skip
    second = kept(tmp_path / "2")
    same = ("id", "text", "source", "url", "metadata", "language", "chars", "cluster_id")
    assert [[row[name] for name in same] for row in second.values()] == [
        [row[name] for name in same] for row in first.values()
    ]
    assert sorted(row["duplicate_count"] for row in second.values()) == [2, 2, 2, 4]
    assert second[TEXTS[0]]["duplicate_count"] == 4
    assert json.loads((tmp_path / "2" / "manifest.json").read_text())["counts"]["stood_for"] == 5
    malmungchi("verify", tmp_path / "2")
    # As lines of JSON, with the metadata as objects, and something of another's beside it.
    rows = ds.dataset(tmp_path / "2" / "data").to_table().to_pylist()
    with (tmp_path / "c.jsonl").open("w", encoding="utf-8") as file:
        for n, row in enumerate(rows):
            row |= {"metadata": json.loads(row["metadata"]) if n % 2 else row["metadata"], "점수": n}
            file.write(json.dumps(row, default=str) + "\n")
    malmungchi("build", "--input", tmp_path / "c.jsonl", "--output", tmp_path / "3")
    third = kept(tmp_path / "3")
    for text, row in third.items():
        metadata = json.loads(row["metadata"])
        assert 0 <= metadata.pop("점수") < 4
        assert metadata == json.loads(second[text]["metadata"])
        assert row["duplicate_count"] == second[text]["duplicate_count"]


def test_the_index_of_pandas_is_no_metadata(tmp_path: Path) -> None:
    names = ["__index_level_0__", "Unnamed: 0", "Unnamed: 0.1"]
    line = {"text": TEXTS[0], **dict.fromkeys(names, 7), "Unnamed: 3": "가"}
    (tmp_path / "a.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    rest = ",".join(["7"] * 3)
    (tmp_path / "b.csv").write_text(f"{','.join(names)},Unnamed: 3,text\n{rest},가,{TEXTS[1]}\n", encoding="utf-8")
    malmungchi("build", "--input", tmp_path / "*.*", "--output", tmp_path / "out")
    assert [json.loads(row["metadata"]) for row in kept(tmp_path / "out").values()] == [{"Unnamed: 3": "가"}] * 2
