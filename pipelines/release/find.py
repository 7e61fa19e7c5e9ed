"""What a release says of a document, a file, an address or a rule: rows of its three folders, as `inspect` shows them.

An answer is also what `inspect --json` prints, so its keys are part of what users rely on.
"""

from __future__ import annotations

import dataclasses
import posixpath
import unicodedata
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.release import LEDGER, REJECTS, Manifest, published_schema
from malmungchi.schemas.settings import did_you_mean
from malmungchi.transforms.formats.places import place_hashes
from malmungchi.transforms.io import storage

Row = dict[str, Any]

# By what a document may be looked for, and what the ledger calls it.
_LEDGER_NAMES = {"id": "dropped_id"}

# What an answer has lists of.
_KINDS = ("kept", "rejects", "duplicates", "clusters")


class InspectError(MalmungchiError):
    """The question makes no sense, or the release cannot be read."""


class UnknownError(MalmungchiError):
    """The release knows no such rule or file; the message names the nearest."""


@dataclasses.dataclass
class Answer:
    """Rows of `data/` (each with the duplicates dropped in its favour as `dropped`, and `dropped_total`), `rejects/`
    and `duplicates/` as they are published, at most so many of each as were asked for, or clusters; `total` says how
    many there are of each kind. `asked` is the question."""

    release: str
    asked: dict[str, Any]
    kept: list[Row] = dataclasses.field(default_factory=list)
    rejects: list[Row] = dataclasses.field(default_factory=list)
    duplicates: list[Row] = dataclasses.field(default_factory=list)
    clusters: list[Row] = dataclasses.field(default_factory=list)
    total: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(_KINDS, 0))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        return not (self.kept or self.rejects or self.duplicates or self.clusters)


