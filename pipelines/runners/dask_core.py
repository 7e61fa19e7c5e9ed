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
import operator
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import dask.bag
import distributed
import xxhash
from apache_beam.internal import pickler
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.runners.common import DoFnSignature
from apache_beam.transforms.core import _DoFnParam
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.windowed_value import WindowedValue
from dask.bag.core import groupby_tasks

from malmungchi.pipelines.process.logs import quiet
from malmungchi.pipelines.process.memory import keep_heap
from malmungchi.pipelines.runners.base import RunnerError
from malmungchi.pipelines.runners.causes import StageError, explain

# ---- on the workers


@functools.cache
def _prepare(threads: int) -> None:
    """Makes a worker process ready, once."""
    quiet()
    if threads == 1:  # several threads would wait for each other at the one heap
        keep_heap()


def _through(elements: Iterable[Any], dofn: beam.DoFn, args: Sequence[Any], kwargs: dict[str, Any]) -> Iterator[Any]:
    dofn.setup()
    dofn.start_bundle()
    for element in elements:
        for out in dofn.process(element, *args, **kwargs) or ():
            if isinstance(out, (beam.pvalue.TaggedOutput, TimestampedValue, WindowedValue)):
                raise RunnerError(f"{type(out).__name__}: outside the portable core of Beam that runs on Dask")
            yield out
    dofn.teardown()


def apply(elements: Iterable[Any], steps: bytes, run: tuple[str, str]) -> list[Any]:
    """What comes out of a partition that goes through some ParDos. `run` holds the launcher's version and a word that
    is this run's own. Raises StageError without any text of a document, since Dask logs the errors of its tasks."""
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


def _refuse(node: AppliedPTransform, what: str) -> RunnerError:
    return RunnerError(
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
    """Turns a pipeline into bags. Raises RunnerError for all that it does not know."""

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
    """The bags at a pipeline's ends. Raises RunnerError for what is outside the portable core."""
    consumers = _Consumers()
    pipeline.visit(consumers)
    translation = _Translation(partitions, consumers.count)
    pipeline.visit(translation)
    return translation.leaves()
