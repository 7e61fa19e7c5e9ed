"""What payloads say besides their texts comes where it belongs, and extractors have the settings of their input."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from malmungchi.schemas.config import Config, Input
from malmungchi.schemas.document import DOCUMENT
from malmungchi.schemas.settings import Section, setting
from malmungchi.transforms.extract import base
from malmungchi.transforms.extract.base import Extracted, Hints, UnreadableError
from malmungchi.transforms.extract.step import ExtractStep
from malmungchi.transforms.formats.rows import payloads


@dataclasses.dataclass(frozen=True)
class Notes(Section, name="notes"):
    """Settings of an extractor."""

    mark: str = setting("-", "what stands before a note")


class Note:
    """A payload is JSON with what there is to say of it."""

    name: ClassVar[str] = "note"
    media_types: ClassVar[tuple[str, ...]] = ("text/x-note",)
    settings: ClassVar[type[Notes]] = Notes

    def extract(self, payload: bytes, hints: Hints, settings: Notes) -> Extracted:
        said: dict[str, Any] = json.loads(payload)
        if "broken" in said:
            raise UnreadableError("torn", said["broken"])
        return Extracted(settings.mark + said.pop("text"), said.pop("metadata", {}), **said)


@pytest.fixture(autouse=True)
def notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("malmungchi.transforms.extract.step.base.of", lambda _: Note())


def batch(*rows: dict[str, Any], input: int = -1) -> pa.RecordBatch:
    full = [
        {"ordinal": n, "id": f"{n}", "file": "f", "row": n, **row, "text": json.dumps(row["text"])}
        for n, row in enumerate(rows)
    ]
    return payloads(pa.RecordBatch.from_pylist(full, schema=DOCUMENT), "text/x-note", input=input)


def columns(rows: pa.RecordBatch, config: Config | None = None) -> dict[str, list[Any]]:
    found = ExtractStep()(rows, config or Config()).columns
    return {name: column.to_pylist() for name, column in found.items()}


def test_what_a_payload_says_fills_columns_that_are_empty() -> None:
    said = {"text": "글", "license": "CC-BY-4.0", "published_at": "2024-03-05T08:12:00+09:00", "url": "http://a/1"}
    found = columns(batch({"text": said}))
    assert found["text"] == ["-글"]
    assert found["license"] == ["CC-BY-4.0"]
    assert found["url"] == ["http://a/1"]
    assert found["published_at"][0].isoformat() == "2024-03-04T23:12:00+00:00"
    assert found["payload"] == [None]
    assert "metadata" not in found


def test_what_has_no_place_in_its_column_is_kept_in_the_metadata() -> None:
    said = {"text": "글", "license": "CC-BY-4.0", "published_at": "봄", "metadata": {"title": "제목", "author": ""}}
    row = {"text": said, "license": "KOGL-1", "metadata": '{"title":"다른 제목","n":1.0}'}
    found = columns(batch(row, {"text": {"text": "둘", "license": "KOGL-1"}, "license": "KOGL-1"}))
    assert found["license"] == ["KOGL-1", "KOGL-1"]
    assert found["published_at"] == [None, None]
    assert found["metadata"] == ['{"title":"다른 제목","n":1.0,"license":"CC-BY-4.0","published_at":"봄"}', None]


def test_members_of_rows_without_metadata() -> None:
    found = columns(batch({"text": {"text": "글", "metadata": {"title": "제\ud800목"}}}, {"text": {"text": "둘"}}))
    assert found["metadata"] == ['{"title":"제?목"}', None]
    assert columns(batch({"text": {"text": "글", "metadata": {"a": "b"}}, "metadata": "{}"}))["metadata"] == [
        '{"a":"b"}'
    ]


def test_a_reject_has_the_rule_and_the_cause_that_the_extractor_gives() -> None:
    outcome = ExtractStep()(batch({"text": {"text": "글"}}, {"text": {"broken": "in two"}}), Config())
    assert outcome.drops is not None
    assert outcome.drops.rows.tolist() == [False, True]
    rule, value = pa.array(outcome.drops.rule).to_pylist(), pa.array(outcome.drops.value).to_pylist()
    assert (rule[1], value[1]) == ("torn", "in two")


def test_an_extractor_has_the_settings_of_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("malmungchi.schemas.config._BROUGHT", {"notes": Notes})
    config = Config(
        brought={"notes": Notes(mark="+")}, inputs=[Input(["a"]), Input(["b"], settings={"notes": {"mark": "!"}})]
    )
    texts = [columns(batch({"text": {"text": "글"}}, input=number), config)["text"] for number in (-1, 0, 1)]
    assert texts == [["+글"], ["+글"], ["!글"]]


def test_all_extractors_are_loaded_with_their_settings() -> None:
    assert {each.name for each in base.extractors()} >= {"html"}
