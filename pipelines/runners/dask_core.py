"""Runs the portable core of Beam on a Dask cluster: Create, Reshuffle, single-output ParDo, GroupByKey, Flatten.

Beam's own Dask runner takes every transform that it does not know for one that does nothing, drops what a bundle's end
gives out, and holds all outputs of a step in a list before the next one begins. Here whatever is not in the core is
refused before anything runs, and an element goes through all steps between two groupings before the next one is read,
so that a worker holds one chunk and not a partition full of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import logging
import operator
import os
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import dask.bag
import distributed
import xxhash
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.runners.common import DoFnSignature
from apache_beam.runners.dask.dask_runner import DaskOptions
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState
from apache_beam.transforms.core import _DoFnParam
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.windowed_value import WindowedValue
from dask.bag.core import groupby_tasks

from malmungchi.pipelines.runners.engines import KEPT, ClusterError, EngineError, local_paths, partitions, versions
from malmungchi.transforms.io import storage

# How long a cluster may be without a single worker: one that is started again takes a few seconds to come back.
LONELY_SECONDS = 10.0
_CONNECT_SECONDS = 5
_POLL_SECONDS = 1.0
# For so long no worker may work on a task before the scheduler is made to look at its queue.
_IDLE_SECONDS = 3.0

_DASK = ("dask", "distributed")


# ---- on the workers


def stat(paths: Sequence[str]) -> list[tuple[int, int] | None]:
    """What tells whether two machines see the same file under a path."""
    found: list[tuple[int, int] | None] = []
    for path in paths:
        try:
            info = os.stat(path)
            found.append((info.st_ino, info.st_ctime_ns))
        except OSError:
            found.append(None)
    return found


def look(paths: Sequence[str]) -> tuple[dict[str, str], list[tuple[int, int] | None]]:
    """Called on each worker: its versions, and what it sees under some paths."""
    return versions(_DASK), stat(paths)


@functools.cache
def _prepare(threads: int) -> None:
    """Makes a worker process ready, once."""
    from malmungchi.pipelines.process.logs import quiet
    from malmungchi.pipelines.process.memory import keep_heap

    quiet()
    if threads == 1:  # several threads would wait for each other at the one heap
        keep_heap()


def _through(elements: Iterable[Any], dofn: beam.DoFn, args: Sequence[Any], kwargs: dict[str, Any]) -> Iterator[Any]:
    dofn.setup()
    dofn.start_bundle()
    for element in elements:
        for out in dofn.process(element, *args, **kwargs) or ():
            if isinstance(out, (beam.pvalue.TaggedOutput, TimestampedValue, WindowedValue)):
                raise EngineError(f"{type(out).__name__}: outside the portable core of Beam that runs on Dask")
            yield out
    dofn.teardown()


def apply(elements: Iterable[Any], steps: bytes, run: tuple[str, str]) -> list[Any]:
    """What comes out of a partition that goes through some ParDos. `run` holds the launcher's version and a word that
    is this run's own. Raises StageError without any text of a document, since Dask logs the errors of its tasks."""
    from malmungchi.pipelines.runners.drive import StageError, explain

    with contextlib.suppress(ValueError):  # outside a worker
        _prepare(distributed.get_worker().state.nthreads)
    here = importlib.metadata.version("malmungchi")
    if here != run[0]:
        raise StageError(f"a Dask worker has malmungchi {here}, the launcher {run[0]}: install the same on both")
    try:
        for dofn, args, kwargs in pickler.loads(steps):
            elements = _through(elements, dofn, args, kwargs)
        return list(elements)
    except Exception as error:  # as text: not every error can be sent
        raise StageError(str(explain(error))) from None


def _hash(key: Any) -> int:
    """Python's own differs between processes, and deals keys that are multiples of something unevenly."""
    return xxhash.xxh3_64_intdigest(repr(key).encode())


