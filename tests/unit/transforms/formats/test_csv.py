"""CSV and TSV: every row is a document or a reject that names its line, however the file is written."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.schemas.config import Config, Read, from_mapping
from malmungchi.schemas.settings import ConfigError
from malmungchi.schemas.work import Columns
from malmungchi.transforms.formats import base
from malmungchi.transforms.formats.base import InputError
from malmungchi.transforms.formats.read import read_item
from malmungchi.transforms.formats.split import cut, stripes
from malmungchi.transforms.io.decompress import BrokenError
from tests.support.reading import columns_of, parts_of, source_of

ROLES = Columns("text", "id")


def rows_of(
    data: bytes, target: int = 1 << 20, read: Read | None = None, columns: Columns = ROLES
) -> tuple[list[Any], list[Any]]:
    """(documents, rejects) of a file."""
    found = parts_of(source_of(data, "csv", read=read, columns=columns), target)
    return [row for good, _ in found for row in good.to_pylist()], [row for _, bad in found for row in bad.to_pylist()]


def reasons(rejects: list[Any]) -> list[tuple[int, str, str]]:
    return [(row["row"], row["rule"], row["value"]) for row in rejects]


def test_a_row_in_full() -> None:
    good, bad = rows_of('id,text,score\na-1,"첫 줄\n둘째 줄, ""인용""",3\na-2,글,\n'.encode())
    assert bad == []
    assert [(row["id"], row["text"], row["row"], row["metadata"]) for row in good] == [
        ("a-1", '첫 줄\n둘째 줄, "인용"', 1, '{"score":"3"}'),
        ("a-2", "글", 2, None),
    ]


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"\xef\xbb\xbfid,text\n1,a\n", ["id", "text"]),
        (b"sep=;\nid;text\n1;a,b\n", ["id", "text"]),
        (b"\xef\xbb\xbfsep=;\r\nid;text\r\n1;a\r\n", ["id", "text"]),
        (b"id\ttext\n1\ta,b\n", ["id", "text"]),
        (b'"a;b",text\n', ["a;b", "text"]),
        (b"id|text\n", ["id", "text"]),
        (b" id , text \n", ["id", "text"]),
        (b"text,text,text\n", ["text", "text (2)", "text (3)"]),
        (b"", []),
    ],
)
def test_the_header_and_the_delimiter_are_seen(data: bytes, names: list[str]) -> None:
    assert columns_of(data, "csv") == names


def test_what_is_no_row_is_a_reject_that_names_its_line() -> None:
    data = "id,text\n1,하나\n2,둘,셋\n\n3\n4,넷\n".encode()
    good, bad = rows_of(data)
    assert [row["id"] for row in good] == ["1", "4"]
    assert reasons(bad) == [
        (2, "ragged_row", "line 3: 3 columns, the header has 2"),
        (3, "ragged_row", "line 5: 1 columns, the header has 2"),
    ]
    assert [row["threshold"] for row in bad] == ["2", "2"]


def test_bytes_that_are_not_utf8_cost_their_row() -> None:
    good, bad = rows_of("id,text\n1,하나\n2,".encode() + "둘".encode("cp949") + "\n3,셋\n".encode())
    assert [row["id"] for row in good] == ["1", "3"]
    assert reasons(bad) == [(2, "not_utf8", "not valid UTF-8")]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b""])
def test_a_line_that_is_too_long_costs_itself(ending: bytes) -> None:
    good, bad = rows_of(b"id,text\n1,a\n2," + b"x" * 5000 + ending + (b"3,c\n" if ending else b""),
                        read=Read(max_line_bytes=1024))  # fmt: skip
    assert [row["id"] for row in good] == (["1", "3"] if ending else ["1"])
    assert [rule for _, rule, _ in reasons(bad)] == ["too_long"]


