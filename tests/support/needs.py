"""What a machine may lack for some tests: servers built with Go, the program ip, real data beside the project.

Tests that need it are skipped there. MALMUNGCHI_REQUIRE names what is there (`go`, `ip`, `data`, with commas between):
to skip for want of it is then a failure, so that nobody takes a run for more than it was.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, NoReturn

import pytest

from tests.support import ROOT

REQUIRE = "MALMUNGCHI_REQUIRE"

Need = Literal["go", "ip", "data"]


def lacks(need: Need, why: str) -> NoReturn:
    """Skips the test that runs, since something is not here."""
    pytest.skip(f"needs {need}: {why}")


def data_folder() -> Path:
    """The folder of real corpora and labelled sets; the test is skipped where it is absent."""
    folder = Path(os.environ.get("MALMUNGCHI_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "labels").is_dir():
        lacks("data", f"no real data in {folder} (set MALMUNGCHI_DATA to where it is)")
    return folder


def insist(report: pytest.TestReport) -> None:
    """Turns the report of a test that was skipped for want of what is required into a failure."""
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return
    place, line, reason = report.longrepr
    found = re.match(r"Skipped: needs (\w+): ", reason)
    if found and found[1] in os.environ.get(REQUIRE, "").split(","):
        report.outcome = "failed"
        report.longrepr = f"{place}:{line}: {reason} ({REQUIRE} says that {found[1]} is here)"
