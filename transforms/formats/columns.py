"""Which column of an input means what: named in the configuration, or guessed from the names that are there."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from malmungchi.schemas.config import Read
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.work import ROLES, Columns
from malmungchi.transforms.formats.footer import Footer
from malmungchi.transforms.formats.jsonl import Block
from malmungchi.transforms.io.decompress import BrokenError, Decompressed, open_decompressed
from malmungchi.transforms.kernels import jsonl

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
PEEK_BYTES = 1 << 20
PEEK_ROWS = 1000
PASS_BYTES = 1 << 30  # of lines that are too long
MAX_NAMES = 10_000


class ColumnsError(MalmungchiError):
    """No column for the text; says which file, what it has, and what to set."""


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFC", name).casefold())


def guess_columns(names: Sequence[str], config: Read, file: str) -> Columns:
    """The columns of a file whose rows have `names`: what the configuration says, else the likeliest name there is.

    A file without names (it is empty) has no rows to be wrong about, and any answer will do. Raises ColumnsError if
    the text column that the configuration names is not there, or if no name looks like the text's.
    """
    seen = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    if config.text and names and config.text not in names:
        raise ColumnsError(f"{file}: no column {config.text!r} (read.text); it has: {seen}")
    found: dict[str, str] = {}
    taken = {getattr(config, role) for role in ROLES} - {""}
    for role in ROLES:
        found[role] = getattr(config, role)
        if found[role]:
            continue
        free = {_plain(name): name for name in reversed(names) if name not in taken}
        found[role] = next((free[guess] for guess in map(_plain, GUESSES[role].split()) if guess in free), "")
        taken.add(found[role])
    if not found["text"]:
        if names:
            raise ColumnsError(f"{file}: which column is the text? It has: {seen}. Set read.text")
        found["text"] = "text"
    return Columns(**found)


_KNOWN = {_plain(name) for names in GUESSES.values() for name in names.split()}


def peek_columns(raw: BinaryIO, format: str, codec: str, config: Read) -> list[str]:
    """Names of the columns of the file's first rows, in the order they come; none for an empty or unreadable file.

    At most PEEK_BYTES are looked at, or the first line where it is longer than that. Lines longer than allowed are
    passed over. Of rows with more than MAX_NAMES names, only those are told behind them that could have a role.
    """
    if format == "text":
        return ["text"]
    raw.seek(0)
    if format == "parquet":
        try:
            return list(dict.fromkeys(Footer(raw).names))
        except BrokenError:
            return []  # the reader will say what is wrong with it
    block = _head(open_decompressed(raw, codec), config.max_line_bytes)
    names: dict[str, None] = {}
    told = {getattr(config, role) for role in ROLES}
    for name in _names(block, config.max_line_bytes):
        if len(names) < MAX_NAMES or name in told or (len(name) < 64 and _plain(name) in _KNOWN):
            names[name] = None
    return list(names)


def _head(stream: Decompressed, limit: int) -> Block:
    """The first PEEK_BYTES with whole lines, or one line; what comes before the first that is not too long is left out,
    as is a byte order mark."""
    block, passed = Block.of(PEEK_BYTES), 0
    block.fill(stream, PEEK_BYTES)
    if block.data[:3].tobytes() == b"\xef\xbb\xbf":
        block.drop(3)
    while not block.ended and not (block.data[: block.size] == 10).any():
        if block.size <= limit:
            block.fill(stream, min(2 * block.size, limit + 2))
            continue
        while passed < PASS_BYTES and not block.ended:
            passed += block.size
            block.drop(block.size)
            block.fill(stream, PEEK_BYTES)
            ends = np.flatnonzero(block.data[: block.size] == 10)
            if len(ends):
                block.drop(int(ends[0]) + 1)
                block.fill(stream, PEEK_BYTES)
                break
        else:
            block.drop(block.size)
    return block


def _names(block: Block, limit: int) -> Iterator[str]:
    """Names of the members of the objects among the first PEEK_ROWS lines, as often as they come."""
    starts, ends = np.empty(PEEK_ROWS, np.int64), np.empty(PEEK_ROWS, np.int64)
    n, behind = jsonl.lines(block.data, 0, block.size, starts, ends)
    if n < PEEK_ROWS and block.ended and behind < block.size:  # a last line without a line end
        starts[n], ends[n], n = behind, block.size, n + 1
    n = int(np.searchsorted(starts[:n], PEEK_BYTES))
    spans = np.empty((256, 2), np.int64)
    for row in np.flatnonzero(jsonl.objects(block.data, starts[:n], ends[:n]) & (ends[:n] - starts[:n] <= limit)):
        at, depth = int(starts[row]), 0
        while at < ends[row]:
            count, at = jsonl.member_names(block.data, at, depth, ends[row], spans)
            depth = 1
            for first, last in spans[:count].tolist():
                name: str = json.loads(block.data[first:last].tobytes())
                yield name.encode(errors="replace").decode()
