"""The JSON lines kernel against the standard library's parser, line by line."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from malmungchi.transforms.kernels import jsonl

NAMES = ["text", "id", "한글", 'q"\n']
LONE = re.compile("[\ud800-\udfff]")
# Strings, and outside of them what stands for null.
NO_NUMBER = re.compile(r'"(?:\\[\s\S]|[^"\\])*"|-?(?:NaN|nan|inf|Infinity)')


def kernel(lines: list[bytes]) -> list[tuple[str, dict[str, tuple[int, str | None]], str]]:
    """(rule, wanted values with their kinds, metadata) of each line, none of which has a line feed in it."""
    blob = b"\n".join(lines) + b"\n"
    data = np.zeros(len(blob) + jsonl.PAD, np.uint8)
    data[: len(blob)] = np.frombuffer(blob, np.uint8)
    starts, ends = np.empty(len(lines) + 1, np.int64), np.empty(len(lines) + 1, np.int64)
    n, behind = jsonl.lines(data, 0, len(blob), starts, ends)
    assert (n, behind) == (len(lines), len(blob))
    for line, start, end in zip(lines, starts, ends, strict=False):
        assert blob[start:end] == line.removesuffix(b"\r")
    names = [name.encode() for name in NAMES]
    codes, errors = np.empty(n, np.uint8), np.empty(n, np.int64)
    kinds, spans = np.empty((n, len(names)), np.uint8), np.zeros((n, len(names), 2), np.int64)
    meta, offsets = np.full(jsonl.room(len(blob)), 255, np.uint8), np.empty(n + 1, np.int32)
    name_bytes = np.frombuffer(b"".join(names), np.uint8).copy()
    name_offsets = np.cumsum([0, *map(len, names)]).astype(np.int64)
    jsonl.scan(data, starts[:n], ends[:n], name_bytes, name_offsets, codes, errors, kinds, spans, meta, offsets)
    columns = [jsonl.extract(data, spans[:, w], kinds[:, w]) for w in range(len(names))]
    for column in columns:
        column.validate(full=True)
    answer = []
    for row in range(n):
        rule = {jsonl.OK: "", jsonl.BLANK: "blank"}.get(codes[row]) if codes[row] < 2 else jsonl.RULES[codes[row]][0]
        assert rule is not None
        assert 0 <= errors[row] <= ends[row] - starts[row]
        values = {name: (int(kinds[row, w]), columns[w][row].as_py()) for w, name in enumerate(NAMES)}
        answer.append((rule, values, meta[offsets[row] : offsets[row + 1]].tobytes().decode()))
    return answer


class Number(str):
    """A number as it was written."""


def _nothing(word: str) -> Any:
    raise ValueError(word)


def _null(match: re.Match[str]) -> str:
    return match[0] if match[0].startswith('"') else "null"


def depth(value: str) -> int:
    """Deepest nesting of a valid JSON text."""
    level = deepest = 0
    for c in re.sub(r'"(\\.|[^"\\])*"', "", value):
        level += (c in "[{") - (c in "]}")
        deepest = max(deepest, level)
    return deepest


def reference(line: bytes) -> tuple[str, dict[str, Any]]:
    """(rule, last value of each name) as the standard library has it."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "not_utf8", {}
    if not text.strip(" \t\r"):
        return "blank", {}
    text = NO_NUMBER.sub(_null, text)
    try:
        value = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_nothing)
    except ValueError:
        return "invalid_json", {}
    if depth(text) > jsonl.MAX_DEPTH:
        return "too_deep", {}
    return ("", value) if isinstance(value, dict) else ("not_object", {})


