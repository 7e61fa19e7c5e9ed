"""verify: every checksum, count and schema of a release again."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from malmungchi.pipelines.release.card import card
from malmungchi.schemas.names import CARD, FOLDERS, MANIFEST
from malmungchi.schemas.release import LEDGER, REJECTS, File, Manifest, ManifestError, is_untouched
from malmungchi.transforms.exchange.counts import OTHERS
from malmungchi.transforms.io import storage
from malmungchi.transforms.io.strangers import is_hidden, is_mark
from malmungchi.transforms.kernels import strings
from malmungchi.transforms.kernels.utf8 import string_buffers
from malmungchi.transforms.text.steps import published


class _Order:
    """Rows of a release are in the order of the hash of their id, within shards and from each to the next."""

    def __init__(self) -> None:
        self._last = np.uint64(0)

    def follows(self, key: np.ndarray) -> bool:
        """Whether these rows may come behind those before them."""
        right = bool(key[0] >= self._last and (key[1:] >= key[:-1]).all())
        self._last = key[-1]
        return right


def _check_file(release: str, file: File, manifest: Manifest, order: _Order) -> Iterator[str]:
    uri = storage.join(release, file.path)
    try:
        digest, size = storage.sha256(uri)
    except FileNotFoundError:
        yield f"{file.path}: missing"
        return
    if size != file.bytes:
        yield f"{file.path}: {size} bytes, {file.bytes} in the manifest"
    if digest != file.sha256:
        yield f"{file.path}: sha256 {digest[:16]}… differs from the manifest's {file.sha256[:16]}…"
        return
    with storage.open_input(uri) as source:
        try:
            parquet = pq.ParquetFile(source)
        except pa.ArrowException as error:
            yield f"{file.path}: not a Parquet file ({type(error).__name__})"
            return
        schema = {"data": published(), "rejects": REJECTS, "duplicates": LEDGER}[file.path.split("/")[0]]
        if not parquet.schema_arrow.equals(schema):
            yield f"{file.path}: its columns are not those of schema version {manifest.schema_version}"
            return
        metadata = parquet.schema_arrow.metadata or {}
        if metadata.get(b"malmungchi.config_digest", b"").decode() != manifest.config_digest:
            yield f"{file.path}: made with other settings than the manifest says"
        if parquet.metadata.num_rows != file.rows:
            yield f"{file.path}: {parquet.metadata.num_rows} rows, {file.rows} in the manifest"
        if file.path.startswith("data/"):
            yield from _check_shard(parquet, file, order)


def _check_shard(parquet: pq.ParquetFile, file: File, order: _Order) -> Iterator[str]:
    """Order, ids and text of one shard, batch by batch."""
    first_id = last_id = ""
    text_bytes = 0
    for batch in parquet.iter_batches(batch_size=4096, columns=["id", "text", "duplicate_count"]):
        if not batch.num_rows:
            continue
        ids = batch["id"]
        if not order.follows(strings.hashes(*string_buffers(ids))):
            yield f"{file.path}: rows are not in the order of the release"
            return
        first_id = first_id or ids[0].as_py()
        last_id = ids[-1].as_py()
        text_bytes += int(pc.sum(pc.binary_length(batch["text"])).as_py())
        if pc.min(batch["duplicate_count"]).as_py() < 1:
            yield f"{file.path}: duplicate_count below 1"
    if (first_id, last_id) != (file.first_id, file.last_id):
        said = f"{file.first_id!r} to {file.last_id!r}"
        yield f"{file.path}: ids from {first_id!r} to {last_id!r}, {said} in the manifest"
    if text_bytes != file.text_bytes:
        yield f"{file.path}: {text_bytes} bytes of text, {file.text_bytes} in the manifest"


def _tally(release: str, manifest: Manifest) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """((folder, reason or "") -> rows, source -> kept) as the files themselves say."""
    found: Counter[tuple[str, str]] = Counter()
    sources: Counter[str] = Counter()
    for file in manifest.files:
        folder = file.path.split("/")[0]
        columns = {"data": ["source", "duplicate_count"], "rejects": ["step", "rule"], "duplicates": ["rule"]}[folder]
        with storage.open_input(storage.join(release, file.path)) as source:
            table = pq.read_table(pa.PythonFile(source, "r"), columns=columns)
        if folder == "data":
            for item in pc.fill_null(table["source"], "").value_counts().to_pylist():
                sources[item["values"] if item["values"] in manifest.sources else OTHERS] += item["counts"]
            found[folder, ""] += table.num_rows
            found[folder, "stood for"] += pc.sum(table["duplicate_count"]).as_py() or 0
            continue
        counted = table.group_by(columns).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            found[folder, f"{row.get('step', 'deduplicate')}.{row['rule']}"] += row["count_all"]
    return found, sources


def problems(release: str) -> Iterator[str]:
    """What is wrong with a release, one sentence each; nothing when all is well."""
    try:
        data = storage.read_bytes(storage.join(release, MANIFEST))
        manifest = Manifest.from_json(data)
    except FileNotFoundError:
        yield f"{MANIFEST}: missing: this is not a release, or it was never finished"
        return
    except ManifestError as error:
        yield f"{MANIFEST}: {error}"
        return
    if not is_untouched(data):
        yield f"{MANIFEST}: edited after it was written: its sha256 is not that of its content"
    yield from _strangers(release, manifest)
    broken = False
    order = _Order()
    for file in manifest.files:
        for problem in _check_file(release, file, manifest, order):
            broken = True
            yield problem
    counts = manifest.counts
    if counts["input"] != counts["kept"] + sum(counts["rejected"].values()):
        yield f"{MANIFEST}: input {counts['input']} is not kept {counts['kept']} + rejected {counts['rejected']}"
    yield from _check_card(release, manifest)
    if not broken:
        yield from _check_counts(release, manifest)


def _strangers(release: str, manifest: Manifest) -> Iterator[str]:
    """Files that the manifest does not list."""
    listed = {file.path for file in manifest.files}
    for folder in FOLDERS:
        for name in storage.names(storage.join(release, folder)):
            if f"{folder}/{name}" not in listed and not _is_left_behind(name):
                yield f"{folder}/{name}: not in the manifest"


def _check_card(release: str, manifest: Manifest) -> Iterator[str]:
    if storage.exists(storage.join(release, CARD)):
        if storage.read_bytes(storage.join(release, CARD)) != card(manifest).encode():
            yield f"{CARD}: not the card of this manifest"
    else:
        yield f"{CARD}: missing"


def _check_counts(release: str, manifest: Manifest) -> Iterator[str]:
    """Counts of the manifest that are not those of the files, all of which can be read."""
    counts = manifest.counts
    found, sources = _tally(release, manifest)
    if found.pop(("data", ""), 0) != counts["kept"]:
        yield f"{MANIFEST}: kept {counts['kept']} is not what the shards hold"
    stood_for = found.pop(("data", "stood for"), 0)
    reasons = {reason: count for (_, reason), count in found.items()}
    if reasons != counts["rejected"]:
        yield f"{MANIFEST}: rejected {counts['rejected']} is not what rejects/ and duplicates/ hold: {reasons}"
    gone = sum(count for (folder, _), count in found.items() if folder == "duplicates")
    if stood_for != counts["kept"] + gone + counts.get("stood_for", 0):
        yield f"{MANIFEST}: kept documents stand for {stood_for}, not for {counts['kept']} and {gone} duplicates"
    said = {name: source["kept"] for name, source in manifest.sources.items() if source["kept"]}
    if said != dict(sources):
        yield f"{MANIFEST}: kept documents by source are not what the shards hold"
    text = sum(file.text_bytes for file in manifest.files)
    for what, groups in (("source", manifest.sources), ("licence", manifest.licenses)):
        kept = [(group["kept"], group.get("text_bytes", 0)) for group in groups.values()]
        if groups and tuple(map(sum, zip(*kept, strict=True))) != (counts["kept"], text):
            yield f"{MANIFEST}: documents and bytes by {what} do not add up to those of the shards"


def _is_left_behind(name: str) -> bool:
    return is_hidden(name) or is_mark(name)


def notes(release: str) -> Iterator[str]:
    """What systems and other programs have left in the folders of a release, which is no damage; one sentence each."""
    for folder in FOLDERS:
        found = [name for name in storage.names(storage.join(release, folder)) if _is_left_behind(name)]
        if found:
            shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
            yield f"{folder}: passed over what other programs left there: {shown}"


def verify(release: str, as_json: bool = False) -> int:
    """Prints what is wrong; 0 when nothing is, 1 otherwise. As JSON: `release`, `ok`, `problems` (each with `file` and
    `problem`) and `notes`."""
    if as_json:
        found = [dict(zip(("file", "problem"), said.split(": ", 1), strict=True)) for said in problems(release)]
        told = {"release": release, "ok": not found, "problems": found, "notes": list(notes(release))}
        print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return int(bool(found))
    count = 0
    for problem in problems(release):
        print(problem, file=sys.stderr)
        count += 1
    for note in notes(release):
        print(f"note: {note}", file=sys.stderr)
    if count:
        print(f"{release}: {count} problem(s)", file=sys.stderr)
        return 1
    print(f"{release}: OK: all checksums, counts and schemas match")
    return 0
