"""Files anywhere fsspec reaches. Writes are whole or absent: a reader never sees a part of one."""

from __future__ import annotations

import contextlib
import datetime
import errno
import functools
import hashlib
import io
import os
import posixpath
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import fsspec

from malmungchi.schemas.errors import MalmungchiError

_PART = re.compile(r"\.[0-9a-f]{32}\.part$")

_CAUSES = {
    errno.ENOSPC: "no space is left; free some",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; make it writable, or name another place",
    errno.EACCES: "no permission to write; allow it, or name another place",
    errno.EPERM: "no permission to write; allow it, or name another place",
    errno.EIO: "the disk reports an error; repair or replace it",
}


class StorageError(MalmungchiError):
    """A file cannot be written, or a store not be reached."""


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cause = _CAUSES.get(error.errno or 0)
        if cause is None:
            raise
        raise StorageError(
            f"{path}: {cause}. What is finished is kept: run the same command again to resume"
        ) from error


class _Part(io.FileIO):
    """A local file whose writes fail with a StorageError that names `target`."""

    def __init__(self, path: str, target: str) -> None:
        super().__init__(path, "wb")
        self._target = target

    def write(self, data: Any, /) -> int:
        with _explained(self._target):
            return super().write(data)


class _Source(io.FileIO):
    """A local file whose reads fail with a StorageError that names it: a disk's error is no fault of the content."""

    def readinto(self, buffer: Any, /) -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise StorageError(
                f"{self.name!s}: cannot be read ({error.strerror or error}); fix that. What is finished is kept: "
                "run the same command again to resume"
            ) from error


# In the environment of launcher and workers: for so many seconds a request that an S3 store fails is sent again.
RETRY_SECONDS = "MALMUNGCHI_RETRY_SECONDS"
_RETRY_SECONDS = 30.0

# What is called on file systems elsewhere.
_CALLS = ("cat_file", "exists", "glob", "info", "ls", "open", "pipe_file", "put_file", "rm", "size")


@contextlib.contextmanager
def _reached(path: str) -> Iterator[None]:
    """Turns what a store's client says, after all its attempts, into a StorageError."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, EOFError):
        raise
    except PermissionError as error:
        raise StorageError(f"{path}: the store refuses access; check the credentials in the environment") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EINVAL:  # how s3fs says it of a range
            raise EOFError(f"{path}: it ends before") from error
        # Credentials may stand in the address of a server or a proxy.
        said = re.sub(r"//[^/@\s]*@", "//", " ".join(str(error).split()))[:300]
        raise StorageError(
            f"{path}: the request to the store failed ({type(error).__name__}: {said}). Check its address, its "
            "health and the network; what is finished is kept: run the same command again to resume"
        ) from error


def _explained_call(call: Callable[..., Any], scheme: str) -> Callable[..., Any]:
    @functools.wraps(call)
    def explained(path: Any, *args: Any, **kwargs: Any) -> Any:
        # Of an upload, the second path is the store's.
        place = args[0] if call.__name__ == "put_file" and args else path
        with _reached(f"{scheme}://{place}"):
            return call(path, *args, **kwargs)

    return explained


def _transient(error: BaseException) -> bool:
    """Whether an S3 server's error may be gone at the next attempt."""
    response = getattr(error, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or status in (408, 429)


def _attempts(seconds: float) -> int:
    """How often s3fs may send a request: its waits begin at 0.1 s and grow 1.7 times, to 15 s at most."""
    count, waited = 0, 0.0
    while (waited := waited + min(0.1 * 1.7**count, 15.0)) <= seconds:
        count += 1
    return max(1, count)


def _s3() -> Any:
    """S3, with one policy of retries: s3fs's own, which alone covers a body that breaks off, for all that may pass."""
    import s3fs

    s3fs.core.set_custom_error_handler(_transient)
    # Listings are not cached: other processes write there as well.
    fs = s3fs.S3FileSystem(use_listings_cache=False, config_kwargs={"retries": {"total_max_attempts": 1}})
    fs.retries = _attempts(float(os.environ.get(RETRY_SECONDS, _RETRY_SECONDS)))
    return fs


_S3 = ("s3", "s3a")


@functools.lru_cache(maxsize=64)
def _filesystem(protocol: str, where: tuple[tuple[str, Any], ...]) -> Any:
    """`where` says of an address what is not a path: the name node of HDFS, the host of SFTP."""
    fs = _s3() if protocol in _S3 else fsspec.filesystem(protocol, **dict(where))
    if not is_local(fs) and protocol != "memory":
        for name in _CALLS:
            setattr(fs, name, _explained_call(getattr(fs, name), protocol))
    return fs


class _Ranges(io.RawIOBase):
    """An object's bytes, by ranged reads. A buffer goes on top."""

    def __init__(self, fs: Any, path: str, size: int) -> None:
        self._fs, self._path, self._size, self._at = fs, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._size)
        if end <= self._at:
            return 0
        data = self._fs.cat_file(self._path, start=self._at, end=end)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def resolve(uri: str) -> tuple[Any, str]:
    """(file system, path on it). Credentials come from the environment, never from the address.

    Raises StorageError with what to install when the scheme's package is missing, and for an address with a password.
    """
    scheme, _, rest = uri.partition("://") if "://" in uri else ("file", "", uri)
    if "@" in rest.split("/")[0] and scheme not in ("file", "memory"):
        raise StorageError(f"{scheme} address holds credentials; put them in the environment instead")
    try:
        kind = fsspec.get_filesystem_class(scheme)
        fs = _filesystem(scheme, tuple(sorted(kind._get_kwargs_from_urls(uri).items())))
    except ImportError as error:
        raise StorageError(f"{scheme}:// needs a package that is not installed: {error}") from error
    except ValueError as error:
        raise StorageError(f"{uri}: {error}") from error
    return fs, fs._strip_protocol(uri)


