"""Beam's runners: what `--workers` means to each, and what cannot work, refused before anything starts."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import platform
import re
import socket
from collections.abc import Iterable, Sequence
from typing import Any

from malmungchi.schemas.errors import MalmungchiError
from malmungchi.transforms.io import storage

# What must agree between the launcher and its workers.
PACKAGES = (
    "malmungchi", "apache-beam", "pyarrow", "numpy", "numba", "langdetect", "datasketch", "orjson", "xxhash", "fsspec",
)  # fmt: skip

LOCAL = "local"

# How each runner may be asked for, in small letters and without the word "runner" at its end.
_NAMES = {
    "": LOCAL,
    "direct": LOCAL,
    "fnapi": LOCAL,
    "dask": "dask",
    "dataflow": "dataflow",
    "flink": "flink",
    "portable": "portable",
    "prism": "prism",
    "spark": "spark",
}
_DASK_CLASS = "apache_beam.runners.dask.dask_runner.DaskRunner"

# Where the worker pool listens when it stands beside each worker of an engine, as Beam's images have it.
SIDE_CAR = "localhost:50000"

# The release of Flink that Beam has known the longest, and whose support is long-term.
FLINK = "1.20"

_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]", "embed", "[auto]", "[local]")


KEPT = "What is finished is kept: start the same command again, on this or another runner, to go on"

_ANSWER_SECONDS = 5.0


class EngineError(MalmungchiError):
    """A runner cannot do what it is asked; the message says what to do."""


class ClusterError(MalmungchiError):
    """The cluster is gone, or its workers are. What is finished is kept."""


def versions(more: Sequence[str] = ()) -> dict[str, str]:
    """The versions of Python and of the packages on which a release depends, and of some more, in this environment."""
    found = {"python": platform.python_version()}
    for package in (*PACKAGES, *more):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def name(arguments: Sequence[str]) -> str:
    """The runner asked for among Beam's arguments, as one word; that of a class that is not Beam's is the class.

    Raises EngineError for a runner that does not exist, or that cannot run a job.
    """
    asked = ""
    for at, word in enumerate(arguments):
        flag, is_, value = word.partition("=")
        if flag == "--runner":
            asked = value if is_ else (arguments[at + 1] if at + 1 < len(arguments) else "")
    short = asked.rpartition(".")[2] if asked.startswith("apache_beam.") else asked
    found = _NAMES.get(short.lower().removesuffix("runner"))
    if found is not None:
        return found
    if "." in asked and not asked.startswith("apache_beam."):
        return asked
    near = difflib.get_close_matches(asked.lower(), _NAMES, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    known = ", ".join(word for word in _NAMES if word)
    raise EngineError(
        f"--runner {asked}: no runner that can do a whole job{hint} (known: {known}, or module.Class of one of yours)"
    )


def is_local(arguments: Sequence[str]) -> bool:
    """Whether the job runs in this process and worker processes of its own."""
    return name(arguments) == LOCAL


def load(arguments: Sequence[str]) -> None:
    """Makes the options of the runner known to Beam. Raises EngineError if a package of its is not installed."""
    engine = name(arguments)
    for module in {"dask": ("dask.bag", "distributed"), "dataflow": ("google.cloud.dataflow",)}.get(engine, ()):
        if not _is_there(module):
            raise EngineError(
                f"the module {module} is not installed: pip install 'malmungchi[{engine}]' here and where workers run"
            )
    if engine == "dask":
        importlib.import_module(_DASK_CLASS.rpartition(".")[0])


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # one of the packages above it
        return False


def _given(arguments: Sequence[str]) -> dict[str, Any]:
    """Beam's options that have been given, by their names in Beam."""
    if not arguments:
        return {}  # without importing Beam
    from apache_beam.options.pipeline_options import PipelineOptions

    load(arguments)
    found: dict[str, Any] = PipelineOptions(list(arguments)).get_all_options(drop_default=True)
    return found


def complete(arguments: Sequence[str], workers: int) -> list[str]:
    """Beam's arguments with what `workers` (0: not said) means to the runner, where the user has not said otherwise.

    Raises EngineError when something is missing that cannot be guessed, or given that has no effect.
    """
    engine, given = name(arguments), _given(arguments)
    found = list(arguments)

    def default(option: str, value: object, key: str = "") -> None:
        if (key or option) not in given:
            found.append(f"--{option}={value}")

    if given.get("streaming"):
        raise EngineError("--streaming: this is a batch job; leave it out")
    if engine == LOCAL:
        for option in ("direct_num_workers", "direct_running_mode"):
            if option in given:
                raise EngineError(f"--{option} has no effect here: say --workers N")
    elif engine == "dask":
        if not given.get("address") and not given.get("scheduler_file"):
            raise EngineError(
                "the Dask runner needs a scheduler: --dask_client_address=tcp://HOST:8786, or "
                "--dask_scheduler_file=FILE; on one machine leave --runner out"
            )
        if "partition_size" in given:
            raise EngineError("--dask_partition_size has no effect here: say --dask_npartitions N, or --workers N")
        if workers:
            default("dask_npartitions", partitions(workers), "npartitions")
    elif engine == "dataflow":
        if "sdk_container_image" not in given:
            raise EngineError(
                "Dataflow workers need the image of this project: --sdk_container_image=REGISTRY/malmungchi:TAG "
                "(docker build, docker push)"
            )
        if workers:
            default("num_workers", workers)
            default("max_num_workers", workers)
    elif engine == "portable":
        if "job_endpoint" not in given:
            raise EngineError("--runner portable needs the address of a job server: --job_endpoint=HOST:PORT")
        default("environment_type", "EXTERNAL")
        _side_car(default, found, given)
        if workers:
            default("sdk_worker_parallelism", workers)
    elif engine == "flink" and _is_cluster(engine, given):
        default("environment_type", "EXTERNAL")
        _side_car(default, found, given)
        default("flink_version", FLINK)
        default("sdk_worker_parallelism", 0)  # Beam chooses, by the cores that the task manager sees
        if "job_endpoint" not in given and "flink_submit_uber_jar" not in given:
            found.append("--flink_submit_uber_jar")
        if workers:
            default("parallelism", workers)
    elif engine == "spark" and _is_cluster(engine, given):
        default("environment_type", "EXTERNAL")
        _side_car(default, found, given)
        default("sdk_worker_parallelism", 0)
        if "spark_rest_url" in given and "spark_submit_uber_jar" not in given:
            found.append("--spark_submit_uber_jar")
    return found


