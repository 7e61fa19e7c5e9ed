"""inspect: look into a release, and explain the fate of one document."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.names import MANIFEST
from malmungchi.schemas.release import LEDGER, REJECTS, Manifest, ManifestError, published_schema
from malmungchi.transforms.io import storage

_EXCERPT = 200


class InspectError(MalmungchiError):
    """What is asked for means nothing, or the release cannot be read."""


def _dataset(release: str, manifest: Manifest, folder: str) -> ds.Dataset:
    paths = [file.path for file in manifest.files if file.path.startswith(folder + "/")]
    fs, root = storage.resolve(release)
    if paths:
        return ds.dataset([f"{root}/{path}" for path in paths], format="parquet", filesystem=fs)
    schema = {"data": published_schema([]), "rejects": REJECTS, "duplicates": LEDGER}[folder]
    return ds.dataset(pa.Table.from_pylist([], schema))


def _show(row: dict[str, Any]) -> str:
    lines = []
    for name, value in row.items():
        if value is None:
            continue
        text = str(value)
        if len(text) > _EXCERPT:
            text = f"{text[:_EXCERPT]}… ({len(text):,} characters)"
        lines.append(f"  {name:<18}{text}".replace("\n", "\n" + " " * 20))
    return "\n".join(lines)


def _rows(table: ds.Dataset, chosen: pc.Expression, limit: int) -> Iterator[dict[str, Any]]:
    yield from table.head(limit, filter=chosen).to_pylist()


def _beyond(table: ds.Dataset, chosen: pc.Expression, limit: int) -> Iterator[str]:
    """A line for what is beyond the limit, if there is anything."""
    count = table.count_rows(filter=chosen)
    if count > limit:
        yield f"    and {count - limit:,} more (--limit shows more)"


def explain(release: str, manifest: Manifest, id_: str, limit: int) -> Iterator[str]:
    """What became of the document(s) with this id, in words; of each kind of answer, at most `limit`."""
    pairs = _dataset(release, manifest, "duplicates")
    data, mine = _dataset(release, manifest, "data"), pc.field("id") == id_
    for row in _rows(data, mine, limit):
        yield f"{id_}: kept, from {row['file']} row {row['row']}"
        yield (
            f"  language: {row['language']}, decided by {row['language_detector']} "
            f"(Hangul is {row['hangul_share']:.1%} of {row['letters']} letters)"
        )
        if row["duplicate_count"] > 1:
            yield f"  stands for {row['duplicate_count']} documents, itself included; dropped in its favour:"
            for_it = pc.field("cluster_id") == row["cluster_id"]  # ids may clash
            for pair in _rows(pairs, for_it, limit):
                yield f"    {pair['dropped_id']}  {pair['rule']}  {pair['score']:.4f}"
            yield from _beyond(pairs, for_it, limit)
        yield _show(row)
    yield from _beyond(data, mine, limit)
    threshold = manifest.config["deduplicate"]["threshold"]
    dropped = pc.field("dropped_id") == id_
    for row in _rows(pairs, dropped, limit):
        yield f"{id_}: dropped at deduplicate by rule {row['rule']}, from {row['file']} row {row['row']}"
        near = f", threshold {threshold}" if row["rule"] == "near_duplicate" else ""
        yield f"  similarity {row['score']:.4f}{near}; kept in its place: {row['kept_id']}"
    yield from _beyond(pairs, dropped, limit)
    rejects = _dataset(release, manifest, "rejects")
    for row in _rows(rejects, mine, limit):
        yield f"{id_}: dropped at {row['step']} by rule {row['rule']}, from {row['file']} row {row['row']}"
        yield f"  value {row['value']}" + (f", threshold {row['threshold']}" if row["threshold"] is not None else "")
    yield from _beyond(rejects, mine, limit)


def _reject_rules(manifest: Manifest) -> list[str]:
    """The rules by which rows came to rejects/."""
    reasons = (reason.partition(".") for reason in manifest.counts["rejected"])
    return sorted({rule for step, _, rule in reasons if step != "deduplicate"})


def _clusters(release: str, manifest: Manifest, limit: int) -> Iterator[str]:
    pairs = _dataset(release, manifest, "duplicates").to_table()
    if not pairs.num_rows:
        yield "no duplicates were dropped"
        return
    sizes = pairs.group_by(["cluster_id", "kept_id"]).aggregate([([], "count_all")])
    order = [("count_all", "descending"), ("kept_id", "ascending")]
    for cluster in sizes.sort_by(order).slice(0, limit).to_pylist():
        yield f"{cluster['kept_id']}: stands for {cluster['count_all'] + 1} documents"
        mine = pairs.filter(pc.equal(pairs["cluster_id"], cluster["cluster_id"]))
        for pair in mine.sort_by([("score", "descending"), ("dropped_id", "ascending")]).slice(0, limit).to_pylist():
            yield f"  {pair['dropped_id']}  {pair['rule']}  {pair['score']:.4f}"


def inspect(release: str, arguments: argparse.Namespace) -> int:
    """Prints what is asked for; 1 when there is no such document or rule. Raises InspectError for `--rule` where it
    means nothing, and for a release that cannot be read."""
    try:
        return _inspect(release, arguments)
    except pa.ArrowException as error:
        raise InspectError(
            f"{release}: a file cannot be read ({type(error).__name__}): `malmungchi verify {release}` says which"
        ) from error


def _inspect(release: str, arguments: argparse.Namespace) -> int:
    if arguments.rule and (arguments.id is not None or arguments.duplicates):
        raise InspectError("--rule chooses among rejects; leave it out, or leave out --id and --duplicates")
    try:
        manifest = Manifest.from_json(storage.read_bytes(storage.join(release, MANIFEST)))
    except FileNotFoundError:
        print(f"{release}: no {MANIFEST}: this is not a release, or it is not finished", file=sys.stderr)
        return 1
    except ManifestError as error:
        raise InspectError(f"{release}: {MANIFEST} is {error}; inspect a release of this version") from error
    if arguments.id is not None:
        found = list(explain(release, manifest, arguments.id, arguments.limit))
        if not found:
            print(f"{arguments.id}: no document with this id was read", file=sys.stderr)
            return 1
    elif arguments.duplicates:
        found = list(_clusters(release, manifest, arguments.limit))
    else:
        rules, counted = _reject_rules(manifest), manifest.counts["rejected"]
        if arguments.rule and arguments.rule not in rules:
            hint = "; for duplicates use --duplicates" if f"deduplicate.{arguments.rule}" in counted else ""
            known = ", ".join(rules) or "none"
            print(f"no rejects by rule {arguments.rule}; there are: {known}{hint}", file=sys.stderr)
            return 1
        folder = "rejects" if arguments.rejects or arguments.rule else "data"
        chosen = pc.field("rule") == arguments.rule if arguments.rule else None
        rows = _dataset(release, manifest, folder).head(arguments.limit, filter=chosen).to_pylist()
        found = [_show(row) + "\n" for row in rows] or [f"{folder}/ holds no rows"]
    print("\n".join(found))
    return 0
