"""The configuration: one frozen dataclass per step, validated once.

Each field's metadata holds its help text, which is the one source for `--help`, for the commented file that
`malmungchi config` prints, and for the YAML keys. Settings under `execution` say how a job runs and never
change a byte of the release; all others do, and go into the configuration digest.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import re
import types
import typing
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import orjson
from malmungchi.schemas.errors import MalmungchiError


class ConfigError(MalmungchiError):
    """A setting that cannot be used; the message says which, why, and what to write instead.

    `setting` is its name, `section` or `section.key`, so that whoever read it can say where it was written.
    """

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


def setting(default: Any, text: str, choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field with its help text and, for strings, the values allowed.

    A setting whose name ends in `_bytes` is a size: it may be written as `parse_bytes` reads it.
    """
    metadata = {"help": text, "choices": choices}
    if isinstance(default, dict | list):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _require(condition: bool, name: str, value: object, rule: str) -> None:
    if not condition:
        raise ConfigError(f"{name} = {value!r}: {rule}", name)


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_bytes(text: str) -> int:
    """Bytes in a size written as 1048576, 64MiB, 1GiB, 512k (powers of 1024) or 64MB (powers of 1000).

    That is how GNU tools read sizes.

    Raises ValueError for anything else, and for a size that is no whole number of bytes.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(ib|b)?|b)?\s*", text, re.IGNORECASE | re.ASCII)
    if not match:
        raise ValueError(f"{text!r} is no size; write bytes, or 512k, 64MiB, 1GiB")
    number, unit, kind = match[1], (match[2] or "").lower(), (match[3] or "").lower()
    size = Fraction(number) * (1000 ** " kmgt".index(unit) if kind == "b" else _UNITS[unit])
    if size.denominator != 1:
        raise ValueError(f"{text!r} is no whole number of bytes")
    return int(size)


def format_bytes(size: int) -> str:
    """The shortest exact way to write a size: 16MiB, 1GiB, 1000."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)


@dataclasses.dataclass(frozen=True)
class Read:
    """Which columns of the input mean what, and what is too large to be a document."""

    text: str = setting(
        "", "column that holds the text; empty: detected from common names (text, content, body, 본문, …)"
    )
    id: str = setting(
        "", "column that holds the document's id; empty: detected from common names; where missing, file name and row"
    )
    url: str = setting("", "column that holds the address; empty: detected from common names")
    source: str = setting(
        "", "column that holds the source's name; empty: detected from common names; where missing, the file's name"
    )
    license: str = setting("", "column that holds the licence; empty: detected from common names")
    published_at: str = setting("", "column that holds the date of publication; empty: detected from common names")
    collected_at: str = setting("", "column that holds the date of collection; empty: detected from common names")
    max_line_bytes: int = setting(64 << 20, "a longer line is rejected, and never held in memory")
    max_text_bytes: int = setting(32 << 20, "a longer text is rejected")
    strict: bool = setting(False, "a file with a break in it (truncated, corrupt) fails the job")

    def __post_init__(self) -> None:
        _require(
            1 << 10 <= self.max_line_bytes <= 1 << 30,
            "read.max_line_bytes",
            self.max_line_bytes,
            "1 KiB to 1 GiB",
        )
        _require(1 <= self.max_text_bytes <= 1 << 30, "read.max_text_bytes", self.max_text_bytes, "1 to 1 GiB")


@dataclasses.dataclass(frozen=True)
class Normalize:
    """NFC is always done; the rest can be switched off one by one."""

    fillers: bool = setting(True, "remove Hangul fillers that pad without being seen")
    zero_width: bool = setting(True, "remove zero-width characters and soft hyphens outside joined emoji")
    control: bool = setting(True, "remove control characters other than tab and line feed")
    halfwidth_jamo: bool = setting(True, "half-width jamo to compatibility jamo; ㆍ used as a dot to ·")
    whitespace: bool = setting(True, "one kind of line end, no blanks at line ends, no blank edges")


