"""Compiles all kernels into numba's cache: python -m pipelines.warm. For images, and before timing anything."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import orjson

from pipelines.build import Job, build
from pipelines.plan import make_plan
from schemas.config import Config


def warm() -> None:
    """Builds a release of made-up documents in this process and throws it away."""
    source = random.Random(0)
    words = ["가나", "다라마", "바사", "아자차", "카타파", "하거너", "word", "12", "ㅋㅋ", "\u1100\u1161"]
    rows = []
    for number in range(60):
        text = " ".join(source.choice(words) for _ in range(80))
        rows += [{"id": f"{number}", "text": text}, {"id": f"{number}-b", "text": text + " 끝", "url": None}]
    with tempfile.TemporaryDirectory(prefix="malmungchi-") as folder:
        file = Path(folder) / "made-up.jsonl"
        file.write_bytes(
            b"".join(orjson.dumps(row) + b"\n" for row in rows) + b'{"id": "\\u0031", "text": "\\uac00"}\n{'
        )
        build(Job(make_plan([str(file)], Config()), f"{folder}/release"))


if __name__ == "__main__":
    from pipelines.logs import quiet

    quiet()
    warm()
