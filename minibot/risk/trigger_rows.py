"""Trigger rows: the last trade against stop and target, as the executor judges a resting order.

The quantity that a triggered limit order has not sold is a row of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from minibot.events.money import PLACES
from minibot.events.reasons import (
    AGE_TARGET,
    BREAK_EVEN,
    HARD_STOP,
    SIGNAL_STOP,
    SIGNAL_TARGET,
    STOP_LOSS,
    TAKE_PROFIT,
    TRAILING_STOP,
)
from minibot.risk.checks import ABOVE, BELOW, SKIPPED, Gate, Row

STOP_TRADES: Final[Mapping[str, Gate]] = {
    STOP_LOSS: Gate("stop_trade", STOP_LOSS, PLACES, passes=ABOVE),
    HARD_STOP: Gate("hard_stop_trade", HARD_STOP, PLACES, passes=ABOVE),
    BREAK_EVEN: Gate("break_even_trade", BREAK_EVEN, PLACES, passes=ABOVE),
    TRAILING_STOP: Gate("trail_trade", TRAILING_STOP, PLACES, passes=ABOVE),
    SIGNAL_STOP: Gate("signal_stop_trade", SIGNAL_STOP, PLACES, passes=ABOVE),
}
TARGET_TRADES: Final[Mapping[str, Gate]] = {
    TAKE_PROFIT: Gate("target_trade", TAKE_PROFIT, PLACES, passes=BELOW),
    AGE_TARGET: Gate("age_target_trade", AGE_TARGET, PLACES, passes=BELOW),
    SIGNAL_TARGET: Gate("signal_target_trade", SIGNAL_TARGET, PLACES, passes=BELOW),
}
UNSOLD: Final[Mapping[str, Gate]] = {
    reason: Gate("unsold_qty", reason, PLACES) for reason in (*STOP_TRADES, *TARGET_TRADES)
}
"""Check that a triggered limit order left nothing unsold, by the reason of its trigger."""


def unsold_rows(qty: int, why: str) -> tuple[Row, ...]:
    """Return the check that a triggered limit order left nothing unsold.

    Args:
        qty: Unsold quantity; `SKIPPED` while it may still sell, or without such an order.
        why: Reason code of its trigger.
    """
    return ((UNSOLD[why], qty, 0),)


def trigger_rows(
    last: int,
    stop: int | None,
    target: int | None,
    stop_why: str = STOP_LOSS,
    target_why: str = TAKE_PROFIT,
) -> tuple[Row, ...]:
    """Return the checks that the last trade has reached neither stop nor target.

    Args:
        last: The price of the last trade; 0 before the first.
        stop: A trade at or below it triggers; None for no stop.
        target: A trade at or above it triggers; None for no target.
        stop_why: Reason code of the stop.
        target_why: Reason code of the target.
    """
    return (
        (STOP_TRADES[stop_why], SKIPPED if stop is None or not last else last, stop or 0),
        (TARGET_TRADES[target_why], SKIPPED if target is None or not last else last, target or 0),
    )
