"""What a rare thing costs: each step on documents of plain prose, and on the same with something unusual in them.

    python -m benchmarks.rare

Each kind of character stands in the prose once a document, once a line, after each word, or alone. Printed are
milliseconds a MB of input for each step, and the ratio of their sum to that of plain prose.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import pyarrow as pa

from benchmarks.prose import Prose
from malmungchi.schemas.config import Fingerprint, Language, Normalize
from malmungchi.transforms.dedup.fingerprint import fingerprint
from malmungchi.transforms.text.language import classify
from malmungchi.transforms.text.normalize import normalize_text
from tests.support.chunks import chunk_of

MB = 1e6
SIZE = 2_000_000  # bytes of each text that is measured
DOCUMENT = 20  # lines

# One of each class that NFC, a rule of the normalization, the language gate or a fold looks at.
KINDS = {
    "compatibility ideograph": "\uf90a",
    "ideograph of plane 2": "\U0002f800",
    "ideograph that grows": "\ufacf",
    "NFD syllable": "\u1112\u1161\u11ab",
    "old Hangul": "\u1112\u119e\u11ab",
    "combining Latin": "e\u0301",
    "combining, does not compose": "x\u0302",
    "two marks out of order": "a\u0301\u0323",
    "a hundred marks": "a" + "\u0301\u0323" * 50,
    "composition exclusion": "\u0958",
    "symbol that is a letter": "\u2126",
    "private use": "\ue0bc",
    "half-width jamo": "\uffbe",
    "dot between words": "ㆍ",
    "zero-width space": "\u200b",
    "emoji with joiner": "👨\u200d👩",
    "Hanja": "漢",
    "kana": "の",
    "sharp s": "ß",
    "Latin with accent": "é",
    "no-break space": "\u00a0",
    "tag": "<br>",
    "bracket": "](",
    "fence": "\n```\n",
    "dollar": "$",
    "English": " the quick brown fox",
}


def documents(unit: str, often: str) -> pa.StringArray:
    """About SIZE bytes of prose with `unit` in it `often`."""
    prose, texts, size = Prose(1), [], 0
    while size < SIZE:
        lines = [prose.sentence() for _ in range(DOCUMENT)]
        if often == "alone":
            lines = [unit * (len(line.encode()) // len(unit.encode())) for line in lines]
        elif often == "word":
            lines = [" ".join(word + unit for word in line.split()) for line in lines]
        elif often == "line":
            lines = [f"{line} {unit}" for line in lines]
        elif often == "document":
            lines[DOCUMENT // 2] += unit
        texts.append("\n".join(lines))
        size += len(texts[-1].encode())
    return pa.array(texts, pa.string())


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds, the least of three."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def cost(text: pa.StringArray) -> dict[str, float]:
    """ms a MB of input by step."""
    size = sum(len(value.encode()) for value in text.to_pylist()) / MB
    clean = normalize_text(text, Normalize())
    chunk = chunk_of([value or "-" for value in clean.to_pylist()])
    found = {
        "normalize": seconds(lambda: normalize_text(text, Normalize())),
        "language": seconds(lambda: classify(clean, Language())),
        "fingerprint": seconds(lambda: fingerprint(chunk, Fingerprint())),
    }
    return {name: 1000 * value / size for name, value in found.items()}


def main() -> None:
    """Prints a table, the dearest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    cost(documents("\u0301", "line"))  # kernels are loaded
    plain = cost(documents("", "never"))
    rows = [(f"{kind}, {often}", cost(documents(unit, often)))
            for kind, unit in KINDS.items() for often in ("document", "line", "word", "alone")]  # fmt: skip
    ratio = {name: sum(figures.values()) / sum(plain.values()) for name, figures in rows}
    print(f"{'':<42}{'normalize':>12}{'language':>12}{'fingerprint':>12}{'all':>8}{'ratio':>8}")
    for name, figures in [("plain prose", plain), *sorted(rows, key=lambda row: -ratio[row[0]])]:
        values = "".join(f"{value:12.2f}" for value in figures.values())
        print(f"{name:<42}{values}{sum(figures.values()):8.2f}{ratio.get(name, 1):8.2f}")


if __name__ == "__main__":
    main()
