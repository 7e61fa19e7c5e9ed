"""The dataset card, in English and Korean, filled from the manifest alone."""

from __future__ import annotations

from schemas.release import Manifest


def _size_category(rows: int) -> str:
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
              (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B")]  # fmt: skip
    return next((name for bound, name in bounds if rows < bound), "n>1B")


def card(manifest: Manifest) -> str:
    """README.md of the release, with the front matter that Hugging Face reads."""
    kept, total = manifest.counts["kept"], manifest.counts["input"]
    text = sum(file.text_bytes for file in manifest.files)
    shards = sum(file.path.startswith("data/") for file in manifest.files)
    korean = manifest.config["language"]["drop"]
    language, language_ko = ("filtered by language", "언어를 가려내고") if korean else (
        "tagged with its language", "언어를 표시하고")  # fmt: skip
    front = [
        "---",
        *(["language:", "- ko"] if korean else []),
        "pretty_name: Malmungchi release",
        "task_categories:",
        "- text-generation",
        "size_categories:",
        f"- {_size_category(kept)}",
    ]
    if shards:
        front += ["configs:", "- config_name: default", "  data_files:", "  - split: train", "    path: data/*.parquet"]
    reasons = [f"| `{reason}` | {count:,} |" for reason, count in manifest.counts["rejected"].items()]
    sources = [
        f"| {name or '—'} | {counts['input']:,} | {counts['kept']:,} |" for name, counts in manifest.sources.items()
    ]
    threshold = manifest.config["deduplicate"]["threshold"]
    digest = manifest.config_digest[:16]
    return "\n".join(
        [
            *front,
            "---",
            "",
            "# Korean text release",
            "",
            f"{kept:,} documents ({text:,} bytes of text) in {shards} shards, of {total:,} documents that were read. "
            f"Made by Malmungchi: normalised to NFC, {language}, deduplicated exactly and by verified "
            f"Jaccard similarity ≥ {threshold} of character shingles, ordered by a hash of the id.",
            "",
            "- `data/`: the documents. `rejects/`: every row that did not become a document, with step, rule, value "
            "and threshold. `duplicates/`: for every dropped duplicate the document that was kept, and the score.",
            "- `manifest.json`: checksum, rows and id range of every file, settings, inputs and counts. "
            "`malmungchi verify` checks all of it again.",
            f"- Settings digest `{digest}…`. The licence of each document stands in its column `license`.",
            "",
            "| dropped because | documents |",
            "| --- | ---: |",
            *reasons,
            "",
            "| source | read | kept |",
            "| --- | ---: | ---: |",
            *sources,
            "",
            "# 한국어 텍스트 데이터",
            "",
            f"원문 {total:,}건 가운데 {kept:,}건(본문 {text:,}바이트)을 {shards}개 샤드에 담았습니다. 말뭉치 공장 "
            f"'말뭉치(Malmungchi)'가 NFC로 정규화하고, {language_ko}, 완전히 같은 문서와 비슷한 문서"
            f"(문자 조각의 실제 자카드 유사도 {threshold} 이상)를 하나만 남긴 뒤, 식별자의 해시 순서로 섞었습니다.",
            "",
            "- `data/`: 문서. `rejects/`: 문서가 되지 못한 모든 행과 그 단계·규칙·값·기준. "
            "`duplicates/`: 빠진 중복 문서마다 대신 남은 문서와 유사도.",
            "- `manifest.json`: 모든 파일의 체크섬·행 수·식별자 범위, 설정, 입력, 집계. "
            "`malmungchi verify`로 언제든 다시 확인할 수 있습니다.",
            f"- 설정 요약값 `{digest}…`. 문서마다 이용 허락 조건은 `license` 열에 있습니다.",
            "",
        ]
    )
