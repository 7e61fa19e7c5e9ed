"""An input file as formats see it: its bytes without compression, hashed on their way, and its settings."""

from __future__ import annotations

import functools
import hashlib
from typing import Any, BinaryIO, cast

from malmungchi.schemas.config import Config, Read
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.work import InputFile
from malmungchi.transforms.formats import base
from malmungchi.transforms.io.decompress import Decompressed, open_decompressed
from malmungchi.transforms.io.storage import open_input, resolve, shown

_PIECE = 1 << 20
_TO_DO = "; put it back as it was, or use --restart to read it as it is now"


class InputChangedError(MalmungchiError):
    """An input file is gone, or not what it was when the job was planned."""


def version_of(info: dict[str, Any]) -> str:
    """What changes when a file's content may have: the entity tag, or size and time of change, of fsspec's `info`."""
    for key in ("ETag", "etag", "checksum", "md5"):
        if info.get(key):
            return str(info[key])
    changed = info.get("mtime", info.get("LastModified", info.get("last_modified", info.get("updated", ""))))
    return f"{info.get('size')}:{changed}"


def check_unchanged(file: InputFile) -> None:
    """Raises InputChangedError if the file is gone, or of another size or version than planned."""
    fs, path = resolve(file.uri)
    fs.invalidate_cache(path)
    try:
        info = fs.info(path)
    except FileNotFoundError as error:
        raise InputChangedError(
            f"{file.name} was there when the job was planned, and is gone ({shown(file.uri)}){_TO_DO}"
        ) from error
    if info["size"] not in (None, file.size):
        raise InputChangedError(
            f"{file.name} has {info['size']} bytes; when the job was planned it had {file.size} ({shown(file.uri)})"
            + _TO_DO
        )
    if file.version and version_of(info) != file.version:
        raise InputChangedError(f"{file.name} was written again after the job was planned ({shown(file.uri)}){_TO_DO}")


def open_unchanged(file: InputFile) -> BinaryIO:
    """The file's raw bytes. Raises InputChangedError if it is not what was planned."""
    check_unchanged(file)
    return open_input(file.uri)


class _Hashed:
    """Raw bytes of a file, from `start` to `end` (-1: all), hashed on their way."""

    def __init__(self, raw: BinaryIO, start: int = 0, end: int = -1) -> None:
        self._raw = raw
        self._left = end - start if end >= 0 else 1 << 62
        self._hash = hashlib.sha256()
        self.count = 0
        raw.seek(start)

    def read(self, size: int = _PIECE) -> bytes:
        data = self._raw.read(min(size, self._left))
        self._left -= len(data)
        self._hash.update(data)
        self.count += len(data)
        return data

    def digest(self, file: InputFile) -> str:
        """Hex sha256 of all, what was not read yet included. Raises InputChangedError if it is not the planned file."""
        while self.read():
            pass
        if self.count != file.size:
            raise InputChangedError(f"{file.name} had {file.size} bytes when planned, but {self.count} now{_TO_DO}")
        check_unchanged(file)
        return self._hash.hexdigest()


class Source:
    """The bytes of an input file after its compression, and what the configuration says of it.

    A format takes either `stream`, the bytes in order, or `raw`, in which it may seek.
    """

    def __init__(self, file: InputFile, raw: BinaryIO, config: Config) -> None:
        self.file = file
        self.raw = raw
        base.load_settings()
        self._config = config.of(file.input)
        self._hashed: _Hashed | None = None

    @property
    def read(self) -> Read:
        """The settings that hold for all formats."""
        return self._config.read

    @functools.cached_property
    def settings(self) -> Any:
        """Those of its format, None if that has none."""
        return base.settings_of(base.get(self.file.format), self._config)

    def stream(self, start: int = 0, end: int = -1) -> Decompressed:
        """The decompressed bytes in order; of a file without compression those from `start` to `end`."""
        self._hashed = _Hashed(self.raw, start, end)
        return open_decompressed(cast(BinaryIO, self._hashed), self.file.codec)

    def digest(self) -> str:
        """Hex sha256 of the whole file; bytes that did not come through `stream` are read for it."""
        return (self._hashed or _Hashed(self.raw)).digest(self.file)