@dataclasses.dataclass(frozen=True)
class Language:
    """Korean or not: by script first, by langdetect only where script does not decide."""

    korean_share: float = setting(0.30, "share of Hangul among letters from which a document is Korean")
    prose_share: float = setting(
        0.40, "share in the prose, without code, from which it is Korean mixed with something else"
    )
    mixed_share: float = setting(
        0.10, "least share in the text without markup and fenced code; below it a document is not Korean"
    )
    keep_mixed: bool = setting(True, "keep what is tagged ko-mixed")
    drop: bool = setting(True, "drop what is not Korean; off: only tag it")

    def __post_init__(self) -> None:
        _require(0 < self.korean_share <= 1, "language.korean_share", self.korean_share, "above 0, at most 1")
        _require(0 < self.mixed_share <= self.prose_share <= 1, "language.mixed_share", self.mixed_share,
                 "0 < mixed_share <= prose_share <= 1")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """Shingles and their MinHash signature."""

    ngram: int = setting(5, "characters in a shingle, counted in letters and digits only")
    seed: int = setting(1, "seed of the MinHash permutations (as datasketch.MinHash)")
    bands: int = setting(22, "bands of the signature: higher values find more pairs at higher cost")
    rows: int = setting(5, "hash values in a band: higher values propose fewer false pairs")
    min_chars: int = setting(5, "documents with fewer letters and digits are compared for exact equality only")

    def __post_init__(self) -> None:
        _require(1 <= self.ngram <= 64, "fingerprint.ngram", self.ngram, "1 to 64")
        _require(0 <= self.seed < 1 << 32, "fingerprint.seed", self.seed, "0 to 4294967295")
        _require(1 <= self.bands <= 256, "fingerprint.bands", self.bands, "1 to 256")
        _require(1 <= self.rows <= 64, "fingerprint.rows", self.rows, "1 to 64")
        _require(self.min_chars >= self.ngram, "fingerprint.min_chars", self.min_chars,
                 f"at least fingerprint.ngram ({self.ngram}): a shorter text has no shingle")  # fmt: skip

    @property
    def num_perm(self) -> int:
        """Length of a signature."""
        return self.bands * self.rows


ORDER_KEYS = ("priority", "licensed", "longest", "shortest", "newest", "oldest", "id")


@dataclasses.dataclass(frozen=True)
class Deduplicate:
    """Which documents are duplicates, and which of them stays."""

    exact: bool = setting(True, "drop documents whose letters and digits equal another's")
    near: bool = setting(True, "drop documents whose shingles are nearly those of a kept one")
    threshold: float = setting(0.8, "true Jaccard similarity of shingle sets from which two are near-duplicates")
    prefer: list[str] = setting(  # noqa: RUF009
        ["priority", "licensed", "longest", "oldest", "id"],
        "which of two duplicates stays: the first of these that tells them apart "
        "(priority, longest, shortest, newest, oldest, id; licensed: one with a licence before one without)",
    )
    priority: list[str] = setting([], "names of sources, the most preferred first; others come after them")  # noqa: RUF009
    bucket: int = setting(
        2048,
        "documents of a bucket compared pair by pair; in larger ones each meets its neighbours only",
    )

    def __post_init__(self) -> None:
        _require(0 < self.threshold <= 1, "deduplicate.threshold", self.threshold, "above 0, at most 1")
        for key in self.prefer:
            if key not in ORDER_KEYS:
                hint = did_you_mean(key, ORDER_KEYS)
                raise ConfigError(
                    f"deduplicate.prefer: {key!r} is none of {', '.join(ORDER_KEYS)}{hint}",
                    "deduplicate.prefer",
                )
        if self.priority and "priority" not in self.prefer:
            raise ConfigError(
                f"deduplicate.priority = {self.priority!r}: it counts only if deduplicate.prefer has 'priority' in it",
                "deduplicate.priority",
            )
        if self.near and not self.exact:
            raise ConfigError(
                "deduplicate.exact = False: near-duplicates include exact ones; set deduplicate.near off too",
                "deduplicate.exact",
            )
        _require(self.bucket >= 2, "deduplicate.bucket", self.bucket, "at least 2")


@dataclasses.dataclass(frozen=True)
class Shards:
    """The Parquet files of the release."""

    target_bytes: int = setting(512 << 20, "bytes of text in a shard, about; fewer where that gives enough shards")
    min_shards: int = setting(8, "shards to have at least, as long as each holds 8 MiB of text")
    row_group_bytes: int = setting(16 << 20, "bytes of text in a row group, about")
    compression_level: int = setting(3, "zstd level")

    def __post_init__(self) -> None:
        _require(self.target_bytes >= 1 << 16, "shards.target_bytes", self.target_bytes, "at least 64 KiB")
        _require(1 <= self.min_shards <= 100_000, "shards.min_shards", self.min_shards, "1 to 100000")
        _require(self.row_group_bytes >= 1 << 12, "shards.row_group_bytes", self.row_group_bytes, "at least 4 KiB")
        _require(-7 <= self.compression_level <= 22, "shards.compression_level", self.compression_level, "-7 to 22")