def _side_car(default: Any, found: list[str], given: dict[str, Any]) -> None:
    if given.get("environment_type", "EXTERNAL").upper() == "EXTERNAL" and "environment_options" not in given:
        default("environment_config", SIDE_CAR)
    elif given.get("environment_type", "").upper() == "DOCKER" and not (
        {"environment_config", "environment_options"} & given.keys()
    ):
        raise EngineError(
            "--environment_type=DOCKER would start Beam's own image, which lacks this package: "
            "say --environment_config=REGISTRY/malmungchi:TAG"
        )


def partitions(workers: int) -> int:
    """Into how many parts a Dask job's work is dealt: several for each worker, since they are not of one size."""
    return 4 * max(workers, 1)


def _split(address: str) -> tuple[str, int]:
    """(host, port) of an address, 0 for a port that is not given."""
    place = re.sub(r"^\w+://", "", address).partition("/")[0]
    host, _, port = place.rpartition(":")
    return (host, int(port)) if host and port.isdecimal() else (place, 0)


def _answers(address: str) -> bool:
    host, port = _split(address)
    try:
        socket.create_connection((host.strip("[]"), port), _ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def _is_cluster(engine: str, given: dict[str, Any]) -> bool:
    """Whether Flink or Spark is a cluster of its own, and not started by Beam for this job alone."""
    if "job_endpoint" in given:
        return True
    if engine == "flink":
        return given.get("flink_master", "[auto]") not in ("[auto]", "[local]")
    return not re.match(r"^local(\[.+\])?$", given.get("spark_master_url", "local")) or "spark_rest_url" in given


def _pool(given: dict[str, Any]) -> str:
    """The address of the worker pool, "" if the environment is none."""
    if str(given.get("environment_type", "")).upper() != "EXTERNAL":
        return ""
    options = dict(option.partition("=")[::2] for option in given.get("environment_options") or ())
    return str(options.get("external_service_address") or given.get("environment_config", SIDE_CAR))


def sees_this_machine(arguments: Sequence[str]) -> bool:
    """Whether the workers of a runner have the files of this machine, by all that its options tell."""
    engine, given = name(arguments), _given(arguments)
    environment = str(given.get("environment_type", "")).upper()
    if engine == LOCAL or environment == "LOOPBACK":
        return True
    if engine == "dataflow" or environment == "DOCKER":
        return False
    masters = {"flink": "flink_master", "spark": "spark_rest_url" if "spark_rest_url" in given else "spark_master_url"}
    master = given.get("job_endpoint") or given.get(masters.get(engine, ""), "localhost")
    hosts = {_split(address)[0] for address in (str(master), _pool(given) or "localhost")}
    return all(host in _THIS_MACHINE or re.match(r"local(\[.+\])?$", host) for host in hosts)


def local_paths(uris: Iterable[str]) -> list[str]:
    """Those of some addresses that are paths of this machine."""
    return [uri for uri in uris if storage.is_local(storage.resolve(uri)[0])]


def check(arguments: Sequence[str], uris: dict[str, Sequence[str]], shared: bool = False) -> None:
    """Refuses a job whose servers do not answer, or whose workers cannot reach what it reads or writes.

    `uris` are addresses by the flag they were given with; `shared` says that the user vouches for local paths. Raises
    EngineError. Dask workers are asked; what other runners' workers see, only their options tell.
    """
    engine, given = name(arguments), _given(arguments)
    if engine == "dask":
        from malmungchi.pipelines.runners import dask_core

        dask_core.check(arguments, uris)
        return
    server = str(given.get("job_endpoint", "embed"))
    if server != "embed" and not _answers(server):
        raise EngineError(f"no job server answers at {server} (--job_endpoint): check the address, and that it runs")
    pool = _pool(given)
    if pool and sees_this_machine(arguments) and not _answers(pool):
        raise EngineError(
            f"no worker pool answers at {pool} (--environment_config): start one there, in an environment with this "
            f"package: python -m apache_beam.runners.worker.worker_pool_main --service_port={_split(pool)[1]}"
        )
    if sees_this_machine(arguments) or (shared and engine != "dataflow"):
        return
    for flag, places in uris.items():
        for path in local_paths(places)[:1]:
            way = (
                "; or, if all workers mount it at the same place, add --execution-shared-paths"
                if engine != "dataflow"
                else ""
            )
            raise EngineError(
                f"{flag} {path} is a path of this machine, which the workers of {engine} do not see: name an object "
                f"store (s3://, gs://, hdfs://){way}"
            )
