"""Kinds of tests: without the mark `process` none starts one, and `unit` writes below tmp."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kinds import CAMPAIGN_PART, Guard, left_out
from tests.runs import PROJECT
from tests.waiting import DEADLINE_S

# A folder of tests with the guard alone: a fixture that a marked test fills for an unmarked one, a
# product that swallows the refusal, and each mark beside it.
CONFTEST = """
from tests.kinds import MARKS, Guard, mark_kinds

def pytest_configure(config):
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    config.pluginmanager.register(Guard())

def pytest_collection_modifyitems(items):
    mark_kinds(items)
"""
TESTS = """
import os, subprocess, sys
import pytest

@pytest.fixture(scope="module")
def answer():
    return subprocess.run([sys.executable, "-c", ""]).returncode

@pytest.mark.process
def test_marked(answer):
    assert answer == 0

def test_unmarked_with_the_fixture_of_a_marked_one(answer):
    assert answer == 0

def test_unmarked_that_swallows_the_refusal():
    try:
        os.fork()
    except BaseException:
        pass

@pytest.mark.slow
def test_slow_writes_anywhere(tmp_path_factory):
    with open("beside", "w") as file:
        assert file.writable()

def test_neither_process_nor_file(tmp_path):
    (tmp_path / "file").write_text("text")
"""


@pytest.fixture
def guard(pytestconfig: pytest.Config) -> Guard:
    """The guard of this very run."""
    found = pytestconfig.pluginmanager.get_plugin("guard of processes")
    assert isinstance(found, Guard)
    return found


def spawned() -> None:
    """Start a process as pools of the product do."""
    multiprocessing.get_context("spawn").Process(target=print).start()


STARTS: dict[str, Callable[[], object]] = {
    "subprocess": lambda: subprocess.run([sys.executable, "-c", ""], check=False),
    "system": lambda: os.system("true"),
    "multiprocessing": spawned,
}
if sys.platform != "win32":
    STARTS["posix_spawn"] = lambda: os.posix_spawn("/bin/true", ["true"], {})
    STARTS["fork"] = os.fork


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_process_of_an_unmarked_test_is_refused_before_it_runs(
    start: Callable[[], object], guard: Guard
) -> None:
    """Each way to start one is known."""
    with pytest.raises(pytest.fail.Exception, match="mark it `process`"):
        start()

    assert len(guard.take_findings()) == 1


def test_file_of_a_unit_test_outside_tmp_is_refused_before_it_is_made(guard: Guard) -> None:
    """A unit test leaves nothing behind in the tree."""
    path = PROJECT / "left-behind.txt"

    with pytest.raises(pytest.fail.Exception, match="not below tmp"):
        path.write_text("text", encoding="utf-8")

    assert len(guard.take_findings()) == 1
    assert not path.exists()


@pytest.mark.network_mock
def test_sockets_of_a_network_test_are_guarded_before_any_fixture(
    request: pytest.FixtureRequest,
) -> None:
    """Connections of the test's own fixtures are guarded too: the guard is the first of them."""
    assert request.fixturenames[0] == "loopback_only"
    with pytest.raises(OSError, match="loopback alone"):
        socket.create_connection(("192.0.2.1", 9))

    left: list[object] = request.getfixturevalue("loopback_only")
    assert left == [("192.0.2.1", 9)]
    left.clear()


@pytest.mark.parametrize("count", [1, 4, 5, 23])
def test_commits_in_a_row_play_each_case_of_a_campaign_once(
    request: pytest.FixtureRequest, count: int
) -> None:
    """Each commit plays an even part; what is no campaign is never left out."""
    items: list[pytest.Item] = [
        pytest.Function.from_parent(request.node.parent, name=f"test_{at}", callobj=spawned)
        for at in range(2 * count)
    ]
    for case in items[::2]:
        case.add_marker(pytest.mark.campaign)

    played = [
        [item for item in items if item not in left_out(items, seed)]
        for seed in range(1719, 1719 + CAMPAIGN_PART)
    ]
    drawn = [item for part in played for item in part if item in items[::2]]
    sizes = {len(part) - count for part in played}

    assert all(set(items[1::2]) <= set(part) for part in played)
    assert sorted(drawn, key=items.index) == items[::2]
    assert sizes <= {count // CAMPAIGN_PART, -(-count // CAMPAIGN_PART)}


@pytest.mark.process
def test_guard_fails_what_lies_and_nothing_else(tmp_path: Path) -> None:
    """A fixture of a marked test and a caught refusal are seen; each mark frees what it names."""
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_it.py").write_text(TESTS, encoding="utf-8")
    environ = os.environ | {"PYTHONPATH": str(PROJECT), "PYTEST_ADDOPTS": ""}
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--strict-markers"]
    # In the system's temporary folder pytest would remove what former suites left, for minutes.
    argv += ["--basetemp", str(tmp_path / "tmp")]

    done = subprocess.run(
        argv, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=DEADLINE_S
    )
    outcomes = {
        line.split("::")[1].split(" ")[0]: line.split(" ")[0]
        for line in done.stdout.splitlines()
        if line.startswith(("PASSED", "FAILED", "ERROR"))
    }

    assert outcomes == {
        "test_marked": "PASSED",
        "test_unmarked_with_the_fixture_of_a_marked_one": "FAILED",
        "test_unmarked_that_swallows_the_refusal": "FAILED",
        "test_slow_writes_anywhere": "PASSED",
        "test_neither_process_nor_file": "PASSED",
    }, done.stdout
