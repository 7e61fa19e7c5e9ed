"""Why a pipeline failed, in one line: Beam's errors are tracebacks of several processes."""

from __future__ import annotations

import builtins
import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from malmungchi.pipelines.process import signals
from malmungchi.schemas.errors import MalmungchiError
from malmungchi.transforms.exchange.segments import DamagedError, damaged
from malmungchi.transforms.io.private import TRACEBACK, unexpected


class WorkerDiedError(MalmungchiError):
    """A worker process ended before its work did, or does nothing any more."""


class StageError(MalmungchiError):
    """A stage failed; the message is that of the cause."""


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turns an error of Beam's into that which says what failed in the end."""
    try:
        yield
    except WorkerDiedError:
        raise
    except Exception as error:
        signals.check()
        raise explain(error) from error


def explain(error: Exception) -> DamagedError | StageError:
    """The error that says what failed in the end, without any text of a document."""
    return damaged(str(error)) or StageError(_cause(error))


# Where our files are, here; elsewhere they are in other places, with the same names below.
_ROOT = Path(__file__).parents[2]
_FRAME = re.compile(
    r' +File ".*?(?<!apache_beam/)(?P<file>(?:transforms|pipelines|schemas)/[\w/]+\.py)", line (?P<line>\d+)'
)
_RAISED = re.compile(r"(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$")
_STEP = re.compile(r" \[while running '.*?'\]")
_LACKS = re.compile(r"\bModuleNotFoundError: No module named '([\w.]+)")


def _cause(error: BaseException) -> str:
    """What failed in the end, as the text of a traceback tells it.

    Only messages of our own errors and of the operating system are shown: any other may quote a document.
    """
    text = str(error) if "Traceback" in str(error) else "".join(traceback.format_exception(error, chain=False))
    if os.environ.get(TRACEBACK):
        return text
    if lacks := _LACKS.search(text):
        return (
            f"no module named '{lacks[1]}' where the workers run: install the wheel of malmungchi "
            f"{version('malmungchi')} there, with the extras that this job needs"
        )
    kind = message = place = ""
    inside = True
    for line in text.splitlines():
        if (frame := _FRAME.match(line)) and (_ROOT / frame["file"]).is_file():
            place = f"{frame['file']}:{frame['line']}"
        # The line after the frames names the error; what follows it may be the rest of a longer message.
        if inside and not line.startswith(" ") and (raised := _RAISED.match(line)):
            kind, message = raised["kind"], raised["message"] or ""
        inside = line.startswith(" ")
    message = _STEP.sub("", message)  # Beam puts it behind the first argument of an error, which may have more
    if _is_ours(kind):
        return message
    known = getattr(builtins, kind, None)
    if isinstance(known, type) and issubclass(known, OSError):
        return f"{message}. What is finished is kept: run the same command again to resume"
    name = kind if isinstance(known, type) or kind.startswith(("pyarrow.", "numpy.")) else "error"
    return unexpected(name, place)


def _is_ours(kind: str) -> bool:
    """Whether an error is ours, of which a traceback tells only the name: the class of that name says it.

    Nothing is imported to find it, since the name may be anybody's.
    """
    module, _, name = kind.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(found, MalmungchiError)
