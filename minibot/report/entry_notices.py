"""Notices for the trader of a run: one line each, for table, status and summary alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from minibot.events.reasons import HALTED, INSUFFICIENT_CASH, NIGHT_NOTIONAL_PACE
from minibot.report.figures import clock, money

WORDS: Final = {
    HALTED: "a halt",
    INSUFFICIENT_CASH: "no cash left",
    NIGHT_NOTIONAL_PACE: "night_notional is ahead of its pace",
}
"""Reasons that are no limit; a limit is used up."""
ACCOUNT_FALL: Final = "account_drawdown_bps"
"""Name of the account's drawdown in the facts of risk, and of what is left of it in headroom."""


def account_notice(risk: Mapping[str, Any]) -> str:
    """Return how far the account is below its mark over carried runs, and how far it may fall.

    Empty in a profile that limits no drawdown of the account.

    Args:
        risk: Facts of risk.
    """
    fallen = risk.get(ACCOUNT_FALL)
    if fallen is None:
        return ""
    mark = money(risk["account_high_water_mark"])
    text = f"{money(fallen, 1)} bps below the account's high-water mark of {mark}"
    left = risk["headroom"].get(ACCOUNT_FALL)
    return text if left is None else f"{text}, {money(left, 1)} bps left"


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
