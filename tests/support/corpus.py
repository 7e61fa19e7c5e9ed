"""Made-up Korean documents for tests: many, of any size, with known duplicates."""

from __future__ import annotations

import random
from typing import Any

_SUBJECTS = "할머니는 고양이가 학생들은 도서관은 강물이 기차가 선생님께서 이웃은 바람이 가족은 연구원은 시장은".split()
_PLACES = "마을에서 강가에서 부엌에서 산길을 따라 교실에서 역 앞에서 밭에서 시장 골목에서 바닷가에서 연구실에서".split(
    " "
)
_THINGS = "사과를 편지를 노래를 오래된 책을 작은 배를 김치를 지도를 이야기를 종이학을 나무를 우산을 자전거를".split()
_ACTIONS = (
    "만들었다 나누었다 찾아냈다 고쳤다 기다렸다 심었다 그렸다 들려주었다 옮겼다 닦았다 살펴보았다 적어 두었다".split(
        " "
    )
)
_TIMES = "아침마다 지난가을에 비가 오던 날 어제저녁 오래전에 해마다 주말이면 첫눈이 내리자".split()


def sentence(source: random.Random) -> str:
    """One sentence that makes some sense."""
    parts = [source.choice(words) for words in (_TIMES, _SUBJECTS, _PLACES, _THINGS, _ACTIONS)]
    return " ".join(parts) + f" {source.randrange(10_000)}번째였다."


def text(source: random.Random, sentences: int = 12) -> str:
    """One document."""
    return "\n".join(sentence(source) for _ in range(sentences))


def rows(count: int, seed: int = 0, sentences: int = 12) -> list[dict[str, Any]]:
    """Documents of which every tenth repeats another with other spacing, every seventh is another with its last
    sentence changed, and every thirteenth is English."""
    source = random.Random(seed)
    found: list[dict[str, Any]] = []
    for i in range(count):
        body = text(source, sentences)
        if i > 20 and i % 10 == 0:
            body = str(found[source.randrange(20)]["text"]).replace(" ", "  ")
        elif i > 20 and i % 7 == 0:
            lines = str(found[source.randrange(20)]["text"]).split("\n")
            body = "\n".join([*lines[:-1], sentence(source)])
        elif i % 13 == 0:
            body = f"This is document {i}. " + "It is written in English and says very little of note. " * 3
        found.append(
            {"id": f"s{seed}-{i:05d}", "text": body, "source": f"source-{i % 3}", "license": "CC0-1.0", "topic": i % 5}
        )
    return found
