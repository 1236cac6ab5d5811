"""Fixtures of every room: the project, the recordings beside it, a `var` for runs."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.kernel.injection import need
from tests.kinds import CAMPAIGN_PART, Guard, left_out, mark_kinds
from tests.kinds import MARKS as KINDS
from tests.runs import ShortRun, shared_run

PROJECT = Path(__file__).resolve().parent.parent
MARKS = (
    "campaign: a case of a wide field of cases; a bare `pytest` plays a part of them",
    "fault(*ids, by, ends): faults that the test injects, how, and what they end in (tools/faults)",
    "real_injection(*features): the system itself fails; skipped by the name of a feature of "
    "tests/kernel/injection.py that this machine does not offer",
    "network_mock: how a networked part behaves; no socket of it may leave loopback",
)
LOOPBACK = ("127.", "::1", "localhost")

# No test multiplies matrices, for which NumPy would start threads in every process.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A test's night mostly waits for its market: two workers leave a third of two cores idle, three a
# sixth. For unit tests, which hardly wait, a third worker saves no time and takes a tenth more CPU.
WORKERS_MORE = 2

# Where `pytest -m unit` has its temporary folder, if there is as much room as it asks for: unit
# tests make some ten thousand files and sync most of them, and each sync waits for a disk.
MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 1 << 30

# Tests of half a minute and more start first: at the end one worker would play them alone.
LONGEST = (
    "tests/ops/test_scripted_nights.py",
    "tests/nights/test_madeup_night.py",
    "tests/nights/test_listing_nights.py",
    "tests/nights/test_paper_profile.py",
)

# The time of an example depends on the machine, not on the product; so does the time that it takes
# to make one up. CI uses the same examples each time; runs by hand explore further.
settings.register_profile(
    "minibot",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("minibot")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that decide how much of the campaigns is played."""
    parser.addoption("--whole", action="store_true", help="play every case of the campaigns")
    parser.addoption("--seed", type=int, help="draws the cases of campaigns (default: by HEAD)")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks, draw by the commit without a seed, let Ctrl-C reach all children.

    A shell starts `pytest &` with SIGINT ignored, and every child inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for mark in MARKS + KINDS:
        config.addinivalue_line("markers", mark)
    if _has_units_alone(config) and _has_room_in_memory():
        tempfile.tempdir = str(MEMORY)
    config.pluginmanager.register(Guard(), "guard of processes")
    if config.option.seed is None:  # Workers get the seed of the process that starts them.
        config.option.seed = _number_of_commit()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of workers for `-n logical`: the cores, and more where tests wait."""
    return (os.cpu_count() or 1) + (0 if _has_units_alone(config) else WORKERS_MORE)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Keep bytecode of the tests; let each worker of a whole run begin with its own part of them.

    To rewrite the asserts of all files takes a process longer than to import them. A worker finds
    what another has kept already. What is collected lives to the end, so the garbage collector
    looks neither for it nor at it.
    """
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    gc.disable()
    try:
        if "PYTEST_XDIST_WORKER" in os.environ and _is_drawn(session.config):
            _import_in_turn(session.config)
        return (yield)
    finally:
        sys.dont_write_bytecode = kept
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # Before `-m` selects by marks.
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the kinds, guard sockets, draw the cases of campaigns, start the longest tests first.

    Named files and tests are played whole.
    """
    mark_kinds(items)
    for item in items:
        if item.get_closest_marker("network_mock") is not None:
            assert isinstance(item, pytest.Function)
            item.fixturenames.insert(0, loopback_only.__name__)
    if _is_drawn(config):
        left = left_out(items, config.option.seed)
        config.hook.pytest_deselected(items=[item for item in items if item in left])
        items[:] = [item for item in items if item not in left]
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print which part of the campaigns was played, and how to play all."""
    if _is_drawn(config):
        part = f"one case in {CAMPAIGN_PART} by seed {config.option.seed}"
        terminalreporter.write_line(f"campaigns: {part}; all of them: pytest --whole")


def _import_in_turn(config: pytest.Config) -> None:
    """Import the files of tests, each worker from another one on.

    A file that cannot be imported fails once more, and in words, where pytest collects it.
    """
    names = sorted(path.relative_to(PROJECT) for path in PROJECT.glob("tests/**/test_*.py"))
    worker = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    begin = len(names) * worker // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    for name in names[begin:] + names[:begin]:
        with contextlib.suppress(ImportError, pytest.skip.Exception):
            importlib.import_module(".".join(name.with_suffix("").parts))


def _is_drawn(config: pytest.Config) -> bool:
    return not config.option.whole and not config.option.file_or_dir


def _has_units_alone(config: pytest.Config) -> bool:
    return bool(config.option.markexpr == "unit")


def _has_room_in_memory() -> bool:
    return MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_MIN


def _number_of_commit() -> int:
    """Return how many commits lead to the one under test.

    A clone without its history tells by the commit's hash instead; outside a repository it is 1.
    """
    if _git("rev-parse", "--is-shallow-repository") == "false":
        return int(_git("rev-list", "--count", "HEAD") or "1")
    return int(_git("rev-parse", "--short=7", "HEAD") or "1", 16)


def _git(*words: str) -> str:
    """Return git's answer about the project; empty where it has none."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=PROJECT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose real faults this machine cannot produce, naming what is missing."""
    for mark in item.iter_markers("real_injection"):
        need(*mark.args)


@pytest.fixture
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Addresses beyond loopback that a test tried; one that is left there fails the test.

    The first fixture of every test with `network_mock`, and of no other: to set up nothing for
    thousands takes seconds.
    """
    connect = socket.socket.connect
    left: list[object] = []

    def guarded(sock: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else LOOPBACK[0]
        if not str(host).startswith(LOOPBACK):
            left.append(address)
            raise OSError(f"{address}: a test may connect to loopback alone")
        connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield left
    assert left == []


@pytest.fixture(scope="session")
def project() -> Path:
    """Root of the checkout under test."""
    return PROJECT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of recordings beside the project; tests that need it are skipped without it.

    The recordings are not part of the project (some state no licence), so a clone elsewhere lacks
    them; `MINIBOT_SHARED_DATA` names another place.
    """
    folder = Path(os.environ.get("MINIBOT_SHARED_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"recordings beside the project are missing: {folder}")
    return folder


@pytest.fixture
def run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no lock: the test itself holds the run's to its end."""
    monkeypatch.setattr("minibot.runtime.running.MOMENT_S", 0.0)


@pytest.fixture
def var_dir(tmp_path: Path) -> Path:
    """Fresh folder for a run, private like the real one."""
    folder = tmp_path / "var"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(scope="session")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> ShortRun:
    """One finished night on the synthetic market, shared by all tests that only read it.

    Its minute has three round trips, one of them left at its stop.
    """
    run = shared_run(tmp_path_factory, "short_run", "--json", duration_ms="60000")
    assert run.said.code == 0, run.said.err
    return run


@pytest.fixture(scope="session")
def stopped_run(tmp_path_factory: pytest.TempPathFactory) -> ShortRun:
    """Night stopped by its first fill, whose fee alone is above the hard limit of loss."""
    limits = {"risk__night_loss_soft": "0.3", "risk__night_loss_hard": "0.4"}
    run = shared_run(tmp_path_factory, "stopped_run", "--quiet", **limits)
    assert run.said.code == 10, run.said.err
    return run
