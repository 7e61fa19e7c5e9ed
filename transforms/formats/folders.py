"""What a file's folders say of its rows: partitions as Hive, Spark and Arrow write them, `lang=ko/source=news/`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from urllib.parse import unquote

from malmungchi.transforms.formats.columns import role_of
from malmungchi.transforms.formats.nothing import told_value

# Roles that a folder's name may have: an id or a text never is one.
FOLDER_ROLES = ("source", "license", "published_at", "collected_at")

# What they write for null.
_NULL = "__HIVE_DEFAULT_PARTITION__"
_PARTITION = re.compile(r"([^=/]+)=([^/]*)")


def partitions(path: str) -> dict[str, str]:
    """Column → value of the folders in a path; the innermost wins. Values are unquoted (%3A), in NFC."""
    found: dict[str, str] = {}
    for folder in path.split("/")[:-1]:
        if (match := _PARTITION.fullmatch(folder)) and match[2] != _NULL:
            name, value = (unicodedata.normalize("NFC", unquote(part)) for part in match.groups())
            found[name] = value
    return found


def by_role(found: dict[str, str], names: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
    """(role → value, column → value of what has no role) of partitions, for a file that has columns `names`, which win
    over folders of the same name."""
    roles: dict[str, str] = {}
    rest: dict[str, str] = {}
    for name, value in found.items():
        role = role_of(name)
        if role in FOLDER_ROLES and role not in roles and told_value(value):
            roles[role] = value
        elif name not in names:
            rest[name] = value
    return roles, rest
