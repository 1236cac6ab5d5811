"""Bars to all entries of a run, in words, as page and chat say them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from minibot.events.names import RISK_ROLE
from minibot.ops.data_age import silence_of
from minibot.ops.figures_of_role import facts_of
from minibot.report.entry_notices import bars_of
from minibot.watchdog.ending import Phase

ENDING: Final = "ending: no new entries"


def is_ending(status: Mapping[str, Any]) -> bool:
    """Return whether a run that has not ended is ending: risk refuses every entry then."""
    return status["ended"] is None and status["phase"] != Phase.RUNNING.value


def bars_of_run(status: Mapping[str, Any]) -> list[str]:
    """Return the bars to a run's entries: its end, those of risk, and a market without prices."""
    bars = bars_of(facts_of(status, RISK_ROLE), status["now_ms"])
    return [*([ENDING] if is_ending(status) else ()), *bars, *silence_of(status)]
