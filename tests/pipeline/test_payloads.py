"""Payloads through a whole build: files of HTML, and HTML in a column."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.dataset as ds

from tests.pipeline.test_build import malmungchi

PAGE = "<html><head><title>x</title></head><body><p>{}</p><script>var a = 1;</script></body></html>"
TEXTS = [f"{n}번째 글입니다. 눈이 내린 아침에 우체부가 편지 {n * 3}통을 들고 왔습니다." for n in range(6)]


def test_html_becomes_text_wherever_it_stands(tmp_path: Path) -> None:
    for number, text in enumerate(TEXTS[:3]):
        (tmp_path / f"{number}.html").write_text(PAGE.format(text), encoding="utf-8")
    (tmp_path / "bad.html").write_bytes(PAGE.format(TEXTS[0]).encode("cp949"))
    (tmp_path / "nothing.html").write_text("<script>x</script>", encoding="utf-8")
    rows = [{"id": f"row-{n}", "body": PAGE.format(text)} for n, text in enumerate(TEXTS[3:5])]
    (tmp_path / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "plain.jsonl").write_text(json.dumps({"text": TEXTS[5]}) + "\n", encoding="utf-8")
    (tmp_path / "job.yaml").write_text(
        f"""
inputs:
  - files: {tmp_path}/*.html
    source: pages
  - files: {tmp_path}/pages.jsonl
    read:
      media_type: text/html
  - files: {tmp_path}/plain.jsonl
""",
        encoding="utf-8",
    )
    malmungchi("build", "--config", tmp_path / "job.yaml", "--output", tmp_path / "out")
    kept = ds.dataset(tmp_path / "out" / "data").to_table().to_pylist()
    assert {row["text"] for row in kept} == set(TEXTS)
    assert {row["id"] for row in kept} >= {"0.html", "row-0", "row-1"}
    assert "payload" not in kept[0]
    rejects = ds.dataset(tmp_path / "out" / "rejects").to_table().to_pylist()
    assert {(row["file"], row["step"], row["rule"]) for row in rejects} == {
        ("bad.html", "extract", "not_utf8"),
        ("nothing.html", "normalize", "empty"),
    }
    malmungchi("verify", tmp_path / "out")


def test_a_media_type_without_an_extractor_is_a_reject_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": TEXTS[0]}) + "\n", encoding="utf-8")
    done = malmungchi(
        "build", "--input", tmp_path / "a.jsonl", "--read-media-type", "image/png", "--output", tmp_path / "out"
    )
    assert "extract.no_extractor" in done.stderr
    (row,) = ds.dataset(tmp_path / "out" / "rejects").to_table().to_pylist()
    assert row["value"] == "image/png; known: text/html, application/xhtml+xml"
