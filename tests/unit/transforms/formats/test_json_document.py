"""Documents that are not JSON lines are told before the work, with a command that makes lines of them."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.schemas.config import Config
from malmungchi.transforms.formats.base import InputError
from malmungchi.transforms.formats.json_document import kind_of

TEXTS = ["첫째 글이다. } {\n둘째 줄 `$HOME` \"말\" 'x'", "둘째 글이다. [1] \\ ", "셋째"]
ROWS: list[dict[str, Any]] = [{"id": f"가{n}", "text": text, "n": {"a": [n]}} for n, text in enumerate(TEXTS)]
COLUMNS = {name: {str(n): row[name] for n, row in enumerate(ROWS)} for name in ROWS[0]}
FIELDS = [{"name": "index", "type": "integer"}, {"name": "text", "type": "string"}]
SPLIT = {"columns": list(ROWS[0]), "index": [0, 1, 2], "data": [list(row.values()) for row in ROWS]}
TABLE = {"schema": {"fields": FIELDS, "pandas_version": "1.4.0"}, "data": ROWS}
DOCUMENTS: dict[str, Any] = {
    "columns": COLUMNS,
    "index": {str(n): row for n, row in enumerate(ROWS)},
    "split": SPLIT,
    "table": TABLE,
    "array": ROWS,
    "wrapped": {"version": 1, "info": {"a": 1}, "documents": ROWS},
    "series": {name: [row[name] for row in ROWS] for name in ROWS[0]},
}
WRITTEN = {
    **{name: json.dumps(document, ensure_ascii=False) for name, document in DOCUMENTS.items()},
    **{f"pretty {name}": json.dumps(document, indent=2) for name, document in DOCUMENTS.items()},
    "one element": "[\n" + json.dumps(ROWS[0]) + "\n]",
    "commas first": "[\n" + "\n,".join(json.dumps(row) for row in ROWS) + "\n]",
    "commas between": "[\n" + "\n,\n".join(json.dumps(row) for row in ROWS) + "\n]",
    "array by lines": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    "pretty": "\n".join(json.dumps(row, indent=4, ensure_ascii=False) for row in ROWS) + "\n",
    "lines of old Macs": "\r".join(map(json.dumps, ROWS)),
    "one behind the other": "".join(map(json.dumps, ROWS)),
    "with a byte order mark": "\ufeff" + json.dumps(ROWS, indent=1),
}


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as error:
        make_plan([str(path)], Config())
    return str(error.value)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_advice_makes_lines_of_a_document(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a table's.jsonl"
    path.write_text(WRITTEN[name], encoding="utf-8")
    said = refusal(path)
    assert "a JSON document, not JSON lines" in said
    command = re.search(r"`(.*)` makes lines of it; then say --input (.*)$", said)
    assert command is not None
    subprocess.run(["sh", "-c", command[1]], check=True)
    lines = tmp_path / "a table's-lines.jsonl"
    assert [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()] == (
        ROWS[:1] if name == "one element" else ROWS
    )
    assert make_plan([str(lines)], Config()).files[0].columns.text == "text"


def test_the_advice_for_rows_without_names_and_for_packed_ones(tmp_path: Path) -> None:
    path = tmp_path / "values.json.gz"
    path.write_bytes(gzip.compress(json.dumps(SPLIT["data"]).encode()))
    command = re.search(r"`(.*)` makes", refusal(path))
    assert command is not None
    subprocess.run(["sh", "-c", command[1]], check=True)
    rows = [json.loads(line) for line in (tmp_path / "values-lines.jsonl").read_text().splitlines()]
    assert [row["1"] for row in rows] == TEXTS


def test_what_is_told_of_hostile_bytes_takes_no_time() -> None:
    for piece in (b'\\"', b"[", b'{"a":', b'"', b'"a",', b"{}"):
        for start in (b"", b"{", b"["):
            kind_of(start + piece * (65536 // len(piece)), 0)


@pytest.mark.parametrize(
    "lines",
    [
        '{"text":"하나","meta":{"a":1}}\n',
        '{"text":"하나","parts":[{"a":1}]}',
        '{"text":["하나","둘"]}\n',
        '{"text":"하나"}\n{"meta":{"a":{"b":1}}}\n',
        '{"text":"끊긴\n{"text":"하나"}\n',
        '{"text":"끊긴',
        "[1]\n" + '{"text":"하나"}\n' * 2,
        '{"text":"하나"}{"text":"둘"}\n{"text":"셋"}\n{"text":"넷"}\n',
        "\n\n",
        "",
        "{}\n{}\n",
        '{"text":"하나"} und so weiter\n',
        '{"text":"하나\n"noch etwas"\n{"text":"둘"}\n{"text":"셋"}\n',
    ],
)
def test_lines_are_read_as_such(tmp_path: Path, lines: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(lines, encoding="utf-8")
    assert make_plan([str(path)], Config()).files[0].columns.text == "text"
