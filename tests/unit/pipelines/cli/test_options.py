"""Settings from flags and files: one source of truth, and no mistake goes unnoticed."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import http.server
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from malmungchi.pipelines.cli import options
from malmungchi.pipelines.cli.main import main
from malmungchi.pipelines.job.dry_run import dry_run
from malmungchi.pipelines.job.job import Job
from malmungchi.pipelines.job.output import OutputError
from malmungchi.pipelines.plan.planner import make_plan
from malmungchi.schemas.config import Config, from_mapping, sections
from malmungchi.schemas.settings import ConfigError, default_of, format_bytes, parse_bytes, settings
from malmungchi.transforms.exchange import records
from malmungchi.transforms.formats.base import InputError

EVERY_SETTING = [
    (f"{section}.{field.name}", field, kind) for section, cls in sections() for field, kind in settings(cls)
]


def a_parser() -> argparse.ArgumentParser:
    """A command line like the program's: a subcommand with input, output and the settings."""
    parser = argparse.ArgumentParser("malmungchi", allow_abbrev=False)
    build = parser.add_subparsers(dest="command").add_parser("build")
    build.add_argument("--input", action="append")
    build.add_argument("--dry-run", action="store_true")
    options.add_arguments(build)
    return parser


def parse(*flags: str) -> tuple[argparse.Namespace, list[str]]:
    """(our arguments, Beam's) of a build, as the program takes them apart."""
    parser = a_parser()
    args, unknown = parser.parse_known_args(["build", *flags])
    return args, options.beam_arguments(parser, unknown)


def config(*flags: str) -> Config:
    args, beam = parse(*flags)
    assert beam == []
    return options.config_from(args)


def beam(*flags: str) -> list[str]:
    return parse(*flags)[1]


def a_file(folder: Path, text: str) -> str:
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


# ---- flags


def test_no_flags_give_the_defaults() -> None:
    assert config() == Config()


@pytest.mark.parametrize(("name", "field", "kind"), EVERY_SETTING, ids=[name for name, _, _ in EVERY_SETTING])
def test_each_setting_has_a_flag_with_its_help_and_default(
    name: str, field: dataclasses.Field[object], kind: type
) -> None:
    flag, default = options.flag_of(name), default_of(field)
    if kind is bool:
        words = [flag if default else flag.replace("--", "--no-", 1)]
    elif isinstance(default, list):
        words = [f"{flag}={','.join(default)}"]
    else:
        words = [f"{flag}={default}"]
    assert config(*words) == Config()
    build = next(a for a in a_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices["build"]
    assert flag in build.format_help()
    assert field.metadata["help"], f"{name} has no help text"


def test_flags_set_what_they_name() -> None:
    made = config(
        "--language-korean-share", "0.4", "--no-normalize-fillers", "--fingerprint-bands=30",
        "--read-max-line-bytes", "8MiB", "--read-text", "본문", "--strict", "--workers", "3",
        "--staging", "memory://x", "--deduplicate-prefer", "longest,priority",
        "--deduplicate-priority", "law", "--deduplicate-priority", "blog, news",
    )  # fmt: skip
    assert made.language.korean_share == 0.4
    assert made.normalize.fillers is False
    assert made.fingerprint.bands == 30
    assert made.read.max_line_bytes == 8 << 20
    assert made.read.text == "본문"
    assert made.read.strict is True
    assert (made.execution.workers, made.execution.staging) == (3, "memory://x")
    assert made.deduplicate.prefer == ["longest", "priority"]
    assert made.deduplicate.priority == ["law", "blog", "news"]


def test_a_list_can_be_emptied() -> None:
    assert config("--deduplicate-priority=").deduplicate.priority == []


@pytest.mark.parametrize(
    "flags",
    [("--fingerprint-bands", "many"), ("--language-korean-share", "half"), ("--shards-target-bytes", "big")],
)
def test_a_value_of_the_wrong_kind_ends_with_usage(flags: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        config(*flags)
    assert stop.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_a_value_out_of_range_names_its_flag() -> None:
    with pytest.raises(ConfigError, match=r"^--deduplicate-threshold: deduplicate\.threshold = 3\.0: above 0"):
        config("--deduplicate-threshold", "3")
    with pytest.raises(ConfigError, match=r"--deduplicate-prefer.*'longst'.*did you mean 'longest'"):
        config("--deduplicate-prefer", "longst")


# ---- sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1048576", 1 << 20), ("64MiB", 64 << 20), ("1GiB", 1 << 30), ("512k", 512 << 10),
     ("512K", 512 << 10), ("2 MiB", 2 << 20), ("1.5MiB", 3 << 19), ("64MB", 64_000_000), ("1kB", 1000),
     ("10b", 10), ("1TiB", 1 << 40)],
)  # fmt: skip
def test_sizes_are_read_as_gnu_tools_do(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.3", "0.3k1", "1e6", "64 XiB", "٣k", "0x10", "1_000"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a size|not a whole number"):
        parse_bytes(text)


