"""Faults of a soak: those that the catalogue says a run survives, each survival proven.

A fault is injected when `put` returns. The run has survived it when the evidence exists and market
data and the strategy have moved on. At wall-clock speed a millisecond of market time is one of
wall-clock time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from minibot.gates.drill_run import DrillRun, NotInjected
from minibot.kernel.files import FILES, Access
from minibot.watchdog.run_manifest import role_argv

POLL_S: Final = 0.5
# The profile lets an outage last 120 s before it is a STOP.
FAULT_S_MAX: Final = 150.0
GOES_ON_LINES: Final = 100
PRESSURE_BYTES: Final = 64 * 1024 * 1024
PIECE_BYTES: Final = 1024 * 1024
QUEUE_LOCKED_EXIT: Final = 10
REFUSED_EXIT: Final = 2

Put = Callable[[DrillRun], None]


@dataclass(frozen=True, slots=True)
class SoakFault:
    """Fault whose catalogued outcome is SURVIVE.

    Attributes:
        name: Name in the report.
        ids: Ids in the fault catalogue.
        put: Injects the fault; returns when the fault's own conditions hold.
        evidence: Kind of the incident that the run must record; empty where it records none.
        weight: Frequency, relative to the other faults.
    """

    name: str
    ids: str
    put: Put
    evidence: str = ""
    weight: int = 1


def survive(night: DrillRun, fault: SoakFault) -> float:
    """Inject a fault; return the seconds until the run had survived it.

    Raises:
        NotInjected: The run did not survive the fault in time, or ended.
    """
    before = len(night.incidents(fault.evidence)) if fault.evidence else 0
    begin = time.monotonic()
    fault.put(night)
    if fault.evidence:
        wait_until(
            night,
            f"incident {fault.evidence}",
            lambda: len(night.incidents(fault.evidence)) > before,
        )
    lines = night.lines("market_ticks") + GOES_ON_LINES
    taken = night.acks("market_ticks", "strategy_role")
    wait_until(night, "market data", lambda: night.lines("market_ticks") >= lines)
    wait_until(night, "the strategy", lambda: night.acks("market_ticks", "strategy_role") > taken)
    return time.monotonic() - begin


def wait_until(night: DrillRun, what: str, condition: Callable[[], bool]) -> None:
    """Wait for a condition with few looks, so that the soak itself costs almost nothing.

    Raises:
        NotInjected: The condition did not come true in time, or the run ended.
    """
    deadline = time.monotonic() + FAULT_S_MAX
    while not condition():
        if night.look():
            raise NotInjected(f"the run ended (exit {night.exit_code}) before {what}")
        if time.monotonic() > deadline:
            raise NotInjected(f"{what}: not within {FAULT_S_MAX:.0f} s")
        time.sleep(POLL_S)


# --- processes ----------------------------------------------------------------------------------


def _kill(*words: str) -> Put:
    """Return a function that kills a process of the run and waits for its successor."""

    def put(night: DrillRun) -> None:
        pid = night.child_pid(*words)
        if pid is None:
            raise NotInjected(f"no process of {words[-1]}")
        night.kill(pid)
        wait_until(
            night, f"another {words[-1]}", lambda: night.child_pid(*words) not in (None, pid)
        )

    return put


def _freeze(role: str, seconds: float) -> Put:
    """Return a function that freezes a process for less than the time that makes it hung."""

    def put(night: DrillRun) -> None:
        pid = night.launcher_pid if role == "launcher" else night.role_pid(role)
        if pid is None:
            raise NotInjected(f"no process of {role}")
        night.suspend(pid)
        try:
            time.sleep(seconds)
        finally:
            night.resume(pid)

    return put


def _second_writer(night: DrillRun) -> None:
    _refused(night, role_argv("strategy_role", night.run_dir), QUEUE_LOCKED_EXIT)


def _second_start(night: DrillRun) -> None:
    _refused(night, night.argv(), REFUSED_EXIT)


def _refused(night: DrillRun, argv: list[str], code: int) -> None:
    process = night.spawn(argv, "second")
    wait_until(night, "the end of the second process", lambda: process.poll() is not None)
    if process.returncode != code:
        raise NotInjected(f"the second process ended with {process.returncode}, not with {code}")


# --- exchange and disk --------------------------------------------------------------------------


def _exchange(*faults: Mapping[str, object]) -> Put:
    """Return a function that puts faults of the embedded exchange into force, in order."""

    def put(night: DrillRun) -> None:
        for fault in faults:
            fields = {key: value for key, value in fault.items() if key != "name"}
            night.exchange_fault(str(fault["name"]), **fields)

    return put


def _unreachable(night: DrillRun) -> None:
    """Let the exchange refuse everybody for some seconds, the soak itself included."""
    with suppress(NotInjected):  # The incident proves the injection.
        night.exchange_fault("unreachable", ms=5_000)


def _disk_pressure(night: DrillRun) -> None:
    """Write and sync a large file beside the queues, then delete it."""
    path = night.var.root / "pressure"
    piece = os.urandom(PIECE_BYTES)
    fd = FILES.open(path, Access.CREATE)
    try:
        for offset in range(0, PRESSURE_BYTES, PIECE_BYTES):
            FILES.pwrite(fd, piece, offset)
            FILES.sync(fd)
    finally:
        FILES.close(fd)
        FILES.unlink(path)


_GAP: Final = {"name": "gap", "n": 3}
ROLE: Final = "minibot.runtime.role"

FAULTS: Final = (
    SoakFault("kill market", "F62", _kill(ROLE, "market_role"), "role_restarted"),
    SoakFault("kill strategy", "F62", _kill(ROLE, "strategy_role"), "role_restarted"),
    SoakFault("kill risk", "F62", _kill(ROLE, "risk_role"), "role_restarted"),
    SoakFault("kill execution", "F62", _kill(ROLE, "execution_role"), "role_restarted"),
    SoakFault("kill AI clerk", "F135", _kill(ROLE, "ai_role"), "role_restarted"),
    SoakFault("freeze market 1.5 s", "F63", _freeze("market_role", 1.5)),
    SoakFault("freeze strategy 1.5 s", "F63", _freeze("strategy_role", 1.5)),
    SoakFault("freeze execution 1 s", "F63", _freeze("execution_role", 1.0)),
    SoakFault("freeze launcher 1 s", "F68", _freeze("launcher", 1.0)),
    SoakFault("second writer", "F44", _second_writer),
    SoakFault("second start", "F69", _second_start),
    SoakFault("drop", "F102", _exchange({"name": "drop"}), "connection_lost", 2),
    SoakFault(
        "unreachable 5 s",
        "F102",
        _unreachable,
        "connection_lost",
        2,
    ),
    SoakFault("stall 8 s", "F108", _exchange({"name": "stall", "ms": 8_000}), weight=2),
    SoakFault("gap in the book", "F117", _exchange(_GAP), "book_lost"),
    SoakFault(
        "429 at a snapshot",
        "F105",
        _exchange({"name": "429", "retry_after": 5}, _GAP),
        "rate_limited",
    ),
    SoakFault("503 at a snapshot", "F104", _exchange({"name": "5xx", "n": 1}, _GAP), "book_lost"),
    SoakFault("garbage frames", "F109", _exchange({"name": "garbage", "n": 3})),
    SoakFault(
        "announced shutdown",
        "F112",
        _exchange({"name": "shutdown", "lead_ms": 5_000}),
        "server_shutdown",
    ),
    SoakFault("end after 24 h", "F112", _exchange({"name": "disconnect_24h"}), "connection_lost"),
    SoakFault("trades twice", "F116", _exchange({"name": "duplicate_trades", "n": 20})),
    SoakFault("64 MB of disk pressure", "F59", _disk_pressure),
)
