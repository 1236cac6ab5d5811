"""Notices for the trader of a run: one line each, for table, status and summary alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from minibot.events.reasons import HALTED, INSUFFICIENT_CASH, NIGHT_NOTIONAL_PACE
from minibot.report.figures import clock

WORDS: Final = {
    HALTED: "a halt",
    INSUFFICIENT_CASH: "no cash left",
    NIGHT_NOTIONAL_PACE: "night_notional is ahead of its pace",
}
"""Reasons that are no limit; a limit is used up."""


def entry_notice(stops: Mapping[str, Any] | None) -> str:
    """Return since when and why no entry passes, and how many were refused; empty while one may.

    Args:
        stops: As `EntryStops.to_json` returns them.
    """
    if not stops:
        return ""
    code = str(stops["reason_code"])
    why = WORDS.get(code, f"{code} used up")
    return f"no entries since {clock(stops['since_ts'])}: {why}; {stops['refused']:,} refused"
