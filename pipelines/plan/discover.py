"""The files behind the addresses and patterns that a user names. Needs neither Beam nor Arrow: it is there at once."""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import json
import os
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from malmungchi.schemas.config import Input
from malmungchi.schemas.names import FOLDERS, INPUTS, MANIFEST
from malmungchi.transforms.formats.base import InputError
from malmungchi.transforms.io import storage
from malmungchi.transforms.io.strangers import is_hidden, is_mark


class Found(NamedTuple):
    """An input file before it is looked into: `name` is its path below `root`, `info` what its file system says of it,
    `input` the number of the input that names it."""

    uri: str
    name: str
    info: dict[str, Any]
    root: str = ""
    input: int = 0


def _root(pattern: str) -> str:
    """The folder part of an address before its first wildcard."""
    return re.split(r"[*?[{]", pattern, maxsplit=1)[0].rpartition("/")[0]


@contextlib.contextmanager
def said(uri: str) -> Iterator[None]:
    """Turns what a file system says of an address into an InputError."""
    try:
        yield
    except FileNotFoundError:
        gone = "this symbolic link leads nowhere" if os.path.islink(uri) else "there is no such file"
        raise InputError(f"{storage.shown(uri)}: {gone}") from None
    except PermissionError:
        raise InputError(f"{storage.shown(uri)}: no permission to read it") from None
    except OSError as error:
        raise InputError(f"{storage.shown(uri)}: {error.strerror or type(error).__name__}") from error


def _wild(part: str) -> bool:
    return any(char in part for char in "*?[")


