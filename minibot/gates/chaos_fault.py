"""Fault of the catalogue as a value: its injection, and the end that its run must have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from minibot.events.names import (
    AI_ROLE,
    EXECUTION_ROLE,
    MARKET_ROLE,
    RISK_ROLE,
    STRATEGY_ROLE,
    WATCHDOG_ROLE,
)
from minibot.gates.drill_run import TRADING_ROLES, DrillRun

SURVIVE: Final = "SURVIVE"
STOP: Final = "STOP"
END: Final = "END"
REFUSE: Final = "REFUSE"

CLEAN_EXIT: Final = 0
REFUSED_EXIT: Final = 2
STOPPED_EXIT: Final = 10
# psutil ends a process of Windows with the number of SIGTERM.
KILLED_EXIT: Final = 15 if sys.platform == "win32" else -9

WATCHDOG: Final = (WATCHDOG_ROLE,)
MARKET: Final = (MARKET_ROLE,)
STRATEGY: Final = (STRATEGY_ROLE,)
RISK: Final = (RISK_ROLE,)
EXECUTION: Final = (EXECUTION_ROLE,)
AI: Final = (AI_ROLE,)
ANY_ROLE: Final = (*WATCHDOG, *TRADING_ROLES, *AI)

Inject = Callable[[DrillRun], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of the catalogue.

    Attributes:
        name: The NAME in `minibot chaos NAME`.
        ids: The faults and rows that it covers.
        what: The event, in one sentence.
        expect: SURVIVE, STOP, END (asked for by the operator) or REFUSE (the start is refused).
        inject: Injects the fault into a run in the state `ready`; returns when the fault is in, for
            SURVIVE usually when the run has dealt with it.
        codes: Reason codes that the STOP or END in each stop journal may carry, the usual one
            first. Empty: each journal has to hold an END, with the code OPERATOR. For REFUSE no
            journal is judged.
        components: Components that a STOP in the stop journals may name.
        exit_code: Exit code that the launcher has to end with.
        sets: Keys of the profile that this fault changes, after `BASE` of the catalogue.
        chaos: The `chaos` section of the profile.
        ready: State of the run before the injection: `trading` (a first fill stands), `run` (its
            roles have started), or `none` (nothing is started).
        damaged: Queues and files, one of which each finding of `verify` has to name; at least one
            finding, and no replay. Empty: no finding at all.
        evidence: Kinds of incidents, each of which the run has to leave at least once.
        dead_letter: True if every role that stopped with one of `codes` has to have set the bad
            line aside.
        shows: True if the live table runs.
        disk_mb: Size of the fault's own small disk, MiB; 0 for none.
        afterwards: Called after the run's end, to check the next start; returns complaints.
    """

    name: str
    ids: str
    what: str
    expect: str
    inject: Inject
    codes: tuple[str, ...] = ()
    components: tuple[str, ...] = ANY_ROLE
    exit_code: int = CLEAN_EXIT
    sets: Mapping[str, object] = field(default_factory=dict)
    chaos: Mapping[str, object] = field(default_factory=dict)
    ready: str = "trading"
    damaged: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    dead_letter: bool = False
    shows: bool = False
    disk_mb: int = 0
    afterwards: Callable[[DrillRun], list[str]] | None = None

    @property
    def outcome(self) -> str:
        """The expected outcome as the table shows it, such as `STOP(ROLE_HUNG)` or `SURVIVE`."""
        return f"{self.expect}({self.codes[0]})" if self.codes else self.expect