def plain(value: Any) -> Any:
    """The value with lone surrogates replaced, as the kernel does."""
    if isinstance(value, str):
        return type(value)(LONE.sub("\ufffd", value))
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def check(lines: list[bytes]) -> None:
    for line, (rule, values, metadata) in zip(lines, kernel(lines), strict=True):
        expected, members = reference(line)
        assert rule == expected, line
        rest = dict(members)
        for name, (kind, got) in values.items():
            value = rest.pop(name, None)
            if kind in (jsonl.ABSENT, jsonl.NULL):
                assert value is None
                assert got is None
                assert (kind == jsonl.NULL) == (name in members)
            elif kind in (jsonl.STRING, jsonl.ESCAPED):
                assert not isinstance(value, Number)
                assert got == plain(value)
            elif kind == jsonl.NUMBER:
                assert isinstance(value, Number)
                assert got == value
            elif kind == jsonl.BOOL:
                assert got == json.dumps(value)
            else:
                assert isinstance(value, dict | list)
                assert json.loads(NO_NUMBER.sub(_null, got or ""), parse_int=Number, parse_float=Number) == value
        # Equal after the replacement only: names that differ in lone surrogates may clash then.
        if len({plain(name) for name in rest}) == len(rest):
            read = json.loads(metadata or "{}", parse_int=Number, parse_float=Number, parse_constant=_nothing)
            assert list(read.items()) == list(plain(rest).items()) or read == plain(rest)
        assert not LONE.search(json.dumps(metadata, ensure_ascii=False))


characters = st.one_of(
    st.characters(codec="utf-8"),
    st.sampled_from('한글 ㅋㅋ😀\n\t\\"/\x00\x7f\u2028'),
    st.characters(categories=["Cs"]),
)
strings = st.one_of(st.text(characters, max_size=80), st.sampled_from([*NAMES, "", "a" * 31, "가" * 40]))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), strings)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(strings, inner, max_size=4))


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    """A JSON text as some program would write it: mostly objects, with blanks, escapes, names given twice."""
    blank = draw(st.sampled_from(["", " ", "\t", " \r "]))
    ascii_only = draw(st.booleans())

    def dump(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=ascii_only, separators=(blank + "," + blank, ":" + blank))
        return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04X}", text)

    if draw(st.integers(0, 9)) == 0:
        return (blank + dump(draw(values)) + blank).encode()
    members = draw(st.lists(st.tuples(strings, values), max_size=6))
    return ("{" + blank + ("," + blank).join(f"{dump(k)}{blank}:{dump(v)}{blank}" for k, v in members) + "}").encode()


