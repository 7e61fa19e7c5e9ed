"""Google Cloud Dataflow."""

from __future__ import annotations

from malmungchi.pipelines.runners.base import Options, Runner, RunnerError


class Dataflow(Runner):
    """Beam's DataflowRunner. `workers` is the number of its workers from start to end."""

    name = "dataflow"
    packages = ("google.cloud.dataflow",)
    may_share_paths = False

    def complete(self, given: Options, workers: int) -> Options:
        if "sdk_container_image" not in given:
            raise RunnerError(
                "Dataflow workers need the image of this project: --sdk_container_image=REGISTRY/malmungchi:TAG "
                "(docker build, docker push)"
            )
        if workers:
            given = given.default("num_workers", workers).default("max_num_workers", workers)
        return given

    def sees_this_machine(self, given: Options) -> bool:
        return given.environment == "LOOPBACK"
