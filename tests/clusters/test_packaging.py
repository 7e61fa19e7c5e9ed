"""What is shipped: the wheel, the locked versions, the image, the samples."""

from __future__ import annotations

import email
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import unicodedata
import zipfile
from pathlib import Path
from types import ModuleType

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipeline.test_build import digests, malmungchi, write
from tests.support import ROOT, corpus
from tests.support.cluster import ended, launch
from tests.support.elsewhere import PACKAGES, Environment, closing, find_program, until
from tests.support.network import Hosts

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages_on_disk() -> set[str]:
    """Every folder with an __init__.py below ours, as the dotted name that it has when installed."""
    found = {
        init.parent.relative_to(ROOT).parts for package in PACKAGES for init in (ROOT / package).rglob("__init__.py")
    }
    return {".".join(parts if parts[0] == "malmungchi" else ("malmungchi", *parts)) for parts in found}


def pins(lock: str) -> dict[str, str]:
    """Name → version of a lock file; each must have a hash."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / lock).read_text(encoding="utf-8").strip()):
        if entry.startswith("#"):
            continue
        match = re.match(r"([a-z0-9._-]+)==(\S+)( ; [^\\]+)? \\", entry)
        assert match, f"{lock}: not pinned: {entry.splitlines()[0]}"
        assert "--hash=sha256:" in entry, f"{lock}: no hash: {match[1]}"
        found[match[1]] = match[2]
    return found


def instructions() -> list[str]:
    """The Dockerfile's instructions, comments dropped and continued lines joined."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


# ---- wheel


def test_the_wheel_holds_exactly_our_packages(wheel: Path) -> None:
    files = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {".".join(name.split("/")[:-1]) for name in files} == packages_on_disk()
    assert {name for name in files if not name.endswith(".py")} == {"malmungchi/py.typed"}
    assert len([name for name in files if name.endswith(".py")]) == sum(
        len(list((ROOT / package).rglob("*.py"))) for package in PACKAGES
    )


def test_the_wheel_has_its_licence_and_program(wheel: Path) -> None:
    file = zipfile.ZipFile(wheel)
    (info,) = {name.split("/")[0] for name in file.namelist() if ".dist-info/" in name}
    assert "Apache License" in file.read(f"{info}/licenses/LICENSE").decode()
    assert "malmungchi = malmungchi.pipelines.cli.main:command" in file.read(f"{info}/entry_points.txt").decode()
    assert "License-Expression: Apache-2.0" in file.read(f"{info}/METADATA").decode()


def test_pyproject_lists_every_package() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages_on_disk()


# ---- metadata


def test_the_version_is_said_in_one_place() -> None:
    """A changelog names all versions, the present one first; whatever else says it would be forgotten."""
    version = PROJECT["project"]["version"]
    files = [ROOT / "Dockerfile", ROOT / "Makefile", ROOT / "README.md"]
    for folder in ("deploy", "docs", *PACKAGES):
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".md", ".py", ".yaml")]
    pattern = re.compile(rf"\b{re.escape(version)}\b")
    assert [path for path in files if pattern.search(path.read_text(encoding="utf-8"))] == []
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert next(heading for heading in headings if heading != "Unreleased") == version


