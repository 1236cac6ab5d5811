"""Trigger rows: stop and target against the last trade, as the executor judges a resting order."""

from __future__ import annotations

from typing import Final

from minibot.events.money import PLACES
from minibot.events.reasons import STOP_LOSS, TAKE_PROFIT
from minibot.risk.checks import ABOVE, BELOW, NOT_ASKED, Gate, Row

STOP_TRADE: Final = Gate("stop_trade", STOP_LOSS, PLACES, passes=ABOVE)
TARGET_TRADE: Final = Gate("target_trade", TAKE_PROFIT, PLACES, passes=BELOW)


def trigger_rows(last: int, stop: int | None, target: int | None) -> tuple[Row, ...]:
    """Return the levels as checks that a trade has reached none of them.

    Args:
        last: Its price; 0 while there was none.
        stop: A trade here or below triggers; None for no such.
        target: A trade here or above triggers; None for no such.
    """
    return (
        (STOP_TRADE, NOT_ASKED if stop is None or not last else last, stop or 0),
        (TARGET_TRADE, NOT_ASKED if target is None or not last else last, target or 0),
    )