@dataclasses.dataclass(frozen=True)
class Execution:
    """How the job runs. Nothing here changes a byte of the release."""

    workers: int = setting(0, "worker processes; 0: one per core, and for a small input none besides the main process")
    chunk_bytes: int = setting(
        0,
        "bytes of input in a chunk, about; 0: 16MiB, and 64MiB from 4TiB of input on, where a worker needs 2 GB anyway",
    )
    staging: str = setting("", "where intermediate files go; empty: a folder inside the output")
    keep_staging: bool = setting(False, "leave the intermediate files when done")
    shared_paths: bool = setting(False, "on a cluster: all workers mount local paths at the same place as this machine")
    stall_seconds: int = setting(300, "seconds without progress of local workers before the job fails; 0: never")

    def __post_init__(self) -> None:
        _require(self.workers >= 0, "execution.workers", self.workers, "0 or more")
        _require(self.stall_seconds >= 0, "execution.stall_seconds", self.stall_seconds, "0 or more")
        _require(
            self.chunk_bytes == 0 or 1 << 12 <= self.chunk_bytes <= 64 << 20,
            "execution.chunk_bytes",
            self.chunk_bytes,
            "0, or 4 KiB to 64 MiB",
        )


# Sections that formats, extractors and steps have brought, by name.
_BROUGHT: dict[str, type[Any]] = {}


def register(section: type[Any]) -> None:
    """Makes a section known, so that files may set it; `section.section` is its name. Raises ConfigError if that is
    taken."""
    name = section.section
    if not name or name in _fixed() or _BROUGHT.get(name, section) is not section:
        raise ConfigError(f"{section.__module__}.{section.__qualname__}: the section name {name!r} is taken or missing")
    _BROUGHT[name] = section


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole job."""

    read: Read = dataclasses.field(default_factory=Read)
    normalize: Normalize = dataclasses.field(default_factory=Normalize)
    language: Language = dataclasses.field(default_factory=Language)
    fingerprint: Fingerprint = dataclasses.field(default_factory=Fingerprint)
    deduplicate: Deduplicate = dataclasses.field(default_factory=Deduplicate)
    shards: Shards = dataclasses.field(default_factory=Shards)
    execution: Execution = dataclasses.field(default_factory=Execution)
    # Sections that were brought, by name, as far as they are set.
    brought: dict[str, Any] = dataclasses.field(default_factory=dict)

    def section(self, kind: type[Any]) -> Any:
        """The settings of a section, whoever brought it."""
        fixed = (getattr(self, name) for name in _fixed())
        return next((own for own in fixed if type(own) is kind), None) or self.brought.get(kind.section, kind())

    def content(self) -> dict[str, Any]:
        """Every setting that can change a byte of the release, by section."""
        fixed = {name: getattr(self, name) for name in _fixed() if name != "execution"}
        return {name: dataclasses.asdict(section) for name, section in {**fixed, **self.brought}.items()}

    def digest(self) -> str:
        """Hex sha256 over `content`."""
        return hashlib.sha256(orjson.dumps(self.content(), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _fixed() -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(Config) if field.name != "brought")


def is_fixed(section: type[Any]) -> bool:
    """Whether a section is one that each configuration has."""
    return section in (kind for name, kind in typing.get_type_hints(Config).items() if name in _fixed())


def did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    """A suggestion to put behind an error message: the known word nearest to this one, or nothing."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""


def sections() -> Iterator[tuple[str, type[Any]]]:
    """(name, dataclass) of each step's settings, in the order of the document's way."""
    hints = typing.get_type_hints(Config)
    for name in _fixed():
        yield name, hints[name]
    yield from sorted(_BROUGHT.items())


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


def _typed(name: str, value: Any, kind: Any, choices: tuple[str, ...]) -> Any:
    """The value if it is of the setting's type, or can only mean one that is."""
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


def from_mapping(data: Mapping[str, Any]) -> Config:
    """The configuration that a nested mapping (as read from YAML) says; what it leaves out has its default.

    Raises ConfigError for an unknown section or key (with the nearest known one), a wrong type or a value out
    of range.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"a mapping of sections is expected, this is {type(data).__name__}")
    known = dict(sections())
    parts: dict[str, Any] = {}
    brought: dict[str, Any] = {}
    for name, values in data.items():
        if name not in known:
            flag = name in ("input", "output")
            hint = f"; it is given as a flag, --{name}" if flag else did_you_mean(str(name), known)
            raise ConfigError(f"unknown section {name!r}{hint} (known: {', '.join(known)})", str(name))
        if values is None:
            continue
        if not isinstance(values, Mapping):
            raise ConfigError(f"{name}: a mapping of settings is expected, this is {type(values).__name__}", name)
        fields = {field.name: (field, kind) for field, kind in settings(known[name])}
        checked = {}
        for key, value in values.items():
            if key not in fields:
                hint = did_you_mean(str(key), fields)
                raise ConfigError(f"unknown setting {name}.{key}{hint} (known: {', '.join(fields)})", f"{name}.{key}")
            field, kind = fields[key]
            checked[key] = _typed(f"{name}.{key}", value, kind, field.metadata["choices"])
        (brought if name in _BROUGHT else parts)[name] = known[name](**checked)
    return Config(**parts, brought=brought)