def _nfc(name: str) -> str:
    """A name in the form in which names are compared: macOS writes Hangul as single jamo (NFD)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _alternatives(pattern: str) -> list[str]:
    """The patterns that one with `{a,b}` stands for, as in the shell; a pattern without is itself."""
    match = re.match(r"(.*?)\{([^{}]*,[^{}]*)\}(.*)", pattern, re.DOTALL)
    if match is None:
        return [pattern]
    return [each for word in match[2].split(",") for each in _alternatives(match[1] + word + match[3])]


def _stands_for(part: str, name: str) -> bool:
    """Whether a part of a pattern stands for a name. As in the shell, `*` passes over names that begin with a dot."""
    if is_hidden(name) and not is_hidden(part):
        return False
    return fnmatch.fnmatchcase(_nfc(name), _nfc(part))


def _matches(folder: str, parts: Sequence[str], above: frozenset[str]) -> Iterator[str]:
    """Local paths below a folder that match the parts of a pattern, through symbolic links too.

    fsspec's own glob passes over links and over folders that cannot be read, and says nothing. `**` does not follow a
    link that leads back to a folder it is in (`above`): what is there has been found.
    """
    part, rest = parts[0], parts[1:]
    if part == "**":
        above |= {os.path.realpath(folder)}
        yield from _matches(folder, rest or ["*"], above)
    elif not _wild(part):
        place = posixpath.join(folder, part)
        if not os.path.lexists(place) and not part.isascii():
            place = next((at for at in _entries(folder) if _nfc(posixpath.basename(at)) == _nfc(part)), place)
        if rest and os.path.isdir(place):
            yield from _matches(place, rest, above)
        elif not rest and os.path.lexists(place):
            yield place
        return
    for place in _entries(folder):
        name = posixpath.basename(place)
        if part == "**":
            if not is_hidden(name) and os.path.isdir(place) and os.path.realpath(place) not in above:
                yield from _matches(place, parts, above)
        elif _stands_for(part, name):
            if not rest:
                yield place
            elif os.path.isdir(place):
                yield from _matches(place, rest, above)


def _entries(folder: str) -> list[str]:
    """Paths of what is in a local folder, in the order of their names."""
    with said(folder), os.scandir(folder) as found:
        return sorted(posixpath.join(folder, entry.name) for entry in found)


def _glob(fs: Any, path: str) -> dict[str, dict[str, Any]]:
    """Information on the files that a pattern stands for, by their paths. Folders among them, and the empty objects
    that stand for folders in a store, are left out."""
    if storage.is_local(fs):
        found = _matches("/", path.strip("/").split("/"), frozenset())
        return {place: _info(fs, place) for place in found if not os.path.isdir(place)}
    hidden = [part for part in path.split("/") if is_hidden(part)]
    return {
        place: info
        for place, info in fs.glob(path, detail=True).items()
        if info["type"] != "directory"
        and not place.endswith("/")
        and all(
            not is_hidden(name) or any(fnmatch.fnmatchcase(name, part) for part in hidden) for name in place.split("/")
        )
    }


def _info(fs: Any, path: str) -> dict[str, Any]:
    with said(path):
        info: dict[str, Any] = fs.info(path)
    return info


class _Ours:
    """Which folders below a pattern hold a release of ours, or work on one: what is in them was made of the input, and
    is read only where its folder is named."""

    def __init__(self, root: str, uri: Callable[[str], str]) -> None:
        self._root, self._uri = root, uri
        self._known: dict[str, bool] = {}

    def holds(self, place: str) -> bool:
        """Whether a file is in one."""
        below = place.removeprefix(self._root).strip("/").split("/")[:-1]
        if any(re.fullmatch(r"_staging|plan-[0-9a-f]{16}", part) for part in below):
            return True
        folder, name = posixpath.split(place)
        if name in (MANIFEST, INPUTS):
            return self._is_release(folder)
        return bool(below) and below[-1] in FOLDERS and self._is_release(posixpath.dirname(folder))

    def _is_release(self, folder: str) -> bool:
        if folder not in self._known:
            inside = f"{self._root}/".startswith(f"{folder}/") and self._root != folder
            self._known[folder] = not inside and self._has_manifest(folder)
        return self._known[folder]

    def _has_manifest(self, folder: str) -> bool:
        uri = self._uri(folder)
        if storage.exists(storage.join(uri, "_staging", "plan.json")):
            return True
        try:
            found = json.loads(storage.read_bytes(storage.join(uri, MANIFEST)))
        except (OSError, ValueError, storage.StorageError):
            return False
        return isinstance(found, dict) and {"schema_version", "config_digest"} <= found.keys()


def _some(places: Sequence[str]) -> str:
    return ", ".join(storage.shown(place) for place in places[:3]) + (", …" if len(places) > 3 else "")


def _chosen(fs: Any, pattern: str, path: str, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """What the pattern stands for, without what is no input, which is said."""
    found: dict[str, dict[str, Any]] = {}
    for each in _alternatives(path):
        found |= _glob(fs, each)
    root = _root(path)
    ours = _Ours(root, lambda place: fs.unstrip_protocol(place) if "://" in pattern else place)
    marks = [
        place
        for place in found
        if any(is_mark(name) and name not in path.split("/") for name in place.removeprefix(root).split("/"))
    ]
    made = [place for place in found if place not in set(marks) and ours.holds(place)]
    if marks:
        say(f"{pattern}: passed over {_files(marks)} that other programs leave in folders: {_some(marks)}")
    if made:
        say(
            f"{pattern}: passed over {_files(made)} of releases made by this program, or of work on them: "
            f"{_some(made)}. To read a release, name its folder: '…/data/*.parquet'"
        )
    for place in (*marks, *made):
        del found[place]
    return found


def _files(places: Sequence[str]) -> str:
    return f"{len(places):,} file{'' if len(places) == 1 else 's'}"


def _expand(pattern: str, say: Callable[[str], None]) -> list[Found]:
    """The files that a pattern stands for."""
    if "::" in pattern and "://" in pattern:
        raise InputError(
            f"{storage.shown(pattern)}: addresses within addresses ('::') are not read; unpack the archive, and name "
            "the files in it"
        )
    fs, path = storage.resolve(pattern)
    http = "http" in str(fs.protocol)
    if not http and (_wild(path) or "{" in path or not path.isascii()) and not fs.exists(path):
        found = _chosen(fs, pattern, path, say)
        if not found and not _wild(path) and "{" not in path:
            _info(fs, path)  # says that there is no such file
        if not found:
            raise InputError(f"{pattern}: no file matches; check the path, and quote the pattern for the shell")
        root = _root(path)
    else:
        found = {path: _info(fs, path)}
        if found[path]["type"] == "directory":
            raise InputError(f"{pattern}: this is a folder; name its files, as in '{pattern.rstrip('/')}/*.jsonl.zst'")
        root = (urlsplit(path).path if http else path).rpartition("/")[0]
    for place, info in found.items():
        if info["type"] != "file":
            raise InputError(f"{place}: this is a pipe, a socket or a device; write what comes out of it to a file")
        try:
            place.encode()
        except UnicodeEncodeError:
            name = os.fsencode(place).decode(errors="backslashreplace")
            raise InputError(f"{name}: the name is not valid UTF-8; rename the file") from None
    bare = {place: urlsplit(place).path if http else place for place in found}  # a query may hold a token
    above = root.count("/") + 1 if root else 0  # by parts, since a folder may be written in another form in its name
    return [
        Found(
            fs.unstrip_protocol(place) if "://" in pattern else place,
            _nfc("/".join(bare[place].split("/")[above:]).lstrip("/")),
            info,
            root,
        )
        for place, info in found.items()
    ]


def discover(inputs: Sequence[Input], say: Callable[[str], None] = lambda note: None) -> list[Found]:
    """All input files, sorted by name, which is unique.

    A file that is named twice, through symbolic links or by two patterns, is read once, under its first name. Files of
    the same name in different folders are told apart by the name of their input, or else by as much of their folder as
    it takes. Names are in NFC. What a pattern passes over that is no input is said. Raises InputError for a pattern
    without a match and for what is not a file.
    """
    by_place: dict[str, Found] = {}
    folders: dict[str, str] = {}
    for number, each in enumerate(inputs):
        for pattern in each.files:
            for found in _expand(pattern, say):
                place = _real(found.uri, folders) if "://" not in found.uri else found.uri
                if place not in by_place or found.name < by_place[place].name:
                    by_place[place] = found._replace(input=number)
    apart = _told_apart(_by_form(list(by_place.values())), inputs)
    named = sorted(apart, key=lambda found: found.name)
    for first, second in itertools.pairwise(named):
        if first.name == second.name:
            raise InputError(
                f"{storage.shown(first.uri)} and {storage.shown(second.uri)} would both be called {first.name!r}: give "
                "their inputs names (a list `inputs:` in the settings file, each with a name)"
            )
    return named


def _real(path: str, folders: dict[str, str]) -> str:
    """`os.path.realpath`, with the folders that are known already: many files are in each."""
    if os.path.islink(path):
        return os.path.realpath(path)
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return os.path.join(folders[folder], name)


def _by_form(found: list[Found]) -> list[Found]:
    """The files; two in a folder whose names differ in their normal form alone have them as they are written."""
    count = Counter((each.input, each.root, each.name) for each in found)
    named: list[Found] = []
    for each in found:
        written = "/".join(each.uri.split("/")[-each.name.count("/") - 1 :])
        twin = count[each.input, each.root, each.name] > 1 and _nfc(written) == each.name
        named.append(each._replace(name=written) if twin else each)
    return named


def _told_apart(found: list[Found], inputs: Sequence[Input]) -> Iterator[Found]:
    """The files, those of folders that share a name with others below a name of their folder."""
    count = Counter(each.name for each in found)
    places = {(each.input, each.root) for each in found if count[each.name] > 1}
    labels = _labels([(inputs[number].name, root) for number, root in sorted(places)])
    of = dict(zip(sorted(places), labels, strict=True))
    for each in found:
        label = of.get((each.input, each.root))
        yield each if label is None else each._replace(name=f"{label}/{each.name}")


def _labels(places: list[tuple[str, str]]) -> list[str]:
    """For each (name of an input, folder) the name, if it has one that no other has, else as few of the last parts of
    the folder as tell it from the others."""
    names = Counter(name for name, _ in places)
    parts = [[part for part in re.split(r"[/:]+", root) if part] or ["input"] for _, root in places]
    longest = max(map(len, parts), default=0)
    for length in range(1, longest + 1):
        tails = ["/".join(some[-length:]) for some in parts]
        labels = [
            name if name and names[name] == 1 else f"{name}/{tail}" if name else tail
            for (name, _), tail in zip(places, tails, strict=True)
        ]
        if len(set(labels)) == len(labels):
            return labels
    return labels if places else []
