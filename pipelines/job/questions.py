"""What the doctor asks of workers, as a pipeline of the same few steps that a build is made of.

So whoever answers is a worker. Each answer is a file in the staging area.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import random
import socket
import statistics
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import orjson

from malmungchi.pipelines.process.memory import available
from malmungchi.pipelines.runners.versions import versions
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.transforms.io import storage

_OBJECT_BYTES = 8 << 20
_RANGE_BYTES = 64 << 10
_RANGES = 20

# How long a question takes at least, so that not one worker answers them all.
_ANSWER_SECONDS = 0.5


class DoctorError(MalmungchiError):
    """A worker cannot do what it was asked; the message holds no text of any document."""


def _content(name: str) -> bytes:
    return random.Random(name).randbytes(_OBJECT_BYTES)


def _write_slowly(uri: str, content: bytes) -> None:
    with storage.create(uri) as file:
        for start in range(0, len(content), _OBJECT_BYTES // 16):
            file.write(content[start : start + _OBJECT_BYTES // 16])
            time.sleep(0.01)


def try_place(folder: str, name: str) -> dict[str, Any]:
    """What the storage behind a folder does with one object: speeds, and which promises it breaks."""
    uri, content, broken = storage.join(folder, name), _content(name), []
    start = time.monotonic()
    storage.write_bytes(uri, content)
    put = time.monotonic() - start
    spots = random.Random(name).sample(range(0, _OBJECT_BYTES - _RANGE_BYTES, _RANGE_BYTES), _RANGES)
    seconds = []
    for spot in spots:
        start = time.monotonic()
        if storage.read_range(uri, spot, _RANGE_BYTES) != content[spot : spot + _RANGE_BYTES]:
            broken.append("a ranged read gives other bytes than were written")
        seconds.append(time.monotonic() - start)
    if name not in storage.names(folder):
        broken.append("a written object is not listed at once")
    storage.write_bytes(uri, content[::-1])
    if storage.read_bytes(uri) != content[::-1]:
        broken.append("an object that is written again shows its old content")
    storage.remove(uri)
    if storage.exists(uri):
        broken.append("a removed object is still there")
    writer = threading.Thread(target=_write_slowly, args=(uri, content))
    writer.start()
    while writer.is_alive():
        if storage.size(uri) not in (-1, _OBJECT_BYTES):
            broken.append("an object is seen before it is whole")
        time.sleep(0.005)
    writer.join()
    if storage.read_bytes(uri) != content:
        broken.append("an object has other bytes than were written")
    return {"put": _OBJECT_BYTES / put, "range": statistics.median(seconds), "broken": sorted(set(broken))}


@dataclasses.dataclass(frozen=True)
class Questions:
    """What workers are asked: about `places` by their names, and whether they can read `inputs`."""

    home: str
    places: dict[str, str]
    inputs: tuple[str, ...]


def _answer(group: tuple[int, Iterable[int]], questions: Questions, count: int) -> Iterator[tuple[int, int]]:
    """A worker tells what it is and how it sees storage; what it leaves there is for another one to read."""
    begun = time.time()
    for number in group[1]:
        try:
            places = {name: try_place(uri, f"object-{number}") for name, uri in questions.places.items()}
            for uri in questions.inputs:
                with storage.open_input(uri) as file:
                    file.read(1)
        except Exception as error:
            raise DoctorError(f"worker on {socket.gethostname()}: {error}") from None
        time.sleep(max(0.0, begun + _ANSWER_SECONDS - time.time()))
        answer = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "begun": begun,
            "ended": time.time(),
            "versions": versions(),
            "package": os.path.dirname(importlib.import_module("malmungchi").__file__ or ""),
            "memory": available(),
            "places": places,
        }
        storage.write_bytes(storage.join(questions.home, "answers", f"{number}.json"), orjson.dumps(answer))
        yield (number + 1) % count, number


def _read_again(group: tuple[int, Iterable[int]], questions: Questions) -> Iterator[int]:
    """A worker reads what most likely another one has written."""
    for number in group[1]:
        for name, uri in questions.places.items():
            found = storage.read_bytes(storage.join(uri, f"object-{number}"))
            if found != _content(f"object-{number}"):
                raise DoctorError(f"worker on {socket.gethostname()}: {name} shows other bytes than were written there")
        storage.write_bytes(storage.join(questions.home, "read", f"{number}.json"), b"{}")
        yield number


def pipeline(root: beam.Pipeline, questions: Questions, count: int) -> Any:
    return (
        root
        | "Questions" >> beam.Create([(n, n) for n in range(count)]).with_output_types(tuple[int, int])
        | "DealQuestions" >> beam.GroupByKey()
        | "Answer" >> beam.FlatMap(_answer, questions, count).with_output_types(tuple[int, int])
        | "DealAnswers" >> beam.GroupByKey()
        | "ReadAgain" >> beam.FlatMap(_read_again, questions).with_output_types(int)
    )
