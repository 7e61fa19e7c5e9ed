"""Flink: a cluster of its own, or one that Beam starts for a job."""

from __future__ import annotations

from malmungchi.pipelines.runners.base import Options, Runner, with_worker_pool

# The release of Flink that Beam has known the longest, and whose support is long-term.
VERSION = "1.20"


class Flink(Runner):
    """Beam's FlinkRunner. `workers` is its parallelism."""

    name = "flink"

    def master(self, given: Options) -> str:
        return str(given.get("flink_master", "localhost"))

    def complete(self, given: Options, workers: int) -> Options:
        if "job_endpoint" not in given and given.get("flink_master", "[auto]") in ("[auto]", "[local]"):
            return given  # Beam starts one
        found = with_worker_pool(given).default("flink_version", VERSION)
        found = found.default("sdk_worker_parallelism", 0)  # Beam chooses, by the cores that the task manager sees
        if "job_endpoint" not in given and "flink_submit_uber_jar" not in given:
            found = found.flag("flink_submit_uber_jar")
        return found.default("parallelism", workers) if workers else found
