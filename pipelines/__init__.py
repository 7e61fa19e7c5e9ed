"""Jobs: what one launches."""

from typing import TYPE_CHECKING

from malmungchi._lazy import lazy

if TYPE_CHECKING:
    from malmungchi.pipelines.job.build import build
    from malmungchi.pipelines.job.dry_run import dry_run
    from malmungchi.pipelines.job.job import Job
    from malmungchi.pipelines.plan.planner import make_plan
    from malmungchi.pipelines.release.inspect import inspect
    from malmungchi.pipelines.release.verify import verify

__all__ = [
    "Job",
    "build",
    "dry_run",
    "inspect",
    "make_plan",
    "verify",
]

_PLACES = {
    "Job": "malmungchi.pipelines.job.job",
    "build": "malmungchi.pipelines.job.build",
    "dry_run": "malmungchi.pipelines.job.dry_run",
    "inspect": "malmungchi.pipelines.release.inspect",
    "make_plan": "malmungchi.pipelines.plan.planner",
    "verify": "malmungchi.pipelines.release.verify",
}

__getattr__, __dir__ = lazy(__name__, _PLACES)
