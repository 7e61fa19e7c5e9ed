"""A release changes no byte unless someone means it to: digests of two releases, written down.

`python -m tests.golden.test_golden` writes them anew; say in the commit why they changed.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.golden import corpus
from tests.support import ROOT

DIGESTS = Path(__file__).with_name("digests.json")
SAMPLES = ("samples/*.jsonl*", "samples/letters.parquet", "samples/essay.txt")


def build(output: Path, inputs: tuple[str, ...], *options: str) -> Path:
    """A release, made as a user makes it."""
    command = [str(Path(sys.executable).with_name("malmungchi")), "build", "--quiet", "--output", str(output), *options]
    for pattern in inputs:
        command += ["--input", pattern]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return output


def digests(release: Path) -> dict[str, Any]:
    """The release's files by sha256 of their bytes and of their rows, and its manifest without what depends on versions
    of packages: the versions themselves, the sizes of compressed inputs, and its own checksum."""
    files = {}
    for path in sorted(release.rglob("*.parquet")):
        rows = json.dumps(pq.read_table(path).to_pylist(), default=str, ensure_ascii=False)
        files[path.relative_to(release).as_posix()] = {
            "bytes": hashlib.sha256(path.read_bytes()).hexdigest(),
            "rows": hashlib.sha256(rows.encode()).hexdigest(),
        }
    manifest = json.loads((release / "manifest.json").read_bytes())
    for key in ("versions", "sha256"):
        del manifest[key]
    manifest["inputs"] = [file["name"] for file in manifest["inputs"]]
    return {"files": files, "manifest": manifest}


def made(folder: Path) -> dict[str, Any]:
    """Both releases' digests: of the samples in one process, of the corpus in workers and small chunks."""
    corpus.write(folder / "corpus")
    small = ("--workers", "2", "--execution-chunk-bytes", "64KiB", "--shards-row-group-bytes", "64KiB")
    return {
        "samples": digests(build(folder / "samples-release", SAMPLES)),
        "corpus": digests(build(folder / "corpus-release", (str(folder / "corpus" / "*"),), *small)),
    }


@pytest.mark.parametrize("which", ["samples", "corpus"])
def test_not_a_byte_has_changed(which: str, golden: dict[str, Any]) -> None:
    assert golden[which] == json.loads(DIGESTS.read_text(encoding="utf-8"))[which]


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made(tmp_path_factory.mktemp("golden"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = made(Path(folder))
    DIGESTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
