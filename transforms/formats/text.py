"""Files that are one document each: plain text, and HTML whose text the step `extract` makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa

from malmungchi.schemas.document import DOCUMENT, REJECT, ROW_BITS, TIMESTAMP, concat, empty
from malmungchi.transforms.formats.base import Base, Broken, Rows, Split
from malmungchi.transforms.formats.rows import Fields, documents, nulls, payloads, reject
from malmungchi.transforms.formats.source import Source
from malmungchi.transforms.io.decompress import BrokenError

_PIECE = 1 << 20
_BOM = b"\xef\xbb\xbf"


class File:
    """A whole file as one row."""

    count = 1

    def __init__(self, source: Source, data: bytes, media_type: str) -> None:
        self.source = source
        self.data = data
        self.media_type = media_type
        self.size = len(data)

    def documents(self) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """One document whose id is the file's name, or a reject."""
        return documents_of([self])

    def text(self) -> str | pa.RecordBatch:
        """The text, of a payload any, or a reject."""
        limit = self.source.read.max_text_bytes
        data = self.data.removeprefix(_BOM)
        if len(data) > limit:
            return reject(self.source.file, 1, "too_long", "text longer than read.max_text_bytes", str(limit))
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            if self.media_type:
                return "?"
            return reject(self.source.file, 1, "not_utf8", f"not valid UTF-8 at byte {error.start + 1}")


def are_alike(one: File, other: File) -> bool:
    """Whether the documents of two files can be made together."""
    return one.source.file.input == other.source.file.input and one.media_type == other.media_type


def documents_of(files: Sequence[File]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """(document rows, rejects) of files that are alike, much faster than one by one."""
    texts = [file.text() for file in files]
    bad = [text for text in texts if isinstance(text, pa.RecordBatch)]
    whole = [(file, text) for file, text in zip(files, texts, strict=True) if isinstance(text, str)]
    if not whole:
        return empty(DOCUMENT), concat(bad, REJECT)
    n = len(whole)
    none, never = nulls(n), pa.nulls(n, TIMESTAMP)
    fields = Fields(
        np.ones(n, np.int64), pa.array([text for _, text in whole], pa.string()), np.zeros(n, bool), none, none, none,
        pa.array([file.source.file.name for file, _ in whole], pa.string()),
        none, none, none, never, never, none, none,
    )  # fmt: skip
    good, wrong = documents(fields, *(file.source for file, _ in whole))
    if files[0].media_type and good.num_rows:
        of = {file.source.file.ordinal: file.data for file, _ in whole}
        data = [of[ordinal] for ordinal in (np.asarray(good["ordinal"]) >> np.uint64(ROW_BITS)).tolist()]
        good = payloads(good.select(DOCUMENT.names), files[0].media_type, input=files[0].source.file.input)
        at = good.schema.get_field_index("payload")
        good = good.set_column(at, good.schema.field(at), pa.array(data, pa.binary()))
    return good, concat([*bad, wrong], REJECT)


class Text(Base):
    """A text file is one document, in UTF-8; those below a folder are one source."""

    name: ClassVar[str] = "text"
    extensions: ClassVar[tuple[str, ...]] = (".txt",)
    media_type: ClassVar[str] = ""
    single: ClassVar[bool] = True

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
        yield File(source, b"".join(parts), self.media_type)


class Html(Text):
    """An HTML file is one document."""

    name: ClassVar[str] = "html"
    extensions: ClassVar[tuple[str, ...]] = (".html", ".htm", ".xhtml")
    media_type: ClassVar[str] = "text/html"
