"""Bugs put into the product for the time of one check, which must notice them."""

from __future__ import annotations

import inspect
import shutil
import tempfile
import textwrap
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from minibot.kernel.errors import MinibotError
from tools.crash_sim.plan import Program
from tools.crash_sim.tally import Judge

NESTED = 0.25

Change = tuple[Callable[..., Any], str, str | Callable[..., Any]]
"""A function, a piece of its source that stands there once, and what is put in its place.

Where the piece is empty, another function takes the whole place.
"""


class Check(NamedTuple):
    """Check that notices a bug: a test by name, or the crash simulator on one program."""

    name: str
    run: Callable[[], None]


def named(test: Callable[..., None], *arguments: Any) -> Check:
    """Return an existing test as a check; it gets a fresh folder and these arguments."""

    def run() -> None:
        root = Path(tempfile.mkdtemp(prefix="minibot-control-"))
        folder = root / "var"
        folder.mkdir(mode=0o700)
        try:
            test(folder, *arguments)
        finally:
            shutil.rmtree(root)

    shown = ", ".join(getattr(value, "__name__", repr(value)) for value in arguments)
    return Check(f"{test.__module__.rpartition('.')[2]}::{test.__name__}[{shown}]", run)


def simulated(name: str) -> Check:
    """Return the crash simulator on one program as a check."""

    def run() -> None:
        found = Judge(PROGRAMS[name], "control", nested=NESTED).run().findings
        assert [finding.text for finding in found] == []

    return Check(f"tools.crash_sim, program {name!r}", run)


PROGRAMS = {
    "eager": Program(
        "eager",
        "posix",
        512,
        400,
        (
            ["append", "inbox", 2, 40],
            ["append", "inbox", 3, 200],
            ["cursor", 1],
            ["append", "inbox", 1, 0],
            ["cursor", 2],
            ["note"],
            ["note"],
            # So that lines are written in each way that a writer offers.
            ["append", "inbox", 1, 40],
            ["append", "inbox", 1, 0],
        ),
    ),
    "lazy": Program(
        "lazy",
        "xfs",
        512,
        1 << 20,
        (["append", "inbox", 2, 40], ["sync", "inbox"], ["append", "inbox", 2, 200]),
    ),
    "role": Program(
        "role",
        "xfs",
        512,
        1 << 20,
        (["append", "inbox", 3, 0], ["take", 1], ["hint"], ["take", 2], ["hint"]),
    ),
    "kept": Program(
        "eager",
        "xfs",
        512,
        1 << 20,
        (
            ["append", "inbox", 1, 40],
            ["kill", 3, "append", "inbox", 2, 40],
            ["append", "inbox", 1, 0],
        ),
    ),
    "rotated": Program(
        "eager",
        "posix",
        4096,
        400,
        (
            ["append", "inbox", 2, 200],
            ["kill", 2, "append", "inbox", 2, 200],
            ["append", "inbox", 1, 0],
        ),
    ),
    "listed": Program(
        "eager",
        "posix",
        512,
        400,
        (["append", "inbox", 2, 200], ["kill", 8, "append", "inbox", 1, 200], ["note"]),
    ),
    "seal": Program("seal", "posix", 512, 400, (["append", "inbox", 2, 200], ["seal"])),
}


def verdict_of(check: Check) -> str:
    """Return `green`, or the failure of a check."""
    try:
        check.run()
    except (AssertionError, pytest.fail.Exception, MinibotError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return "green"


@contextmanager
def seeded(changes: tuple[Change, ...]) -> Iterator[None]:
    """Replace functions by changed copies in every module that imported them."""
    kept = [(function, function.__code__) for function, _, _ in changes]
    try:
        for function, old, new in changes:
            function.__code__ = _changed(function, old, new)
        yield
    finally:
        for function, code in kept:
            function.__code__ = code


def _changed(
    function: Callable[..., Any], old: str, new: str | Callable[..., Any]
) -> types.CodeType:
    if not isinstance(new, str):
        return new.__code__
    source = inspect.getsource(function)
    assert source.count(old) == 1, f"{function.__qualname__} has not one {old!r} any more"
    changed: dict[str, Any] = {}
    header = "from __future__ import annotations\n"
    exec(header + textwrap.dedent(source.replace(old, new)), dict(function.__globals__), changed)
    copy = changed[function.__name__]
    assert isinstance(copy, types.FunctionType)
    return copy.__code__
