"""The machinery of settings: a section is a frozen dataclass, a setting one of its fields.

Each field's metadata holds its help text, which is the one source for `--help`, for the commented file that
`malmungchi config` prints, and for the YAML keys. Formats, extractors and steps bring sections of their own.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from malmungchi.schemas.errors import MalmungchiError


class ConfigError(MalmungchiError):
    """A setting that cannot be used; the message says which, why, and what to write instead.

    `setting` is its name, `section` or `section.key`, so that whoever read it can say where it was written.
    """

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


def setting(
    default: Any,
    text: str,
    choices: tuple[str, ...] = (),
    *,
    gt: float | None = None,
    ge: float | None = None,
    le: float | None = None,
) -> Any:
    """A dataclass field with its help text and its bounds: above `gt`, at least `ge`, at most `le`; for strings, the
    values allowed.

    A setting whose name ends in `_bytes` is a size: it may be written as `parse_bytes` reads it.
    """
    metadata = {"help": text, "choices": choices, "gt": gt, "ge": ge, "le": le}
    if isinstance(default, dict | list):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Section:
    """Settings that belong together. The bounds of each are checked when it is made.

    A subclass names itself as it is called in YAML and flags: `class Csv(Section, name="csv")`.
    """

    section: typing.ClassVar[str] = ""

    def __init_subclass__(cls, name: str = "", **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.section = name or cls.section

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            gt, ge, le = (field.metadata.get(bound) for bound in ("gt", "ge", "le"))
            require(
                (gt is None or value > gt) and (ge is None or value >= ge) and (le is None or value <= le),
                f"{self.section}.{field.name}",
                value,
                bounds(field),
            )


def require(condition: bool, name: str, value: object, rule: str) -> None:
    """Raises ConfigError with the rule that a value breaks."""
    if not condition:
        raise ConfigError(f"{name} = {value!r}: {rule}", name)


def bounds(field: dataclasses.Field[Any]) -> str:
    """A setting's bounds in words, empty if it has none."""

    def shown(value: float) -> str:
        return format_bytes(int(value)) if field.name.endswith("_bytes") else f"{value:g}"

    gt, ge, le = (field.metadata.get(bound) for bound in ("gt", "ge", "le"))
    if ge is not None and le is not None:
        return f"{shown(ge)} to {shown(le)}"
    low = f"above {shown(gt)}" if gt is not None else f"at least {shown(ge)}" if ge is not None else ""
    high = f"at most {shown(le)}" if le is not None else ""
    return ", ".join(filter(None, (low, high)))


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_bytes(text: str) -> int:
    """Bytes in a size written as 1048576, 64MiB, 1GiB, 512k (powers of 1024) or 64MB (powers of 1000).

    That is how GNU tools read sizes.

    Raises ValueError for anything else, and for a size that is not a whole number of bytes.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(ib|b)?|b)?\s*", text, re.IGNORECASE | re.ASCII)
    if not match:
        raise ValueError(f"{text!r} is not a size; write bytes, or 512k, 64MiB, 1GiB")
    number, unit, kind = match[1], (match[2] or "").lower(), (match[3] or "").lower()
    size = Fraction(number) * (1000 ** " kmgt".index(unit) if kind == "b" else _UNITS[unit])
    if size.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return int(size)


def format_bytes(size: int) -> str:
    """The shortest exact way to write a size: 16MiB, 1GiB, 1000."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion to put behind an error message: the known word nearest to this one, or nothing."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""


def settings(section: type[Any]) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """(field, type) of each setting of a section."""
    hints = typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        yield field, hints[field.name]


def default_of(field: dataclasses.Field[Any]) -> Any:
    """A setting's default value."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def changed(section: Any) -> dict[str, Any]:
    """The settings of a section that are not at their defaults."""
    return {
        field.name: value
        for field in dataclasses.fields(section)
        if (value := getattr(section, field.name)) != default_of(field)
    }


def typed(name: str, value: Any, kind: Any, choices: tuple[str, ...] = ()) -> Any:
    """The value if it is of the setting's type, or can only mean one that is. Raises ConfigError."""
    if isinstance(kind, types.GenericAlias):  # list[str]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{name} = {value!r}: a list of words is expected", name)
        return list(value)
    if kind is int and isinstance(value, str) and name.endswith("_bytes"):
        try:
            return parse_bytes(value)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}", name) from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{name} = {value!r}: {_KINDS[kind]} is expected", name)
    if choices and value not in choices:
        raise ConfigError(f"{name} = {value!r}: one of {', '.join(choices)}{did_you_mean(str(value), choices)}", name)
    return value


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}


def checked(section: type[Any], values: Any, name: str) -> dict[str, Any]:
    """The values of a mapping by setting, each of its type. Raises ConfigError for an unknown key (with the nearest
    known one) or a wrong type; `name` is how messages call the section."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name}: expected a mapping of settings, not {type(values).__name__}", name)
    fields = {field.name: (field, kind) for field, kind in settings(section)}
    found = {}
    for key, value in values.items():
        if key not in fields:
            hint = did_you_mean(str(key), fields)
            raise ConfigError(f"unknown setting {name}.{key}{hint} (known: {', '.join(fields)})", f"{name}.{key}")
        field, kind = fields[key]
        found[key] = typed(f"{name}.{key}", value, kind, field.metadata["choices"])
    return found
