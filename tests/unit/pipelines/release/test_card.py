"""The dataset card says what was done, of whatever sources, in both languages."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pyarrow as pa
import pytest
import yaml

from malmungchi.pipelines.release.card import _plain, card
from malmungchi.pipelines.release.front import schemas
from malmungchi.schemas.config import Config, from_mapping
from malmungchi.schemas.descriptions import meaning
from malmungchi.schemas.release import SCHEMA_VERSION, File, Manifest, published_schema


def a_manifest(sources: dict[str, Any] | None = None, shards: int = 1, **config: dict[str, Any]) -> Manifest:
    """What a build with these sources (name -> documents read) would leave."""
    settings = from_mapping(config) if config else Config()
    sources = {"뉴스": 3} if sources is None else sources
    total = sum(sources.values())
    return Manifest(
        schema_version=SCHEMA_VERSION,
        config_digest=settings.digest(),
        config=dataclasses.asdict(settings),
        versions={},
        inputs=[],
        files=[File(f"data/train-{i}.parquet", 1, 10, "", 1000) for i in range(shards)],
        counts={"input": total, "kept": 1, "rejected": {"read.no_text": total - 1}},
        sources={name: {"input": count, "kept": 0, "rejected": {}} for name, count in sources.items()},
        languages={"ko": 2, "en": 1},
        warnings=["1 unreadable section(s) in the inputs (truncated): everything readable was kept, see rejects/"],
    )


def sections(text: str) -> tuple[str, str]:
    """The English and the Korean half."""
    body = text.split("---\n", 2)[2]
    english, korean = re.split(r"^# 한국어", body, flags=re.MULTILINE)
    return english, korean


@pytest.mark.parametrize(
    ("exact", "near", "english", "korean"),
    [
        (True, True, "character 5-grams ≥ 0.8", "문자 5-그램 집합에서 직접 계산한 자카드 유사도 0.8 이상"),
        (True, False, "group with the same text", "본문이 완전히 같은 문서는 한 건만"),
        (False, False, "duplicates left in", "중복 문서는 그대로 두고"),
    ],
)
def test_it_claims_the_deduplication_that_was_done(exact: bool, near: bool, english: str, korean: str) -> None:
    halves = sections(card(a_manifest(deduplicate={"exact": exact, "near": near})))
    for half, words in zip(halves, (english, korean), strict=True):
        assert words in half
    assert ("Jaccard" in halves[0]) == ("자카드" in halves[1]) == near


def test_it_claims_the_filter_that_was_on() -> None:
    dropped, tagged = card(a_manifest()), card(a_manifest(language={"drop": False}))
    assert "filtered by language" in dropped
    assert "한국어 문서만 골라낸 뒤" in dropped
    assert "tagged with its language" in tagged
    assert "언어를 표시한 뒤" in tagged
    assert "- ko" not in tagged


def test_both_halves_hold_the_same() -> None:
    for half in sections(card(a_manifest({"뉴스": 3, "wiki": 7}))):
        assert "| `" not in half
        for line in ("| read.no_text | 9 |", "| wiki | 7 | 0 |\n| 뉴스 | 3 | 0 |", "| ko | 2 |\n| en | 1 |"):
            assert line in half
        assert "1 unreadable section(s) in the inputs (truncated)" in half
        assert Config().digest()[:16] in half


def test_one_is_not_many() -> None:
    one, two = card(a_manifest()), card(a_manifest(shards=2))
    assert "1 document (1,000 bytes of text) in 1 shard, of 3 documents read" in one
    assert "원문 3건 가운데 1건(본문 1,000바이트)을 샤드 1개에" in one
    assert "in 2 shards" in two


def test_no_name_of_a_source_breaks_a_table() -> None:
    names = ["a|b\nc", "`", "\\|", "<b>", "\u2028|\r\n", "", "x" * 500, "a\tb", "\x1b[0m"]
    for half in sections(card(a_manifest(dict.fromkeys(names, 1)))):
        rows = [line for line in half.splitlines() if line.endswith("| 1 | 0 |")]
        assert len(rows) == len(names)
        for row in rows:
            assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 4
            assert not re.search(r"(?<!\\)(?:\\\\)*[`<]", row)
            assert len(row) < 200
        assert r"| a\|b c | 1 | 0 |" in rows
        assert "| — | 1 | 0 |" in rows


def test_only_the_largest_sources_are_listed() -> None:
    english, korean = sections(card(a_manifest({f"s{i}": i for i in range(1, 1001)})))
    total = sum(range(1, 951))
    assert f"| s951 | 951 | 0 |\n| and 950 more | {total:,} | 0 |" in english
    assert f"| 그 밖의 950개 | {total:,} | 0 |" in korean
    assert "| s950 |" not in english


def test_the_front_matter_is_what_hugging_face_reads() -> None:
    front = yaml.safe_load(card(a_manifest()).split("---\n")[1])
    assert (front["license"], front["language"], front["size_categories"]) == ("other", ["ko"], ["n<1K"])
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "data/*.parquet"}]
    # Without it the rejects would be taken for the documents of a release that has none.
    assert yaml.safe_load(card(a_manifest(shards=0)).split("---\n")[1])["configs"] == front["configs"]


def test_a_release_says_its_own_name() -> None:
    manifest = dataclasses.replace(
        a_manifest(),
        release={"name": "가나다: *news*", "version": "1.2", "date": "2026-11-26", "contact": "corpus@example.org"},
        licenses={"CC0-1.0": {"kept": 1, "text_bytes": 1000}, "": {"kept": 7, "text_bytes": 20}},
    )
    text = card(manifest)
    assert yaml.safe_load(text.split("---\n")[1])["pretty_name"] == "가나다: *news* 1.2"
    halves = text.split("\n# 가나다: \\*news\\* 1.2\n")[1:]
    assert len(halves) == 2
    for half, words in zip(halves, (("Date", "Contact"), ("날짜", "문의")), strict=True):
        assert f"- {words[0]}: 2026-11-26" in half
        assert f"- {words[1]}: corpus@example.org" in half
        assert "| — | 7 | 20 |\n| CC0-1.0 | 1 | 1,000 |" in half


def test_every_column_is_described_in_both_languages_and_in_the_schema() -> None:
    files = [File(f"{folder}/0.parquet", 1, 10, "") for folder in ("data", "rejects", "duplicates")]
    english, korean = sections(card(dataclasses.replace(a_manifest(), files=files)))
    for folder, schema in schemas().items():
        for field in schema:
            assert f"| {field.name} | {field.type} | {_plain(field.metadata[b'description'].decode())} |" in english
            other = meaning(folder, field, korean=True)
            assert re.search("[가-힣]", other), (folder, field.name)
            assert f"| {field.name} | {field.type} | {_plain(other)} |" in korean


def test_a_step_describes_its_own_columns() -> None:
    own = pa.field("lines", pa.int32(), metadata={"description": "lines of the text"})
    schema = published_schema([own, pa.field("bare", pa.int32())])
    assert meaning("data", schema.field("lines"), korean=True) == "lines of the text"
    assert meaning("data", schema.field("bare")) == ""
