"""PUBLISH: staged rows minus verdicts, in order, into checksummed Parquet shards."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from malmungchi.schemas.config import Shards
from malmungchi.schemas.document import REJECT, concat
from malmungchi.schemas.errors import CountError
from malmungchi.schemas.exchange import VERDICT, Layout
from malmungchi.schemas.release import CLUSTER_ID, DUPLICATE_COUNT, LEDGER, REJECTS, SCHEMA_VERSION, File
from malmungchi.schemas.work import Slice
from malmungchi.transforms.dedup.exact import binary_keys
from malmungchi.transforms.exchange import records, regroup
from malmungchi.transforms.exchange.counts import Counts
from malmungchi.transforms.exchange.segments import read_batches, read_slices
from malmungchi.transforms.io import storage
from malmungchi.transforms.io.private import Private
from malmungchi.transforms.io.progress import report
from malmungchi.transforms.shards.pack import Shard, file_number
from malmungchi.transforms.text import steps

# Columns of few values; the others would only pay for a dictionary that is then given up.
_DICTIONARY = ["source", "license", "language", "language_detector", "file", "step", "rule", "threshold"]

# Rows of a row group of rejects.
_REJECT_ROWS = 1 << 16


class _Sink:
    """A file that computes the sha256 and size of what is written through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.bytes = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        self._file.write(data)
        size = memoryview(data).nbytes
        self.bytes += size
        return size

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """The file belongs to the caller."""
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


@contextlib.contextmanager
def _parquet(
    uri: str, schema: pa.Schema, level: int, metadata: dict[str, str]
) -> Iterator[tuple[pq.ParquetWriter, _Sink]]:
    schema = schema.with_metadata({key.encode(): value.encode() for key, value in metadata.items()})
    with storage.create(uri, durable=True) as file:
        sink = _Sink(file)
        with pq.ParquetWriter(
            pa.PythonFile(sink, "w"),
            schema,
            compression="zstd",
            compression_level=level,
            use_dictionary=[name for name in _DICTIONARY if name in schema.names],
            write_statistics=[name for name in schema.names if name not in ("text", "metadata")],
            write_page_index=True,
            write_page_checksum=True,
            write_batch_size=1024,
        ) as writer:
            yield writer, sink


def _pieces(table: pa.Table, size: np.ndarray, target: int) -> Iterator[pa.Table]:
    """The table cut into runs of rows of about `target` bytes each."""
    cuts = np.cumsum(size) // target
    bounds = [0, *(np.flatnonzero(np.diff(cuts)) + 1).tolist(), table.num_rows]
    for start, end in itertools.pairwise(bounds):
        if end > start:
            yield table.slice(start, end - start)


def judge(rows: pa.Table, verdicts: pa.Table) -> tuple[pa.Table, pa.Table]:
    """(published rows, LEDGER rows) of one partition, in the order of the release: by hash of the id, id, place."""
    order = pc.sort_indices(
        rows.select(["key", "id", "ordinal"]), [("key", "ascending"), ("id", "ascending"), ("ordinal", "ascending")]
    ).to_numpy()
    ordinal = rows["ordinal"].to_numpy()[order]
    by_ordinal = np.argsort(verdicts["ordinal"].to_numpy())
    said = verdicts["ordinal"].to_numpy()[by_ordinal]
    place = np.searchsorted(said, ordinal)
    has = np.zeros(len(ordinal), bool)
    inside = place < len(said)
    has[inside] = said[place[inside]] == ordinal[inside]
    if has.sum() != len(said):
        raise CountError(f"{len(said)} verdicts, {has.sum()} of them for rows of this partition")
    verdict = verdicts.take(pa.array(by_ordinal[place[has]]))
    kept = np.ones(len(ordinal), bool)
    kept[has] = verdict["kept"].to_numpy(zero_copy_only=False)
    count = pc.fill_null(rows["copies"], 1).to_numpy().astype(np.int64)[order]
    count[has] = verdict["duplicate_count"].to_numpy()
    # Each kept row is copied once, straight to its place.
    stay = rows.take(pa.array(order[kept]))
    stay = stay.append_column(DUPLICATE_COUNT, pa.array(count[kept]))
    stay = stay.append_column(CLUSTER_ID, _hex(stay["content_hash"]))
    gone = rows.select(["id", "source", "url", "license", "file", "row"]).take(pa.array(order[~kept]))
    why = verdict.filter(pc.invert(verdict["kept"]))
    ledger = pa.Table.from_arrays(
        [
            gone["id"], why["kept_id"], why["rule"], why["score"], _hex(why["cluster_id"]),
            gone["source"], gone["url"], gone["license"], gone["file"], gone["row"],
        ],
        schema=LEDGER,
    )  # fmt: skip
    schema = steps.published()
    return stay.select(schema.names).cast(schema), ledger


