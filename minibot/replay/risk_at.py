"""Risk at a time of a run: its core, fed the recorded inputs up to then."""

from __future__ import annotations

from collections.abc import Callable

from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import WHOLE, Counting, RoleReplay, Window, replay_role
from minibot.events.model import JsonObject
from minibot.events.names import RISK_ROLE
from minibot.risk.core import RiskCore


def risk_at(
    recorded: Recorded,
    to_ms: int | None = None,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> RiskCore:
    """Return the risk core of a run as it was at a time.

    Args:
        recorded: The run, which may still be going.
        to_ms: The time, Unix ms; the state is that at its end. None is the end of the run.
        progress: Called now and then with the inputs processed and their total.

    Raises:
        IntegrityError: The record is damaged before that time.
    """
    core = RiskCore(recorded.manifest.config)
    replay_role(
        recorded,
        RISK_ROLE,
        core=core,
        listener=Counting(recorded, (RISK_ROLE,), progress),
        window=WHOLE if to_ms is None else Window(to_ms=to_ms),
        result=RoleReplay(RISK_ROLE),
        is_compared=False,
    )
    return core


def facts_at(
    recorded: Recorded,
    to_ms: int | None = None,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> JsonObject:
    """Return the facts of risk as `RiskCore.facts` gives them at a time; see `risk_at`."""
    return risk_at(recorded, to_ms, progress).facts()
