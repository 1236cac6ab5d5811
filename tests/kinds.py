"""Kinds of tests, `unit`, `process` and `slow`, and the guard that keeps the first two apart.

A test that starts a process, itself or through a fixture, bears the mark `process`. The guard fails
every other test at the moment at which it would start one, so the mark cannot be wrong.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Generator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

MARKS = (
    "process: starts a process or reads what a night of processes left",
    "slow: takes, with all its cases, a second or more in one process; no part of `unit`",
    "unit: starts no process, writes below tmp alone, is quick; given to every test without "
    "`process`, `slow` and `campaign`",
)
# Each of these makes a test no unit test.
NOT_UNIT = frozenset({"process", "slow", "campaign"})
# Fixtures of every room that need a finished night; tests that take them are marked by that.
NIGHTS = frozenset({"short_run", "stopped_run"})

# One case in this many of the campaigns. The next commit plays the next case of each, so as many
# commits in a row play all of them, and none has most of the long ones.
CAMPAIGN_PART = 8

# Audit events of the ways to start a process. `multiprocessing` raises none where it spawns.
STARTS = frozenset(
    {
        "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile",
        "os.system", "subprocess.Popen",
    }
)  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
PROJECT = f"{Path(__file__).resolve().parent.parent}{os.sep}"  # A clone may lie below tmp.
# Written by Python, pytest and Hypothesis, not by a test.
OWN_FILES = ("__pycache__", ".pytest_cache", ".hypothesis")


def mark_kinds(items: list[pytest.Item]) -> None:
    """Mark each item `process` by what it asks for, and `unit` where no mark says otherwise."""
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        takes_night = NIGHTS.intersection(getattr(item, "fixturenames", ()))
        if takes_night or "real_injection" in marks:
            item.add_marker("process")
            marks.add("process")
        if marks.isdisjoint(NOT_UNIT):
            item.add_marker("unit")


def left_out(items: list[pytest.Item], seed: int) -> set[pytest.Item]:
    """Return the cases of campaigns that a seed does not draw."""
    cases = (item for item in items if item.get_closest_marker("campaign") is not None)
    return {case for at, case in enumerate(cases) if (at + seed) % CAMPAIGN_PART}


class Guard:
    """Plugin that fails a test without the mark `process` when a process starts in it.

    Attributes:
        starts: Processes started so far, by every test and fixture.
    """

    def __init__(self) -> None:
        self.starts = 0
        self._guarded: pytest.Item | None = None
        self._is_unit = False
        self._found: list[str] = []
        self._fixtures: set[tuple[str, str]] = set()
        self._temporary = tuple(
            {os.path.realpath(tempfile.gettempdir()), tempfile.gettempdir(), os.devnull, "/proc/"}
        )
        platform.processor()  # Asks `uname` once for each process, and keeps the answer.
        sys.addaudithook(self._audit)
        self._start = BaseProcess.start
        guard = self

        def start(process: BaseProcess) -> None:
            guard._audit("os.spawn", (process.name,))
            guard._start(process)

        BaseProcess.start = start  # type: ignore[assignment, method-assign]

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event in STARTS:
            self.starts += 1
            if self._guarded is not None:
                self._refuse(f"started a process ({event}{args[:1]}); mark it `process`")
        elif event == "open" and self._is_unit and args[2] & WRITES:
            path = args[0]
            if isinstance(path, (str, Path)):
                where = os.path.abspath(path)
                is_temporary = where.startswith(self._temporary) and not where.startswith(PROJECT)
                if not is_temporary and not any(name in where for name in OWN_FILES):
                    self._refuse(f"wrote {where}, which is not below tmp")

    def _refuse(self, said: str) -> None:
        self._found.append(said)
        raise pytest.fail.Exception(said, pytrace=False)

    def take_findings(self) -> list[str]:
        """Return the refusals of the running test, and forget them."""
        found, self._found = self._found, []
        return found

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Guard setup, call and teardown of an item without the mark."""
        is_free = item.get_closest_marker("process") is not None
        self._guarded = None if is_free else item
        self._is_unit = item.get_closest_marker("unit") is not None
        self._found.clear()
        try:
            return (yield)
        finally:
            self._guarded, self._is_unit = None, False

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object]
    ) -> Generator[None, object, object]:
        """Remember a fixture that starts a process: later tests have it without a start."""
        before = self.starts
        try:
            return (yield)
        finally:
            if self.starts > before:
                self._fixtures.add((fixturedef.argname, fixturedef.baseid))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail a test that has a process by a fixture, or whose product caught the refusal."""
        if self._guarded is not None:
            names = set(getattr(item, "fixturenames", ()))
            for name, base in self._fixtures:
                if name in names and item.nodeid.startswith(base):
                    pytest.fail(f"takes {name}, which started a process; mark it `process`", False)
        result = yield
        if self._found:
            pytest.fail(self._found[0], pytrace=False)
        return result
