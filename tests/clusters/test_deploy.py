"""The manifests in deploy/ agree with the program: its flags, its ports, and each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from malmungchi.pipelines.cli import main as cli
from malmungchi.pipelines.cli import options
from malmungchi.pipelines.runners import base, flink, registry
from tests.support import ROOT

FILES = sorted((ROOT / "deploy").glob("*.yaml"))
NAMES = [file.name for file in FILES]


def manifests(name: str) -> dict[str, dict[str, Any]]:
    """The resources of a file, by their kind and name."""
    found = yaml.safe_load_all((ROOT / "deploy" / name).read_text(encoding="utf-8"))
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in found}


def containers(name: str) -> Iterator[dict[str, Any]]:
    """Those that run our image."""

    def search(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            yield from (each for each in node.get("containers", ()) if "malmungchi" in each.get("image", ""))
            for value in node.values():
                yield from search(value)

    for resource in manifests(name).values():
        yield from search(resource)


def launcher(name: str) -> tuple[Any, list[str]]:
    """(settings, Beam's arguments) of a file's job, read as the program reads them."""
    (container,) = [each for each in containers(name) if each["name"] == "launcher"]
    assert container["command"] == ["malmungchi"]
    parser, commands = cli._parser()
    arguments, rest = parser.parse_known_args(container["args"])
    return options.config_from(arguments), options.beam_arguments(commands[arguments.command], rest)


def test_there_are_manifests() -> None:
    assert NAMES == ["dask.yaml", "flink.yaml"]


@pytest.mark.parametrize("name", NAMES)
def test_every_container_is_ours_and_not_root(name: str) -> None:
    found = list(containers(name))
    assert len(found) >= 2
    for container in found:
        assert container["image"] == "registry.example/malmungchi:TAG"
        assert container["securityContext"] == {"runAsNonRoot": True, "allowPrivilegeEscalation": False}
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
        assert "env" not in container, "credentials come from a secret"


@pytest.mark.parametrize("name", NAMES)
def test_what_the_launcher_is_told_is_understood_and_possible(name: str) -> None:
    config, beam = launcher(name)
    given = registry.complete(beam, config.execution.workers)
    assert not registry.sees_this_machine(given) or name == "dask.yaml"  # its workers are asked
    assert config.execution.staging.startswith("s3://")


def test_flinks_slots_workers_and_ports_fit() -> None:
    config, beam = launcher("flink.yaml")
    given = registry.options(registry.complete(beam, config.execution.workers))
    cluster = manifests("flink.yaml")["FlinkDeployment/malmungchi"]["spec"]
    slots = int(cluster["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
    assert slots * cluster["taskManager"]["replicas"] == config.execution.workers == given.get("parallelism")
    assert slots == int(given.get("sdk_worker_parallelism"))
    assert cluster["flinkVersion"] == "v" + flink.VERSION.replace(".", "_")
    assert cluster["image"] == f"flink:{flink.VERSION}"
    assert given.get("flink_version") == flink.VERSION
    assert given.get("flink_submit_uber_jar")
    (pool,) = [each for each in containers("flink.yaml") if each["name"] == "workers"]
    assert pool["args"] == ["--worker_pool"]
    assert "command" not in pool, "the image's entry point is Beam's boot"
    assert f"localhost:{pool['ports'][0]['containerPort']}" == base.SIDE_CAR == given.get("environment_config")
    assert given.get("flink_master") == "malmungchi-rest:8081"


def test_dasks_addresses_and_partitions_fit() -> None:
    config, beam = launcher("dask.yaml")
    given = registry.options(registry.complete(beam, config.execution.workers))
    found = manifests("dask.yaml")
    service = found["Service/malmungchi-scheduler"]
    address = f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    (worker,) = [each for each in containers("dask.yaml") if each["name"] == "worker"]
    assert given.get("address") == address == worker["command"][2]
    assert worker["command"][3:5] == ["--nthreads", "1"]
    assert found["Deployment/malmungchi-worker"]["spec"]["replicas"] == config.execution.workers
    assert given.get("npartitions") == base.partitions(config.execution.workers)
    for deployment in ("scheduler", "worker"):
        spec = found[f"Deployment/malmungchi-{deployment}"]["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == {"app": "malmungchi-scheduler"}
