"""What the columns of a release mean, in English and Korean: the source for Parquet, the card and docs/usage.md."""

from __future__ import annotations

import pyarrow as pa

_PLACE = {
    "source": ("where the document comes from, by name: a site, a corpus", "문서의 출처 이름(사이트, 말뭉치 등)"),
    "url": ("address of the document", "문서 주소(URL)"),
    "license": ("licence, as the input says it", "라이선스(입력에 적힌 그대로)"),
    "file": ("input file", "입력 파일"),
    "row": (
        "line or row in the input file, from 1; 0: the file as a whole",
        "입력 파일의 행 번호(1부터, 0은 파일 전체)",
    ),
}

DATA = {
    "id": ("id of the document; file and row where the input has none", "문서 식별자(입력에 없으면 파일과 행 번호)"),
    "text": ("the text, in NFC", "본문(NFC)"),
    **_PLACE,
    "published_at": ("time of publication, UTC", "게시 시각(UTC)"),
    "collected_at": ("time of collection, UTC", "수집 시각(UTC)"),
    "language": ("language seen: ko, or ko-mixed where Korean is mixed with something else; another one where the "
                 "language step only tags", "감지된 언어(ko, 다른 언어나 코드가 섞이면 ko-mixed)"),
    "language_detector": ("what decided it: script or langdetect", "언어를 판별한 방법(script 또는 langdetect)"),
    "language_score": ("probability that langdetect gives; null where script decided",
                       "langdetect가 낸 확률(문자 체계로 판별했으면 없음)"),
    "hangul_share": ("share of Hangul among the letters, 0 to 1", "글자 가운데 한글의 비율(0~1)"),
    "chars": ("characters of the text (code points)", "본문의 문자 수(코드 포인트)"),
    "letters": ("letters of the text", "본문의 글자 수(기호와 공백 제외)"),
    "duplicate_count": ("documents that this one stands for, itself included", "이 문서가 대표하는 문서 수(자신 포함)"),
    "cluster_id": ("names a kept document with its duplicates; the same in duplicates/",
                   "남긴 문서와 그 중복 문서의 묶음(duplicates/와 같은 값)"),
    "metadata": ("everything else that the input said, as a JSON object", "입력의 나머지 항목(JSON 객체)"),
}  # fmt: skip

REJECTS = {
    "id": ("id of the row, if it has one", "행의 식별자(있으면)"),
    **_PLACE,
    "step": ("step that dropped the row", "행을 제외한 단계"),
    "rule": ("rule of the step that it broke", "걸린 규칙"),
    "value": ("what was seen, in words", "확인된 내용(글)"),
    "threshold": ("the setting that it was held against, in words", "견준 설정(글)"),
    "measured": ("what the rule measured, as a number", "규칙이 잰 값(숫자)"),
    "bound": ("the bound that it was held against, as a number", "견준 기준값(숫자)"),
}

DUPLICATES = {
    "dropped_id": ("id of the document that was dropped", "제외된 문서의 식별자"),
    "kept_id": ("id of the document that was kept in its place", "대신 남긴 문서의 식별자"),
    "rule": ("exact_duplicate or near_duplicate", "exact_duplicate(같음) 또는 near_duplicate(비슷함)"),
    "score": ("true Jaccard similarity of the two, 0 to 1", "두 문서의 실제 자카드 유사도(0~1)"),
    **_PLACE,
    "cluster_id": DATA["cluster_id"],
}

FOLDERS = {"data": DATA, "rejects": REJECTS, "duplicates": DUPLICATES}

# The key of a field's metadata. A step that brings columns describes them there.
KEY = b"description"


def described(folder: str, schema: pa.Schema) -> pa.Schema:
    """The schema of a folder's files with a description of each column, unless it has one."""
    known = FOLDERS[folder]
    return pa.schema([
        field.with_metadata({KEY: known[field.name][0].encode()})
        if field.name in known and KEY not in (field.metadata or {}) else field
        for field in schema
    ])  # fmt: skip


def meaning(folder: str, field: pa.Field, korean: bool = False) -> str:
    """What a column means; empty if nobody has said."""
    said: str = (field.metadata or {}).get(KEY, b"").decode()
    english, other = FOLDERS[folder].get(field.name, (said, said))
    return other if korean and said in ("", english) else said or english