def _values(group: tuple[Any, list[tuple[Any, Any]]]) -> tuple[Any, list[Any]]:
    return group[0], [value for _, value in group[1]]


# ---- translation, which is also the check


@dataclasses.dataclass(frozen=True)
class _Flow:
    """A PCollection: a bag, and the ParDos that its elements have yet to go through."""

    bag: Any
    steps: tuple[tuple[beam.DoFn, Sequence[Any], dict[str, Any]], ...] = ()


def _refuse(node: AppliedPTransform, what: str) -> EngineError:
    return EngineError(
        f"{node.full_label} {what}, which is outside the portable core of Beam that runs on Dask (Create, Reshuffle, "
        "single-output ParDo, GroupByKey, Flatten): use the local runner, Flink, Spark or Dataflow"
    )


def _check_pardo(node: AppliedPTransform) -> None:
    transform = node.transform
    signature = DoFnSignature(transform.fn)
    if node.side_inputs:
        raise _refuse(node, "has a side input")
    if len(node.outputs) > 1 or getattr(transform, "output_tags", None):
        raise _refuse(node, "has several outputs")
    if signature.is_stateful_dofn():
        raise _refuse(node, "has state or timers")
    if signature.is_splittable_dofn():
        raise _refuse(node, "is splittable")
    if type(transform.fn).finish_bundle is not beam.DoFn.finish_bundle:
        raise _refuse(node, "has a finish_bundle")
    if any(isinstance(value, _DoFnParam) for value in signature.process_method.defaults or ()):
        raise _refuse(node, "asks for more than its element (window, timestamp, …)")


class _Steps(PipelineVisitor):
    """Visits the steps of a pipeline; Create, Reshuffle and GroupByKey are one each, whatever Beam makes of them."""

    _inside: AppliedPTransform | None = None

    def step(self, node: AppliedPTransform) -> None:
        raise NotImplementedError

    def enter_composite_transform(self, node: AppliedPTransform) -> None:
        if self._inside is None and type(node.transform) in (beam.Create, beam.Reshuffle, beam.GroupByKey):
            self._inside = node
            self.step(node)

    def leave_composite_transform(self, node: AppliedPTransform) -> None:
        if self._inside is node:
            self._inside = None

    def visit_transform(self, node: AppliedPTransform) -> None:
        if self._inside is None and node.transform is not None:
            self.step(node)


class _Consumers(_Steps):
    """How many steps go on from each PCollection."""

    def __init__(self) -> None:
        self.count: Counter[Any] = Counter()

    def step(self, node: AppliedPTransform) -> None:
        self.count.update(node.inputs)


class _Translation(_Steps):
    """Turns a pipeline into bags. Raises EngineError for all that it does not know."""

    def __init__(self, partitions: int, consumers: Counter[Any]) -> None:
        self._partitions = partitions
        self._consumers = consumers
        # Dask knows results by the names of their tasks: none may be taken for one of an earlier run.
        self._run = (importlib.metadata.version("malmungchi"), uuid.uuid4().hex)
        self._flows: dict[Any, _Flow] = {}

    def step(self, node: AppliedPTransform) -> None:
        transform = node.transform
        inputs = [self._flows[value] for value in node.inputs if value in self._flows]
        if isinstance(transform, beam.ParDo):
            _check_pardo(node)
            args, kwargs = transform.raw_side_inputs
            flow = _Flow(inputs[0].bag, (*inputs[0].steps, (transform.fn, args, kwargs)))
        elif isinstance(transform, beam.Flatten):
            flow = _Flow(dask.bag.concat([self._done(before) for before in inputs]))
        elif isinstance(transform, beam.Create):
            flow = _Flow(dask.bag.from_sequence(transform.values, npartitions=self._partitions))
        elif isinstance(transform, beam.Reshuffle):
            flow = inputs[0]
        elif isinstance(transform, beam.GroupByKey):
            flow = _Flow(self._grouped(self._done(inputs[0])))
        else:
            raise _refuse(node, f"is a {type(transform).__name__}")
        (value,) = node.outputs.values()
        # What several steps go on from is made once.
        self._flows[value] = flow if self._consumers[value] == 1 else _Flow(self._done(flow))

    def _done(self, flow: _Flow) -> Any:
        """The bag of a flow's elements."""
        return flow.bag.map_partitions(apply, pickler.dumps(flow.steps), self._run) if flow.steps else flow.bag

    def _grouped(self, bag: Any) -> Any:
        if bag.npartitions < self._partitions:
            bag = bag.repartition(npartitions=self._partitions)
        return groupby_tasks(bag, operator.itemgetter(0), hash=_hash).map(_values)

    def leaves(self) -> list[Any]:
        """The bags that no step goes on from."""
        return [flow.bag for value, flow in self._flows.items() if not self._consumers[value]]


