"""Spark: a cluster of its own, or one that Beam starts for a job."""

from __future__ import annotations

import re

from malmungchi.pipelines.runners.base import Options, Runner, with_worker_pool


class Spark(Runner):
    """Beam's SparkRunner. The cluster decides how many workers it has."""

    name = "spark"

    def master(self, given: Options) -> str:
        return str(given.get("spark_rest_url", given.get("spark_master_url", "localhost")))

    def complete(self, given: Options, workers: int) -> Options:
        local = re.match(r"^local(\[.+\])?$", given.get("spark_master_url", "local"))
        if "job_endpoint" not in given and "spark_rest_url" not in given and local:
            return given  # Beam starts one
        found = with_worker_pool(given).default("sdk_worker_parallelism", 0)
        if "spark_rest_url" in given and "spark_submit_uber_jar" not in given:
            found = found.flag("spark_submit_uber_jar")
        return found
