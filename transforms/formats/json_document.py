"""JSON that is no lines: what a whole document is, by its first bytes, and how lines are made of it."""

from __future__ import annotations

import dataclasses
import posixpath
import re
import shlex

from malmungchi.schemas.work import InputFile
from malmungchi.transforms.formats.columns import may_have_a_role
from malmungchi.transforms.io.storage import shown

_TOKEN = re.compile(rb'"(?:\\.|[^"\\])*"?|[\[\]{}:,]|[^\s\[\]{}:,"]+', re.DOTALL)

# What makes lines of each kind of document: Python code after `d = the document`. It has no double quotes, which are
# around it, nor what a shell replaces.
_LINES = {
    "records": "print(*map(json.dumps,d),sep='\\n')",
    "values": "print(*(json.dumps(dict(enumerate(r))) for r in d),sep='\\n')",
    "columns": "print(*(json.dumps(dict(zip(d,r))) for r in zip(*map(dict.values,d.values()))),sep='\\n')",
    "index": "print(*map(json.dumps,d.values()),sep='\\n')",
    "split": "print(*(json.dumps(dict(zip(d.get('columns'),r))) for r in d.get('data')),sep='\\n')",
    "series": "print(*(json.dumps(dict(zip(d,r))) for r in zip(*d.values())),sep='\\n')",
}
_WHAT = {
    "records": "one array",
    "values": "one array of rows without names",
    "columns": "a whole table, column by column (pandas' default orient)",
    "index": "a whole table in one object, row by row (pandas' orient 'index')",
    "split": "a whole table, names and rows apart (pandas' orient 'split')",
    "series": "a whole table, an array for each column",
    "objects": "objects that go over several lines, or stand on one line",
}
_OBJECTS = (
    "s=sys.stdin.buffer.read().decode('utf-8-sig').rstrip();d=json.JSONDecoder();w=re.compile(r'\\s*');i=0;"
    "any(print(json.dumps((p:=d.raw_decode(s,w.match(s,i).end()))[0])) or (i:=p[1])>=len(s) for _ in s)"
)
_DECOMPRESS = {"gzip": "gzip -dc", "zstd": "zstd -dc", "bz2": "bzip2 -dc", "xz": "xz -dc"}


@dataclasses.dataclass
class _Member:
    """A member of the outermost object, or an element of the outermost array: its first byte, the first byte of what
    is in it, and the names in it."""

    name: str
    kind: bytes
    inner: bytes = b""
    names: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class _Outline:
    """The first value of some bytes, which may be cut short: its first byte, its members, the commas between them,
    whether it ends, and the first byte of what stands behind it."""

    kind: bytes
    members: list[_Member]
    commas: int = 0
    ended: bool = False
    behind: bytes = b""


def _outline(opening: bytes) -> _Outline:
    tokens = [match[0] for match in _TOKEN.finditer(opening)]
    found = _Outline(tokens[0][:1] if tokens else b"", [])
    depth, name = 0, ""
    for at, token in enumerate(tokens):
        following = tokens[at + 1] if at + 1 < len(tokens) else b""
        if found.ended:
            found.behind = token[:1]
            break
        if token in (b",", b":"):
            found.commas += token == b"," and depth == 1
            continue
        if following == b":":
            name = token.strip(b'"').decode(errors="replace")
            if depth == 2 and found.members:
                found.members[-1].names.append(name)
            continue
        if token in (b"]", b"}"):
            depth -= 1
            found.ended = depth == 0
            continue
        if depth == 1:
            found.members.append(_Member(name, token[:1]))
        elif depth == 2 and found.members and not found.members[-1].inner:
            found.members[-1].inner = token[:1]
        depth += token in (b"[", b"{")
        found.ended = depth == 0
    return found


def kind_of(opening: bytes, rows: int) -> tuple[str, str]:
    """(kind of document, name of the member that has its rows) of a file, by its first bytes and how many of its first
    lines are objects; "" for what may well be lines, good or bad."""
    text = opening.removeprefix(b"\xef\xbb\xbf").strip()
    first, _, rest = (part.strip() for part in text.partition(b"\n"))
    outline = _outline(text)
    whole = outline.ended and not outline.behind
    if outline.kind == b"[":
        listed = first == b"[" and (whole or 0 < len(outline.members) - 1 <= outline.commas)
        kind = "values" if outline.members and outline.members[0].kind == b"[" else "records"
        return (kind if not rows or listed else ""), ""
    if outline.kind != b"{":
        return "", ""
    pretty = rest.startswith(b'"') and (first == b"{" or (rows < 2 and not _outline(first).ended))
    if not outline.behind and (pretty or whole or not rest) and (found := _table(outline.members)):
        return found
    return ("objects" if pretty or (not rows and outline.behind == b"{") else ""), ""


def _table(found: list[_Member]) -> tuple[str, str] | None:  # noqa: PLR0911 (one for each kind)
    """(kind, member with the rows) if an object with such members is a table; None if it may be a row."""
    members = {member.name: member for member in found}
    if not members:
        return None
    of_kind = {kind: [name for name, each in members.items() if each.kind == kind] for kind in (b"{", b"[")}
    if {"columns", "data"} <= members.keys() or members.keys() == {"columns", "index"}:
        return "split", ""
    if any(may_have_a_role(name) and members[name].kind == b'"' for name in members):
        return None
    if len(members) > 1 and len(of_kind[b"["]) == len(members) and any(map(may_have_a_role, members)):
        return "series", ""
    if lists := [name for name in of_kind[b"["] if members[name].inner == b"{"]:
        return "records", lists[0]
    if "schema" in members and members["schema"].kind == b"{" and "fields" in members["schema"].names:
        return "records", "data"
    if len(of_kind[b"{"]) == len(members):
        names, inner = list(members), next(iter(members.values())).names
        if not inner:
            return None
        rows = not any(map(may_have_a_role, names)) and (
            any(map(may_have_a_role, inner)) or not all(name.isdigit() for name in inner)
        )
        return ("index" if rows else "columns"), ""
    return None


def advice(file: InputFile, kind: str, member: str) -> str:
    """What a document is, and the command that makes lines of it. It needs nothing but Python."""
    path = file.name if "://" in file.uri else file.uri
    code = _OBJECTS
    if kind != "objects":
        get = f".get({member!r})" if member else ""
        code = f"d=json.load(sys.stdin.buffer){get};{_LINES[kind]}"
    stem = posixpath.basename(path).split(".")[0] or "input"
    lines = posixpath.join(posixpath.dirname(path), f"{stem}-lines.jsonl")
    run = f'python3 -c "import json,re,sys;{code}"'
    pack = _DECOMPRESS.get(file.codec)
    source = shlex.quote(path)
    command = f"{pack} < {source} | {run}" if pack else f"{run} < {source}"
    what = f"its rows are the array {member!r} of one object" if member else _WHAT[kind]
    return (
        f"{shown(file.name)}: a JSON document, not JSON lines: {what}. `{command} > {shlex.quote(lines)}` makes lines "
        f"of it; then say --input {shlex.quote(lines)}"
    )