@given(st.lists(json_lines(), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_json_that_others_write_is_read(lines: list[bytes]) -> None:
    check(lines)


@given(st.lists(json_lines(), min_size=1, max_size=5), st.data())
@settings(max_examples=200, deadline=None)
def test_mutated_json_is_judged_alike(lines: list[bytes], data: st.DataObject) -> None:
    mutated = []
    for line in lines:
        at = data.draw(st.integers(0, len(line)))
        cut = data.draw(st.integers(0, 4))
        new = data.draw(
            st.one_of(
                st.binary(max_size=3),
                st.sampled_from(
                    [
                        b'"',
                        b"\\",
                        b"{",
                        b"}",
                        b"[",
                        b"]",
                        b",",
                        b":",
                        b"0",
                        b"-",
                        b".",
                        b"e",
                        b"tru",
                        b"NaN",
                        b"-inf",
                        b"\\ud83d",
                    ]
                ),
            )
        )
        mutated.append((line[:at] + new + line[at + cut :]).replace(b"\n", b" "))
    check(mutated)


@given(st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=4))
@example(
    [
        b"\xed\xa0\x80",
        b"\xe0\x9f\xbf",
        b"\xf4\x90\x80\x80",
        b"\xc1\x81",
        b"\xf0\x8f\xbf\xbf",
        b"\xea\xb0",
        b"\xff",
    ]
)
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_judged_alike(lines: list[bytes]) -> None:
    check(lines)
    check([b'{"text":"' + line + b'"}' for line in lines])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"  ",
        b"\r",
        b"{}",
        b"[]",
        b"null",
        b'"text"',
        b"0",
        b"-0",
        b"01",
        b"-",
        b"1.",
        b"1.e5",
        b"1e",
        b"1E+09",
        b'{"text":NaN}',
        b'{"text":Infinity}',
        b'{"text":-Infinity}',
        b'{"id":nan,"text":"NaN","a":-nan,"b":[inf,-inf,{"c":Infinity}],"d":"\\"inf, NaN"}',
        b'{"a":[' + b",".join([b"NaN"] * 3000) + b"]}",
        b'{"a":Infinit}',
        b'{"a":-Inf}',
        b'{"a":NaNa}',
        b'{"a":na}',
        b'{"a":"\\ud800","b":["\\ud800",NaN,"inf"]}',
        b'{"text":+1}',
        b'{"text":.5}',
        b'{"text":0x1}',
        b'{"text":"a","text":"b"}',
        b'{"text":"a","text":null}',
        b'{"a":1,"a":2}',
        b'{"text":"a",}',
        b"[1,]",
        b"{,}",
        b'{"text" "a"}',
        b'{"text"',
        b'{"text":',
        b'{"text":"',
        b'{"text":"\\',
        b'{"text":"\\u12',
        b'{"text":"a"',
        b'{"text":"\\x"}',
        b'{"text":"\\u12g4"}',
        b'{"text":"a\tb"}',
        b'{"text":"a"}{"text":"b"}',
        b"{} x",
        b'{"text":"a"}\r{"text":"b"}',
        b'{"a":"\x7f"}',
        b"{'text':'a'}",
        b"nul",
        b"truefalse",
        b'{"a":tru}',
        b"[}",
        b"{]",
        b'{"t\\u0065xt":"a"}',
        b'{"\\ud55c\\uae00":1}',
        b'{"q\\"\\n":"\\u0000"}',
        b'{"text":"\\ud83d\\ude00\\ud83d"}',
        b'{"a":"\\\\ud83d \\ud83d \\\\","b":["\\udc00\\ud800"]}',
        b'{"text":{"a":[]},"b":{},"c":[[],{}]}',
        b'{"":""}',
        b"[" * 512 + b"]" * 512,
        b"[" * 513 + b"]" * 513,
        b'{"text":"' + "가".encode() * 1000 + b'"}',
        b"{" + b",".join(b'"k%d":%d' % (i, i) for i in range(1000)) + b"}",
    ],
)
def test_by_hand(line: bytes) -> None:
    check([line])
    check([line, b'{"text":"behind it"}'])


def test_depth_is_limited() -> None:
    deep = [
        b'{"a":' * 512 + b"1" + b"}" * 512,
        b'{"a":' * 513 + b"1" + b"}" * 513,
        b"[" * 600,
        b"[" * 10_000_000,
    ]
    answer = kernel(deep)
    assert [rule for rule, _, _ in answer] == ["", "too_deep", "too_deep", "too_deep"]
    assert answer[0][2].encode() == deep[0]


def test_every_run_length_around_the_vector() -> None:
    check(
        [
            b'{"text":"' + b"a" * n + escape + "나".encode() * m + b'","x":"' + b"b" * n + b'"}'
            for n in range(70)
            for m in (0, 1, 11)
            for escape in (b"", b"\\n", b"\\u00e9", b"\\ud83d\\ude00")
        ]
    )


def test_lines_stop_where_there_is_no_room() -> None:
    data = np.zeros(20 + jsonl.PAD, np.uint8)
    data[:9] = np.frombuffer(b"a\r\n\nb\nc\n\r", np.uint8)
    starts, ends = np.empty(2, np.int64), np.empty(2, np.int64)
    assert jsonl.lines(data, 0, 9, starts, ends) == (2, 4)
    assert (starts.tolist(), ends.tolist()) == ([0, 3], [1, 3])
    assert jsonl.lines(data, 4, 9, starts, ends) == (2, 8)
    assert jsonl.lines(data, 8, 9, starts, ends) == (0, 8)
