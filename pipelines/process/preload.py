"""Runs every step once, without Beam, on a few made-up documents: kernels and tables are then in memory.

Worker processes are forked from one that has done so, and start in milliseconds.
`python -m malmungchi.pipelines.process.preload` fills the kernels' cache, as the image's build does.
"""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import orjson
from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.pipelines.refine import cut_task
from malmungchi.schemas.config import Config
from malmungchi.schemas.plan import Plan
from malmungchi.schemas.work import Slice
from malmungchi.transforms.dedup.candidates import FindForest, JoinForests
from malmungchi.transforms.dedup.exact import ResolveExact
from malmungchi.transforms.dedup.fingerprint import fingerprint
from malmungchi.transforms.dedup.verify_pairs import GatherWanted, VerifyComponents
from malmungchi.transforms.exchange import records
from malmungchi.transforms.exchange.segments import Segments
from malmungchi.transforms.exchange.stage import stage
from malmungchi.transforms.formats.cut import cut
from malmungchi.transforms.formats.read import read_item
from malmungchi.transforms.shards.write import Shard, WriteRejects, WriteShard
from malmungchi.transforms.text.steps import apply_steps


def made_up(file: Path) -> None:
    """Writes a file of documents that every step has something to do with."""
    source = random.Random(0)
    words = ["가나", "다라마", "바사", "아자차", "카타파", "하거너", "word", "12", "ㅋㅋ", "\u1100\u1161", "漢字"]
    lines = []
    for number in range(40):
        text = " ".join(source.choice(words) for _ in range(60))
        lines += [{"id": f"{number}", "text": text, "url": None}, {"id": f"{number}-b", "text": text + "\\n끝", "n": 1}]
    for number, text in enumerate(
        (
            "The word of the day is here, and so is what it says of the day: 오늘도 새로운 하루를 시작합니다. " * 3,
            "國家建設事業에 參加하여 努力한 靑年學徒와 國民同胞의 歷史를 記錄함.",
        )
    ):
        lines.append({"id": f"mixed-{number}", "text": text})
    file.write_bytes(
        b"".join(orjson.dumps(line) + b"\n" for line in lines) + b'{"id": "\\u0031", "text": "\\uac00"}\n{\n'
    )


def _grouped(
    staging: str, names: list[str], stage_: str, channels: tuple[str, ...], needs: str, work: records.Work
) -> list[str]:
    """What `Regroup` and `RunTasks` do, one partition after the other."""
    groups: dict[int, dict[str, list[Slice]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        for partition, (channel, part) in records.slices(name, staging, channels):
            groups[partition][channel].append(part)
    return [
        records.run(staging, records.partition_task(stage_, partition), _bound(work, partition, parts)).task
        for partition, parts in groups.items()
        if needs in parts
    ]


def _bound(
    work: records.Work, partition: int, parts: dict[str, list[Slice]]
) -> Callable[[Segments], dict[str, object]]:
    return lambda segments: work(partition, parts, segments)


def _refine(plan: Plan, staging: str) -> list[str]:
    config = plan.config
    names = []
    for file in plan.files:
        made = cut(file, plan.chunk_bytes)
        records.finish(staging, cut_task(file.ordinal), [], {"digest": made.digest})
        for item in made.items:
            for chunk in read_item(item, config.read, plan.chunk_bytes):
                chunk = fingerprint(apply_steps(chunk, config), config.fingerprint)
                segments_of = _stage(chunk, plan)
                names.append(records.run(staging, records.chunk_task(chunk.item, chunk.sequence), segments_of).task)
    return names


def _stage(chunk: object, plan: Plan) -> Callable[[Segments], dict[str, object]]:
    config = plan.config
    return lambda segments: stage(chunk, segments, plan.layout, config.fingerprint, config.deduplicate)  # type: ignore[arg-type]


def preload() -> None:
    """Builds a release in a temporary folder and throws it away."""
    with tempfile.TemporaryDirectory(prefix="malmungchi-") as folder:
        file = Path(folder) / "made-up.jsonl"
        made_up(file)
        plan = make_plan([str(file)], Config())
        config, layout = plan.config, plan.layout
        chunks = _refine(plan, folder)
        forest = FindForest(folder, config.fingerprint, config.deduplicate)
        edges = _grouped(folder, chunks, "candidates", ("bands",), "bands", forest)
        members = _grouped(folder, edges, "components", ("edges",), "edges", JoinForests(folder, layout))
        exact = _grouped(folder, chunks + members, "exact", ("exact", "members"), "exact",
                         ResolveExact(folder, layout, config.deduplicate))  # fmt: skip
        texts = _grouped(folder, chunks + exact, "texts", ("rows", "wanted"), "wanted", GatherWanted(folder, layout))
        verify = VerifyComponents(folder, layout, config.fingerprint, config.deduplicate)
        verified = _grouped(folder, exact + texts, "verified", ("candidates", "texts"), "candidates", verify)
        shard = Shard(0, 1, tuple(range(layout.partitions)))
        parts = [
            (partition, part)
            for name in chunks + exact + verified
            for partition, part in records.slices(name, folder, ("rows", "verdicts"))
        ]
        WriteShard(folder, folder, config.shards, "")(shard, parts)
        rejects = [part for name in chunks for _, (_, part) in records.slices(name, folder, ("rejects",))]
        WriteRejects(folder, folder, config.shards, "", 1)(0, rejects)


if __name__ == "__main__":
    from malmungchi.pipelines.process.logs import quiet

    quiet()
    preload()