def translate(pipeline: beam.Pipeline, partitions: int) -> list[Any]:
    """The bags at a pipeline's ends. Raises EngineError for what is outside the portable core."""
    consumers = _Consumers()
    pipeline.visit(consumers)
    translation = _Translation(partitions, consumers.count)
    pipeline.visit(translation)
    return translation.leaves()


# ---- the cluster


@contextlib.contextmanager
def connected(options: PipelineOptions) -> Iterator[distributed.Client]:
    """A client of the cluster that Beam's options name. Raises EngineError if it does not answer."""
    for logger in [*logging.root.manager.loggerDict]:
        if logger.partition(".")[0] in ("distributed", "asyncio"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)  # what goes wrong is said once, by us
    known = options.view_as(DaskOptions)
    where = known.address or known.scheduler_file
    try:
        client = distributed.Client(
            address=known.address,
            scheduler_file=known.scheduler_file,
            timeout=known.timeout or _CONNECT_SECONDS,
            name=known.name or "malmungchi",
            connection_limit=known.connection_limit,
            set_as_default=False,
        )
    except (OSError, ValueError, TimeoutError) as error:
        raise EngineError(f"no Dask scheduler answers at {where}: check the address, and that it runs") from error
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):  # of a cluster that is gone
            client.close(timeout=_CONNECT_SECONDS)


def ask(client: distributed.Client, paths: Sequence[str]) -> dict[str, Any]:
    """What each worker says to `look`, by its address. Raises EngineError if one lacks this package."""
    answers = client.run(look, paths, on_error="return")
    if not answers:
        raise EngineError("the Dask cluster has no workers: start some, in an environment with this package")
    for worker, answer in answers.items():
        if lacks := re.search(r"No module named '([\w.]+)", str(answer)) if isinstance(answer, Exception) else None:
            raise EngineError(
                f"the Dask worker {worker} lacks the module {lacks[1]}: install the wheel of malmungchi "
                f"{importlib.metadata.version('malmungchi')} in its environment, with malmungchi[dask]"
            )
        if isinstance(answer, Exception):
            raise EngineError(f"the Dask worker {worker} cannot be asked: {type(answer).__name__}: {answer}")
    return dict(sorted(answers.items()))


def check(arguments: Sequence[str], uris: dict[str, Sequence[str]]) -> None:
    """Refuses a job when a worker has other versions, or does not see its local paths. Raises EngineError."""
    places = [(flag, path) for flag, group in uris.items() for path in local_paths(group)]
    here = [_existing(storage.resolve(path)[1]) for _, path in places]
    before = stat(here)
    with connected(PipelineOptions(list(arguments))) as client:
        seen = ask(client, here)
        ours, after = look(here)
    for worker, (theirs, paths) in seen.items():
        for package, version in ours.items():
            if theirs[package] != version:
                raise EngineError(
                    f"the Dask worker {worker} has {package} {theirs[package]}, the launcher {version}: "
                    "install the same versions on both"
                )
        for (flag, path), found, *ours_then in zip(places, paths, before, after, strict=True):
            if not _is_the_same(found, *ours_then):
                raise EngineError(
                    f"{flag} {path} is a path of this machine, which the Dask worker {worker} does not see: name an "
                    "object store (s3://, gs://, hdfs://), or a folder that all workers mount"
                )