def test_a_file_that_breaks_off_keeps_what_is_before() -> None:
    whole = gzip.compress(b"id,text\n" + b"".join(f"{n},문서 {n}\n".encode() for n in range(50_000)))
    source = source_of(whole[: len(whole) // 2], "csv", "gzip", columns=ROLES)
    parts = parts_of(source, 1 << 16)
    rejects = [row for _, bad in parts for row in bad.to_pylist()]
    rows = sum(good.num_rows for good, _ in parts)
    assert 1000 < rows < 50_000
    assert [(row["row"], row["rule"]) for row in rejects if row["rule"] != "ragged_row"] == [(rows + 1, "truncated")]


def test_a_quote_that_is_never_closed_costs_what_it_takes_in() -> None:
    good, bad = rows_of(b'id,text\n1,a\n2,"open\n3,c\n4,d\n')
    assert [row["id"] for row in good] == ["1", "2"]
    assert good[1]["text"] == "open\n3,c\n4,d\n"
    assert bad == []


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)


@given(
    st.lists(st.tuples(cells, cells, cells), max_size=30), st.sampled_from([",", "\t", ";", "|"]), st.integers(3, 200)
)
def test_what_a_writer_of_csv_writes_is_read(rows: list[tuple[str, str, str]], delimiter: str, target: int) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(["id", "text", "more"])
    writer.writerows(rows)
    good, bad = rows_of(out.getvalue().encode(), target)
    told = {row["row"]: row["text"] for row in good} | {row["row"]: row["rule"] for row in bad}
    assert told == {n: text or "no_text" for n, (_, text, _) in enumerate(rows, 1)}
    for row in good:
        more = rows[row["row"] - 1][2]
        assert json.loads(row["metadata"] or "{}") == ({"more": more} if more else {})


def test_without_a_header_columns_have_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,글\n2,말\n", encoding="utf-8")
    config = from_mapping({"csv": {"header": False}, "read": {"text": "column_2", "id": "column_1"}})
    plan = make_plan([str(tmp_path / "a.csv")], config)
    (item,) = cut(plan.files[0], plan.config, 1 << 20).items
    (chunk,) = read_item(item, plan.config, 1 << 20)
    assert chunk.rows["id"].to_pylist() == ["1", "2"]
    assert chunk.rows["text"].to_pylist() == ["글", "말"]


def test_stripes_are_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\n" + "".join(f'{n},"문서\n{n}"\n' for n in range(3000)), encoding="utf-8")
    plan = make_plan([str(path)], Config())
    (item,) = cut(plan.files[0], plan.config, 4096).items
    whole = [row for chunk in read_item(item, plan.config, 4096) for row in chunk.rows.to_pylist()]
    parts = stripes(item, 4096, 3)
    assert len(parts) == 3
    chunks = [chunk for part in parts for chunk in read_item(part, plan.config, 4096)]
    chunks.sort(key=lambda chunk: chunk.sequence)
    assert [row for chunk in chunks for row in chunk.rows.to_pylist()] == whole
    assert sum(chunk.last for chunk in chunks) == 1
    assert len(whole) == 3000


def test_a_break_is_an_error_that_names_the_row_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"id,text\n" + b"1,a\n" * 90_000)[:-20])
    config = Config(read=Read(strict=True))
    plan = make_plan([str(path)], config)
    (item,) = cut(plan.files[0], plan.config, 1 << 16).items
    with pytest.raises(BrokenError, match=r"truncated: a\.csv\.gz, row \d+: the gzip data ends"):
        list(read_item(item, plan.config, 1 << 16))


def test_a_first_row_without_names_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",,\n1,2,3\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.csv: the first row names no column; set csv\.header to false"):
        make_plan([str(tmp_path / "a.csv")], Config())


@pytest.mark.parametrize(
    ("values", "message"), [({"delimiter": ",,"}, "one character, or tab"), ({"quote": ""}, "one")]
)
def test_settings_have_bounds(values: dict[str, str], message: str) -> None:
    base.load_settings()
    with pytest.raises(ConfigError, match=message):
        from_mapping({"csv": values})
