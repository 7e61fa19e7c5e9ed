"""Bytes read as a format reads them, without a file."""

from __future__ import annotations

import io

import pyarrow as pa

from malmungchi.schemas.config import Config, Read
from malmungchi.schemas.document import DOCUMENT, empty
from malmungchi.schemas.work import Columns, InputFile
from malmungchi.transforms.formats import base
from malmungchi.transforms.formats.base import Broken, Split
from malmungchi.transforms.formats.rows import reject
from malmungchi.transforms.formats.source import Source


def source_of(
    data: bytes, format: str, codec: str = "none", read: Read | None = None, columns: Columns | None = None
) -> Source:
    """Bytes as an input file of a plan."""
    name = f"a.{format}"
    file = InputFile(0, name, name, format, codec, len(data), "", columns or Columns("text"))
    return Source(file, io.BytesIO(data), Config(read=read or Read()))


def columns_of(data: bytes, format: str, codec: str = "none") -> list[str]:
    """Names of the columns."""
    return base.get(format).columns(source_of(data, format, codec))


def parts_of(source: Source, target: int) -> list[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """(documents, rejects), piece by piece; a break is a piece with its reject."""
    found = []
    for part in base.get(source.file.format).read(Split(), source, target):
        if isinstance(part, Broken):
            found.append((empty(DOCUMENT), reject(source.file, *part)))
        else:
            found.append(part.documents())
    return found
