"""Writes the sample files from texts.yaml: `python samples/make.py [FOLDER]`. The same texts give the same files."""

from __future__ import annotations

import csv
import datetime
import io
import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

HERE = Path(__file__).parent


def documents() -> list[dict[str, Any]]:
    """All documents in the order of texts.yaml: id, file, fate, text, source, url, license, date.

    A document that `revises` another has its text with `replace` applied and `append` behind it.
    """
    texts: dict[str, str] = {}
    found = []
    for entry in yaml.safe_load((HERE / "texts.yaml").read_text(encoding="utf-8")):
        text = entry.get("text") or texts[entry["revises"]]
        for old, new in entry.get("replace", {}).items():
            if old not in text:
                raise ValueError(f"{entry['id']}: nothing to replace: {old!r}")
            text = text.replace(old, new)
        texts[entry["id"]] = text = text + entry.get("append", "")
        found.append(
            {
                "id": entry["id"],
                "file": entry["file"],
                "fate": entry["fate"],
                "text": unicodedata.normalize(entry.get("form", "NFC"), text),
                "source": entry["source"],
                "url": f"https://example.org/{entry['id']}",
                "license": "CC0-1.0",
                "date": entry["date"].isoformat(),
            }
        )
    return found


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def write(folder: Path) -> None:
    """Writes notes.jsonl, articles.jsonl.zst, letters.parquet, essay.txt and proverbs.csv to `folder`."""
    of: dict[str, list[dict[str, Any]]] = {"notes": [], "articles": [], "letters": [], "essay": [], "proverbs": []}
    for document in documents():
        file = of[document.pop("file")]
        del document["fate"]
        file.append(document)

    # Two lines that are no documents, as they turn up in real files: one breaks off, one has lost its text.
    notes = [_line(document) for document in of["notes"]]
    notes.insert(7, b'{"id": "broken-line", "text": "\xec\x97\xac\xea\xb8\xb0\xec\x84\x9c \xeb\x81\x8a\n')
    notes.insert(20, _line({"id": "no-text", "source": "메모", "date": "2023-01-31"}))
    (folder / "notes.jsonl").write_bytes(b"".join(notes))

    # The same fields under other names, and two fields of its own.
    names = {"text": "content", "url": "link", "license": "licence", "date": "published"}
    with pa.CompressedOutputStream(str(folder / "articles.jsonl.zst"), "zstd") as file:
        for document in of["articles"]:
            title = document["text"].strip().splitlines()[0].lstrip("# ")
            record = {names.get(key, key): value for key, value in document.items()}
            file.write(_line({**record, "title": title, "section": document["source"]}))

    # A column store says its types: the date is one here, and the text is called body.
    letters = [{"body": document.pop("text"), **document} for document in of["letters"]]
    for letter in letters:
        letter["date"] = datetime.date.fromisoformat(letter["date"])
    pq.write_table(pa.Table.from_pylist(letters), folder / "letters.parquet", compression="zstd", row_group_size=6)

    (folder / "essay.txt").write_text(of["essay"][0]["text"], encoding="utf-8", newline="\n")

    # As a spreadsheet saves it: a mark at the start, lines that end in CR LF, texts over several lines in quotes. One
    # row has a cell too many, as happens where somebody forgot the quotes.
    table = io.StringIO()
    writer = csv.DictWriter(table, ["id", "text", "source", "url", "license", "date"], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(of["proverbs"])
    table.write("no-quotes,가는 말이 고와야, 오는 말이 곱다,속담풀이,,CC0-1.0,2024-06-06\r\n")
    (folder / "proverbs.csv").write_bytes(b"\xef\xbb\xbf" + table.getvalue().encode())


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
