"""The release: schemas of its files and the manifest that makes it one."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa

from malmungchi.schemas.descriptions import described
from malmungchi.schemas.document import DOCUMENT, REJECT
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.names import FOLDERS

SCHEMA_VERSION = "1"

# How many documents one stands for, itself included, and the name of these.
DUPLICATE_COUNT = pa.field("duplicate_count", pa.int64(), nullable=False)
CLUSTER_ID = pa.field("cluster_id", pa.string(), nullable=False)


def published_schema(added: Sequence[pa.Field]) -> pa.Schema:
    """data/: what a trainer reads, with what the steps have added."""
    schema = pa.schema(
        [
            DOCUMENT.field("id"),
            DOCUMENT.field("text"),
            DOCUMENT.field("source"),
            DOCUMENT.field("url"),
            DOCUMENT.field("license"),
            # Parquet knows no whole seconds.
            pa.field("published_at", pa.timestamp("ms", tz="UTC")),
            pa.field("collected_at", pa.timestamp("ms", tz="UTC")),
            *added,
            DUPLICATE_COUNT,
            CLUSTER_ID,
            DOCUMENT.field("file"),
            DOCUMENT.field("row"),
            DOCUMENT.field("metadata"),
        ]
    )
    return described("data", schema)


# duplicates/: the ledger of pairs, one row for each dropped document.
LEDGER = described(
    "duplicates",
    pa.schema(
        [
            pa.field("dropped_id", pa.string(), nullable=False),
            pa.field("kept_id", pa.string(), nullable=False),
            pa.field("rule", pa.string(), nullable=False),
            pa.field("score", pa.float64(), nullable=False),
            CLUSTER_ID,
            pa.field("source", pa.string()),
            pa.field("url", pa.string()),
            pa.field("license", pa.string()),
            pa.field("file", pa.string(), nullable=False),
            pa.field("row", pa.int64(), nullable=False),
        ]
    ),
)

REJECTS = described("rejects", REJECT)


class ManifestError(MalmungchiError):
    """A manifest is not one of a version that this program knows. The message says what it lacks, not where it is."""


@dataclasses.dataclass(frozen=True)
class File:
    """One Parquet file of the release. `first_id` and `last_id` are those of its first and last row in the order
    of the release (empty for rejects)."""

    path: str
    rows: int
    bytes: int
    sha256: str
    text_bytes: int = 0
    first_id: str = ""
    last_id: str = ""


@dataclasses.dataclass(frozen=True)
class Input:
    """One input file as it was read."""

    name: str
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Everything about a release. Written last: a release exists once its manifest does.

    `counts` holds `input`, `kept`, and `rejected` by reason; the identity input = kept + rejected has been checked.
    `stood_for` is there if inputs were a release: documents for which theirs stood already.
    `sources` holds the same by source, with the bytes of text that are kept, and `licenses` what is kept by licence; ""
    stands for none. `release` is what it says of itself: name, version, contact, date.
    `languages` counts all documents that reached the language step.
    `sample` is the share of the input's rows that was read, as it was given, empty for all: only these count.
    `near_duplicates` says which share of those at the threshold is found, and by how many bands and rows.
    """

    schema_version: str
    config_digest: str
    config: dict[str, Any]
    versions: dict[str, str]
    inputs: list[Input]
    files: list[File]
    counts: dict[str, Any]
    sources: dict[str, dict[str, Any]]
    languages: dict[str, int]
    warnings: list[str]
    near_duplicates: dict[str, float] = dataclasses.field(default_factory=dict)
    release: dict[str, str] = dataclasses.field(default_factory=dict)
    licenses: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    sample: str = ""

    def to_json(self) -> bytes:
        """The file's bytes: indented, keys in a fixed order, last the checksum of all the others."""
        fields = dataclasses.asdict(self)
        return orjson.dumps({**fields, "sha256": _digest(fields)}, option=orjson.OPT_INDENT_2) + b"\n"

    @staticmethod
    def from_json(data: bytes) -> Manifest:
        """Raises ManifestError when this is not a manifest of a version that this program knows."""
        try:
            fields = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise ManifestError(f"not JSON, or cut short ({error})") from error
        if not isinstance(fields, dict) or fields.get("schema_version") != SCHEMA_VERSION:
            raise ManifestError(f"not a manifest of schema version {SCHEMA_VERSION}")
        fields.pop("sha256", None)
        try:
            fields["inputs"] = [Input(**item) for item in fields["inputs"]]
            fields["files"] = [File(**item) for item in fields["files"]]
            manifest = Manifest(**fields)
            manifest._check()
        except (KeyError, TypeError, AttributeError) as error:
            raise ManifestError(f"not a whole manifest ({error})") from error
        return manifest

    def _check(self) -> None:
        """Raises ManifestError, KeyError, TypeError or AttributeError unless all that readers rely on is there."""
        numbers = [self.counts["input"], self.counts["kept"], *self.counts["rejected"].values()]
        for source in self.sources.values():
            numbers += [source["input"], source["kept"], *source["rejected"].values()]
        numbers += [number for file in self.files for number in (file.rows, file.bytes, file.text_bytes)]
        numbers += [*self.languages.values(), *(file.bytes for file in self.inputs)]
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ManifestError("not a whole manifest (a count is not a number)")
        for file in self.files:
            folder, _, name = file.path.partition("/")
            if folder not in FOLDERS or "/" in name or not name.endswith(".parquet"):
                raise ManifestError(f"not a manifest of ours (it lists {file.path!r})")
        if missing := {"language", "fingerprint", "deduplicate", "shards"} - self.config.keys():
            raise ManifestError(f"not a whole manifest (settings of {', '.join(sorted(missing))} are missing)")


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()


def is_untouched(data: bytes) -> bool:
    """Whether a manifest still says what it said when it was written, whatever its layout."""
    fields: dict[str, Any] = orjson.loads(data)
    return fields.pop("sha256", None) == _digest(fields)
