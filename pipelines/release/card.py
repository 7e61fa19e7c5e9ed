"""The dataset card, in English and Korean, filled from the manifest alone."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

from malmungchi.pipelines.release.front import folders, front_matter, schemas, title
from malmungchi.schemas.descriptions import meaning
from malmungchi.schemas.release import Manifest

# Rows of a table: a crawl may have more sources than anyone reads.
_ROWS = 50
_NAME_CHARS = 100


@dataclasses.dataclass(frozen=True)
class _Words:
    """What a section says in one language. In pairs, the first is for one thing and the second for more."""

    title: str
    documents: tuple[str, str]
    shards: tuple[str, str]
    made: str
    dropped: str
    tagged: str
    near: str
    exact: str
    undone: str
    ordered: str
    folders: str
    manifest: str
    digest: str
    warning: str
    more: str
    reasons: tuple[str, str]
    sources: tuple[str, str, str]
    languages: tuple[str, str]
    licenses: tuple[str, str, str]
    own: tuple[str, str]
    sample: str
    limit: str
    read: str
    columns: tuple[str, str]


_ENGLISH = _Words(
    title="Korean text release",
    documents=("{:,} document", "{:,} documents"),
    shards=("{:,} shard", "{:,} shards"),
    made="{kept} ({text:,} bytes of text) in {shards}, of {total} read. Made by Malmungchi: normalised to NFC,",
    dropped="filtered by language,",
    tagged="tagged with its language,",
    near="one document kept of each group that is the same or similar in its letters and digits (true Jaccard "
    "similarity of their sets of character {ngram}-grams ≥ {threshold}),",
    exact="one document kept of each group with the same text,",
    undone="duplicates left in,",
    ordered="ordered by a hash of the id.",
    folders="`data/`: the documents. `rejects/`: every row that did not become a document, with step, rule, value and "
    "threshold. `duplicates/`: for every dropped duplicate the id of the document that was kept, and the similarity.",
    manifest="`manifest.json`: checksum, rows and id range of every file, settings, inputs and counts. "
    "`malmungchi verify` checks all of it again.",
    digest="Settings hash `{digest}` (the first 16 digits of its SHA-256). The licence of each document stands in its "
    "column `license`.",
    warning="Warning",
    more="and {:,} more",
    reasons=("dropped because", "documents"),
    sources=("source", "read", "kept"),
    languages=("language detected", "documents"),
    licenses=("licence", "kept", "bytes of text"),
    own=("Date", "Contact"),
    sample="**This is a sample**: of the rows of the input only {share} were read, chosen by a hash of their ids.",
    limit="**This is a sample**: of the rows of the input only {limit:,} were read, chosen by a hash of file and row.",
    read="`data/` is read with a line of any of these, in this folder:",
    columns=("type", "meaning"),
)

_KOREAN = _Words(
    title="한국어 텍스트 데이터",
    documents=("{:,}건", "{:,}건"),
    shards=("{:,}개", "{:,}개"),
    made="원문 {total} 가운데 {kept}(본문 {text:,}바이트)을 샤드 {shards}에 담았습니다. "
    "Malmungchi(말뭉치)로 NFC 정규화를 하고,",
    dropped="한국어 문서만 골라낸 뒤,",
    tagged="문서마다 언어를 표시한 뒤,",
    near="글자와 숫자가 같거나 비슷한 문서(문자 {ngram}-그램 집합에서 직접 계산한 자카드 유사도 {threshold} 이상)는 "
    "한 건만 남기고,",
    exact="본문이 완전히 같은 문서는 한 건만 남기고,",
    undone="중복 문서는 그대로 두고,",
    ordered="식별자의 해시값 순으로 정렬했습니다.",
    folders="`data/`: 문서. `rejects/`: 문서로 채택되지 않은 모든 행과 그 단계·규칙·측정값·기준값. "
    "`duplicates/`: 제외된 중복 문서별로, 대신 남긴 문서의 id와 유사도.",
    manifest="`manifest.json`: 모든 파일의 체크섬·행 수·식별자 범위, 설정, 입력, 집계. "
    "`malmungchi verify`로 언제든 다시 확인할 수 있습니다.",
    digest="설정 해시(SHA-256 앞 16자리) `{digest}`. 문서별 라이선스는 `license` 열에 있습니다.",
    warning="경고",
    more="그 밖의 {:,}개",
    reasons=("제외 사유", "문서 수"),
    sources=("출처", "읽은 문서", "최종 포함 문서"),
    languages=("감지된 언어", "문서 수"),
    licenses=("라이선스", "최종 포함 문서", "본문 바이트"),
    own=("날짜", "문의"),
    sample="**이 데이터는 표본입니다.** 식별자의 해시값으로 고른 입력 행의 {share}만 읽었습니다.",
    limit="**이 데이터는 표본입니다.** 파일 이름과 행 번호의 해시값으로 고른 입력 행 {limit:,}개만 읽었습니다.",
    read="이 폴더에서 다음 가운데 한 줄이면 `data/`를 읽을 수 있습니다.",
    columns=("자료형", "뜻"),
)


def _sampled(words: _Words, manifest: Manifest) -> Iterator[str]:
    """What the card says of a sample."""
    limit = manifest.config.get("read", {}).get("limit", 0)
    if share := manifest.sample.removesuffix(f"{limit} rows").rstrip(", "):
        yield words.sample.format(share=_plain(share))
    if limit:
        yield words.limit.format(limit=limit)


def _plain(text: str) -> str:
    """Text from an input as one line of Markdown that shows it as it is."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return re.sub(r"[\\`*<>\[\]|&~]", r"\\\g<0>", line)


def _name(text: str) -> str:
    return _plain(text if len(text) <= _NAME_CHARS else text[:_NAME_CHARS] + "…") or "—"


def _counted(count: int, forms: tuple[str, str]) -> str:
    return forms[count != 1].format(count)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, tuple[int, ...]]], more: str) -> list[str]:
    """Lines of a table of names and counts, the largest first; behind it a row that sums up those not shown."""
    ordered = sorted(rows, key=lambda row: (-row[1][0], row[0]))
    if not ordered:
        return []
    rest = [counts for _, counts in ordered[_ROWS:]]
    shown = [(_name(name), counts) for name, counts in ordered[:_ROWS]]
    if rest:
        shown.append((more.format(len(rest)), tuple(map(sum, zip(*rest, strict=True)))))
    lines = [f"| {' | '.join(head)} |", f"| --- {'| ---: ' * (len(head) - 1)}|"]
    return ["", *lines, *(f"| {name} | {' | '.join(f'{count:,}' for count in counts)} |" for name, counts in shown)]


def _section(words: _Words, manifest: Manifest) -> list[str]:
    """The card's lines in one language."""
    counts, config = manifest.counts, manifest.config
    duplicates = config["deduplicate"]
    made = [
        words.made.format(
            kept=_counted(counts["kept"], words.documents),
            total=_counted(counts["input"], words.documents),
            text=sum(file.text_bytes for file in manifest.files),
            shards=_counted(_shards(manifest), words.shards),
        ),
        words.dropped if config["language"]["drop"] else words.tagged,
        (words.near if duplicates["near"] else words.exact if duplicates["exact"] else words.undone).format(
            ngram=config["fingerprint"]["ngram"], threshold=duplicates["threshold"]
        ),
        words.ordered,
    ]
    return [
        f"# {_plain(title(manifest, words.title))}",
        "",
        " ".join(made),
        "",
        f"- {words.folders}",
        f"- {words.manifest}",
        f"- {words.digest.format(digest=manifest.config_digest[:16])}",
        *(f"- {sentence}" for sentence in _sampled(words, manifest)),
        *(f"- {word}: {_plain(said)}" for word, said in zip(words.own, _own(manifest), strict=True) if said),
        *(f"- **{words.warning}**: {_plain(warning)}" for warning in manifest.warnings),
        "",
        words.read,
        "",
        *READING,
        *_table(words.reasons, ((name, (count,)) for name, count in counts["rejected"].items()), words.more),
        *_table(
            words.sources,
            ((name, (count["input"], count["kept"])) for name, count in manifest.sources.items()),
            words.more,
        ),
        *_table(
            words.licenses,
            ((name, (each["kept"], each["text_bytes"])) for name, each in manifest.licenses.items()),
            words.more,
        ),
        *_table(words.languages, ((name, (count,)) for name, count in manifest.languages.items()), words.more),
        *_columns(words, manifest),
        "",
    ]


def _own(manifest: Manifest) -> tuple[str, str]:
    """What a release says of itself beside its name."""
    return manifest.release.get("date", ""), manifest.release.get("contact", "")


def _columns(words: _Words, manifest: Manifest) -> list[str]:
    """Tables of the columns of each folder."""
    lines = []
    for folder in folders(manifest):
        schema = schemas()[folder]
        head = (f"{folder}/", *words.columns)
        lines += ["", f"| {' | '.join(head)} |", "| --- | --- | --- |"]
        lines += [
            f"| {field.name} | {field.type} | {_plain(meaning(folder, field, words is _KOREAN))} |" for field in schema
        ]
    return lines


# How to read data/, a line for each tool, from the folder of the release. `datasets` does not take "." for its name.
READING = (
    "```python",
    'pyarrow.dataset.dataset("data").to_table(columns=["id", "text"])',
    'datasets.load_dataset(os.getcwd(), split="train")',
    'datasets.load_dataset(os.getcwd(), "rejects", split="train")  # or "duplicates"',
    "duckdb.sql(\"SELECT source, count(*) FROM 'data/*.parquet' GROUP BY source\")",
    'polars.scan_parquet("data/*.parquet").select("id", "text").collect()',
    'pandas.read_parquet("data", columns=["id", "text"])',
    "```",
)


def _shards(manifest: Manifest) -> int:
    return sum(file.path.startswith("data/") for file in manifest.files)


def card(manifest: Manifest) -> str:
    """README.md of the release, with the front matter that Hugging Face reads."""
    sections = [*_section(_ENGLISH, manifest), *_section(_KOREAN, manifest)]
    return "\n".join([*front_matter(manifest), "", *sections])
