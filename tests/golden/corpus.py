"""The golden corpus: documents in many languages, duplicates and broken rows, in every format, from one seed."""

from __future__ import annotations

import bz2
import datetime
import gzip
import json
import lzma
import random
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from tests.support import corpus

_FOREIGN = {
    "ja": "きょうは とても いい てんき なので みんなで こうえんに いきました カメラ を もって",
    "zh": "今天 天气 很好 我们 一起 去 公园 看 花 这里 没有 什么 问题",
    "ru": "сегодня хорошая погода и мы пошли в парк вместе с друзьями",
    "ar": "ذهبنا اليوم إلى الحديقة مع الأصدقاء وكان الطقس جميلا",
    "en": "today the weather was fine and we went to the park together with friends",
}
_HANJA = "國家建設 民族文化 學生運動 歷史記錄 社會發展 經濟政策".split()
_ENDINGS = "의 를 을 에서 하고 한다 하며 이다".split()


def _foreign(source: random.Random) -> str:
    words = _FOREIGN[source.choice(sorted(_FOREIGN))].split()
    return " ".join(source.choice(words) for _ in range(80))


def _mixed(source: random.Random) -> str:
    """Korean prose around code and English terms."""
    code = "\n".join(f"    result_{n} = compute(values[{n}], key={source.randrange(99)})" for n in range(12))
    return f"{corpus.text(source, 6)}\n\n```python\n{code}\n```\n\nAPI gateway: {corpus.text(source, 3)}"


def _hanja(source: random.Random) -> str:
    return " ".join(source.choice(_HANJA) + source.choice(_ENDINGS) for _ in range(60))


def _body(source: random.Random, number: int, earlier: list[str]) -> str:
    """One text. Some repeat an earlier one with other spacing, form or case, some change a line of it."""
    if len(earlier) > 20 and number % 9 == 0:
        old = source.choice(earlier[:20])
        return source.choice([old.replace(" ", "  "), unicodedata.normalize("NFD", old), old.replace("\n", "\r\n")])
    if len(earlier) > 20 and number % 7 == 0:
        lines = source.choice(earlier[:20]).split("\n")
        return "\n".join([*lines[:-1], corpus.sentence(source)])
    if number % 11 == 0:
        return _foreign(source)
    if number % 13 == 0:
        return _mixed(source)
    if number % 17 == 0:
        return _hanja(source)
    return corpus.text(source, source.choice([1, 4, 12, 30]))


def _rows(source: random.Random, count: int, earlier: list[str]) -> list[dict[str, Any]]:
    found = []
    for number in range(count):
        body = _body(source, number, earlier)
        earlier.append(body)
        row: dict[str, Any] = {
            "id": f"doc-{len(earlier):05d}",
            "text": body,
            "source": f"source-{number % 4}",
            "license": source.choice(["CC0-1.0", "KOGL-1", None]),
            "url": f"https://example.org/{len(earlier)}",
            "date": source.choice(["2024-05-01", "2023-11-02T10:20:30+09:00", "어느 봄날", 1700000000]),
            "score": source.randrange(100),
            "tags": ["하나", "둘"][: number % 3],
        }
        found.append({key: value for key, value in row.items() if source.random() > 0.03 or key == "text"})
    return found


def _lines(rows: list[dict[str, Any]], source: random.Random) -> bytes:
    """JSON lines, some of which are no documents: torn, without a text, of another type, empty, not UTF-8, blank."""
    lines = [json.dumps(row, ensure_ascii=source.random() < 0.1).encode() for row in rows]
    bad = [b'{"id": "torn", "text": "\xec\x97\xac', b'{"id": "no-text"}', b'{"text": ["a", "b"]}', b'{"text": ""}',
           b'{"text": "\xff\xfe"}', b"", b"[1, 2]", b'{"text": "\\ud800 lone"}', b"{}"]  # fmt: skip
    for line in bad:
        lines.insert(source.randrange(len(lines)), line)
    return b"\n".join(lines)


def write(folder: Path) -> None:
    """Writes the corpus; the same files each time, save for what compressors make of them."""
    source, earlier = random.Random(20261126), list[str]()
    folder.mkdir(parents=True, exist_ok=True)
    plain = _lines(_rows(source, 500, earlier), source)
    (folder / "a-plain.jsonl").write_bytes(b"\xef\xbb\xbf" + plain)
    for name, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        (folder / f"b-{name}.jsonl.{name}").write_bytes(pack(_lines(_rows(source, 120, earlier), source)))
    packed = zstandard.ZstdCompressor().compress(_lines(_rows(source, 400, earlier), source))
    (folder / "c-zst.jsonl.zst").write_bytes(packed)
    whole = gzip.compress(_lines(_rows(source, 150, earlier), source), mtime=0)
    (folder / "d-torn.jsonl.gz").write_bytes(whole[: len(whole) * 2 // 3])
    rows = [{**row, "date": None} for row in _rows(source, 300, earlier)]
    for row in rows:
        row["written"] = datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=source.randrange(9000))
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.rename_columns(["body" if n == "text" else n for n in table.column_names]),
                   folder / "e-table.parquet", row_group_size=64)  # fmt: skip
    (folder / "f-essay.txt").write_text(corpus.text(source, 60), encoding="utf-8")
    (folder / "g-bad.txt").write_bytes("깨진 글".encode("cp949"))
