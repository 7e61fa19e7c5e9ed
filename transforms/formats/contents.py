"""What a file is by its first bytes, where that is not what its name says: a pointer, an error page, an archive."""

from __future__ import annotations

import io
import re
from typing import NamedTuple

from malmungchi.transforms.io.decompress import BrokenError, open_decompressed

# Bytes that are looked at, after a compression; of a compressed file so many are read for them.
HEAD = 512
COMPRESSED_HEAD = 64 << 10


class Content(NamedTuple):
    """What a file is, and what to do about it. `format` is the name of ours that reads it, "" if none does."""

    name: str
    advice: str
    format: str = ""

    @property
    def cause(self) -> str:
        """Both in a line."""
        return f"{self.name}: {self.advice}"


_UNPACK = "unpack it, and name the files in it"
_EXPORT = "export its text as JSON lines, Parquet or CSV"
_AGAIN = "download the file again"
_TEXT_OUT = "extract its text first"

_LFS = Content("a Git LFS pointer, not the file itself", "fetch it with `git lfs pull`")
_ANNEX = Content("a git-annex pointer, not the file itself", "fetch it with `git annex get`")
_STORE_ERROR = Content("an error message of an object store, not the file itself", _AGAIN)
_ZEROS = Content("nothing but zero bytes at its beginning, as an unfinished download leaves", _AGAIN)
_HTML = Content("an HTML page", f"if it is an error page, {_AGAIN}; if it is a document, name it .html")
_XML = Content("XML", f"if it is an error message, {_AGAIN}; if it is data, {_EXPORT}")
_PARQUET = Content("Parquet", "name it .parquet, without compression of the whole file", "parquet")
_ENCRYPTED = Content("encrypted Parquet", "decrypt it with its keys, and write it without encryption")
_TWICE = Content("compressed twice", "decompress it once")
_WHOLE = Content("compressed as a whole", "decompress it first")

# By first bytes.
_MAGIC: tuple[tuple[bytes, Content], ...] = (
    (b"version https://git-lfs.github.com/spec/", _LFS),
    (b"/annex/objects/", _ANNEX),
    (b"PAR1", _PARQUET),
    (b"PARE", _ENCRYPTED),
    (b"PK\x03\x04", Content("a ZIP archive (or an office document, which is one)", _UNPACK)),
    (b"PK\x05\x06", Content("an empty ZIP archive", _AGAIN)),
    (b"7z\xbc\xaf\x27\x1c", Content("a 7z archive", _UNPACK)),
    (b"Rar!\x1a\x07", Content("a RAR archive", _UNPACK)),
    (b"EGGA", Content("an EGG archive", _UNPACK)),
    (b"ALZ\x01", Content("an ALZ archive", _UNPACK)),
    (b"\x04\x22\x4d\x18", Content("LZ4-compressed", "decompress it first, with `lz4 -d`")),
    (b"\xff\x06\x00\x00sNaPpY", Content("Snappy-compressed", "decompress it first")),
    (b"\x89LZO\x00", Content("LZO-compressed", "decompress it first, with `lzop -d`")),
    (b"\x1f\x9d", Content("compressed with `compress`", "decompress it first, with `gzip -d`")),
    (b"LZIP", Content("lzip-compressed", "decompress it first, with `lzip -d`")),
    (b"ARROW1\x00\x00", Content("an Arrow (Feather) file", "write it as Parquet")),
    (b"\xff\xff\xff\xff", Content("an Arrow stream", "write it as Parquet")),
    (b"FEA1", Content("an old Feather file", "write it as Parquet")),
    (b"Obj\x01", Content("Avro", _EXPORT)),
    (b"ORC", Content("ORC", "write it as Parquet")),
    (b"SEQ\x06", Content("a Hadoop sequence file", _EXPORT)),
    (b"SQLite format 3\x00", Content("an SQLite database", _EXPORT)),
    (b"\x89HDF\r\n\x1a\n", Content("HDF5", _EXPORT)),
    (b"\x93NUMPY", Content("a NumPy array", _EXPORT)),
    (b"%PDF-", Content("a PDF", _TEXT_OUT)),
    (b"{\\rtf", Content("an RTF document", _TEXT_OUT)),
    (b"HWP Document File", Content("an HWP document", _TEXT_OUT)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Content("an HWP or old Office document", _TEXT_OUT)),
    (b"\x89PNG\r\n", Content("a picture", "leave it out")),
    (b"\xff\xd8\xff", Content("a picture", "leave it out")),
    (b"GIF8", Content("a picture", "leave it out")),
    (b"-----BEGIN PGP", Content("encrypted with PGP", "decrypt it first, with `gpg -d`")),
    (b"Salted__", Content("encrypted with OpenSSL", "decrypt it first")),
    (b"\x1f\x8b\x08", _TWICE),
    (b"\x28\xb5\x2f\xfd", _TWICE),
    (b"\xfd7zXZ\x00", _TWICE),
)

