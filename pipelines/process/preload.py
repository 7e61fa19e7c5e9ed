"""Runs every step once, without Beam, on a few made-up documents: kernels and tables are then in memory.

Worker processes are forked from one that has done so, and start in milliseconds.
`python -m malmungchi.pipelines.process.preload` fills the kernels' cache, as the image's build does.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import orjson

from malmungchi.pipelines.inline import Inline
from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.schemas.config import Config


def made_up(file: Path) -> None:
    """Writes a file of documents that gives every step something to do."""
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


def preload() -> None:
    """Builds a release in a temporary folder and throws it away."""
    with tempfile.TemporaryDirectory(prefix="malmungchi-") as folder:
        file = Path(folder) / "made-up.jsonl"
        made_up(file)
        Inline(make_plan([str(file)], Config()), folder).run()


if __name__ == "__main__":
    from malmungchi.pipelines.process.logs import quiet

    quiet()
    preload()
