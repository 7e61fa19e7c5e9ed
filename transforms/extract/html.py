"""HTML: its text without markup, as the standard library's parser sees it. What is main text is not looked for."""

from __future__ import annotations

import html.parser
from typing import Any, ClassVar

from malmungchi.schemas.settings import Section
from malmungchi.transforms.extract.base import Extracted, Hints, UnreadableError

_UNSEEN = frozenset({"script", "style", "template", "noscript", "head", "svg", "math", "iframe", "object"})
_BLOCKS = frozenset(
    "address article aside blockquote body br caption dd details dialog div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 header hr li main nav ol option p pre section summary table tbody tfoot thead tr ul".split()
)
_CELLS = frozenset({"td", "th"})


class _Text(html.parser.HTMLParser):
    """Collects what is seen: blocks on lines of their own, cells apart."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":
            self._unseen.clear()  # a head that was never closed
        if tag in _UNSEEN:
            self._unseen.append(tag)
        self._space(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._space(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unseen:
            del self._unseen[self._unseen.index(tag) :]
        self._space(tag)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)

    def _space(self, tag: str) -> None:
        if not self._unseen and (tag in _BLOCKS or tag in _CELLS):
            self.parts.append("\n" if tag in _BLOCKS else "\t")


class Html:
    """HTML and XHTML in UTF-8."""

    name: ClassVar[str] = "html"
    media_types: ClassVar[tuple[str, ...]] = ("text/html", "application/xhtml+xml")
    settings: ClassVar[type[Section] | None] = None

    def extract(self, payload: bytes, hints: Hints, settings: Any) -> Extracted:
        """The text between tags, its lines without the blanks at their ends."""
        try:
            page = payload.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UnreadableError("not_utf8", f"not valid UTF-8 at byte {error.start + 1}") from None
        parser = _Text()
        parser.feed(page)
        parser.close()
        lines = map(_line, "".join(parser.parts).split("\n"))
        return Extracted("\n".join(line for line in lines if line))


def _line(text: str) -> str:
    """A line with one blank between words and a tab between cells."""
    return "\t".join(cell for part in text.split("\t") if (cell := " ".join(part.split())))
