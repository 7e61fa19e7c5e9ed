"""What is required is not skipped."""

from __future__ import annotations

import pytest

from tests.support import needs

pytest_plugins = ["pytester"]

TESTS = """
import pytest
from tests.support.needs import lacks

@pytest.fixture
def server():
    lacks("go", "no server here")

def test_of_a_server(server): pass
def test_of_hosts(): lacks("ip", "no namespaces here")
def test_of_another_system(): pytest.skip("not here")
def test_of_nothing(): pass
"""

CONFTEST = "from tests.conftest import pytest_runtest_makereport"


@pytest.mark.parametrize(
    ("required", "failed", "skipped"), [("", 0, 3), ("data", 0, 3), ("go", 1, 2), ("go,ip,data", 2, 1)]
)
def test_a_skip_for_want_of_what_is_required_is_a_failure(
    required: str, failed: int, skipped: int, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(needs.REQUIRE, required)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    ended = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist")
    outcomes = ended.parseoutcomes()
    assert outcomes.get("passed") == 1
    assert outcomes.get("skipped", 0) == skipped
    # A fixture that fails is an error in pytest's words.
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == failed
    assert ended.ret == (1 if failed else 0)
