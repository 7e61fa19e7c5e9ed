"""The table of runners, and what a job asks of the one that Beam's arguments name.

A new runner is a file beside this one and its line in the table. One of another package has an entry point in the
group "malmungchi.runners": its name in small letters, and a class without arguments that is a `Runner`.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence

from malmungchi.pipelines.runners.base import Options, Places, Runner, RunnerError
from malmungchi.pipelines.runners.custom import Custom
from malmungchi.pipelines.runners.dask import Dask
from malmungchi.pipelines.runners.dataflow import Dataflow
from malmungchi.pipelines.runners.flink import Flink
from malmungchi.pipelines.runners.local import Local
from malmungchi.pipelines.runners.portable import Portable
from malmungchi.pipelines.runners.prism import Prism
from malmungchi.pipelines.runners.spark import Spark

ENTRY_POINTS = "malmungchi.runners"

# How each runner may be asked for, in small letters and without the word "runner" at its end.
RUNNERS: Mapping[str, Runner] = {
    "": Local(),
    "direct": Local(),
    "fnapi": Local(),
    "dask": Dask(),
    "dataflow": Dataflow(),
    "flink": Flink(),
    "portable": Portable(),
    "prism": Prism(),
    "spark": Spark(),
}


def runner_of(arguments: Sequence[str]) -> Runner:
    """The runner asked for among Beam's arguments. Raises RunnerError for one that does not exist, or that cannot run
    a job."""
    asked = ""
    for at, word in enumerate(arguments):
        flag, is_, value = word.partition("=")
        if flag == "--runner":
            asked = value if is_ else (arguments[at + 1] if at + 1 < len(arguments) else "")
    short = asked.rpartition(".")[2] if asked.startswith("apache_beam.") else asked
    short = short.lower().removesuffix("runner")
    if short in RUNNERS:
        return RUNNERS[short]
    others = importlib.metadata.entry_points(group=ENTRY_POINTS)
    if short in others.names:
        made: Runner = others[short].load()()
        return made
    if "." in asked and not asked.startswith("apache_beam."):
        return Custom(asked)
    known = [word for word in (*RUNNERS, *sorted(others.names)) if word]
    near = difflib.get_close_matches(asked.lower(), known, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise RunnerError(
        f"--runner {asked}: no runner that can do a whole job{hint} (known: {', '.join(known)}, or module.Class of "
        "your own)"
    )


def is_local(arguments: Sequence[str]) -> bool:
    """Whether the job runs in this process and worker processes of its own."""
    return isinstance(runner_of(arguments), Local)


def load(arguments: Sequence[str]) -> Runner:
    """The runner, its options made known to Beam. Raises RunnerError if a package of its is not installed."""
    runner = runner_of(arguments)
    for module in runner.packages:
        if not _is_there(module):
            raise RunnerError(
                f"the module {module} is not installed: pip install 'malmungchi[{runner.name}]' here and where workers "
                "run"
            )
    if runner.options_module:
        importlib.import_module(runner.options_module)
    return runner


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # one of the packages above it
        return False


def options(arguments: Sequence[str], processes: int = 0, stall_seconds: float = 0) -> Options:
    """Beam's arguments with the options that they set; the rest is for the local runner, as `Options` says."""
    if not arguments:
        return Options(processes=processes, stall_seconds=stall_seconds)  # without importing Beam
    load(arguments)
    from apache_beam.options.pipeline_options import PipelineOptions

    values = PipelineOptions(list(arguments)).get_all_options(drop_default=True)
    return Options(tuple(arguments), values, processes, stall_seconds)


def complete(arguments: Sequence[str], workers: int) -> list[str]:
    """Beam's arguments with what `workers` (0: not said) means to the runner, where the user has not said otherwise.

    Raises RunnerError when something is missing that cannot be guessed, or given that has no effect.
    """
    given = options(arguments)
    if given.get("streaming"):
        raise RunnerError("--streaming: this is a batch job; leave it out")
    return list(runner_of(arguments).complete(given, workers).arguments)


def sees_this_machine(arguments: Sequence[str]) -> bool:
    """Whether the workers of a runner have the files of this machine, by all that its options tell."""
    return runner_of(arguments).sees_this_machine(options(arguments))


def check(arguments: Sequence[str], uris: Mapping[str, Sequence[str]], shared: bool = False) -> None:
    """Refuses a job whose servers do not answer, or whose workers cannot reach what it reads or writes. Raises
    RunnerError. `uris` and `shared` are those of `Places`."""
    runner_of(arguments).check(options(arguments), Places(uris, shared))
