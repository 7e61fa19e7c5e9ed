"""`malmungchi formats`: which formats and extractors there are, here."""

from __future__ import annotations

from collections.abc import Iterator

from malmungchi.schemas.settings import Section
from malmungchi.transforms.extract import base as extract
from malmungchi.transforms.formats import base as formats


def _table(title: str, rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield title
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _section(settings: type[Section] | None) -> str:
    return settings.section if settings else "-"


def listing() -> Iterator[str]:
    """Lines: formats by extension, extractors by media type, their sections of settings, and where they are from."""
    head = ("name", "extensions", "settings", "from")
    rows = [
        (each.name, " ".join(each.extensions) or "-", _section(each.settings), formats.names()[each.name])
        for each in formats.formats()
    ]
    yield from _table("Formats (bytes to rows); all but Parquet may be compressed (gz, zst, bz2, xz):", [head, *rows])
    yield ""
    head = ("name", "media types", "settings", "from")
    rows = [
        (each.name, " ".join(each.media_types), _section(each.settings), extract.names()[each.name])
        for each in extract.extractors()
    ]
    yield from _table("Extractors (payloads to text), for whole files and for `read.media_type`:", [head, *rows])