def test_the_wheel_says_what_it_is_and_names_no_address(wheel: Path) -> None:
    file = zipfile.ZipFile(wheel)
    (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
    head = email.message_from_bytes(file.read(name))
    assert head["Version"] == PROJECT["project"]["version"]
    assert set(head["Requires-Python"].split(",")) == set(PROJECT["project"]["requires-python"].split(","))
    assert {"Typing :: Typed", "Natural Language :: Korean"} <= set(head.get_all("Classifier", []))
    assert head["Keywords"]
    assert not {"Home-page", "Project-URL", "Author-email", "Download-URL"} & set(head.keys())


# ---- locked versions


def test_the_locks_pin_what_pyproject_asks_for() -> None:
    runtime, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    extras = PROJECT["project"]["optional-dependencies"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[<>=!\[; ]", name, maxsplit=1)[0].lower() for name in requirements}

    wanted = names(
        [*PROJECT["project"]["dependencies"], *extras["s3"], *extras["gcs"], *extras["hdfs"], *extras["dask"]]
    )
    assert wanted <= runtime.keys()
    assert names(extras["dev"]) <= dev.keys()
    assert runtime.items() <= dev.items(), "tests must run on the versions that are shipped"


def test_beam_is_the_same_everywhere() -> None:
    (beam,) = [name for name in PROJECT["project"]["dependencies"] if name.startswith("apache-beam")]
    version = beam.removeprefix("apache-beam==")
    assert pins("requirements.lock")["apache-beam"] == version
    assert f"ARG BEAM_VERSION={version}" in instructions()
    assert f"\nBEAM_VERSION = v{version}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "FROM apache/beam_python3.11_sdk:${BEAM_VERSION} AS beam" in instructions()


def test_the_locks_say_nothing_about_where_packages_come_from() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert "/" not in (ROOT / lock).read_text(encoding="utf-8"), f"{lock} holds an address or a path"


# ---- image


def test_a_linter_finds_no_fault_with_the_dockerfile() -> None:
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not linter:
        pytest.skip("no hadolint here: install requirements-dev.lock")
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_image_is_made_of_named_versions_and_locked_packages() -> None:
    steps = instructions()
    for step in steps:
        if step.startswith("FROM "):
            image = step.split()[1]
            assert re.search(r":[^:]+$", image), f"{image} has no version"
            assert not image.endswith(":latest"), image
    assert any("--require-hashes -r requirements.lock" in step for step in steps)
    installs = [step for step in steps if "pip install" in step]
    assert all("--require-hashes" in step or "--no-deps" in step for step in installs)
    assert any("pip check" in step for step in steps)
    assert 'org.opencontainers.image.version="${VERSION}"' in " ".join(steps)
    assert steps.index("ARG VERSION=unknown") == max(n for n, step in enumerate(steps) if step.startswith("FROM ")) + 1


def test_the_image_runs_beams_boot_and_not_as_root() -> None:
    steps = instructions()
    assert steps[-1] == 'ENTRYPOINT ["/opt/apache/beam/boot"]'
    assert [step for step in steps if step.startswith("USER ")] == ["USER 1000"]
    environment = next(step for step in steps if step.startswith("ENV PYTHON"))
    for name in ("RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1", "NUMBA_CACHE_DIR=", "OMP_NUM_THREADS=1"):
        assert name in environment
    warmed = next(index for index, step in enumerate(steps) if "python -m malmungchi.pipelines.process.preload" in step)
    assert steps.index(environment) < warmed < steps.index("USER 1000")


def test_the_images_own_steps_install_the_package(tmp_path: Path) -> None:
    """Those that need no Docker: what builds the wheel is pinned with hashes, and the wheel is built and installed."""
    source = tmp_path / "src"
    source.mkdir()
    for step in instructions():
        if step.startswith("COPY ") and "--from" not in step:
            for name in step.split()[1:-1]:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, source / name)
    commands = [step.removeprefix("RUN ").replace("/packages", str(tmp_path / "packages")) for step in instructions()]
    (pin,) = [command.partition("&&")[0] for command in commands if command.startswith("sed ")]
    (install,) = [command for command in commands if command.startswith("pip install") and "--no-deps" in command]
    for command in (pin, install.replace("pip ", f"{sys.executable} -m pip --disable-pip-version-check --quiet ", 1)):
        # pip would otherwise take the package out of the environment that runs the tests.
        subprocess.run(command, shell=True, cwd=source, check=True, env={**os.environ, "PIP_IGNORE_INSTALLED": "1"})
    lock = (source / "build.lock").read_text(encoding="utf-8").splitlines()
    assert lock[0].startswith("setuptools==")
    assert len(lock) > 1
    assert all(line.strip().startswith("--hash=sha256:") for line in lock[1:])
    (found,) = (tmp_path / "packages").glob("lib/python*/site-packages/malmungchi/pipelines/cli/main.py")
    assert found.read_bytes() == (ROOT / "pipelines" / "cli" / "main.py").read_bytes()
    assert (tmp_path / "packages" / "bin" / "malmungchi").exists()


def test_the_compiled_kernels_are_used_and_not_compiled_again(elsewhere: Environment) -> None:
    """As in the image: one process has filled the cache, another loads everything from it."""
    said = elsewhere.run("-m", "malmungchi.pipelines.process.preload", NUMBA_DEBUG_CACHE="1").stdout
    assert "data loaded from" in said
    assert "saved to" not in said


def test_the_images_boot_starts_workers_beside_a_runner(elsewhere: Environment, tmp_path: Path) -> None:
    """On a host of its own: boot as the first process of its container with a pool, Prism in place of Flink."""
    boot, runner = find_program("boot"), find_program("prism")
    inputs = write(tmp_path / "in" / "a.jsonl", corpus.rows(300))
    malmungchi("build", "--input", inputs, "--output", tmp_path / "local")
    (program,) = [step for step in instructions() if step.startswith("HEALTHCHECK ")]
    health = json.loads(program.partition(" CMD ")[2])
    place = 'mount -t tmpfs none /opt && mkdir -p /opt/apache/beam && cp $0 /opt/apache/beam/boot && exec "$@"'
    with Hosts() as hosts:
        _, there = hosts.add("task-manager")
        _, alone = hosts.add("alone")
        container = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", place, boot]
        variables = {**elsewhere.variables(), "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1"}

        def start(*command: object, prefix: list[str]) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [*prefix, *map(str, command)], cwd=elsewhere.away, env=variables, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

        def is_healthy(process: subprocess.Popen[bytes]) -> bool:
            (first,) = psutil.Process(process.pid).children()
            inside = ["nsenter", "--target", str(first.pid), "--all", "--wd", *health]
            return subprocess.run(inside, env=variables, check=False, capture_output=True).returncode == 0

        pool = start("/opt/apache/beam/boot", "--worker_pool", prefix=[*there, *container])
        prism = start(runner, "-job_port", 8073, "-web_port", 8074, prefix=there)
        idle = start("sleep", 60, prefix=[*alone, *container])
        silent = start("python", "-c", "import time; time.sleep(60)", "--worker_pool", prefix=[*alone, *container])
        with closing(pool, prism, idle, silent):
            until(lambda: psutil.Process(pool.pid).children() and is_healthy(pool))
            assert is_healthy(idle), "only a pool has to answer"
            assert not is_healthy(silent), "this one says that it is a pool, and nothing answers"
            away = ("--runner=portable", "--job_endpoint=localhost:8073")
            job = launch("build", "--input", inputs, "--output", tmp_path / "out", *away, prefix=there)
            done = ended(job)
            assert "release:" in done
    assert digests(tmp_path / "out") == digests(tmp_path / "local")


def test_the_image_gets_every_file_it_copies() -> None:
    allowed = {
        line[1:].rstrip("/")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    for step in instructions():
        if step.startswith("COPY ") and "--from" not in step:
            for name in step.split()[1:-1]:
                assert name in allowed, f"{name} is kept out by .dockerignore"
                assert (ROOT / name).exists(), name


# ---- samples


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", ROOT / "samples" / "make.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_samples_are_what_their_texts_say(make: ModuleType, tmp_path: Path) -> None:
    """By content, not by bytes: another version of the compressor may pack them otherwise."""
    make.write(tmp_path)
    for name in ("notes.jsonl", "essay.txt", "proverbs.csv"):
        assert (tmp_path / name).read_bytes() == (ROOT / "samples" / name).read_bytes(), name
    fresh, stored = (folder / "articles.jsonl.zst" for folder in (tmp_path, ROOT / "samples"))
    assert pa.input_stream(str(fresh)).read() == pa.input_stream(str(stored)).read()
    fresh, stored = (folder / "letters.parquet" for folder in (tmp_path, ROOT / "samples"))
    assert pq.read_table(fresh).equals(pq.read_table(stored))
    assert sum(file.stat().st_size for file in (ROOT / "samples").iterdir() if file.is_file()) < 300_000


def test_the_samples_hold_what_their_readme_counts(make: ModuleType) -> None:
    readme = (ROOT / "samples" / "README.md").read_text(encoding="utf-8")
    counts: dict[str, int] = {}
    for document in make.documents():
        counts[document["fate"]] = counts.get(document["fate"], 0) + 1
    assert counts == {"keep": 52, "language": 11, "exact": 6, "near": 8}
    assert f"{sum(counts.values())} small documents" in readme
    assert f"{counts['keep']} documents stay" in readme
    lines = (ROOT / "samples" / "notes.jsonl").read_bytes().splitlines()
    assert f"| `notes.jsonl` | {len(lines)} |" in readme
    assert len([line for line in lines if not _is_json(line)]) == 1


def test_sample_duplicates_are_duplicates_and_the_others_are_not(make: ModuleType) -> None:
    """Exact: equal letters and digits. Near: Jaccard similarity of 5-grams from 0.8 up."""

    def letters(text: str) -> str:
        return "".join(c for c in unicodedata.normalize("NFC", text).casefold() if c.isalnum())

    seen: list[tuple[str, set[str]]] = []
    for document in make.documents():
        text = letters(document["text"])
        shingles = {text[i : i + 5] for i in range(len(text) - 4)}
        equal = any(text == other for other, _ in seen)
        similar = max((len(shingles & s) / max(1, len(shingles | s)) for _, s in seen), default=0.0)
        assert equal == (document["fate"] == "exact"), document["id"]
        assert (similar >= 0.8) == (document["fate"] == "near" or (equal and bool(shingles))), document["id"]
        seen.append((text, shingles))


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