@given(st.integers(min_value=0, max_value=1 << 60))
def test_a_formatted_size_reads_back_exactly(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == size


# ---- file


def test_the_printed_default_loads_as_the_default_and_explains_each_setting() -> None:
    text = options.commented_default()
    assert options.parse_yaml(text) == Config()
    assert from_mapping(yaml.safe_load(text)) == Config()  # plain YAML, for other programs too
    assert "row_group_bytes: 16MiB" in text
    flowed = " ".join(text.replace("\n  #", " ").split())
    for name, field, _ in EVERY_SETTING:
        assert " ".join(field.metadata["help"].split()) in flowed, name


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = a_file(
        tmp_path,
        "shards: {min_shards: 5, compression_level: 6}\n"
        "read: {max_text_bytes: 1MiB, license: no, id: 2026}\n"
        "deduplicate:\n  priority: [on, 1]\n  threshold: 9e-1\n  exact:\n",
    )
    made = config("--config", file, "--shards-min-shards", "4")
    assert made.shards == dataclasses.replace(Config().shards, min_shards=4, compression_level=6)
    assert (made.read.max_text_bytes, made.read.license, made.read.id) == (1 << 20, "no", "2026")
    assert made.deduplicate == dataclasses.replace(Config().deduplicate, priority=["on", "1"], threshold=0.9)


def test_a_rule_about_two_settings_holds_for_file_and_flags_together(tmp_path: Path) -> None:
    file = a_file(tmp_path, "fingerprint:\n  ngram: 7\n")
    assert config("--config", file, "--fingerprint-min-chars", "9").fingerprint.min_chars == 9
    with pytest.raises(ConfigError, match=r"job\.yaml:1: fingerprint\.min_chars = 5: at least"):
        config("--config", file)
    with pytest.raises(ConfigError, match=r"^--fingerprint-ngram: fingerprint\.min_chars = 5: at least"):
        config("--fingerprint-ngram", "7")


@pytest.mark.parametrize("text", ["", "# nothing\n", "read:\n", "---\n", "\ufeffread: {}\n"])
def test_an_empty_file_or_section_is_the_default(tmp_path: Path, text: str) -> None:
    assert config("--config", a_file(tmp_path, text)) == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("read:\n  txt: body\n", r"job\.yaml:2: unknown setting read\.txt; did you mean 'text'"),
        ("input: a.jsonl\n", r"job\.yaml:1: unknown section 'input'; give it as a flag, --input, or as a list"),
        ("read: {}\nlangauge:\n  korean_share: 1\n", r"job\.yaml:2: unknown section 'langauge'.*'language'"),
        ("read:\n  text: a\n  url: b\n  text: c\n", r"job\.yaml:4: read\.text is set twice, first in line 2"),
        ("read: {}\nshards: {}\nread: {}\n", r"job\.yaml:3: read is set twice"),
        ("read:\n  text: [a\n", r"job\.yaml:[23]: "),
        ("read:\n\ttext: a\n", r"job\.yaml:2: "),
        ("- read\n", r"job\.yaml:1: sections"),
        ("shards: 7\n", r"job\.yaml:1: shards: expected a mapping of settings"),
        ("shards:\n  min_shards: many\n", r"job\.yaml:2: shards\.min_shards = 'many': a whole number"),
        ("shards:\n  min_shards: true\n", r"job\.yaml:2: .*a whole number"),
        ("normalize:\n  fillers: 1\n", r"job\.yaml:2: .*true or false"),
        ("shards:\n  target_bytes: 5 MXB\n", r"job\.yaml:2: shards\.target_bytes: '5 MXB' is not a size"),
        ("deduplicate:\n  threshold: .nan\n", r"job\.yaml:2: deduplicate\.threshold"),
        (
            "deduplicate:\n  prefer: [id]\n  priority: [law]\n",
            r"job\.yaml:3: .*no effect unless deduplicate\.prefer includes",
        ),
        ("deduplicate:\n  prefer: longest\n", r"job\.yaml:2: .*a list of words"),
        ("read: !!python/name:os.system\n", r"job\.yaml:1: "),
        ("a: 1\n---\nb: 2\n", r"job\.yaml:\d: "),
    ],
)
def test_a_fault_in_the_file_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config("--config", a_file(tmp_path, text))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: there is no such file"):
        config("--config", str(tmp_path / "nowhere.yaml"))
    (tmp_path / "cp949.yaml").write_bytes("read:\n  text: 본문\n".encode("cp949"))
    with pytest.raises(ConfigError, match="not UTF-8 at byte 14"):
        config("--config", str(tmp_path / "cp949.yaml"))


# ---- Beam's own


