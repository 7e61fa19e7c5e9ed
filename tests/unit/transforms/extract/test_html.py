"""HTML: what a reader sees, without markup."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.transforms.extract import base
from malmungchi.transforms.extract.base import Hints, UnreadableError

HINTS = Hints("text/html")


def text_of(page: str | bytes) -> str:
    data = page if isinstance(page, bytes) else page.encode()
    return base.get("html").extract(data, HINTS, None).text


def test_a_page() -> None:
    page = """<!doctype html><html lang=ko><head><title>제목</title><style>p {color: red}</style></head>
    <body><h1>머리&nbsp;글</h1><p>첫   문단 <b>굵게</b>.<br>다음 줄 &lt;b&gt;</p><script>var x = "<p>없음</p>";</script>
    <table><tr><td>가</td><td>나</td></tr></table><!-- 주석 --></body></html>"""
    assert text_of(page) == "머리 글\n첫 문단 굵게.\n다음 줄 <b>\n가\t나"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>가<p>나", "가\n나"),
        ("그냥 글", "그냥 글"),
        ("<head><title>x<body>글", "글"),
        ("<script>x</p>", ""),
        ("가<br/>나", "가\n나"),
        ("", ""),
    ],
)
def test_broken_pages(page: str, text: str) -> None:
    assert text_of(page) == text


def test_what_is_not_utf8_is_unreadable() -> None:
    with pytest.raises(UnreadableError, match="not_utf8: not valid UTF-8 at byte 4"):
        text_of(b"<p>\xb0\xa1")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_text_or_unreadable(data: bytes) -> None:
    if data.decode(errors="replace").encode() == data:
        assert isinstance(text_of(data), str)
    else:
        with pytest.raises(UnreadableError, match="not_utf8"):
            text_of(data)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters="<&"), max_size=60))
def test_text_without_markup_stays(text: str) -> None:
    assert text_of(text) == " ".join(text.split()) or text.startswith("\ufeff")


@pytest.mark.parametrize("media_type", ["text/html", "TEXT/HTML; charset=utf-8", "application/xhtml+xml"])
def test_media_types_are_known(media_type: str) -> None:
    found = base.of(media_type)
    assert found is not None
    assert found.name == "html"
    assert base.of("image/png") is None
