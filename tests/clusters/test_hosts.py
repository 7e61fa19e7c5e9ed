"""A Dask cluster on hosts of their own, which share nothing but an S3 server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.test_build import digests, malmungchi, write
from tests.support import corpus, s3
from tests.support.cluster import Cluster, ended, in_each_stage, launch
from tests.support.elsewhere import Environment, kill, until
from tests.support.network import Hosts

SETTINGS = ("--execution-chunk-bytes", "512KiB")

# Connects to a host, sends nothing.
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    s3.find_server()
    with Hosts() as found:
        yield found


def connects(prefix: list[str], host: str, port: int) -> bool:
    """Whether a host reaches a server on another."""
    command = [*prefix, sys.executable, "-c", CONNECT, host, str(port)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_the_same_bytes_on_hosts_that_share_an_object_store_only(
    hosts: Hosts, elsewhere: Environment, tmp_path: Path
) -> None:
    """Input, staging area and output are in buckets. One worker is killed in each stage, and one comes in between."""
    buckets = tmp_path / "buckets"
    for name in ("raw", "work", "releases"):
        (buckets / name).mkdir(parents=True)
    for number in (1, 2):
        write(buckets / "raw" / f"{number}.jsonl", corpus.rows(6_000, number, sentences=20))
    malmungchi("build", "--input", buckets / "raw" / "*.jsonl", "--output", tmp_path / "local", *SETTINGS)

    store, at_store = hosts.add("store")
    master, at_master = hosts.add("master")
    _, at_launcher = hosts.add("launcher")
    # A worker sees neither the files that the server keeps nor the local release.
    hidden = ["sh", "-c", f'mount -t tmpfs none {tmp_path} && exec "$@"', "sh"]
    workers = [hosts.add(f"worker{number}") for number in range(4)]
    environment = {**s3.environment(0), "AWS_ENDPOINT_URL": f"http://{store}:7070"}
    server = subprocess.Popen(
        [*at_store, s3.find_server(), "--port", f"{store}:7070", "posix", str(buckets)],
        env={**environment, "ROOT_ACCESS_KEY": s3.KEY, "ROOT_SECRET_KEY": s3.SECRET},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    logs = tmp_path.parent / f"{tmp_path.name}-logs"
    logs.mkdir()
    cluster = Cluster(elsewhere, logs, 8786)
    try:
        until(lambda: connects(workers[0][1], store, 7070))
        assert not connects([], store, 7070), "the server can be reached from outside"
        cluster.start(master, at_master)
        for address, prefix in workers[:3]:
            cluster.add(address, [*prefix, *hidden], wait=False, more=environment)
        until(lambda: all("Registered to" in (logs / f"worker-{n}.log").read_text() for n in range(3)))
        job = launch(
            "build", "--input", "s3://raw/*.jsonl", "--output", "s3://releases/out", "--staging", "s3://work/job",
            "--runner", "dask", f"--dask_client_address={cluster.address}", *SETTINGS, env=environment,
            prefix=at_launcher,
        )  # fmt: skip
        address, prefix = workers[3]
        in_each_stage(
            job,
            buckets / "work" / "job",
            [
                lambda: cluster.replace(0, address, [*prefix, *hidden], more=environment),
                lambda: cluster.kill(1),
                lambda: cluster.kill(2),
            ],
        )
        ended(job)
    finally:
        cluster.close()
        kill(server)
    assert digests(buckets / "releases" / "out") == digests(tmp_path / "local")
