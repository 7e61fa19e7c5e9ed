"""Files anywhere fsspec reaches. Writes are whole or absent: a reader never sees a part of one."""

from __future__ import annotations

import contextlib
import functools
import os
import posixpath
import tempfile
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO

import fsspec


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


def exists(uri: str) -> bool:
    """Whether there is an object or a folder."""
    fs, path = resolve(uri)
    return bool(fs.exists(path))


@contextlib.contextmanager
def create(uri: str, durable: bool = False) -> Iterator[Any]:
    """A file to write, visible at `uri` only when the block ends well.

    Locally: a temporary file in the same folder, renamed over the name; `durable` also waits until the disk has it.
    Elsewhere: a temporary local file, uploaded in one piece, since not every store can abandon half an upload.
    """
    fs, path = resolve(uri)
    if not is_local(fs):
        with tempfile.NamedTemporaryFile(prefix="malmungchi-") as file:
            yield file
            file.flush()
            fs.put_file(file.name, path)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    part = f"{path}.{uuid.uuid4().hex}.part"
    try:
        with open(part, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)
        raise


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
