"""Which files a pattern stands for: as in the shell, and never what is no input."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from malmungchi.pipelines.plan.discover import discover
from malmungchi.schemas.config import Input
from malmungchi.transforms.formats.base import InputError

Find = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """Makes files of some names below a folder, and gives the names that a pattern finds there, and what was said."""

    def found(pattern: str, *names: str) -> tuple[list[str], list[str]]:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("{}")
        said: list[str] = []
        return [each.name for each in discover([Input([f"{tmp_path}/{pattern}"])], said.append)], said

    return found


@pytest.mark.parametrize("pattern", ["*.jsonl", "**/*.jsonl", "?*.jsonl", "[.a]*.jsonl"])
def test_wildcards_pass_over_hidden_names(find: Find, pattern: str) -> None:
    found, _ = find(pattern, "a.jsonl", "._a.jsonl", ".hidden.jsonl", ".snapshot/a.jsonl", ".cache/x/b.jsonl")
    assert found == ["a.jsonl"]


def test_a_hidden_name_that_is_written_out_is_found(find: Find) -> None:
    assert find(".[c]*/*.jsonl", ".cache/b.jsonl", "a.jsonl")[0] == [".cache/b.jsonl"]
    assert find(".cache/*.jsonl")[0] == ["b.jsonl"]
    assert find("*/.c.jsonl", "x/.c.jsonl")[0] == ["x/.c.jsonl"]


def test_marks_of_other_programs_are_passed_over_and_said(find: Find) -> None:
    marks = ["_SUCCESS", "part-0.jsonl.crc", "_committed_17", "_metadata", "Thumbs.db"]
    found, said = find("*", "part-0.jsonl", "_mine.jsonl", *marks)
    assert found == ["_mine.jsonl", "part-0.jsonl"]
    assert len(said) == 1
    assert "5 files" in said[0]


def test_a_mark_that_is_written_out_is_found(find: Find) -> None:
    assert find("_metadata", "_metadata")[0] == ["_metadata"]


def release(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    (folder / "manifest.json").write_text(json.dumps({"schema_version": 1, "config_digest": "0"}))


def test_a_release_of_ours_below_a_pattern_is_passed_over_and_said(find: Find, tmp_path: Path) -> None:
    release(tmp_path / "out")
    (tmp_path / "out2" / "_staging" / "plan-0123456789abcdef").mkdir(parents=True)
    (tmp_path / "out2" / "_staging" / "plan.json").write_text("{}")
    (tmp_path / "out2" / "_staging" / "plan-0123456789abcdef" / "x.json").write_text("{}")
    (tmp_path / "out2" / "rejects").mkdir()
    (tmp_path / "out2" / "rejects" / "part.parquet").write_bytes(b"PAR1")
    found, said = find("**/*.*", "a.jsonl", "data/theirs.parquet", "x/manifest.json")
    assert found == ["a.jsonl", "data/theirs.parquet", "x/manifest.json"]
    assert len(said) == 1
    assert "5 files of releases" in said[0]


@pytest.mark.parametrize("pattern", ["out/data/*.parquet", "out/data/train-00000-of-00001.parquet"])
def test_a_release_that_is_named_is_read(find: Find, tmp_path: Path, pattern: str) -> None:
    release(tmp_path / "out")
    found, said = find(pattern)
    assert [name.rpartition("/")[2] for name in found] == ["train-00000-of-00001.parquet"]
    assert said == []


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("pattern", ["자료/보고*.jsonl", "자료/보고서.jsonl", "*/보고서.jsonl", "자료/**/[보]*"])
def test_names_are_compared_in_one_form_of_hangul(find: Find, pattern: str, form: str) -> None:
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    found, _ = find(unicodedata.normalize(other, pattern), unicodedata.normalize(form, "자료/보고서.jsonl"))  # type: ignore[arg-type]
    assert [name.rpartition("/")[2] for name in found] == ["보고서.jsonl"]


def test_braces_are_those_of_the_shell(find: Find) -> None:
    names = ["a.jsonl", "b.parquet", "c.txt", "x/a.jsonl"]
    assert find("*.{jsonl,parquet}", *names)[0] == ["a.jsonl", "b.parquet"]
    assert find("{a,{c,d}}.{jsonl,txt}")[0] == ["a.jsonl", "c.txt"]
    with pytest.raises(InputError, match="no file matches"):
        find("{q,r}.jsonl")


@pytest.mark.parametrize("name", ["a[1].jsonl", "b{x,y}.jsonl", "c d.jsonl", "e?.jsonl", "f#1.jsonl", "g%20.jsonl"])
def test_a_file_of_any_name_is_found_by_its_name(find: Find, name: str) -> None:
    assert find(name, name, "other.jsonl")[0] == [name]


def test_an_address_within_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unpack the archive"):
        discover([Input([f"zip://*.jsonl::{tmp_path}/in.zip"])])


def test_a_folder_that_cannot_be_read_is_no_matter_where_it_is_hidden(find: Find, tmp_path: Path) -> None:
    (tmp_path / ".closed").mkdir(mode=0)
    try:
        assert find("**/*.jsonl", "a.jsonl")[0] == ["a.jsonl"]
    finally:
        os.chmod(tmp_path / ".closed", 0o700)
