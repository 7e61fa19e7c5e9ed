"""Errors that say where, and not with what."""

from __future__ import annotations

import pickle
import sys
import traceback
import types
from collections.abc import Callable, Iterator

import apache_beam as beam
import pytest

from malmungchi.pipelines.runners import causes, drive
from malmungchi.pipelines.runners.causes import StageError
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.transforms.io.decompress import BrokenError
from malmungchi.transforms.io.private import TRACEBACK, Private, TaskError
from malmungchi.transforms.text.language import classify

SECRET = "비밀문장"


def quote(text: str, more: str) -> str:
    try:
        int(text)
    except ValueError:
        raise KeyError(text + more)  # noqa: B904 (what led to it quotes as well)
    return text


def quote_later(text: str, more: str) -> Iterator[str]:
    yield "first"
    yield quote(text, more)


def fail_inside(text: str) -> None:
    classify(text, None)  # type: ignore[arg-type]


def ours(text: str) -> None:
    try:
        int(text)
    except ValueError as error:
        raise BrokenError("corrupt", "the stream breaks off") from error


def system(text: str) -> None:
    raise OSError(28, "No space left on device")


def missing(text: str) -> None:
    import langdetect_that_is_not_there  # type: ignore[import-not-found]  # noqa: F401


def elsewhere(text: str) -> None:
    class HTTPError(OSError):
        pass

    HTTPError.__module__ = "requests"
    raise HTTPError(f"403 for https://x/?sign={text}")


def said(function: Callable[[str], object]) -> str:
    """All that a traceback of what it raises would log."""
    try:
        found = function(SECRET)
        list(found if isinstance(found, Iterator) else [])
    except Exception as error:
        return "".join(traceback.format_exception(error))
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("function", [quote, quote_later])
def test_neither_the_message_nor_what_led_to_it_is_told(function: Callable[..., object]) -> None:
    private = pickle.loads(pickle.dumps(Private(function, "!")))
    text = said(private)
    assert "TaskError: unexpected KeyError at " in text
    assert SECRET not in text
    assert SECRET in said(lambda element: function(element, "!"))


def test_the_place_is_the_last_one_of_ours() -> None:
    assert "unexpected AttributeError at transforms/kernels/utf8.py:" in said(Private(fail_inside))


def test_our_errors_and_those_of_the_system_are_told_without_what_led_to_them() -> None:
    text = said(Private(ours))
    assert "BrokenError" in text
    assert "breaks off" in text
    assert SECRET not in text
    assert "No space left on device" in said(Private(system))
    assert "No module named 'langdetect_that_is_not_there'" in said(Private(missing))


def test_errors_of_libraries_that_call_themselves_the_systems_are_not_told() -> None:
    text = said(Private(elsewhere))
    assert "unexpected HTTPError at" in text
    assert SECRET not in text


def test_all_is_told_where_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACEBACK, "1")
    for function in (quote, quote_later):
        text = said(Private(function, "!"))
        assert text.count(SECRET) >= 2
        assert "TaskError" not in text


def test_results_pass() -> None:
    assert Private(quote, "!")("12") == "12"
    assert list(Private(quote_later, "!")("12")) == ["first", "12"]


def test_in_a_pipeline(caplog: pytest.LogCaptureFixture) -> None:
    def build(root: beam.Pipeline) -> None:
        (
            root
            | beam.Create([SECRET])
            | beam.FlatMap(Private(quote_later, "!"))
            | beam.Map(Private(quote, "!")).with_output_types(str)
        )

    with pytest.raises(StageError) as caught:
        drive.run(build)
    assert str(caught.value).startswith("unexpected KeyError at ")
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + caplog.text
    assert issubclass(TaskError, MalmungchiError)


def foreign(module: str, *bases: type[Exception]) -> type[Exception]:
    """An exception that somebody else's module calls Boom."""
    return type("Boom", bases, {"__module__": module})


@pytest.mark.parametrize("module", ["transforms.x", "malmungchi.transforms.x", "malmungchi.schemas.errors"])
def test_an_error_is_ours_by_its_class_and_not_by_the_name_of_its_module(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = foreign(module, ValueError)
    if module not in sys.modules:
        there = types.ModuleType(module)
        there.Boom = kind  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module, there)

    def fail(text: str) -> None:
        raise kind(text)

    text = said(Private(fail))
    assert "TaskError: unexpected Boom at" in text
    assert SECRET not in text
    # And where nothing stands between the error and Beam, but the text of its traceback.
    with pytest.raises(causes.StageError, match="unexpected error at") as caught:
        drive.run(lambda root: root | beam.Create([SECRET]) | beam.Map(fail).with_output_types(str))
    assert SECRET not in str(caught.value)


def test_an_error_that_another_package_derives_from_ours_is_told() -> None:
    kind = foreign("somebody.formats", BrokenError)

    def fail(text: str) -> None:
        raise kind("corrupt", "a.xyz, row 3: the cell has no end; mend it")

    with pytest.raises(causes.StageError) as caught:
        drive.run(lambda root: root | beam.Create([SECRET]) | beam.Map(Private(fail)).with_output_types(str))
    assert str(caught.value) == "corrupt: a.xyz, row 3: the cell has no end; mend it"
    assert "MalmungchiError: corrupt: a.xyz" in said(Private(fail))
