"""The dataset card says what was done, of whatever sources, in both languages."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import yaml

from malmungchi.pipelines.release.card import card
from malmungchi.schemas.config import Config, from_mapping
from malmungchi.schemas.release import SCHEMA_VERSION, File, Manifest


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
