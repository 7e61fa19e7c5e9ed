"""Which column of an input means what: named in the configuration, or guessed from the names that are there."""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from malmungchi.schemas.config import Read
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.work import ROLES, Columns

# Names that a role goes by, the most telling first; compared without case, blanks and punctuation.
GUESSES = {
    "text": "text content body raw_content document doc contents article article_text full_text raw_text plain_text "
    "paragraph passage post message 본문 내용 텍스트 원문 글 문서",
    "id": "id doc_id document_id docid uuid guid _id uid article_id key 아이디 문서id 식별자 일련번호",
    "url": "url uri link href source_url page_url web_url permalink 주소 링크 원문주소",
    "source": "source dataset source_name corpus publisher site domain 출처 언론사 매체",
    "license": "license licence license_name rights copyright 라이선스 라이센스 저작권 이용허락",
    "published_at": "published_at published publish_date published_date publication_date pub_date date_published "
    "date created created_at created_date timestamp time datetime written_at 작성일 게시일 발행일 등록일 날짜 일자",
    "collected_at": "collected_at crawled_at crawl_date crawl_time crawl_timestamp fetch_time fetched_at fetch_date "
    "scraped_at retrieved_at retrieved added download_date downloaded_at 수집일 수집일시",
}


class ColumnsError(MalmungchiError):
    """No column for the text; says which file, what it has, and what to set."""


@functools.lru_cache(1 << 14)  # of many files the columns are mostly the same
def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFC", name).casefold())


def in_file(name: str, names: Sequence[str]) -> str:
    """A column's name as it is written among `names`, which may be in another normal form than the setting's."""
    if name in names or name.isascii():
        return name
    plain = unicodedata.normalize("NFC", name)
    return next((each for each in names if unicodedata.normalize("NFC", each) == plain), name)


# What pandas calls the index of a table that it writes, in Parquet, and read from CSV again.
_PANDAS_INDEX = re.compile(r"__index_level_\d+__|Unnamed: 0(\.\d+)*")

# By these a release of ours is known, in whatever format it comes.
_RELEASE = frozenset({"id", "text", "source", "hangul_share", "duplicate_count", "cluster_id", "metadata"})


def _others(names: Sequence[str], taken: set[str], ours: Sequence[str]) -> Columns:
    """Which columns beside those that are taken are no metadata, and which of a release of ours go on."""
    free = [name for name in names if name not in taken]
    left = [name for name in free if _PANDAS_INDEX.fullmatch(name)]
    if not _RELEASE.issubset(names):
        return Columns("", left=tuple(left))
    left += [name for name in free if name in ours and name not in (*ROLES, "metadata", "duplicate_count")]
    return Columns("", metadata="metadata", copies="duplicate_count", left=tuple(left))


def guess_columns(names: Sequence[str], config: Read, file: str, ours: Sequence[str] = ()) -> Columns:
    """The columns of a file whose rows have `names`: what the configuration says, else the likeliest name there is.

    A file without names (it is empty) has no rows to be wrong about, and any answer will do. Raises ColumnsError if
    the text column that the configuration names is not there, or if no name looks like the text's. `ours` are the
    columns of a release: of one that comes in again they are made anew, and so are left.
    """
    seen = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    given = {role: in_file(getattr(config, role), names) for role in ROLES}
    if given["text"] and names and given["text"] not in names:
        raise ColumnsError(f"{file}: no column {config.text!r} (read.text); it has: {seen}")
    found: dict[str, Any] = {}
    taken = set(given.values()) - {""}
    for role in ROLES:
        found[role] = given[role]
        if found[role]:
            continue
        free = {_plain(name): name for name in reversed(names) if name not in taken}
        found[role] = next((free[guess] for guess in map(_plain, GUESSES[role].split()) if guess in free), "")
        taken.add(found[role])
    if not found["text"]:
        if names:
            raise ColumnsError(f"{file}: which column is the text? It has: {seen}. Set read.text")
        found["text"] = "text"
    return dataclasses.replace(_others(names, set(found.values()), ours), **found)


_KNOWN = {_plain(name) for names in GUESSES.values() for name in names.split()}


def may_have_a_role(name: str) -> bool:
    """Whether a column of that name could be guessed to mean something."""
    return len(name) < 64 and _plain(name) in _KNOWN


def role_of(name: str) -> str:
    """The role that a column of that name is guessed to have, "" if none."""
    plain = _plain(name)
    return next((role for role, names in GUESSES.items() if plain in map(_plain, names.split())), "")
