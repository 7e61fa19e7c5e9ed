"""Settings from flags and a YAML file, on top of the dataclasses of `schemas.config`; and Beam's own options.

Flags win over the file, the file over the defaults. Beam is only imported when there are arguments left that
may be its own.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import re
import textwrap
import types
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import yaml

from malmungchi.pipelines.runners import registry
from malmungchi.schemas.config import Config, Input, from_mapping, sections
from malmungchi.schemas.settings import ConfigError, bounds, default_of, format_bytes, parse_bytes, settings
from malmungchi.transforms.extract import base as extract
from malmungchi.transforms.formats import base as formats

# Settings that one types often have a short flag as well.
_SHORT = {
    "execution.workers": "--workers",
    "execution.staging": "--staging",
    "read.strict": "--strict",
    "read.sample": "--sample",
    "read.limit": "--limit",
}

# Beam hands its options to every worker, and workers log them. What is secret has no place there.
_SECRET = re.compile(
    r"^(s3_access_key_id|azure_connection_string|.*(secret|password|passwd|token|credential|connection_string)s?.*)$"
)


def flag_of(name: str) -> str:
    """The flag of a setting: `language.korean_share` is `--language-korean-share`."""
    return "--" + name.replace(".", "-").replace("_", "-")


# ---- flags


def _size(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(kind: type[int] | type[float], text: str) -> int | float:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None


def _int(text: str) -> int | float:
    return _number(int, text)


def _float(text: str) -> int | float:
    return _number(float, text)


def _words(text: str) -> list[str]:
    return [word for part in text.split(",") if (word := part.strip())]


def _shown(name: str, value: Any) -> str:
    """A value as it is written in YAML, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and name.endswith("_bytes"):
        return format_bytes(value)
    if isinstance(value, list):
        return "[" + ", ".join(_shown(name, item) if item else '""' for item in value) + "]"
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z][\w-]*", value) else json.dumps(value, ensure_ascii=False)
    return str(value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--config FILE` and a flag for each setting, in a group per step.

    Flags are never abbreviated (`--work` would mean one thing today and another tomorrow). One that is not
    given leaves no trace in the namespace, so that it does not hide what the file says.
    """
    formats.load_settings()
    extract.load_settings()
    parser.allow_abbrev = False
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="settings as YAML, as `malmungchi config` prints them; flags win over it",
    )
    for section, kind in sections():
        group = parser.add_argument_group(section, (kind.__doc__ or "").strip().splitlines()[0])
        for field, value_kind in settings(kind):
            name = f"{section}.{field.name}"
            names = [flag_of(name), *([_SHORT[name]] if name in _SHORT else [])]
            default = _shown(name, default_of(field))
            limits = f"; {limits}" if (limits := bounds(field)) else ""
            note = f"{field.metadata['help']} (default: {default}{limits})".replace("%", "%%")
            common: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": note}
            if value_kind is bool:
                group.add_argument(*names, action=argparse.BooleanOptionalAction, **common)
            elif isinstance(value_kind, types.GenericAlias):
                group.add_argument(*names, action="extend", type=_words, metavar="WORD[,WORD…]", **common)
            elif value_kind is int:
                sized = name.endswith("_bytes")
                group.add_argument(*names, type=_size if sized else _int, metavar="SIZE" if sized else "N", **common)
            elif value_kind is float:
                group.add_argument(*names, type=_float, metavar="X", **common)
            else:
                group.add_argument(*names, choices=field.metadata["choices"] or None, metavar="NAME", **common)


# ---- file

_NULL = "tag:yaml.org,2002:null"


def _tree(text: str, file: str) -> tuple[dict[str, Any], dict[str, int]]:  # noqa: C901, PLR0915
    """(section → setting → value, name → line) of a YAML text.

    Scalars are read by the setting's type, not by YAML's guess: `license: no` is the word "no", not False.
    """
    formats.load_settings()
    extract.load_settings()
    kinds = {f"{name}.{field.name}": kind for name, cls in sections() for field, kind in settings(cls)}
    kinds |= {field.name: kind for field, kind in settings(Input)}
    lines: dict[str, int] = {}

    def fail(message: str, mark: Any) -> NoReturn:
        raise ConfigError(f"{file}:{mark.line + 1}: {message}")

    def items(node: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, yaml.Node]]:
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                fail("a key must be a word", key.start_mark)
            name = prefix + key.value
            if name in lines:
                fail(f"{name} is set twice, first in line {lines[name]}", key.start_mark)
            lines[name] = key.start_mark.line + 1
            yield key.value, value

    def inputs_of(node: yaml.Node) -> Any:
        """The list of inputs, each a mapping of settings and of sections."""
        if not isinstance(node, yaml.SequenceNode) or not all(isinstance(n, yaml.MappingNode) for n in node.value):
            fail("inputs: expected a list of inputs, each with `files`", node.start_mark)
        found = []
        for number, each in enumerate(node.value, 1):
            name = f"inputs.{number}"
            lines[name] = each.start_mark.line + 1
            found.append(
                {
                    key: settings_of(child, f"{name}.{key}.", f"{key}.")
                    if isinstance(child, yaml.MappingNode)
                    else value_of(key, child)
                    for key, child in items(each, f"{name}.")
                }
            )
        return found

    def settings_of(node: yaml.MappingNode, prefix: str, section: str) -> dict[str, Any]:
        return {
            key: value_of(section + key, child)
            for key, child in items(node, prefix)
            if child.tag != _NULL or section + key not in kinds  # a key without a value keeps its default
        }

    def value_of(name: str, node: yaml.Node) -> Any:
        kind = kinds.get(name)
        if kind is str and isinstance(node, yaml.ScalarNode):
            return node.value
        if (
            isinstance(kind, types.GenericAlias)
            and isinstance(node, yaml.SequenceNode)
            and all(isinstance(item, yaml.ScalarNode) for item in node.value)
        ):
            return [item.value for item in node.value]
        value = loader.construct_object(node, deep=True)
        if kind is float and isinstance(value, str):  # YAML 1.1 takes 1e-3 for a word
            with contextlib.suppress(ValueError):
                return float(value)
        return value

    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None or root.tag == _NULL:
            return {}, lines
        if not isinstance(root, yaml.MappingNode):
            fail("sections with settings are expected here (see `malmungchi config`)", root.start_mark)
        data: dict[str, Any] = {}
        for section, node in items(root, ""):
            if section == "inputs":
                data[section] = inputs_of(node)
                continue
            if not isinstance(node, yaml.MappingNode):
                data[section] = loader.construct_object(node, deep=True)
                continue
            data[section] = settings_of(node, f"{section}.", f"{section}.")
        return data, lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}" if mark else file
        raise ConfigError(f"{where}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: {error}") from None
    finally:
        loader.dispose()


def _read(uri: str) -> str:
    from malmungchi.transforms.io import storage

    try:
        return storage.read_bytes(uri).decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{uri}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{uri}: not UTF-8 at byte {error.start}") from None
    except (OSError, storage.StorageError) as error:
        raise ConfigError(f"{uri}: {error}") from None


def parse_yaml(text: str, file: str = "configuration", flags: dict[str, Any] | None = None) -> Config:
    """The configuration a YAML text says, with settings given as flags (`section.key` → value) on top.

    Raises ConfigError with file and line, or the flag, where the fault is.
    """
    data, lines = _tree(text, file)
    flags = flags or {}
    try:
        for name, value in flags.items():
            section, _, key = name.partition(".")
            values = data.get(section) or {}
            if isinstance(values, dict):  # if not, from_mapping says so
                data[section] = {**values, key: value}
        if data.keys() - dict(sections()).keys():
            from malmungchi.transforms.text.steps import steps  # takes long, and may bring the section

            steps()
        return from_mapping(data)
    except ConfigError as error:
        name = error.setting
        if name in flags:
            raise ConfigError(f"{flag_of(name)}: {error}", name) from None
        section = name.partition(".")[0]
        # A rule about two settings names one of them; the other may be what was given.
        beside = ", ".join(flag_of(flag) for flag in flags if flag.startswith(f"{section}."))
        line = lines.get(name) or (0 if beside else lines.get(section))
        where = f"{file}:{line}: " if line else f"{beside}: " if beside else ""
        raise ConfigError(f"{where}{error}", name) from None


def config_from(args: argparse.Namespace) -> Config:
    """The configuration of a command line read with `add_arguments`: defaults, then `--config`, then flags.

    Raises ConfigError with file and line, or the flag, where the fault is.
    """
    flags = {name: value for name, value in vars(args).items() if "." in name}
    file = getattr(args, "config", None)
    return parse_yaml(_read(file) if file else "", file or "", flags)


def commented_default() -> str:
    """All settings with their help and default, as YAML. Loading it gives `Config()`."""
    out = [
        "# Settings of malmungchi, with their defaults. Leave out what you do not change.",
        "# Each is a flag too, which wins over this file: language.korean_share is --language-korean-share.",
        "# Sizes may be written 64MiB, 1GiB, 512k (powers of 1024) or 64MB (powers of 1000).",
    ]
    for section, kind in sections():
        out += ["", f"# {(kind.__doc__ or '').strip().splitlines()[0]}", f"{section}:"]
        for field, _ in settings(kind):
            text = field.metadata["help"]
            if limits := ", ".join(field.metadata["choices"]) or bounds(field):
                text += f" ({limits})"
            out += textwrap.wrap(text, 100, initial_indent="  # ", subsequent_indent="  # ", break_on_hyphens=False)
            out.append(f"  {field.name}: {_shown(field.name, default_of(field))}")
    return "\n".join([*out, *_INPUTS]) + "\n"


_INPUTS = """
# Files that are read in one way each. What an input leaves out is as above; --input adds inputs without settings.
# inputs:
#   - files: crawl/*.jsonl.zst         # an address or pattern, or a list of them
#     source: crawl                    # of documents that name none
#     license: CC-BY-4.0               # of documents that name none
#   - files: [reviews.csv, more.tsv]
#     name: reviews                    # tells its files from files of the same names in other inputs
#     format: csv                      # where the name does not tell
#     read:
#       text: sentence
#     csv:
#       delimiter: tab""".splitlines()


# ---- Beam's own


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of leaving the program."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"Beam option: {message}")


def _beam_parser() -> tuple[argparse.ArgumentParser, list[str]]:
    """(parser of all options Beam knows, their names)."""
    from apache_beam.options import pipeline_options

    class Parser(pipeline_options._BeamArgumentParser, _Parser):
        error = _Parser.error

    parser = Parser(allow_abbrev=False, add_help=False)
    # Keyed by name, as Beam does: a module imported twice would add the same flags again.
    for options in {str(kind): kind for kind in pipeline_options.PipelineOptions.__subclasses__()}.values():
        options._add_argparse_args(parser)
    return parser, list(parser._option_string_actions)


def _flags_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _flags_of(child)


def _check_secrets(arguments: Sequence[str]) -> None:
    for argument in arguments:
        name = argument.partition("=")[0].lstrip("-").replace("-", "_").lower()
        if argument.startswith("-") and _SECRET.match(name):
            raise ConfigError(
                f"--{name} would put a secret into the command line and into every worker's log; "
                "credentials come from the environment (for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "a profile, or the machine's role)"
            )


def beam_arguments(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> list[str]:
    """Beam's own arguments among those that `parser.parse_known_args` did not know, checked.

    What neither we nor Beam's Python SDK know is taken for a mistake, since Beam would drop it in silence.
    So is a flag of ours with underscores, even where Beam has one of that name (`--dry_run`). Options that
    only a runner's job server knows go behind `--` and are passed on as they are.

    Raises ConfigError for an unknown option (with the nearest known one), a value Beam does not accept, or an
    option that carries a secret.
    """
    if not unknown:
        return []
    _check_secrets(unknown)
    split = unknown.index("--") if "--" in unknown else len(unknown)
    checked, passed = list(unknown[:split]), list(unknown[split + 1 :])
    if not checked:
        return passed
    ours = list(_flags_of(parser))
    for word in checked:
        if (meant := word.partition("=")[0].replace("_", "-")) in ours:
            raise ConfigError(f"{word.partition('=')[0]} is written {meant}")
    registry.load(checked)
    beam, beams = _beam_parser()
    _, rest = beam.parse_known_args(checked)
    if rest:
        word = rest[0].partition("=")[0]
        if not word.startswith("-"):
            raise ConfigError(
                f"{word!r} does not belong to any option; give input files with --input, and quote patterns, so that "
                "the shell does not make many words of one: --input 'folder/*.jsonl'"
            )
        near = difflib.get_close_matches(word.replace("_", "-"), ours, n=1, cutoff=0.8)
        near = near or difflib.get_close_matches(word, ours + beams, n=1, cutoff=0.7)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"{word} is not an option of malmungchi or of Beam{hint} "
            "(what only a runner's job server knows goes behind a lone --)"
        )
    return checked + passed
