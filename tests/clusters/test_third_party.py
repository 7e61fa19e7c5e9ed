"""A format of somebody else's package: installed beside ours, it is there with its settings."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from tests.support.elsewhere import Environment, pack

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "paragraphs"
version = "1.0"

[project.entry-points."malmungchi.formats"]
paragraphs = "paragraphs:Paragraphs"

[tool.setuptools]
py-modules = ["paragraphs"]
"""

MODULE = '''
import dataclasses

import pyarrow as pa

from malmungchi.schemas.settings import Section, setting
from malmungchi.transforms.formats.base import Base
from malmungchi.transforms.formats.table import Table


@dataclasses.dataclass(frozen=True)
class Settings(Section, name="paragraphs"):
    """Paragraphs as documents."""

    mark: str = setting("%%", "the line between two paragraphs")


class Paragraphs(Base):
    name = "paragraphs"
    extensions = (".paras",)
    settings = Settings

    def columns(self, source):
        return ["text"]

    def read(self, split, source, target):
        mark = source.settings.mark.encode()
        texts = source.stream().read(1 << 20).split(b"\\n" + mark + b"\\n")
        yield Table(source, pa.RecordBatch.from_arrays([pa.array(texts, pa.binary())], ["text"]), 1)
'''

TEXTS = (
    "남의 형식으로 적힌 글도 우리 글처럼 읽혀야 한다. 그래야 누구나 자기 자료를 가져올 수 있다.",
    "두 번째 문단은 조금 더 짧지만, 그래도 한국어로 적혀 있으니 남아야 한다.",
)


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("third-party")
    project = folder / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "paragraphs.py").write_text(MODULE)
    place = Environment(folder, wheel)
    place.pip("install", "--no-deps", "--no-index", pack(project, folder / "dist"))
    return place


def test_it_is_listed(place: Environment) -> None:
    listed = place.run("-m", "malmungchi", "formats").stdout
    (line,) = [line for line in listed.splitlines() if line.split()[:1] == ["paragraphs"]]
    assert line.split() == ["paragraphs", ".paras", "paragraphs", "paragraphs:Paragraphs"]


@pytest.mark.parametrize("how", ["extension", "flag", "yaml"])
def test_a_build_reads_its_files(how: str, place: Environment, tmp_path: Path) -> None:
    mark = "%%" if how == "extension" else "==="
    (tmp_path / "in.paras").write_text(f"\n{mark}\n".join(TEXTS), encoding="utf-8")
    words = {
        "extension": ["--input", tmp_path / "in.paras"],
        "flag": ["--input", tmp_path / "in.paras", "--paragraphs-mark", mark],
        "yaml": ["--config", tmp_path / "job.yaml"],
    }[how]
    settings = {"inputs": [{"files": str(tmp_path / "in.paras"), "paragraphs": {"mark": mark}}]}
    (tmp_path / "job.yaml").write_text(json.dumps(settings), encoding="utf-8")
    place.run("-m", "malmungchi", "build", *words, "--output", tmp_path / "out", "--workers", "0")
    texts = ds.dataset(tmp_path / "out" / "data").to_table()["text"].to_pylist()
    assert sorted(texts) == sorted(TEXTS)
