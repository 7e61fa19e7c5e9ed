"""The configuration: one frozen dataclass per section, validated once.

Settings under `execution` say how a job runs and never change a byte of the release; all others do, and go into the
configuration digest. What a format, an extractor or a step brings is a section of its own, registered here by name.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import re
import typing
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from malmungchi.schemas.banding import MOST_BANDS, MOST_ROWS, choose
from malmungchi.schemas.settings import ConfigError, Section, changed, checked, did_you_mean, require, setting, typed


@dataclasses.dataclass(frozen=True)
class Read(Section, name="read"):
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
    media_type: str = setting("", "media type of the text column, such as text/html; empty: plain text")
    max_line_bytes: int = setting(
        64 << 20, "a longer line is rejected, and never held in memory", ge=1 << 10, le=1 << 30
    )
    max_text_bytes: int = setting(32 << 20, "a longer text is rejected", ge=1, le=1 << 30)
    sample: str = setting("", "share of the rows that is read, by hash of their ids, such as 1% or 0.01; empty: all")
    limit: int = setting(
        0,
        "number of rows that are read, of all inputs: those whose file and row have the smallest hashes; 0: all",
        ge=0,
        le=1_000_000,
    )
    strict: bool = setting(False, "a truncated or corrupt file fails the job")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.share <= 1, "read.sample", self.sample, "a share above 0, at most 100%, such as 1% or 0.01")

    @property
    def share(self) -> float:
        """The share of the rows that is read; 0 for a sample that says none."""
        text = self.sample.strip()
        number = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(%?)", text, re.ASCII)
        if not number:
            return float(not text)
        return float(number[1]) / (100 if number[2] else 1)


@dataclasses.dataclass(frozen=True)
class Normalize(Section, name="normalize"):
    """NFC is always done; the rest can be switched off one by one."""

    fillers: bool = setting(True, "remove invisible Hangul fillers")
    zero_width: bool = setting(True, "remove zero-width characters and soft hyphens outside joined emoji")
    control: bool = setting(True, "remove control characters other than tab and line feed")
    halfwidth_jamo: bool = setting(True, "turn half-width jamo into compatibility jamo, and ㆍ used as a dot into ·")
    whitespace: bool = setting(True, "make line ends uniform; remove blanks at line ends and at both ends of the text")


@dataclasses.dataclass(frozen=True)
class Language(Section, name="language"):
    """Korean or not: by script first, by langdetect only where script does not decide."""

    korean_share: float = setting(0.30, "share of Hangul among letters from which a document is Korean", gt=0, le=1)
    prose_share: float = setting(
        0.40, "share in the prose, without code, from which it counts as Korean mixed with something else"
    )
    mixed_share: float = setting(
        0.10, "share in the text without markup and fenced code below which a document is not Korean"
    )
    keep_mixed: bool = setting(True, "keep what is tagged ko-mixed")
    drop: bool = setting(True, "drop what is not Korean; off: only tag it")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.mixed_share <= self.prose_share <= 1, "language.mixed_share", self.mixed_share,
                 "0 < mixed_share <= prose_share <= 1")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Fingerprint(Section, name="fingerprint"):
    """Shingles and their MinHash signature."""

    ngram: int = setting(5, "characters in a shingle: letters and digits, in short documents signs too", ge=1, le=64)
    seed: int = setting(1, "seed of the MinHash permutations (as datasketch.MinHash)", ge=0, le=(1 << 32) - 1)
    permutations: int = setting(
        110, "hash values of a signature, at most, where bands and rows are not both set", ge=1, le=4096
    )
    bands: int = setting(
        0,
        "bands of the signature: higher values find more pairs at higher cost; 0: chosen for deduplicate.threshold, so "
        "that 99.95 % of the pairs at the threshold are found",
        ge=0,
        le=MOST_BANDS,
    )
    rows: int = setting(
        0,
        "hash values in a band: higher values propose fewer false pairs; 0: chosen for deduplicate.threshold",
        ge=0,
        le=MOST_ROWS,
    )
    min_chars: int = setting(5, "documents with fewer letters and digits are compared for exact equality only")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.min_chars >= self.ngram, "fingerprint.min_chars", self.min_chars,
                 f"at least fingerprint.ngram ({self.ngram}): a shorter text has no shingle")  # fmt: skip

    @property
    def num_perm(self) -> int:
        """Length of a signature; bands and rows are known once the settings are part of a Config."""
        return self.bands * self.rows


ORDER_KEYS = ("priority", "licensed", "longest", "shortest", "newest", "oldest", "id")


@dataclasses.dataclass(frozen=True)
class Deduplicate(Section, name="deduplicate"):
    """Which documents are duplicates, and which of them stays."""

    exact: bool = setting(True, "drop documents with the same text as another, character for character")
    near: bool = setting(True, "drop documents whose shingles are nearly the same as a kept document's")
    threshold: float = setting(
        0.8, "true Jaccard similarity of shingle sets from which two documents are near-duplicates", gt=0, le=1
    )
    prefer: list[str] = setting(  # noqa: RUF009
        ["priority", "licensed", "longest", "oldest", "id"],
        "which of two duplicates stays: the first of these that tells them apart "
        "(priority, longest, shortest, newest, oldest, id; licensed: one with a licence before one without)",
    )
    priority: list[str] = setting([], "names of sources, the most preferred first; others come after them")  # noqa: RUF009
    bucket: int = setting(
        2048,
        "documents of a bucket compared pair by pair; in larger ones each meets its neighbours only",
        ge=2,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in self.prefer:
            if key not in ORDER_KEYS:
                hint = did_you_mean(key, ORDER_KEYS)
                raise ConfigError(
                    f"deduplicate.prefer: {key!r} is not one of {', '.join(ORDER_KEYS)}{hint}",
                    "deduplicate.prefer",
                )
        # Sources are compared in NFC; a settings file may be written in another form.
        object.__setattr__(self, "priority", [unicodedata.normalize("NFC", name) for name in self.priority])
        if self.priority and "priority" not in self.prefer:
            raise ConfigError(
                f"deduplicate.priority = {self.priority!r}: no effect unless deduplicate.prefer includes 'priority'",
                "deduplicate.priority",
            )
        if self.near and not self.exact:
            raise ConfigError(
                "deduplicate.exact = False: near-duplicates include exact ones; set deduplicate.near to false too",
                "deduplicate.exact",
            )


@dataclasses.dataclass(frozen=True)
class Shards(Section, name="shards"):
    """The Parquet files of the release."""

    target_bytes: int = setting(
        512 << 20, "bytes of text in a shard, about; fewer where that gives enough shards", ge=1 << 16
    )
    min_shards: int = setting(8, "least number of shards, as long as each holds 8 MiB of text", ge=1, le=100_000)
    row_group_bytes: int = setting(16 << 20, "bytes of text in a row group, about", ge=1 << 12)
    compression_level: int = setting(3, "zstd level", ge=-7, le=22)


@dataclasses.dataclass(frozen=True)
class Release(Section, name="release"):
    """What the release says of itself, in manifest and card."""

    name: str = setting("", "name of the release; empty: Korean text release")
    version: str = setting("", "version of the release, such as 2026.11 or 1.2")
    contact: str = setting("", "whom to write to about the release, such as a takedown: an address of mail or web")
    date: str = setting(
        "", "date of the release, as 2026-11-26; never today's by itself, as bytes must not depend on it"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            require(value.isprintable() and len(value) <= 200, f"{self.section}.{field.name}", value,
                    "one line of at most 200 characters")  # fmt: skip
        require(not self.date or _is_date(self.date), "release.date", self.date, "a date, as 2026-11-26")


def _is_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclasses.dataclass(frozen=True)
class Execution(Section, name="execution"):
    """How the job runs. Nothing here changes a byte of the release."""

    workers: int = setting(
        0, "worker processes; 0: one per core, and for a small input none besides the main process", ge=0
    )
    chunk_bytes: int = setting(
        0,
        "bytes of input in a chunk, about; 0: 16MiB, and 64MiB from 4TiB of input on, where a worker needs 2 GB anyway",
    )
    staging: str = setting("", "where intermediate files go; empty: a folder inside the output")
    keep_staging: bool = setting(False, "keep the intermediate files when done")
    shared_paths: bool = setting(False, "on a cluster: all workers mount local paths at the same place as this machine")
    stall_seconds: int = setting(300, "seconds without progress of local workers before the job fails; 0: never", ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.chunk_bytes == 0 or 1 << 12 <= self.chunk_bytes <= 64 << 20,
            "execution.chunk_bytes",
            self.chunk_bytes,
            "0, or 4 KiB to 64 MiB",
        )


@dataclasses.dataclass(frozen=True)
class Input:
    """Files that are read in one way. What it leaves out is taken from the rest of the configuration."""

    files: list[str] = setting([], "addresses or patterns of its files")  # noqa: RUF009
    name: str = setting("", "tells its files from files of the same names in other inputs; empty: its folder")
    format: str = setting("", "format of its files; empty: by their names (`malmungchi formats` lists them)")
    source: str = setting("", "name of the source of documents that name none; empty: the file's name")
    license: str = setting("", "licence of documents that name none")
    # By section and setting, what is otherwise for these files: `read`, and the sections of formats and extractors.
    settings: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """The part that can change a byte of the release: everything but where its files are."""
        own = {"format": self.format, "source": self.source, "license": self.license}
        return {**{key: value for key, value in own.items() if value}, **self.settings}


# Sections that formats, extractors and steps have brought, by name.
_BROUGHT: dict[str, type[Section]] = {}


def register(section: type[Section]) -> None:
    """Registers a section, so that files and flags may set it. Raises ConfigError if its name is taken."""
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
    release: Release = dataclasses.field(default_factory=Release)
    execution: Execution = dataclasses.field(default_factory=Execution)
    # Sections that were brought, by name, as far as they are set.
    brought: dict[str, Any] = dataclasses.field(default_factory=dict)
    inputs: list[Input] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        own = self.fingerprint
        bands, rows = choose(self.deduplicate.threshold, own.permutations, own.bands, own.rows)
        object.__setattr__(self, "fingerprint", dataclasses.replace(own, bands=bands, rows=rows))

    def section(self, kind: type[Any]) -> Any:
        """The settings of a section, ours or one that was registered."""
        return getattr(self, kind.section) if kind.section in _fixed() else self.brought.get(kind.section, kind())

    def with_inputs(self, patterns: Sequence[str]) -> Config:
        """The same with inputs for addresses and patterns, behind those that it has."""
        return dataclasses.replace(self, inputs=[*self.inputs, *(Input([pattern]) for pattern in patterns)])

    def of(self, number: int) -> Config:
        """The configuration for the files of an input: the same, with what the input says otherwise.

        Of sections that were brought, those that have been loaded: nobody here asks for others.
        """
        if not 0 <= number < len(self.inputs) or not self.inputs[number].settings:
            return self
        own, brought, known = {}, dict(self.brought), known_sections()
        for name, values in self.inputs[number].settings.items():
            if not (kind := known.get(name)):
                continue
            new = dataclasses.replace(self.section(kind), **values)
            if name in _fixed():
                own[name] = new
            else:
                brought[name] = new
        return dataclasses.replace(self, **own, brought=brought)

    def content(self) -> dict[str, Any]:
        """Every setting that can change a byte of the release, by section.

        Sections that were brought, and inputs, are there as far as they are set: a format that is not used is no part
        of what made a release.
        """
        found: dict[str, Any] = {
            name: dataclasses.asdict(getattr(self, name)) for name in _fixed() if name != "execution"
        }
        if not self.read.media_type:
            del found["read"]["media_type"]
        if not self.read.sample:
            del found["read"]["sample"]
        if not self.read.limit:
            del found["read"]["limit"]
        found |= {name: own for name, section in sorted(self.brought.items()) if (own := changed(section))}
        if inputs := [own for each in self.inputs if (own := each.content())]:
            found["inputs"] = inputs
        return found

    def digest(self) -> str:
        """Hex sha256 over `content`."""
        return hashlib.sha256(orjson.dumps(self.content(), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _fixed() -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(Config) if field.name not in ("brought", "inputs"))


def is_fixed(section: type[Section]) -> bool:
    """Whether a section is one that each configuration has."""
    return section.section in _fixed()


def sections() -> Iterator[tuple[str, type[Any]]]:
    """(name, dataclass) of all sections, in the order of the document's way; those that were brought come behind
    `read`."""
    hints = typing.get_type_hints(Config)
    for name in _fixed():
        yield name, hints[name]
        if name == "read":
            yield from sorted(_BROUGHT.items())


def known_sections() -> dict[str, type[Any]]:
    """All sections by name."""
    return dict(sections())


def _input(data: Any, name: str) -> Input:
    """An input of a list. Raises ConfigError."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{name}: an input is a mapping: files, format, source, license, read …", name)
    own = {field.name for field in dataclasses.fields(Input)} - {"settings"}
    nested = {key: kind for key, kind in sections() if key == "read" or key in _BROUGHT}
    plain: dict[str, Any] = {}
    more: dict[str, dict[str, Any]] = dict(data.get("settings", {}))  # as a plan is kept
    for key, value in data.items():
        if key in nested:
            more[key] = checked(nested[key], value, f"{name}.{key}")
            if key == "read" and "limit" in more[key]:
                raise ConfigError(f"{name}.read.limit: it is one for all inputs; set read.limit", f"{name}.read.limit")
            try:
                nested[key](**more[key])
            except ConfigError as error:
                raise ConfigError(f"{name}.{error}", f"{name}.{error.setting}") from None
        elif key == "files":
            plain[key] = [value] if isinstance(value, str) else typed(f"{name}.files", value, list[str])
        elif key in own:
            plain[key] = typed(f"{name}.{key}", value, str)
        elif key != "settings":
            hint = did_you_mean(str(key), {*own, *nested})
            known = ", ".join([*sorted(own), *nested])
            raise ConfigError(f"unknown setting {name}.{key}{hint} (known: {known})", f"{name}.{key}")
    if not plain.get("files"):
        raise ConfigError(f"{name}: give its files: an address, a pattern, or a list of these", name)
    return Input(**plain, settings=more)


def from_mapping(data: Mapping[str, Any]) -> Config:
    """The configuration in a nested mapping (as read from YAML); what it leaves out has its default.

    Raises ConfigError for an unknown section or key (with the nearest known one), a wrong type or a value out
    of range.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"expected a mapping of sections, not {type(data).__name__}")
    known = known_sections()
    parts: dict[str, Any] = {}
    brought: dict[str, Any] = {}
    for name, values in data.items():
        if name == "inputs":
            if not isinstance(values, list):
                raise ConfigError("inputs: expected a list of inputs", "inputs")
            parts[name] = [_input(item, f"inputs.{number}") for number, item in enumerate(values, 1)]
            continue
        if name not in known:
            hint = {
                "input": "; give it as a flag, --input, or as a list, inputs",
                "output": "; it is given as a flag, --output",
            }.get(str(name)) or did_you_mean(str(name), known)
            raise ConfigError(f"unknown section {name!r}{hint} (known: {', '.join([*known, 'inputs'])})", str(name))
        if values is None:
            continue
        section = known[name](**checked(known[name], values, str(name)))
        if name not in _BROUGHT:
            parts[name] = section
        elif changed(section):
            brought[name] = section
    return Config(**parts, brought=brought)
