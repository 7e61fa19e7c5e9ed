"""Files that are one document each: plain text, and HTML whose text the step `extract` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pyarrow as pa

from malmungchi.schemas.document import DOCUMENT, TIMESTAMP, empty
from malmungchi.transforms.formats.base import Base, Broken, Rows, Split
from malmungchi.transforms.formats.rows import Fields, documents, nulls, payloads, reject
from malmungchi.transforms.formats.source import Source
from malmungchi.transforms.io.decompress import BrokenError

_PIECE = 1 << 20
_BOM = b"\xef\xbb\xbf"


class _File:
    """A whole file as one row."""

    count = 1

    def __init__(self, source: Source, data: bytes, media_type: str) -> None:
        self._source = source
        self._data = data
        self._media_type = media_type
        self.size = len(data)

    def documents(self) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """One document whose id is the file's name, or a reject."""
        source, limit = self._source, self._source.read.max_text_bytes
        data = self._data.removeprefix(_BOM)
        if len(data) > limit:
            cause = "text longer than read.max_text_bytes"
            return empty(DOCUMENT), reject(source.file, 1, "too_long", cause, str(limit))
        try:
            text = pa.array([data.decode()], pa.string())
        except UnicodeDecodeError as error:
            if not self._media_type:
                cause = f"not valid UTF-8 at byte {error.start + 1}"
                return empty(DOCUMENT), reject(source.file, 1, "not_utf8", cause)
            text = pa.array(["?"], pa.string())
        none, never = nulls(1), pa.nulls(1, TIMESTAMP)
        name = pa.array([source.file.name], pa.string())
        fields = Fields(
            np.ones(1, np.int64), text, np.zeros(1, bool), none, none, none,
            name, none, none, none, never, never, none, none,
        )  # fmt: skip
        good, bad = documents(fields, source)
        if self._media_type and good.num_rows:
            good = payloads(good.select(DOCUMENT.names), self._media_type)
            at = good.schema.get_field_index("payload")
            good = good.set_column(at, good.schema.field(at), pa.array([self._data], pa.binary()))
        return good, bad


class Text(Base):
    """A text file is one document, in UTF-8."""

    name: ClassVar[str] = "text"
    extensions: ClassVar[tuple[str, ...]] = (".txt",)
    media_type: ClassVar[str] = ""

    def columns(self, source: Source) -> list[str]:
        """There is nothing but the text."""
        return ["text"]

    def read(self, split: Split, source: Source, target: int) -> Iterator[Rows | Broken]:
        """The file; of a longer one than allowed no more than tells that."""
        stream, parts, size = source.stream(), [], 0
        while size <= source.read.max_text_bytes + len(_BOM):
            try:
                part = stream.read(_PIECE)
            except BrokenError as broken:
                yield Broken(1, broken.rule, broken.cause)
                return
            if not part:
                break
            parts.append(part)
            size += len(part)
        yield _File(source, b"".join(parts), self.media_type)


class Html(Text):
    """An HTML file is one document."""

    name: ClassVar[str] = "html"
    extensions: ClassVar[tuple[str, ...]] = (".html", ".htm", ".xhtml")
    media_type: ClassVar[str] = "text/html"
