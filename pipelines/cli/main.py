"""The command line: malmungchi build, verify, inspect, doctor, config, formats."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from malmungchi.pipelines.process import signals, temporary
from malmungchi.pipelines.process.logs import quiet
from malmungchi.pipelines.process.memory import loading
from malmungchi.schemas.config import Config
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.schemas.settings import ConfigError

if TYPE_CHECKING:
    from malmungchi.pipelines.plan.discover import Found

EXAMPLES = """examples:
  malmungchi build --input 'crawl/*.jsonl.zst' --input books.parquet --output release/
  malmungchi build --input 'crawl/*.jsonl.zst' --output release/ --dry-run
  malmungchi verify release/
  malmungchi inspect release/ --id doc-000042
  malmungchi doctor --staging s3://bucket/work --runner FlinkRunner --flink_master=host:8081
  malmungchi config > job.yaml
"""


_JSON = "print one JSON document, for programs (docs/usage.md has its keys)"


def _some(text: str) -> int:
    return _whole(text, 1)


def _row(text: str) -> int:
    return _whole(text, 0)  # 0 stands for the file as a whole


def _whole(text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal()) or not least <= int(text) < 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    from malmungchi.pipelines.cli import options

    parser = argparse.ArgumentParser(
        prog="malmungchi",
        description="Korean text in, deduplicated Parquet shards for model trainers out.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help_: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=help_, description=help_, epilog=EXAMPLES, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip

    for stage, text in (
        ("build", "read, clean and deduplicate text, and publish it as Parquet shards"),
        ("refine", "run build up to its first stage: read, normalise, filter, fingerprint"),
        ("deduplicate", "run build up to its second stage: find duplicates"),
        ("publish", "run build to its end: publish what is staged, or start at the beginning"),
    ):
        command = add(stage, text)
        command.usage = f"malmungchi {stage} --input URL --output URL [settings] [Beam's options]"
        command.add_argument("--input", action="append", default=[], metavar="URL",
                             help="file or pattern, anywhere fsspec reaches; repeat it for more (inputs with "
                                  "settings of their own: a list `inputs:` in the settings file)")  # fmt: skip
        command.add_argument("--output", required=True, metavar="URL", help="folder of the release")
        command.add_argument("--dry-run", action="store_true", help="print the plan and stop")
        command.add_argument("--restart", action="store_true", help="discard what an unfinished job has done")
        command.add_argument("--quiet", action="store_true", help="no progress, no summary")
        options.add_arguments(command)
    command = add("verify", "check every checksum, count and schema of a release")
    command.add_argument("release", metavar="URL", help="folder of the release")
    command.add_argument("--json", action="store_true", help=_JSON)
    command = add("inspect", "show rows, rejects and duplicates of a release, or what became of a document")
    command.add_argument("release", metavar="URL", help="folder of the release")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--id", help="explain what became of the document with this id")
    what.add_argument("--url", metavar="ADDRESS", help="explain what became of the documents of this address")
    what.add_argument("--file", metavar="NAME", help="explain what became of the rows of this input file")
    what.add_argument("--rejects", action="store_true", help="show rejected rows")
    what.add_argument("--duplicates", action="store_true", help="show clusters of duplicates, the largest first")
    command.add_argument("--row", type=_row, metavar="N", help="with --file: of this row only (line), from 1")
    command.add_argument("--rule", default="", help="show a sample of what this rule dropped, such as "
                                                    "language.not_korean: the same rows each time")  # fmt: skip
    command.add_argument(
        "--text", action="store_true", help="read the texts of the dropped rows that are shown again from the inputs"
    )
    command.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="URL",
        help="with --text: file or pattern of inputs that were moved since; repeat it for more",
    )
    command.add_argument("--limit", type=_some, default=10, metavar="N",
                         help="rows to show, of each kind (default: 10)")  # fmt: skip
    command.add_argument("--json", action="store_true", help=_JSON)
    command = add("doctor", "check the runner, its workers and the storage that a big job will have, before it starts")
    command.usage = "malmungchi doctor [--staging URL] [--output URL] [--input URL] [settings] [Beam's options]"
    command.add_argument("--input", action="append", default=[], metavar="URL",
                         help="file or pattern that workers must be able to read; repeat it for more")  # fmt: skip
    command.add_argument("--output", default="", metavar="URL", help="folder for the release, or one above it")
    options.add_arguments(command)
    add("config", "print a commented default configuration")
    add("formats", "list the formats that can be read, and the media types whose text can be extracted")
    return parser, commands.choices


def _job_command(arguments: argparse.Namespace, beam: list[str], config: Config) -> int:
    from malmungchi.pipelines.plan.discover import discover
    from malmungchi.pipelines.process import forkserver
    from malmungchi.pipelines.runners import registry

    beam = registry.complete(beam, config.execution.workers)
    config = config.with_inputs(arguments.input)
    if not config.inputs:
        raise ConfigError("no input: give --input URL, or a list `inputs:` in the settings file")
    say = (lambda note: None) if arguments.quiet else (lambda note: print(f"note: {note}", file=sys.stderr))
    found = discover(config.inputs, say)
    large = sum(each.info["size"] or 0 for each in found) > forkserver.IN_PROCESS_BYTES
    with temporary.used():
        workers = registry.is_local(beam) and bool(config.execution.workers or large)
        if workers and not arguments.dry_run:
            forkserver.prepare(arguments.quiet)  # before all else that takes time
        try:
            return _job(arguments, beam, config, found, alone=not workers)
        finally:
            forkserver.end()


def _job(arguments: argparse.Namespace, beam: list[str], config: Config, found: list[Found], alone: bool) -> int:
    """Runs a job; `alone` if no process beside this one compiles kernels."""
    with loading():
        from malmungchi.pipelines.job.build import build
        from malmungchi.pipelines.job.display import Display
        from malmungchi.pipelines.job.dry_run import dry_run
        from malmungchi.pipelines.job.job import Job
        from malmungchi.pipelines.plan.planner import look_into
        from malmungchi.pipelines.process import compiling
        from malmungchi.pipelines.runners import registry

    display = Display(arguments.quiet)
    with compiling.announced(display.say) if alone else contextlib.nullcontext():
        job = Job(look_into(found, config), arguments.output.rstrip("/"), beam, display)
        files = [file for each in config.inputs for file in each.files]
        places: dict[str, Sequence[str]] = {"--input": files, "--output": [job.output], "--staging": [job.staging]}
        registry.check(beam, places, config.execution.shared_paths)
        if arguments.dry_run:
            print(dry_run(job, arguments.restart))
            return 0
        if not registry.is_local(beam):
            display.elsewhere = job.finished
        until = "publish" if arguments.command == "build" else arguments.command
        manifest = build(job, arguments.restart, until)
    if manifest is not None:
        display.finish(manifest, job.output, job.reused)
    return 0


def _doctor(arguments: argparse.Namespace, beam: list[str], config: Config) -> int:
    from malmungchi.pipelines.job.diagnosis import PROBLEM, conclusion
    from malmungchi.pipelines.job.display import Display
    from malmungchi.pipelines.job.doctor import examine
    from malmungchi.pipelines.runners import registry

    beam = registry.complete(beam, config.execution.workers)
    findings = examine(beam, config, arguments.input, arguments.output.rstrip("/"), Display())
    print(*findings, conclusion(findings), sep="\n")
    return int(any(finding.level == PROBLEM for finding in findings))


def _run(argv: Sequence[str]) -> int:
    parser, commands = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if arguments.command in ("build", "refine", "deduplicate", "publish", "doctor"):
        from malmungchi.pipelines.cli.options import beam_arguments, config_from

        beam = beam_arguments(commands[arguments.command], rest)
        command = _doctor if arguments.command == "doctor" else _job_command
        return command(arguments, beam, config_from(arguments))
    if rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if arguments.command == "config":
        from malmungchi.pipelines.cli.options import commented_default

        print(commented_default(), end="")
        return 0
    if arguments.command == "formats":
        from malmungchi.pipelines.cli.formats import listing

        print(*listing(), sep="\n")
        return 0
    if arguments.command == "verify":
        from malmungchi.pipelines.release.verify import verify

        return verify(arguments.release.rstrip("/"), arguments.json)
    from malmungchi.pipelines.release.inspect import inspect

    return inspect(arguments.release.rstrip("/"), arguments)


def _bug(error: Exception) -> int:
    """Reports an unforeseen error, without its message; returns the exit code."""
    from malmungchi.transforms.io.private import TRACEBACK, without_message

    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    print(f"malmungchi: this is a bug: {without_message(error)}", file=sys.stderr)
    return 1


def _tolerant() -> None:
    """Makes the standard streams take everything: a stream that is closed takes it and says nothing, and a terminal
    that cannot show a character shows a question mark."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # else the next file that is opened would have this number
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; the exit code. What a user can fix is reported in one line, without a traceback; anything else is
    reported as a bug, with its kind and place."""
    quiet()
    _tolerant()
    try:
        with signals.listening():
            return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, signals.Stopped) else signals.Stopped()
        print(f"malmungchi: {stopped}", file=sys.stderr, flush=True)
        temporary.remove()
        os._exit(stopped.code)  # threads of Beam may be in the middle of a task, and an exit would wait for them
    except BrokenPipeError:
        return 141
    except (MalmungchiError, OSError) as error:
        print(f"malmungchi: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        return _bug(error)


def command() -> NoReturn:
    """The program `malmungchi`: runs the command of its arguments and ends the process with its exit code.

    It does not wait for Python to take itself apart: a thread of Arrow that then still gives something back would end
    the process with an abort (and the exit code 134), whatever the command's result.
    """
    try:
        code = main()
    except SystemExit as ended:  # argparse's, which has said all that is to be said
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)
