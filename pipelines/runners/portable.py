"""Any job server of Beam's."""

from __future__ import annotations

from malmungchi.pipelines.runners.base import Options, Runner, RunnerError, with_worker_pool


class Portable(Runner):
    """Beam's PortableRunner. `workers` are the Python processes of each worker of the server's cluster."""

    name = "portable"

    def complete(self, given: Options, workers: int) -> Options:
        if "job_endpoint" not in given:
            raise RunnerError("--runner portable needs the address of a job server: give --job_endpoint=HOST:PORT")
        found = with_worker_pool(given)
        return found.default("sdk_worker_parallelism", workers) if workers else found
