"""Dask: a cluster whose scheduler deals out Python tasks; `dask_core` makes them of a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from malmungchi.pipelines.runners.base import Options, Places, Runner, RunnerError, partitions

if TYPE_CHECKING:
    from apache_beam.runners.runner import PipelineRunner


class Dask(Runner):
    """A runner of our own, with the options of Beam's DaskRunner. Its workers are asked what they see."""

    name = "dask"
    packages = ("dask.bag", "distributed")
    options_module = "apache_beam.runners.dask.dask_runner"

    def complete(self, given: Options, workers: int) -> Options:
        if not given.get("address") and not given.get("scheduler_file"):
            raise RunnerError(
                "the Dask runner needs a scheduler: --dask_client_address=tcp://HOST:8786, or "
                "--dask_scheduler_file=FILE; on one machine leave --runner out"
            )
        if "partition_size" in given:
            raise RunnerError("--dask_partition_size has no effect here: use --dask_npartitions N, or --workers N")
        return given.default("dask_npartitions", partitions(workers), "npartitions") if workers else given

    def check(self, given: Options, places: Places) -> None:
        # Dask is an extra, and Beam takes seconds to load.
        from malmungchi.pipelines.runners import dask_cluster

        dask_cluster.check(given.arguments, list(places.local()))

    def beam(self, given: Options) -> PipelineRunner:
        from malmungchi.pipelines.runners.dask_cluster import CoreRunner

        return CoreRunner()
