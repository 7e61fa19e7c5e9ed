"""Korean text of several genres, made from a seed: what the corpus beside the project has little of.

Words are made of frequent syllables and chosen by rank as words are (Zipf), with particles and endings, so that they
compress and shingle about as text does. The genres differ in what costs time: length of documents and lines, Hanja,
compatibility ideographs, dots, jamo, emoji, Latin.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_SYLLABLES = (
    "가나다라마바사아자차카타하고노도로모보소오조초호구누두루무부수우주추후기니디리미비시이지치히"
    "간난단만반산안장천강남당방상양정성경영동공종중총문분순준진신인일실길전선연면변현원권관대개내래매배재"
    "제세계체회외교표요유규금음응은을를의에서학력국민법률행위사항용업품질생활건물"
)
_PARTICLES = (
    "은",
    "는",
    "이",
    "가",
    "을",
    "를",
    "의",
    "에",
    "에서",
    "으로",
    "로",
    "와",
    "과",
    "도",
    "만",
    "까지",
    "부터",
    "",
)
_ENDINGS = ("한다", "했다", "된다", "하였다", "할 수 있다", "이다", "하여야 한다", "고 말했다", "지 않는다", "였다")
_POLITE = ("해요", "했어요", "네요", "더라고요", "입니다", "합니다", "거든요", "는데요")
_HANJA = "國民法律大韓人事文學時代社會政治經濟生活世界歷史中央上下自由平和敎育新聞雜誌東西南北"
_COMPATIBILITY = "\uf90a\uf967\uf914\uf9b4\uf95c\uf98e\uf9d1\uf9e1"  # 金 不 樂 領 … as KS X 1001 has them twice
_CHAT = ("ㅋㅋㅋ", "ㅎㅎ", "ㅠㅠ", "ㅇㅇ", "ㄱㄱ", "ㄹㅇ", "👍", "😂😂", "ㅇㅋ", "헐", "...", "!!")


class Prose:
    """Sentences from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        lexicon = random.Random(0)
        self._words = ["".join(lexicon.choices(_SYLLABLES, k=lexicon.choice((2, 2, 2, 3, 4)))) for _ in range(8000)]
        weights = np.cumsum(1 / np.arange(3, 8003) ** 0.9)
        self._weights = weights.tolist()

    def words(self, count: int) -> list[str]:
        return self.random.choices(self._words, cum_weights=self._weights, k=count)

    def sentence(self, least: int = 6, most: int = 18, endings: tuple[str, ...] = _ENDINGS, stop: str = ".") -> str:
        words = self.words(self.random.randint(least, most))
        pick = self.random.choice
        return " ".join([word + pick(_PARTICLES) for word in words[:-1]] + [words[-1] + pick(endings)]) + stop

    def paragraph(self, sentences: int, **kind: Any) -> str:
        return " ".join(self.sentence(**kind) for _ in range(sentences))


def statute(prose: Prose) -> str:
    """Articles and paragraphs, with dots, numbers in circles, and Hanja as KS X 1001 has it."""
    pick, out = prose.random.choice, [f"{''.join(prose.words(2))}법"]
    for number in range(1, prose.random.randint(5, 60)):
        title = "ㆍ".join(prose.words(2))
        out.append(f"제{number}조({title}) ①{prose.sentence(8, 25)}")
        for mark in "②③④"[: prose.random.randint(0, 3)]:
            out.append(f"{mark}{prose.sentence(10, 30)} <개정 20{prose.random.randint(10, 25)}. 1. {number % 28 + 1}.>")
        if prose.random.random() < 0.03:
            out.append(f"  1. {pick(prose.words(3))}({pick(_COMPATIBILITY)}{pick(_HANJA)}): {prose.sentence()}")
    return "\n".join(out)


def magazine(prose: Prose) -> str:
    """An old magazine: a third of the words in Hanja, long paragraphs, some old jamo."""
    pick, out = prose.random.choice, []
    for _ in range(prose.random.randint(4, 30)):
        words = prose.paragraph(prose.random.randint(3, 9), endings=("하얏다", "이라", "하나니라", "도다")).split(" ")
        for at in prose.random.sample(range(len(words)), len(words) // 3):
            words[at] = pick(_HANJA) + pick(_HANJA) + pick(_PARTICLES)
        if prose.random.random() < 0.1:
            words[0] = pick(("\u1112\u119e\u11ab", "\u1112\u119e", "\u1109\u119e\u11bc")) + words[0]
        out.append(" ".join(words))
    return "\n\n".join(out)


def review(prose: Prose) -> str:
    """One to three sentences."""
    return prose.paragraph(
        prose.random.randint(1, 3), least=2, most=9, endings=_POLITE, stop=prose.random.choice(".!~")
    )


def news(prose: Prose) -> str:
    """A dateline, quotes, a signature."""
    body = [prose.paragraph(prose.random.randint(2, 4), least=8, most=22) for _ in range(prose.random.randint(4, 12))]
    body[1] = f"“{prose.sentence()}”라며 " + body[1]
    return f"({''.join(prose.words(1))}=연합) " + "\n".join(body) + f"\n{prose.words(1)[0]} 기자"


def chat(prose: Prose) -> str:
    """Lines of two or three people, with jamo and emoji."""
    lines = []
    for _ in range(prose.random.randint(10, 80)):
        said = prose.sentence(1, 6, _POLITE, "")
        lines.append(f"{prose.random.choice('가나다')}: {said} {prose.random.choice(_CHAT)}")
    return "\n".join(lines)


GENRES: dict[str, Callable[[Prose], str]] = {
    "made_statutes": statute, "made_magazines": magazine, "made_reviews": review, "made_news": news, "made_chat": chat,
}  # fmt: skip


def records(genre: str, size: int, seed: int = 1) -> Iterator[dict[str, str]]:
    """Documents of a genre until their texts have `size` bytes; every tenth of them once more, changed a little."""
    prose, written, number = Prose(seed), 0, 0
    while written < size:
        text = GENRES[genre](prose)
        for copy in (text, f"{text}\n{prose.sentence()}")[: 1 + (number % 10 == 9)]:
            yield {"id": f"{genre}-{number}", "text": copy, "source": genre, "license": "CC0-1.0"}
            written += len(copy.encode())
            number += 1