def _hex(column: pa.ChunkedArray) -> pa.Array:
    """32 digits for each value of 128 bits."""
    digits = binary_keys(column.combine_chunks()).tobytes().hex().encode()
    offsets = np.arange(len(column) + 1, dtype=np.int32) * 32
    return pa.StringArray.from_buffers(len(column), pa.py_buffer(offsets), pa.py_buffer(digits))


def _reasons(ledger: pa.Table) -> dict[tuple[str, str], int]:
    """Documents dropped, by rule and source ("" for none)."""
    counted = ledger.select(["rule", "source"]).group_by(["rule", "source"]).aggregate([([], "count_all")])
    return {(row["rule"], row["source"] or ""): row["count_all"] for row in counted.to_pylist()}


def _kept(rows: pa.Table, size: np.ndarray) -> Counts:
    """Published rows and their bytes of text, by source and by licence ("" for none)."""
    rows_by, bytes_by = {}, {}
    for column in ("source", "license"):
        table = pa.table({"name": pc.fill_null(rows[column], ""), "size": size.astype(np.int64)})
        summed = table.group_by("name").aggregate([([], "count_all"), ("size", "sum")]).to_pylist()
        rows_by[column] = {row["name"]: row["count_all"] for row in summed}
        bytes_by[column] = {row["name"]: row["size_sum"] for row in summed}
    return Counts(
        kept=rows.num_rows,
        sources=rows_by["source"],
        source_bytes=bytes_by["source"],
        licenses=rows_by["license"],
        license_bytes=bytes_by["license"],
    )


def _clashes(ids: pa.ChunkedArray) -> int:
    """How many rows have the id of the row before; equal ids have equal hashes, and so stand together."""
    return int(pc.sum(pc.equal(ids[1:], ids[:-1])).as_py() or 0)


@dataclasses.dataclass(frozen=True)
class WriteShard:
    """Work of one shard: reads partition by partition, so that memory is that of one, and writes the shard's data
    and its part of the ledger."""

    staging: str
    output: str
    config: Shards
    config_digest: str

    def __call__(self, shard: Shard, parts: Iterable[tuple[int, tuple[str, Slice]]]) -> dict[str, Any]:
        rows: dict[int, list[Slice]] = {partition: [] for partition in shard.partitions}
        said: dict[int, list[Slice]] = {partition: [] for partition in shard.partitions}
        for partition, (channel, part) in parts:
            (rows if channel == "rows" else said)[partition].append(part)
        metadata = {"malmungchi.schema_version": SCHEMA_VERSION, "malmungchi.config_digest": self.config_digest}
        level = self.config.compression_level
        data, pairs = f"data/train-{shard.name}.parquet", f"duplicates/pairs-{shard.name}.parquet"
        text_bytes = gone = 0
        counts = Counts()
        first = last = ""
        staged, schema = steps.staged(), steps.published()
        with contextlib.ExitStack() as stack:
            writer, sink = stack.enter_context(_parquet(storage.join(self.output, data), schema, level, metadata))
            ledger_file: tuple[pq.ParquetWriter, _Sink] | None = None
            for partition in shard.partitions:
                table = read_slices(rows[partition], self.staging, staged)
                published, ledger = judge(table, read_slices(said[partition], self.staging, VERDICT))
                del table
                start, end = shard.rows_of(partition)
                if ledger.num_rows and not start:
                    ledger_file = ledger_file or stack.enter_context(
                        _parquet(storage.join(self.output, pairs), LEDGER, level, metadata)
                    )
                    ledger_file[0].write_table(ledger)
                    counts += Counts(dropped=_reasons(ledger))
                    gone += ledger.num_rows
                    del ledger
                end = published.num_rows if end is None else end
                before = max(0, start - 1)  # the row before the first may have its id
                counts += Counts(clashes=_clashes(published["id"].slice(before, end - before)))
                published = published.slice(start, end - start)
                if not published.num_rows:
                    continue
                size = pc.binary_length(published["text"]).to_numpy()
                report("publish", published.num_rows, int(size.sum()))
                for piece in _pieces(published, size, self.config.row_group_bytes):
                    writer.write_table(piece, row_group_size=piece.num_rows)
                counts += _kept(published, size)
                text_bytes += int(size.sum())
                first = first or published["id"][0].as_py()
                last = published["id"][-1].as_py()
                del published, piece  # before the next partition is read
        files = [File(data, counts.kept, sink.bytes, sink.sha256.hexdigest(), text_bytes, first, last)]
        if ledger_file:
            sink = ledger_file[1]
            files.append(File(pairs, gone, sink.bytes, sink.sha256.hexdigest()))
        return {"files": [dataclasses.asdict(file) for file in files], **counts.to_json()}