@dataclasses.dataclass(frozen=True)
class Release:
    """A release to ask; of each kind of row an answer has at most `limit`."""

    uri: str
    manifest: Manifest
    limit: int

    def rows(self, folder: str) -> ds.Dataset:
        """All rows of a folder."""
        paths = [file.path for file in self.manifest.files if file.path.startswith(folder + "/")]
        fs, root = storage.resolve(self.uri)
        if paths:
            return ds.dataset([f"{root}/{path}" for path in paths], format="parquet", filesystem=fs)
        schema = {"data": published_schema([]), "rejects": REJECTS, "duplicates": LEDGER}[folder]
        return ds.dataset(pa.Table.from_pylist([], schema))

    def look_up(self, asked: Mapping[str, str | int]) -> Answer:
        """What became of the documents with these values of columns: id, url, or file and row."""
        answer = Answer(self.uri, dict(asked))
        for kind, folder in (("kept", "data"), ("rejects", "rejects"), ("duplicates", "duplicates")):
            chosen = pc.scalar(True)
            for name, value in asked.items():
                column = _LEDGER_NAMES.get(name, name) if folder == "duplicates" else name
                chosen &= pc.field(column) == value
            table = self.rows(folder)
            setattr(answer, kind, table.head(self.limit, filter=chosen).to_pylist())
            answer.total[kind] = table.count_rows(filter=chosen)
        pairs = self.rows("duplicates")
        for row in answer.kept:
            for_it = pc.field("cluster_id") == row["cluster_id"]  # ids may clash
            row["dropped"] = pairs.head(self.limit, filter=for_it).to_pylist() if row["duplicate_count"] > 1 else []
            row["dropped_total"] = pairs.count_rows(filter=for_it) if row["duplicate_count"] > 1 else 0
        return answer

    def first(self, folder: str) -> Answer:
        """The first rows of a folder."""
        kind = "kept" if folder == "data" else folder
        table = self.rows(folder)
        answer = Answer(self.uri, {"folder": folder})
        answer.total[kind] = table.count_rows()
        setattr(answer, kind, table.head(self.limit).to_pylist())
        return answer

    def by_rule(self, name: str) -> Answer:
        """A sample of what a rule has dropped: the rows with the smallest hashes of their place (file and row), so that
        it is the same each time, and a larger one holds the smaller. Raises UnknownError."""
        answer = Answer(self.uri, {"rule": name})
        for reason in self.reasons(name):
            step, _, rule = reason.partition(".")
            chosen, kind = pc.field("rule") == rule, "duplicates"
            if step != "deduplicate":
                chosen, kind = chosen & (pc.field("step") == step), "rejects"
            table = self.rows(kind)
            getattr(answer, kind).extend(_sample(table, chosen, self.limit))
            answer.total[kind] += table.count_rows(filter=chosen)
        return answer

    def reasons(self, name: str) -> list[str]:
        """The reasons (step.rule) that a name stands for, with its step or without. Raises UnknownError."""
        there = list(self.manifest.counts["rejected"])
        found = [reason for reason in there if name in (reason, reason.partition(".")[2])]
        if not found:
            known = [*there, *(reason.partition(".")[2] for reason in there)]
            listed = f"what dropped rows here: {', '.join(there)}" if there else "no row was dropped here"
            raise UnknownError(f"no row was dropped by a rule {name}{did_you_mean(name, known)} ({listed})")
        return found

    def file(self, name: str) -> str:
        """The name, in the release, of an input file that is named by its path or the end of it. Raises UnknownError.

        Inputs are called by their path below the folder in which they were looked for.
        """
        names = [each.name for each in self.manifest.inputs]
        asked = unicodedata.normalize("NFC", name if "://" in name else posixpath.normpath(name))
        within = [each for each in names if f"/{asked}".endswith(f"/{each}")]
        if within:
            return max(within, key=len)
        ends = [each for each in names if each.endswith(f"/{asked}")]
        if len(ends) == 1:
            return ends[0]
        if ends:
            shown = ", ".join(ends[:5]) + (", …" if len(ends) > 5 else "")
            raise UnknownError(f"{name}: several inputs end in this name: {shown}")
        near = did_you_mean(posixpath.basename(asked), names)
        raise UnknownError(f"{name}: no input of this release has this name{near}")

    def clusters(self) -> Answer:
        """Kept documents with the duplicates dropped in their favour, the largest clusters first."""
        answer = Answer(self.uri, {"folder": "duplicates"})
        pairs = self.rows("duplicates").to_table()
        sizes = pairs.group_by(["cluster_id", "kept_id"]).aggregate([([], "count_all")])
        answer.total["clusters"] = sizes.num_rows
        order = [("count_all", "descending"), ("kept_id", "ascending")]
        for cluster in sizes.sort_by(order).slice(0, self.limit).to_pylist():
            mine = pairs.filter(pc.equal(pairs["cluster_id"], cluster["cluster_id"]))
            mine = mine.sort_by([("score", "descending"), ("dropped_id", "ascending")]).slice(0, self.limit)
            answer.clusters.append(
                {
                    "cluster_id": cluster["cluster_id"],
                    "kept_id": cluster["kept_id"],
                    "dropped": mine.to_pylist(),
                    "dropped_total": cluster["count_all"],
                }
            )
        return answer


def _sample(table: ds.Dataset, chosen: pc.Expression, size: int) -> list[Row]:
    """The chosen rows with the `size` smallest hashes of file and row, in the order of these."""
    best = pa.schema([("hash", pa.uint64()), ("file", pa.string()), ("row", pa.int64())]).empty_table()
    order = [("hash", "ascending"), ("file", "ascending"), ("row", "ascending")]
    for batch in table.to_batches(columns=["file", "row"], filter=chosen):
        more = pa.table({"hash": pa.array(place_hashes(batch)), "file": batch["file"], "row": batch["row"]})
        best = pa.concat_tables([best, more]).sort_by(order).slice(0, size)
    at = {place: number for number, place in enumerate(_places(best))}
    near = pc.field("file").isin(best["file"].unique()) & pc.field("row").isin(best["row"].unique())
    rows = [row for row in table.to_table(filter=chosen & near).to_pylist() if (row["file"], row["row"]) in at]
    return sorted(rows, key=lambda row: (at[row["file"], row["row"]], str(row)))[:size]


def _places(table: pa.Table) -> list[tuple[str, int]]:
    return list(zip(table["file"].to_pylist(), table["row"].to_pylist(), strict=True))
