"""Deduplication as a whole, judged by the exact pairs of near-duplicates."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from benchmarks.duplicates import compute_pairs, ids_of, judge, kept_ids, measure, read_pairs, release
from tests.support import corpus


def test_the_judge_counts_what_was_missed_and_what_was_removed_without_need() -> None:
    ids = ["a", "b", "c", "d", "e", "f", "f"]
    pairs = [("a", "b"), ("b", "c"), ("d", "e")]
    found = judge(ids, {"a", "d", "e", "stranger"}, pairs)
    assert (found["documents"], found["kept"], found["dropped"]) == (6, 3, 3)
    # b has a, which is kept; c has b alone, which is not; f has nobody.
    assert (found["unjustified"], found["examples"]) == (2, ["c", "f"])
    assert found["removal_precision"] == pytest.approx(1 / 3)
    assert (found["pairs"], found["missed_pairs"], found["pair_recall"]) == (3, 1, pytest.approx(2 / 3))
    nothing = judge([], set(), [])
    assert (nothing["pair_recall"], nothing["removal_precision"]) == (1.0, 1.0)


def test_pairs_below_the_threshold_are_left_out(tmp_path: Path) -> None:
    table = pa.table({"a": ["1", "2", "3"], "b": ["4", "5", "6"], "jaccard": [0.79, 0.8, 1.0]})
    pq.write_table(table, tmp_path / "pairs.parquet")
    assert read_pairs(str(tmp_path / "pairs.parquet"), 0.8) == [("2", "5"), ("3", "6")]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Korean, English, Chinese and Russian, with near-duplicates in each, and one id given twice."""
    rows = corpus.rows(300, 11)
    others = {"zh": "昨天下了大雨，河水涨到了桥下，孩子们都跑去看。", "ru": "Вчера шёл сильный дождь. "}
    for language, line in others.items():
        rows += [{"id": f"{language}-{n}", "text": line * 5 + "?" * n, "source": "other"} for n in range(3)]
    rows += [{"id": "digits", "text": "2024-01-01 12:30"}, {"id": rows[1]["id"], "text": rows[1]["text"] + " 끝."}]
    path = tmp_path_factory.mktemp("judge") / "documents.jsonl.zst"
    with pa.output_stream(path, compression="zstd") as file:
        file.write(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


def test_a_release_of_any_language_is_judged(documents: str) -> None:
    pairs = compute_pairs(documents, 0.8)
    found = measure(documents, pairs, 0.8, workers=0)
    assert found["documents"] == 307
    assert found["pairs"] > 100
    assert (found["pair_recall"], found["removal_precision"]) == (1.0, 1.0)
    assert found["dropped"] > 50
    assert set(found["rejected"]) == {"deduplicate.exact_duplicate", "deduplicate.near_duplicate"}
    assert found["build_s"] == pytest.approx(found["start_s"] + found["build_without_start_s"])


def test_settings_reach_the_build_and_languages_are_counted(documents: str, tmp_path: Path) -> None:
    pairs = compute_pairs(documents, 0.8)
    release(documents, tmp_path / "out", 0.8, None, ["--no-deduplicate-near"])
    found = judge(ids_of(documents), kept_ids(tmp_path / "out"), pairs)
    assert found["missed_pairs"] > 50
    assert found["removal_precision"] == 1.0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert set(manifest["counts"]["rejected"]) == {"deduplicate.exact_duplicate"}
    seen = manifest["languages"]
    assert sum(seen.values()) == manifest["counts"]["input"] == len(ids_of(documents))
    assert {name: seen[name] for name in ("zh", "ru", "und")} == {"zh": 3, "ru": 3, "und": 1}
    published = ds.dataset(tmp_path / "out" / "data").to_table(columns=["language"])["language"].to_pylist()
    assert Counter(published).keys() == {"ko", "Latn", "zh", "ru", "und"} == set(seen)


def test_labelled_set(real_data: Path, tmp_path: Path) -> None:
    """Pair recall of 0.9995 at least, and no document removed without need: the target of deduplication."""
    documents = str(real_data / "labels" / "neardup_dev_docs.jsonl.zst")
    pairs = read_pairs(str(real_data / "labels" / "neardup_dev_exact_pairs.parquet"), 0.8)
    release(documents, tmp_path / "out", 0.8, None)
    found = judge(ids_of(documents), kept_ids(tmp_path / "out"), pairs)
    assert found["pairs"] == 5691
    assert found["pair_recall"] >= 0.9995
    assert found["removal_precision"] == 1.0