@dataclasses.dataclass(frozen=True)
class WriteRejects:
    """Work of one partition of rejects: in the order of file and row.

    Slices come in that order, as chunks do; only within one are rows out of it. So one is held at a time, and the row
    group that is filled.
    """

    staging: str
    output: str
    config: Shards
    config_digest: str
    of: int = 1

    def __call__(self, index: int, parts: Iterable[Slice]) -> dict[str, Any]:
        path = f"rejects/rejects-{file_number(index, self.of)}.parquet"
        metadata = {"malmungchi.schema_version": SCHEMA_VERSION, "malmungchi.config_digest": self.config_digest}
        uri = storage.join(self.output, path)
        count = 0
        with _parquet(uri, REJECTS, self.config.compression_level, metadata) as (writer, sink):
            for batch in _row_groups(read_batches(parts, self.staging, REJECT), _REJECT_ROWS):
                writer.write_batch(batch, row_group_size=batch.num_rows)
                count += batch.num_rows
        file = File(path, count, sink.bytes, sink.sha256.hexdigest())
        return {"files": [dataclasses.asdict(file)]}


def _row_groups(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The rejects, so many at a time, the last fewer: the file's bytes do not depend on the sizes of the batches."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        rest = batch.sort_by([("file", "ascending"), ("row", "ascending")])
        while count + rest.num_rows >= rows:
            yield concat([*held, rest.slice(0, rows - count)], REJECT)
            rest, held, count = rest.slice(rows - count), [], 0
        held.append(rest)
        count += rest.num_rows
    if count:
        yield concat(held, REJECT)


def shard_task(index: int) -> str:
    """Name of the task that writes a shard and its part of the ledger."""
    return records.task_name("publish", f"shard-{index:06d}", index)


def rejects_task(index: int) -> str:
    """Name of the task that writes a file of rejects."""
    return records.task_name("publish", f"rejects-{index:06d}", index)


def _shard_slices(names: str, staging: str, shards_of: dict[int, list[int]]) -> Iterator[tuple[int, tuple[int, bytes]]]:
    for partition, value in regroup.packed_slices(names, staging, ("rows", "verdicts")):
        for shard in shards_of.get(partition, ()):
            yield shard, (partition, value)


def _write_shard(group: tuple[int, Iterable[tuple[int, bytes]]], shards: tuple[Shard, ...], work: WriteShard) -> str:
    index, packed = group
    name = shard_task(index)
    parts = ((partition, place) for partition, value in packed for place in regroup.unpack_slices([value]))
    records.run(work.staging, name, lambda segments: work(shards[index], parts))
    return name


def _write_rejects(group: tuple[int, Iterable[bytes]], places: dict[int, int], work: WriteRejects) -> str:
    partition, packed = group
    index = places[partition]
    name = rejects_task(index)
    records.run(work.staging, name, lambda segments: work(index, [part for _, part in regroup.unpack_slices(packed)]))
    return name


@dataclasses.dataclass
class WriteShards(beam.PTransform):
    """Tasks with `rows` and `verdicts` -> the tasks that wrote the shards and the ledger."""

    shards: tuple[Shard, ...]
    work: WriteShard
    layout: Layout

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[str]:
        shards_of: dict[int, list[int]] = defaultdict(list)
        for shard in self.shards:
            for partition in shard.partitions:
                shards_of[partition].append(shard.index)
        slices = beam.FlatMap(_shard_slices, self.work.staging, dict(shards_of))
        return (
            pcoll
            | "SettleRows" >> regroup.Settle(self.work.staging, ("rows", "verdicts"), self.layout)
            | "ReadRecords" >> slices.with_output_types(tuple[int, tuple[int, bytes]])
            | "GroupSlices" >> beam.GroupByKey()
            | "WriteShard" >> beam.Map(Private(_write_shard, self.shards, self.work)).with_output_types(str)
        )


@dataclasses.dataclass
class WriteRejectShards(beam.PTransform):
    """Tasks with `rejects` -> the tasks that wrote them. `places` numbers the partitions that have any."""

    places: dict[int, int]
    work: WriteRejects
    layout: Layout

    def expand(self, pcoll: beam.PCollection[str]) -> beam.PCollection[str]:
        write = beam.Map(Private(_write_rejects, self.places, self.work))
        return (
            pcoll
            | "RegroupRejects" >> regroup.Regroup(self.work.staging, ("rejects",), self.layout)
            | "WriteRejects" >> write.with_output_types(str)
        )
