"""The local runner: Beam's FnApiRunner, in this process for small inputs, otherwise with worker processes of its own.

`DirectRunner` as such may download another runner in silence; asking for it means this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from malmungchi.pipelines.runners.base import Options, Runner, RunnerError

if TYPE_CHECKING:
    from apache_beam.runners.runner import PipelineRunner


class Local(Runner):
    """`workers` are processes of this machine, which `--execution-workers` says and not Beam's options."""

    name = "local"

    def complete(self, given: Options, workers: int) -> Options:
        for option in ("direct_num_workers", "direct_running_mode"):
            if option in given:
                raise RunnerError(f"--{option} has no effect here: use --workers N")
        return given

    def sees_this_machine(self, given: Options) -> bool:
        return True

    def beam(self, given: Options) -> PipelineRunner:
        # The command line asks for this runner's name long before a job needs Beam.
        from malmungchi.pipelines.runners.local_processes import WatchedRunner

        return WatchedRunner(given)