def _is_the_same(found: tuple[int, int] | None, before: tuple[int, int] | None, after: tuple[int, int] | None) -> bool:
    """Whether a worker sees what we see; a folder in which somebody is at work changes meanwhile."""
    if before == after or None in (found, before, after):
        return found == after
    return found is not None and after is not None and found[0] == after[0]


def _existing(path: str) -> str:
    """The path, or what is there of the folders above it."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


class CoreRunner(PipelineRunner):
    """Runs a pipeline to its end on the Dask cluster that the options name.

    Raises EngineError for a pipeline outside the portable core, ClusterError when the cluster or all of its workers
    are gone, and what the pipeline raises.
    """

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        with connected(options) as client:
            threads = sum(client.nthreads().values())
            leaves = translate(pipeline, options.view_as(DaskOptions).npartitions or partitions(threads))
            futures = client.compute([leaf.count() for leaf in leaves])
            try:
                _wait(client, futures)
            finally:
                with contextlib.suppress(Exception):  # of a cluster that is gone
                    client.cancel(futures, force=True)
        return PipelineResult(PipelineState.DONE)


class _Watch:
    """What the workers do while a pipeline runs, as they say it themselves, about once a second."""

    def __init__(self, client: distributed.Client) -> None:
        self._client = client
        self._lonely: float | None = None  # since when no worker is there
        self._idle: float | None = None  # since when none works on a task

    def look(self) -> None:
        """Raises ClusterError when all workers are gone or paused."""
        try:
            workers = list(self._client.scheduler_info(n_workers=-1)["workers"].values())
        except (OSError, TimeoutError):
            return  # the next round finds out whether the scheduler is gone
        now = time.monotonic()
        if not any(worker["status"] == "running" for worker in workers):
            self._lonely = self._lonely or now
            if now - self._lonely > LONELY_SECONDS:
                raise ClusterError(_PAUSED if workers else f"all workers of the Dask cluster are gone. {KEPT}")
            return
        self._lonely = None
        if any(worker["metrics"]["task_counts"].get("executing") for worker in workers):
            self._idle = None
            return
        self._idle = self._idle or now
        if now - self._idle > _IDLE_SECONDS:
            self._idle = now
            self._nudge()

    def _nudge(self) -> None:
        """Makes the scheduler look at its queue, as it does when a client lets go of something.

        When a worker is lost while all others wait for what it held, Dask (2026.8 too) puts what must be done again in
        the queue, and looks at that only when a task ends or a worker comes: for ever, if none does.
        """
        self._client.submit(int, pure=False).release()


_PAUSED = (
    "Dask has paused all workers, since they have used up the memory that it thinks they have: start them with "
    f"--memory-limit 0, or with a limit of 2 GB for each thread. {KEPT}"
)


def _wait(client: distributed.Client, futures: list[Any]) -> None:
    """Waits until all is done. Raises ClusterError, or what a task raised."""
    watch = _Watch(client)
    some_done = threading.Event()
    for future in futures:
        future.add_done_callback(lambda _: some_done.set())
    while True:
        some_done.wait(_POLL_SECONDS)
        some_done.clear()
        if client.status != "running" or any(future.cancelled() for future in futures):
            raise ClusterError(f"the Dask scheduler is gone. {KEPT}")
        for future in futures:
            if future.status == "error":
                error = future.exception()
                if isinstance(error, distributed.KilledWorker):
                    raise ClusterError(
                        f"the same task has ended {error.allowed_failures + 1} workers, probably for want of memory: "
                        "give each 1 GB for every thread, 2 GB for jobs above 32 GB (dask worker --nthreads 1). " + KEPT
                    )
                raise error
        if all(future.done() for future in futures):
            return
        watch.look()
