"""Files anywhere fsspec reaches. Writes are whole or absent: a reader never sees a part of one."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import posixpath
import re
import tempfile
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO

import fsspec

_PART = re.compile(r"\.[0-9a-f]{32}\.part$")

_CAUSES = {
    errno.ENOSPC: "no space is left; free some",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; make it writable, or name another place",
    errno.EACCES: "no permission to write; allow it, or name another place",
    errno.EPERM: "no permission to write; allow it, or name another place",
    errno.EIO: "the disk reports an error; mend or replace it",
}


class StorageError(RuntimeError):
    """A file cannot be written. The message says where, why, and what to do."""


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cause = _CAUSES.get(error.errno or 0)
        if cause is None:
            raise
        raise StorageError(
            f"{path}: {cause}. What is finished is kept: start the same command again to go on"
        ) from error


class _Part(io.FileIO):
    """A local file whose writes fail with a StorageError that names `target`."""

    def __init__(self, path: str, target: str) -> None:
        super().__init__(path, "wb")
        self._target = target

    def write(self, data: Any, /) -> int:
        with _explained(self._target):
            return super().write(data)


@functools.lru_cache(maxsize=64)
def _filesystem(protocol: str) -> Any:
    return fsspec.filesystem(protocol)


def resolve(uri: str) -> tuple[Any, str]:
    """(file system, path on it). Credentials come from the environment, never from the address.

    Raises ValueError with what to install when the scheme's package is missing, and for an address with a password.
    """
    scheme, _, rest = uri.partition("://") if "://" in uri else ("file", "", uri)
    if "@" in rest.split("/")[0] and scheme not in ("file", "memory"):
        raise ValueError(f"{scheme} address holds credentials; put them in the environment instead")
    try:
        fs = _filesystem(scheme)
    except ImportError as error:
        raise ValueError(f"{scheme}:// needs a package that is not installed: {error}") from error
    except ValueError as error:
        raise ValueError(f"{uri}: {error}") from error
    return fs, fs._strip_protocol(uri)


_BUFFER_BYTES = 1 << 16


def is_local(fs: Any) -> bool:
    """Whether a file system is this machine's own, with renames."""
    return "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))


def join(base: str, *parts: str) -> str:
    """A path below `base`, whatever its scheme."""
    return posixpath.join(base, *parts)


def open_input(uri: str) -> BinaryIO:
    """The object's raw bytes, seekable, never decompressed."""
    fs, path = resolve(uri)
    return fs.open(path, "rb", compression=None)


def read_range(uri: str, offset: int, length: int) -> bytes:
    """`length` bytes from `offset`, in one ranged read. Raises EOFError if the object ends before."""
    fs, path = resolve(uri)
    data = fs.cat_file(path, start=offset, end=offset + length)
    if len(data) != length:
        raise EOFError(f"{uri}: {len(data)} bytes at {offset}, {length} expected")
    return data


def read_bytes(uri: str) -> bytes:
    """The whole object. Raises FileNotFoundError."""
    fs, path = resolve(uri)
    return fs.cat_file(path)


def size(uri: str) -> int:
    """Bytes of an object, -1 if there is none."""
    fs, path = resolve(uri)
    try:
        fs.invalidate_cache(path)
        return int(fs.size(path))
    except FileNotFoundError:
        return -1


def exists(uri: str) -> bool:
    """Whether there is an object or a folder."""
    fs, path = resolve(uri)
    return bool(fs.exists(path))


@contextlib.contextmanager
def create(uri: str, durable: bool = False) -> Iterator[Any]:
    """A file to write, visible at `uri` only when the block ends well.

    Locally: a temporary file in the same folder, renamed over the name; `durable` also waits until the disk has it.
    Elsewhere: a temporary local file, uploaded in one piece, since not every store can abandon half an upload.

    Raises StorageError when the disk is full, read-only or forbidden.
    """
    fs, path = resolve(uri)
    if not is_local(fs):
        with tempfile.NamedTemporaryFile(prefix="malmungchi-") as file:
            yield file
            file.flush()
            fs.put_file(file.name, path)
        return
    folder = os.path.dirname(path)
    part = f"{path}.{uuid.uuid4().hex}.part"
    try:
        with _explained(path):
            os.makedirs(folder, exist_ok=True)
            raw = _Part(part, path)
        with io.BufferedWriter(raw, _BUFFER_BYTES) as file:
            yield file
            if durable:
                file.flush()
                with _explained(path):
                    os.fsync(file.fileno())
        with _explained(path):
            os.replace(part, path)
            if durable:
                _sync_folder(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(part)
        raise


def _sync_folder(folder: str) -> None:
    """A renamed file outlives a power cut only once its folder is on the disk too."""
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def claim(uri: str, data: bytes) -> bool:
    """Makes a small object; locally False, and nothing done, if there is one already.

    Elsewhere no store can be relied on to refuse: there the last writer wins, and is told by reading again.
    """
    fs, path = resolve(uri)
    if not is_local(fs):
        write_bytes(uri, data)
        return True
    with _explained(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(path, "xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        except OSError:
            os.remove(path)
            raise
    return True


def write_bytes(uri: str, data: bytes, durable: bool = False) -> None:
    """A small object in one go, whole or not at all."""
    with create(uri, durable) as file:
        file.write(data)


def names(uri: str) -> list[str]:
    """Sorted names of the objects directly below `uri`; none if it does not exist."""
    fs, path = resolve(uri)
    try:
        fs.invalidate_cache(path)  # other processes write here as well
        found = fs.ls(path, detail=False)
    except FileNotFoundError:
        return []
    return sorted(posixpath.basename(name.rstrip("/")) for name in found)


def remove(uri: str) -> None:
    """Removes an object or a folder with all below it, if it is there."""
    fs, path = resolve(uri)
    with contextlib.suppress(FileNotFoundError):
        fs.rm(path, recursive=True)


def remove_if_empty(uri: str) -> None:
    """Removes a folder without content. Object stores have none."""
    fs, path = resolve(uri)
    if is_local(fs):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def remove_parts(uri: str) -> None:
    """Removes what writers that were killed left directly below `uri`. The caller knows that none is alive."""
    fs, path = resolve(uri)
    if is_local(fs):
        for name in names(uri):
            if _PART.search(name):
                os.remove(os.path.join(path, name))
