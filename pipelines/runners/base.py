"""What a runner is to us: the interface of the files beside this one, and what several of them share.

Start-up is light: what needs Beam, Dask or a cluster is imported where it is used, since `malmungchi --help` needs
none of them.
"""

from __future__ import annotations

import dataclasses
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from malmungchi.schemas.errors import MalmungchiError
from malmungchi.transforms.io import storage

if TYPE_CHECKING:
    from apache_beam.runners.runner import PipelineRunner

# Where the worker pool listens when it stands beside each worker of a cluster, as Beam's images have it.
SIDE_CAR = "localhost:50000"

KEPT = "What is finished is kept: run the same command again, on this or another runner, to resume"

_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]", "embed", "[auto]", "[local]")

_ANSWER_SECONDS = 5.0


class RunnerError(MalmungchiError):
    """A runner cannot do what it is asked; the message says what to do."""


class ClusterError(MalmungchiError):
    """The cluster is gone, or its workers are. What is finished is kept."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Beam's arguments as they are given, and the options they set, by their names in Beam.

    Only the local runner is told of `processes`, its workers (0: none but this process), and of `stall_seconds`, after
    which workers that do nothing are taken for dead (0: never).
    """

    arguments: tuple[str, ...] = ()
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    processes: int = 0
    stall_seconds: float = 0

    def __contains__(self, option: str) -> bool:
        return option in self.values

    def get(self, option: str, default: Any = None) -> Any:
        """The value that is given for an option of Beam."""
        return self.values.get(option, default)

    @property
    def environment(self) -> str:
        """Beam's environment of the workers in capitals (EXTERNAL, DOCKER, LOOPBACK …), "" if none is given."""
        return str(self.get("environment_type", "")).upper()

    def flag(self, option: str) -> Options:
        """The same with a flag without a value."""
        return dataclasses.replace(self, arguments=(*self.arguments, f"--{option}"))

    def default(self, option: str, value: object, name: str = "") -> Options:
        """The same with a value for an option that is not given. `name` is Beam's own, if that is another."""
        if (name or option) in self:
            return self
        return dataclasses.replace(self, arguments=(*self.arguments, f"--{option}={value}"))


@dataclasses.dataclass(frozen=True)
class Places:
    """What workers must reach: addresses by the flag they were given with. `shared` says that the user vouches for
    local paths."""

    uris: Mapping[str, Sequence[str]]
    shared: bool = False

    def local(self) -> Iterator[tuple[str, str]]:
        """(flag, address) of those that are paths of this machine."""
        return ((flag, uri) for flag, uris in self.uris.items() for uri in local_paths(uris))


class Runner(Protocol):
    """A runner that can do a whole job. What follows fits one whose workers a job server of Beam's commands."""

    name: str
    # Modules that must be there, by the extra of malmungchi that has the runner's name.
    packages: tuple[str, ...] = ()
    # The module of Beam that makes the runner's options known, where Beam does not do so itself.
    options_module: str = ""
    # Whether a user may vouch for local paths.
    may_share_paths: bool = True

    def complete(self, given: Options, workers: int) -> Options:
        """Beam's options with what `workers` (0: not said) means to the runner, where the user has not said otherwise.

        Raises RunnerError when something is missing that cannot be guessed, or given that has no effect.
        """
        return given

    def master(self, given: Options) -> str:
        """The address of the runner's own server, as far as it is given."""
        return "localhost"

    def sees_this_machine(self, given: Options) -> bool:
        """Whether the workers have the files of this machine, by all that the options tell."""
        if given.environment in ("LOOPBACK", "DOCKER"):
            return given.environment == "LOOPBACK"
        return all(
            (host := _split(address)[0]) in _THIS_MACHINE or re.match(r"local(\[.+\])?$", host)
            for address in (given.get("job_endpoint") or self.master(given), _pool(given) or "localhost")
        )

    def check(self, given: Options, places: Places) -> None:
        """Refuses a job whose servers do not answer, or whose workers cannot reach what it reads or writes.

        What workers see, only the options tell. Raises RunnerError.
        """
        here = self.sees_this_machine(given)
        server, pool = str(given.get("job_endpoint", "embed")), _pool(given)
        if server != "embed" and not _answers(server):
            raise RunnerError(
                f"no job server answers at {server} (--job_endpoint): check the address, and that it runs"
            )
        if pool and here and not _answers(pool):
            raise RunnerError(
                f"no worker pool answers at {pool} (--environment_config): start one there, in an environment with "
                "this package: python -m apache_beam.runners.worker.worker_pool_main "
                f"--service_port={_split(pool)[1]}"
            )
        if here or (places.shared and self.may_share_paths):
            return
        for flag, path in places.local():
            way = "; or, if all workers mount it at the same place, add --execution-shared-paths"
            raise RunnerError(
                f"{flag} {path} is a path of this machine, which the workers of {self.name} do not see: name an object "
                f"store (s3://, gs://, hdfs://){way if self.may_share_paths else ''}"
            )

    def beam(self, given: Options) -> PipelineRunner | str:
        """What Beam is to run a pipeline with: a runner, or the name of one of its own."""
        return f"{self.name}runner"


def with_worker_pool(given: Options) -> Options:
    """Options of a runner that needs to be told where its Python workers are: beside it, unless said otherwise.

    Raises RunnerError for Beam's own image, in which this package is missing.
    """
    said = {"environment_config", "environment_options"} & given.values.keys()
    if given.environment == "DOCKER" and not said:
        raise RunnerError(
            "--environment_type=DOCKER would start Beam's own image, which lacks this package: "
            "give --environment_config=REGISTRY/malmungchi:TAG"
        )
    beside = given.environment in ("", "EXTERNAL") and "environment_options" not in given
    given = given.default("environment_type", "EXTERNAL")
    return given.default("environment_config", SIDE_CAR) if beside else given


def partitions(workers: int) -> int:
    """Into how many parts work is dealt where the runner leaves it to us: several for each worker, since they are not
    of one size."""
    return 4 * max(workers, 1)


def local_paths(uris: Iterable[str]) -> list[str]:
    """Those of some addresses that are paths of this machine."""
    return [uri for uri in uris if storage.is_local(storage.resolve(uri)[0])]


def _pool(given: Options) -> str:
    """The address of the worker pool, "" if the environment is none."""
    if given.environment != "EXTERNAL":
        return ""
    options = dict(option.partition("=")[::2] for option in given.get("environment_options") or ())
    return str(options.get("external_service_address") or given.get("environment_config", SIDE_CAR))


def _split(address: str) -> tuple[str, int]:
    """(host, port) of an address, 0 for a port that is not given."""
    place = re.sub(r"^\w+://", "", str(address)).partition("/")[0]
    host, _, port = place.rpartition(":")
    return (host, int(port)) if host and port.isdecimal() else (place, 0)


def _answers(address: str) -> bool:
    host, port = _split(address)
    try:
        socket.create_connection((host.strip("[]"), port), _ANSWER_SECONDS).close()
    except OSError:
        return False
    return True
