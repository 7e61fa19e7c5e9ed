"""Judges the language step on a labelled file: `python -m benchmarks.language FILE.jsonl[.zst]`.

Each line has `id`, `lang`, `text` and perhaps `kind`. Prints recall of Korean by kind, what was accepted although it
is labelled otherwise, every difference with its evidence (never the text), and the cost. Text is brought to NFC first,
as in a job.
"""

from __future__ import annotations

import argparse
import collections
import time
import unicodedata
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.schemas.config import Language
from malmungchi.transforms.text.language import Verdicts, classify

_CHUNK_BYTES = 16 << 20


def read(path: str) -> list[dict[str, Any]]:
    """The documents of a labelled file, text in NFC."""
    with pa.input_stream(path, compression="detect") as file:
        documents = [orjson.loads(line) for line in file.read().splitlines() if line.strip()]
    for document in documents:
        document["text"] = unicodedata.normalize("NFC", document["text"])
    return documents


def chunks(documents: list[dict[str, Any]]) -> list[pa.StringArray]:
    """Their texts in columns of about 16 MiB."""
    out: list[list[str]] = [[]]
    size = 0
    for document in documents:
        if size > _CHUNK_BYTES:
            out.append([])
            size = 0
        out[-1].append(document["text"])
        size += len(document["text"].encode())
    return [pa.array(texts, pa.string()) for texts in out]


def judge(documents: list[dict[str, Any]], config: Language) -> tuple[list[dict[str, Any]], float]:
    """One row of verdict and evidence for each document, and the seconds that `classify` took."""
    texts = chunks(documents)
    classify(texts[0].slice(0, 64), config)  # compile, or load from the cache
    started = time.perf_counter()
    found: list[Verdicts] = [classify(column, config) for column in texts]
    seconds = time.perf_counter() - started
    rows = []
    for verdicts in found:
        fields = zip(
            verdicts.language.to_pylist(),
            verdicts.detector.to_pylist(),
            verdicts.score.to_pylist(),
            verdicts.hangul_share.tolist(),
            verdicts.letters.tolist(),
            pc.equal(verdicts.rule, "").to_pylist(),
            strict=True,
        )
        names = ("language", "detector", "score", "hangul_share", "letters", "accepted")
        rows += [dict(zip(names, values, strict=True)) for values in fields]
    return rows, seconds


def main() -> None:
    """Prints the report for each file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    for path in parser.parse_args().files:
        documents = read(path)
        rows, seconds = judge(documents, Language())
        report(path, documents, rows, seconds)


def report(path: str, documents: list[dict[str, Any]], rows: list[dict[str, Any]], seconds: float) -> None:
    """Prints what `judge` found on one file."""
    size = sum(len(document["text"].encode()) for document in documents)
    asked = sum(row["detector"] == "langdetect" for row in rows)
    kinds: dict[str, list[bool]] = collections.defaultdict(list)
    accepted: collections.Counter[str] = collections.Counter()
    others: collections.Counter[str] = collections.Counter()
    differs = []
    for document, row in zip(documents, rows, strict=True):
        label, kind = document["lang"], document.get("kind", "-")
        if label == "ko":
            kinds[kind].append(row["accepted"])
        else:
            others[label] += 1
            accepted[label] += row["accepted"]
        if (label == "ko") != row["accepted"]:
            differs.append((document["id"], label, kind, row))
    print(f"{path}: {len(documents)} documents, {size / 1e6:.1f} MB")
    print(f"  {size / 1e6 / seconds:.0f} MB/s ({seconds / size * 1e9:.2f} ms/MB), langdetect asked for {asked} "
          f"({asked / max(1, len(rows)):.3%})")  # fmt: skip
    for kind, hits in sorted(kinds.items()):
        print(f"  ko {kind:32} {sum(hits):6} of {len(hits):6}  recall {sum(hits) / len(hits):.5f}")
    every = [hit for hits in kinds.values() for hit in hits]
    if every:
        print(f"  ko {'all':32} {sum(every):6} of {len(every):6}  recall {sum(every) / len(every):.5f}")
    print(f"  false accepts: {sum(accepted.values())} of {sum(others.values())}", dict(+accepted))
    named = collections.Counter(
        (d["lang"], r["language"]) for d, r in zip(documents, rows, strict=True) if not r["accepted"]
    )
    print("  seen in what was dropped:", ", ".join(f"{a} as {b} {n}" for (a, b), n in named.most_common(40)))
    for name, label, kind, row in differs:
        score = "" if row["score"] is None else f" score {row['score']:.3f}"
        print(f"  differs: {name} labelled {label} ({kind}): {row['language']} by {row['detector']}{score}, "
              f"Hangul {row['hangul_share']:.3f} of {row['letters']} letters")  # fmt: skip


if __name__ == "__main__":
    main()