_BUFFER_BYTES = 1 << 16
_PUT_BYTES = 5 << 30  # the largest that S3 takes in one request
_RANGE_BYTES = 4 << 20


@contextlib.contextmanager
def hurried(uri: str, hurry: bool = True) -> Iterator[None]:
    """Asks the S3 store of `uri` no second time while the block runs, for what may as well fail."""
    fs, _ = resolve(uri)
    attempts = getattr(fs, "retries", 0)
    if not (attempts and hurry):
        yield
        return
    fs.retries = 1
    try:
        yield
    finally:
        fs.retries = attempts


def shown(uri: str) -> str:
    """An address as it may be said: what stands behind a question mark can be a signature or a token."""
    return re.sub(r"^(https?://[^?#]*)[?#].*", r"\1?…", uri)


def is_local(fs: Any) -> bool:
    """Whether a file system is this machine's own, with renames."""
    return "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))


def join(base: str, *parts: str) -> str:
    """A path below `base`, whatever its scheme."""
    return posixpath.join(base, *parts)


def open_input(uri: str, ahead: int = _RANGE_BYTES) -> BinaryIO:
    """The object's raw bytes, seekable, never decompressed; of a store, `ahead` bytes are read at once. Reads raise
    StorageError when a disk or a store fails."""
    fs, path = resolve(uri)
    if is_local(fs):
        return io.BufferedReader(_Source(path), _RANGE_BYTES >> 4)
    if uri.partition(":")[0] not in _S3:
        return fs.open(path, "rb", compression=None)
    return io.BufferedReader(_Ranges(fs, path, fs.size(path)), ahead)


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


def changed_at(uri: str) -> float:
    """Seconds since 1970 when an object was last changed or, locally, put where it is; 0 if its store does not say."""
    fs, path = resolve(uri)
    info = fs.info(path)
    if is_local(fs):
        return max(info["mtime"], info["created"])
    stamps = (info.get(name) for name in ("LastModified", "mtime", "updated"))
    return next((stamp.timestamp() for stamp in stamps if isinstance(stamp, datetime.datetime)), 0.0)


def sha256(uri: str) -> tuple[str, int]:
    """(hex digest, size) of an object's bytes, which are all read."""
    digest, size = hashlib.sha256(), 0
    with open_input(uri) as file:
        while block := file.read(_RANGE_BYTES):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def exists(uri: str) -> bool:
    """Whether there is an object or a folder."""
    fs, path = resolve(uri)
    return bool(fs.exists(path))


@contextlib.contextmanager
def create(uri: str, durable: bool = False) -> Iterator[Any]:
    """A file to write, visible at `uri` only when the block ends well.

    Locally: a temporary file in the same folder, renamed over the name; `durable` also waits until the disk has it.
    Elsewhere: a temporary local file, uploaded in one piece, since not every store can abandon half an upload.

    Raises StorageError when the disk is full, read-only or forbidden, and when a store goes on failing.
    """
    fs, path = resolve(uri)
    if not is_local(fs):
        with tempfile.NamedTemporaryFile(prefix="malmungchi-") as file:
            yield file
            file.flush()
            # s3fs would upload what is larger than two of its chunks in parts, which a killed worker leaves behind.
            fs.put_file(file.name, path, **({"chunksize": _PUT_BYTES} if uri.partition(":")[0] in _S3 else {}))
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
    fs, path = resolve(uri)
    if not is_local(fs):
        fs.pipe_file(path, data)
        return
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
    place = path.rstrip("/")  # in a store an empty object may stand for the folder, and is listed in it
    return sorted(posixpath.basename(name.rstrip("/")) for name in found if name.rstrip("/") != place)


# Times that a folder is removed in which someone may still write.
_REMOVALS = 5


def _unless_gone(_: Any, __: str, raised: Any) -> None:
    """For rmtree: someone else may remove what is in the folder as well."""
    if not isinstance(raised[1], FileNotFoundError):
        raise raised[1]


def remove(uri: str) -> None:
    """Removes an object or a folder with all below it, if it is there, also while a worker that nobody knows of writes
    and removes files in it. Raises StorageError if that one is faster for long."""
    fs, path = resolve(uri)
    if not is_local(fs):
        with contextlib.suppress(FileNotFoundError):
            fs.rm(path, recursive=True)
        return
    for attempt in range(_REMOVALS):
        time.sleep(attempt * 0.05)
        try:
            if not os.path.isdir(path) or os.path.islink(path):
                os.remove(path)
            else:
                shutil.rmtree(path, onerror=_unless_gone)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR):
                raise
        if not os.path.lexists(path):
            return
    raise StorageError(
        f"{path}: cannot be removed, since something goes on writing there; stop that, and run the same command again"
    )


def remove_if_empty(uri: str) -> None:
    """Removes a folder without content. Object stores have none."""
    fs, path = resolve(uri)
    if is_local(fs):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def remove_parts(uri: str) -> None:
    """Removes what writers that were killed left below `uri`. The caller knows that none is needed any more."""
    fs, path = resolve(uri)
    if is_local(fs):
        for folder, _, found in os.walk(path):
            for name in filter(_PART.search, found):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(os.path.join(folder, name))