def test_beams_options_are_passed_on_and_ours_are_not() -> None:
    passed = beam(
        "--runner", "FlinkRunner", "--workers", "2", "--parallelism=4", "--input", "a",
        "--flink_master", "host:8081", "--experiments", "one", "--environment_type=EXTERNAL",
        "--", "--object_reuse=true",
    )  # fmt: skip
    assert passed == [
        "--runner", "FlinkRunner", "--parallelism=4", "--flink_master", "host:8081",
        "--experiments", "one", "--environment_type=EXTERNAL", "--object_reuse=true",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("--worker", "--workers"),
        ("--work", ""),  # no abbreviations
        ("--language-korean-shar=0.3", "--language-korean-share"),
        ("--inputs=x", "--input"),
        ("--no-normalise-fillers", "--no-normalize-fillers"),
        ("--runer=FlinkRunner", "--runner"),
        ("--num_worker=2", "--num_workers"),
    ],
)
def test_a_mistyped_flag_is_an_error_with_a_suggestion(word: str, meant: str) -> None:
    with pytest.raises(ConfigError, match="is not an option of malmungchi or of Beam") as error:
        beam(word)
    assert f"did you mean {meant!r}" in str(error.value) or not meant


@pytest.mark.parametrize("word", ["--language_korean_share=0.3", "--dry_run"])
def test_a_flag_with_underscores_is_not_taken_for_beams(word: str) -> None:
    """Beam has a --dry_run of its own: passed on, it would let the job run."""
    with pytest.raises(ConfigError, match=f"is written {word.partition('=')[0].replace('_', '-')}"):
        beam(word)


def test_a_stray_word_or_a_wrong_value_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"'stray\.jsonl' does not belong to any option"):
        beam("stray.jsonl")
    with pytest.raises(ConfigError, match=r"--parallelism.*'x'"):
        beam("--parallelism", "x")


@pytest.mark.parametrize(
    "name",
    [
        "--s3_secret_access_key",
        "--s3_access_key_id",
        "--s3_session_token",
        "--azure_connection_string",
        "--api-token",
    ],
)
@pytest.mark.parametrize("form", [["{}=hunter2"], ["{}", "hunter2"], ["--", "{}=hunter2"]])
def test_a_secret_is_refused_and_not_repeated(name: str, form: list[str]) -> None:
    with pytest.raises(ConfigError, match="come from the environment") as error:
        beam(*[word.format(name) for word in form])
    assert "hunter2" not in str(error.value)


def test_no_flag_of_ours_hides_one_of_beams() -> None:
    _, beams = options._beam_parser()
    assert set(options._flags_of(a_parser())) & set(beams) <= {"-h", "--help"}


def test_our_options_alone_do_not_import_beam() -> None:
    code = (
        "import argparse, sys; from malmungchi.pipelines.cli import options; p = argparse.ArgumentParser();"
        "options.add_arguments(p); options.config_from(p.parse_args(['--workers', '2']));"
        "sys.exit('apache_beam' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- dry run


def a_job(folder: Path, *flags: str) -> Job:
    source = folder / "a.jsonl"
    source.write_text('{"text": "가"}\n', encoding="utf-8")
    return Job(make_plan([str(source)], config(*flags)), str(folder / "out"))


def test_a_dry_run_tells_the_settings_that_were_changed(tmp_path: Path) -> None:
    said = dry_run(a_job(tmp_path))
    assert "all at their defaults" in said
    assert "nothing is there yet" in said
    for words in ("1 input file, ", "1 chunk of", "1 partition, ", "1 shard\n", "one process, without workers"):
        assert words in said
    said = dry_run(a_job(tmp_path, "--workers", "2", "--language-korean-share", "0.4", "--deduplicate-prefer", "id"))
    assert "defaults but for language.korean_share = 0.4, deduplicate.prefer = ['id'], execution.workers = 2" in said
    assert "2 worker processes, up to about 700.0 MB of memory each" in said
    assert "1 worker process, up to about 700.0 MB of memory, " in dry_run(a_job(tmp_path, "--workers", "1"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_dry_run_fails_where_the_build_would(tmp_path: Path) -> None:
    job = a_job(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    with pytest.raises(OutputError, match=r"out is not empty \(thesis\.txt, …\)"):
        dry_run(job)
    assert main(["build", "--dry-run", "--input", str(tmp_path / "a.jsonl"), "--output", job.output]) == 1


def test_a_dry_run_tells_of_an_unfinished_job(tmp_path: Path) -> None:
    job = a_job(tmp_path)
    job.begin(restart=False)
    records.finish(job.work, "refine/00000000-000000", [], {})
    before = sorted(tmp_path.rglob("*"))
    assert "resumes an unfinished job; finished tasks: refine 1" in dry_run(job)
    other = a_job(tmp_path, "--deduplicate-threshold", "0.9")
    with pytest.raises(OutputError, match=r"deduplicate\.threshold was 0\.8, is 0\.9"):
        dry_run(other)
    assert "discards what an unfinished job has done" in dry_run(other, restart=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_from_the_web_has_no_query_in_its_name_and_no_message_shows_it(tmp_path: Path) -> None:
    lines = b'{"text": "\xea\xb0\x80"}\n'
    (tmp_path / "x.jsonl").write_bytes(lines)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        (file,) = make_plan([f"{place}/x.jsonl?token=SECRET"], Config()).files
        assert (file.name, file.size, file.format) == ("x.jsonl", len(lines), "jsonl")
        with pytest.raises(InputError) as error:
            make_plan([f"{place}/gone.jsonl?token=SECRET"], Config())
        server.shutdown()
    assert "SECRET" not in str(error.value)
    assert f"{place}/gone.jsonl" in str(error.value)