_STORE_ERROR_XML = re.compile(rb"\s*(<\?xml[^>]*>)?\s*<Error>\s*<Code>")
_HTML_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)*(<!doctype\s+html|<html[\s>]|<head[\s>]|<body[\s>])", re.I | re.S)
_XML_FILE = re.compile(rb"\s*<\?xml\s")
_PICKLE = re.compile(rb"\x80[\x02-\x05](\x95|c|\}|\])")

_FIRST = tuple(magic for magic, _ in _MAGIC)

# Formats whose files are looked at: all of rows of text, and those of files that are a document each, where a page is
# the document. Others say by themselves what is no file of theirs.
_DOCUMENTS = ("text", "html")
_LOOKED_AT = ("jsonl", "csv", "parquet", *_DOCUMENTS)

# First bytes that a text could begin with, too: there must be bytes in it that no text has.
_WORDS = re.compile(rb"[\x09\x20-\x7e]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def recognise(head: bytes) -> Content | None:
    """What begins with these bytes (`HEAD` of them, if there are so many); None if that may be text or rows."""
    for magic, content in _MAGIC if head.startswith(_FIRST) else ():
        if head.startswith(magic) and (_is_telling(magic) or _CONTROL.search(head)):
            return content
    if head[257:262] == b"ustar":
        return Content("a tar archive", _UNPACK)
    if _PICKLE.match(head):
        return Content("a Python pickle", _EXPORT)
    if _STORE_ERROR_XML.match(head):
        return _STORE_ERROR
    if len(head) >= 16 and not head.strip(b"\0"):
        return _ZEROS
    plain = head.removeprefix(b"\xef\xbb\xbf")
    return _HTML if _HTML_PAGE.match(plain) else _XML if _XML_FILE.match(plain) else None


def _is_telling(magic: bytes) -> bool:
    """Whether first bytes are long enough to be no words, or none at all."""
    return len(magic) >= 8 or magic in (b"%PDF-", b"{\\rtf") or not _WORDS.fullmatch(magic)


def stranger(head: bytes, codec: str, format: str) -> Content | None:
    """What a file is that is no file of a format, though its name says so; None if it may be one.

    `head` are its first bytes as they are stored, `codec` is its compression.
    """
    if format not in _LOOKED_AT:
        return None
    if codec != "none":
        try:
            head = open_decompressed(io.BytesIO(head), codec).read(HEAD)
        except BrokenError:
            return None  # the reader will say what is wrong with it
    found = recognise(head[:HEAD])
    if found is None:
        return None if format != "parquet" or not head else _no_parquet(head)
    if found is _ZEROS and codec != "none":
        return None  # no download left them: if they are many, they are a bomb
    if found.format == format or (found in (_HTML, _XML) and format in _DOCUMENTS):
        return None
    return _WHOLE if found is _TWICE and codec == "none" else found


def _no_parquet(head: bytes) -> Content | None:
    """What is called Parquet and does not begin like it, if it is text."""
    if head.lstrip()[:1] in (b"{", b"["):
        return Content("JSON, not Parquet", "name it .jsonl")
    return None
