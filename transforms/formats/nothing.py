"""Values that say that there is none: "N/A", 없음, "-". As a licence, address, date or source they are null."""

from __future__ import annotations

import functools
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

# Compared as whole values, without case and the blanks around them. NONE and NOASSERTION are SPDX's words for it, \N is
# that of database dumps, the last ones in English are those of pandas and spreadsheets.
_WORDS = (
    "n/a",
    "n.a.",
    "n.a",
    "na",
    "not available",
    "not applicable",
    "not specified",
    "unspecified",
    "none",
    "(none)",
    "<none>",
    "no assertion",
    "noassertion",
    "unknown",
    "(unknown)",
    "undefined",
    "null",
    "(null)",
    "<null>",
    "nil",
    "\\n",
    "nan",
    "<na>",
    "nat",
    "#n/a",
    "없음",
    "(없음)",
    "없슴",
    "미상",
    "불명",
    "미확인",
    "미기재",
    "알 수 없음",
    "알수없음",
    "해당 없음",
    "해당없음",
    "해당사항 없음",
    "해당사항없음",
    "정보 없음",
    "정보없음",
    "0000-00-00",
    "0000-00-00 00:00:00",
)
_SIGNS = ("-", "--", "---", "‐", "‑", "–", "—", "―", "－", "?", "??", "???", "？", ".", "...", "…", "_", "*", "/")
_NOTHING = sorted({unicodedata.normalize(form, word) for word in (*_WORDS, *_SIGNS) for form in ("NFC", "NFD")})
_SET = pa.array(_NOTHING, pa.string())
# Bytes of the longest of them, and room for blanks around it. What is longer is not looked at: addresses mostly are.
_LONGEST = max(len(word.encode()) for word in _NOTHING) + 16


def told(column: pa.Array) -> pa.Array:
    """The strings of a column, null where they say nothing: blanks, or a word for "there is none"."""
    short = pc.fill_null(pc.less_equal(pc.binary_length(column), _LONGEST), False)
    if not pc.any(short, min_count=0).as_py():
        return column
    plain = pc.utf8_lower(pc.utf8_trim_whitespace(pc.if_else(short, column, None)))
    nothing = pc.fill_null(pc.or_(pc.is_in(plain, _SET), pc.equal(pc.binary_length(plain), 0)), False)
    return pc.if_else(nothing, None, column) if pc.any(nothing, min_count=0).as_py() else column


@functools.cache
def told_value(text: str) -> str:
    """The text, empty if it says nothing."""
    return told(pa.array([text], pa.string()))[0].as_py() or ""
