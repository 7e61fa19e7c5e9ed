"""The pages of the documentation are right: their code runs, their links lead somewhere, and nothing is left out."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from malmungchi.pipelines.cli import main as cli
from malmungchi.pipelines.cli import options
from malmungchi.pipelines.release.front import schemas
from malmungchi.schemas.config import sections
from malmungchi.schemas.descriptions import meaning
from malmungchi.schemas.settings import default_of, settings
from malmungchi.transforms.kernels import jsonl
from malmungchi.transforms.text import steps
from tests.support import ROOT

PAGES = {
    page.relative_to(ROOT).as_posix(): page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
NAMES = list(PAGES)
KINDS = {"sh", "python", "yaml", "toml", "text"}

_SHELL = 'set -eu\nmalmungchi() { "$PYTHON" -m malmungchi "$@"; }\n'


class Block(NamedTuple):
    """A block of code: the line it begins in, its language, why it cannot run ("" if it can), and the code."""

    line: int
    kind: str
    excuse: str
    code: str


def blocks(name: str) -> list[Block]:
    """The blocks of code of a page."""
    text = PAGES[name].read_text(encoding="utf-8")
    found = []
    for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        kind, _, rest = match[1].partition(" ")
        line = text[: match.start()].count("\n") + 1
        assert kind in KINDS, f"{name}:{line}: a block says what it is: {', '.join(sorted(KINDS))}"
        assert not rest or re.match(r"no-run: \S+", rest), f"{name}:{line}: a block that cannot run says why"
        found.append(Block(line, kind, rest.removeprefix("no-run: "), match[2]))
    assert text.count("\n```") + text.startswith("```") == 2 * len(found), f"{name}: a block has no end"
    return found


def commands(code: str) -> Iterator[list[str]]:
    """The words of each command of a shell block, without what its output goes to."""
    for line in code.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words[: words.index(">")] if ">" in words else words


def check_command(words: list[str]) -> None:
    """Raises if a command of ours has a flag that the program does not know, or `make` a target that is not there."""
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{re.escape(words[1])}:", makefile, re.MULTILINE), words
    elif words[:2] == ["python", "-m"] and words[2].startswith("benchmarks."):
        assert (ROOT / (words[2].replace(".", "/") + ".py")).exists(), words
    elif words[0] == "malmungchi":
        parser, known = cli._parser()
        with contextlib.redirect_stderr(None):
            arguments, rest = parser.parse_known_args(words[1:])
        if arguments.command in ("build", "refine", "deduplicate", "publish", "doctor"):
            options.config_from(arguments)
            if "DataflowRunner" in rest:  # its packages are not there; its options are Beam's own
                rest = rest[: rest.index("--runner")] + rest[rest.index("--runner") + 2 :]
            options.beam_arguments(known[arguments.command], rest)
        else:
            assert not rest, words


@pytest.mark.parametrize("name", NAMES)
def test_commands_have_the_flags_that_the_program_knows(name: str) -> None:
    for block in blocks(name):
        if block.kind == "sh":
            for words in commands(block.code):
                check_command(words)


@pytest.mark.parametrize("name", NAMES)
def test_settings_load_and_other_data_is_well_formed(name: str) -> None:
    for block in blocks(name):
        if block.kind == "yaml" and not block.excuse:
            options.parse_yaml(block.code, f"{name}:{block.line}")
        elif block.kind == "toml":
            tomllib.loads(block.code)
        elif block.kind == "python":
            ast.parse(block.code)


@pytest.mark.parametrize("name", [name for name in NAMES if any(b.kind in ("sh", "python") for b in blocks(name))])
def test_code_runs_as_it_stands(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page, in a folder with the samples. Later Python blocks see the names of earlier ones."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    monkeypatch.chdir(tmp_path)
    python = ""  # each block on the lines that it has on the page, so that a traceback names them

    def run(*command: str) -> None:
        environment = os.environ | {"PYTHON": sys.executable}
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, f"{name}, before line {block.line}:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"

    found = [block for block in blocks(name) if not block.excuse and block.kind in ("sh", "python")]
    for number, block in enumerate(found):
        if block.kind == "sh":
            assert {words[0] for words in commands(block.code)} <= {"malmungchi"}, f"{name}:{block.line}: cannot run"
            run("bash", "-c", _SHELL + block.code)
            continue
        python += "\n" * (block.line - python.count("\n")) + block.code
        if found[number + 1 : number + 2] == [] or found[number + 1].kind == "sh":
            run(sys.executable, "-c", python)


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[name].read_text(encoding="utf-8")):
        if not re.match(r"https?://", target):
            assert (PAGES[name].parent / target.partition("#")[0]).exists(), f"{name}: {target}"


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_named_are_there(name: str) -> None:
    text = re.sub(r"^```.*?^```$", "", PAGES[name].read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    rooms = "pipelines|transforms|schemas|malmungchi|tests|benchmarks|deploy|samples|docs"
    for path in re.findall(rf"`((?:{rooms})/[\w./-]*)`", text):
        assert (ROOT / path).exists(), f"{name}: {path}"


def test_each_page_is_in_the_order_of_reading() -> None:
    listed = re.findall(r"\((\w+\.md)\)", PAGES["docs/README.md"].read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(name.removeprefix("docs/") for name in NAMES if "README" not in name)


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].read_text(encoding="utf-8").splitlines()) <= 150


def test_each_promise_names_a_test_that_is_there() -> None:
    text = PAGES["docs/guarantees.md"].read_text(encoding="utf-8")
    promises = [
        line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| promise"))
    ]
    assert len(promises) >= 27
    for promise in promises:
        named = re.findall(r"`([\w/]+\.py)(?:::(\w+)(…?))?`", promise.rsplit(" | ", 1)[1])
        assert named, promise
        for file, start, more in named:
            tests = re.findall(r"^def test_(\w+)\(", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.MULTILINE)
            assert tests, file
            assert any(test.startswith(start) if more else start in ("", test) for test in tests), f"{file}::{start}"


# ---- nothing is left out of docs/usage.md


def test_every_setting_is_explained() -> None:
    text = PAGES["docs/usage.md"].read_text(encoding="utf-8")
    for section, kind in sections():
        for field, _ in settings(kind):
            default = options._shown(field.name, default_of(field))
            line = f"| `{section}.{field.name}` | `{default}` | {field.metadata['help']} |"
            assert line in text.splitlines(), f"docs/usage.md: this line belongs into its table of settings:\n{line}"


def rules_of(file: Path) -> set[str]:
    """The words that a file gives as rules: to the makers of rejects, in (row, rule, …) and in `rule = …`."""
    found: list[ast.expr] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
            if name in ("BrokenError", "Broken", "reject"):
                found += node.args
            elif name == "append":
                found += [each for row in node.args if isinstance(row, ast.Tuple) for each in row.elts[1:2]]
        elif isinstance(node, ast.Assign) and any(getattr(to, "id", "") == "rule" for to in node.targets):
            found += [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
    words = [each.value for each in found if isinstance(each, ast.Constant)]
    return {word for word in words if isinstance(word, str) and re.fullmatch(r"[a-z0-9_]+", word)}


def test_every_column_is_explained() -> None:
    text = PAGES["docs/usage.md"].read_text(encoding="utf-8").splitlines()
    for folder, schema in schemas().items():
        for field in schema:
            line = f"| `{folder}/` `{field.name}` | {field.type} | {meaning(folder, field)} |"
            assert line in text, f"docs/usage.md: this line belongs into its table of columns:\n{line}"


def reject_rules() -> set[str]:
    """The rules that the sources name: those that steps and kernels declare, and what formats give."""
    found = {f"{step.name}.{rule}" for step in steps.steps() for rule in step.rules}
    found |= {f"read.{rule}" for rule, _ in jsonl.RULES.values()}
    for file in [*(ROOT / "transforms" / "formats").glob("*.py"), *(ROOT / "transforms" / "io").glob("*.py")]:
        found |= {f"read.{rule}" for rule in rules_of(file)}
    return found | {
        *(f"read.{rule}" for rule in ("wrong_type", "no_text", "empty_text", "too_long", "not_utf8")),
        "deduplicate.exact_duplicate", "deduplicate.near_duplicate",
    }  # fmt: skip


def test_the_rules_of_formats_are_found() -> None:
    assert {"ragged_row", "invalid_csv", "too_long"} <= rules_of(ROOT / "transforms" / "formats" / "csv.py")
    assert {"truncated", "corrupt"} <= rules_of(ROOT / "transforms" / "io" / "decompress.py")


def test_every_rule_is_explained() -> None:
    text = PAGES["docs/usage.md"].read_text(encoding="utf-8")
    missing = [rule for rule in sorted(reject_rules()) if f"| `{rule}` | " not in text]
    assert not missing, f"docs/usage.md: rules without a line: {', '.join(missing)}"
