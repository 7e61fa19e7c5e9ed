"""A Parquet file's footer, which pyarrow is given in parts: it makes a kilobyte of each column of each row group, and
there may be millions."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from malmungchi.transforms.formats.table import ERRORS, cause
from malmungchi.transforms.io.decompress import BrokenError
from malmungchi.transforms.kernels import footer

# A footer up to this size is one part. A million row groups of one column are 60 to 160 MB.
PART_BYTES = 4 << 20
SCHEMA_BYTES = 4 << 20
METADATA_BYTES = 32 << 20
MAX_FOOTER = 256 << 20
_MAGIC = b"PAR1"


class Part(NamedTuple):
    """pyarrow's ParquetFile with the row groups [start, end) of a file only; in it, their numbers begin at 0."""

    parquet: Any
    start: int
    end: int

    def metadata(self, group: int) -> Any:
        """What is said of a row group, by its number in the file."""
        return self.parquet.metadata.row_group(group - self.start)


def _length(count: int) -> bytes:
    """The head of a list of structs in Thrift's compact protocol, as pyarrow's own writers write long ones."""
    out = bytearray([0xFC])
    while count > 127:
        out.append(count & 127 | 128)
        count >>= 7
    return bytes([*out, count])


class Footer:
    """What stands at the end of a Parquet file: `groups` row groups of columns with `names`, of together `rows` rows.

    Raises BrokenError if there is none that can be read, or one beyond all bounds.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        try:
            size = raw.seek(0, 2)
            raw.seek(max(size - 8, 0))
            end = raw.read(8)
            length = int.from_bytes(end[:4], "little")
            if length <= PART_BYTES or length + 8 > size or end[4:] != _MAGIC:
                self._whole = self._open()
                self.groups: int = self._whole.metadata.num_row_groups
                first = self._whole
            else:
                if length > MAX_FOOTER:
                    raise BrokenError("corrupt", _TOO_LARGE.format(f"a footer of {length} bytes", MAX_FOOTER))
                self._whole = None
                self._index(size - 8 - length, length)
                first = self._part(0).parquet
            self.rows: int = first.metadata.num_rows
            self.names: list[str] = list(first.schema_arrow.names)
        except ERRORS as error:
            raise BrokenError("corrupt", f"no readable Parquet footer: {cause(error)}") from error

    def _index(self, place: int, length: int) -> None:
        """Finds the row groups, and keeps where they are, and what stands around them."""
        data = np.frombuffer(self._read(place, length), np.uint8)
        schema, starts = footer.row_groups(data)
        self.groups = len(starts) - 1
        if schema < 0:
            raise ValueError("it is not whole")
        for what, size, most in (("schema", schema, SCHEMA_BYTES), ("metadata", length - starts[-1], METADATA_BYTES)):
            if size > most:
                raise BrokenError("corrupt", _TOO_LARGE.format(f"a {what} of {size} bytes", most))
        self._head, self._tail = data[:schema].tobytes(), data[starts[-1] :].tobytes()
        self._starts = starts + place

    def _read(self, place: int, length: int) -> bytes:
        self._raw.seek(place)
        return self._raw.read(length)

    def _open(self, metadata: Any = None) -> Any:
        return pq.ParquetFile(self._raw, metadata=metadata, pre_buffer=False, buffer_size=1 << 20, memory_map=False)

    def _part(self, start: int) -> Part:
        """The part that begins with a row group."""
        end = int(np.searchsorted(self._starts, self._starts[start] + PART_BYTES, "right")) - 1
        end = max(end, min(start + 1, self.groups))
        groups = self._read(int(self._starts[start]), int(self._starts[end] - self._starts[start]))
        pieces = (self._head, _length(end - start), groups, self._tail)
        size = sum(map(len, pieces)).to_bytes(4, "little")
        return Part(self._open(pq.read_metadata(io.BytesIO(b"".join((_MAGIC, *pieces, size, _MAGIC))))), start, end)

    def parts(self, start: int = 0, end: int = -1) -> Iterator[Part]:
        """The row groups [start, end), -1 for all behind, in parts that cover them in order. Raises BrokenError."""
        end = self.groups if end < 0 else end
        if self._whole is not None:
            yield Part(self._whole, 0, self.groups)
            return
        while start < end:
            try:
                part = self._part(start)
            except ERRORS as error:
                raise BrokenError("corrupt", f"no readable Parquet footer: {cause(error)}") from error
            yield part
            start = part.end


_TOO_LARGE = "{}, more than {}; write the Parquet file with larger row groups, or fewer columns"
