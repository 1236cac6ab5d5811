"""Scenarios of late entries: rows of confidence, freshness and fatigue."""

from __future__ import annotations

from typing import Any, Final

from minibot.events.unit_sizes import BPS
from minibot.risk.checks import SKIPPED
from tests.risk.row_scenarios import _scenarios, over
from tests.risk.row_world import Change, put, step

_late = _scenarios("late_rows", is_held=False)

RISEN: Final = {"late__change": 1_235 * BPS}
HIGH: Final = {"late__rsi": 70 * BPS}
SLOW: Final = {"late__acceleration": 209 * BPS}


def _tired(**changes: Any) -> Change:
    """Return the change to a symbol that has risen, is high and slow, but for `changes`."""
    return put(**{**RISEN, **HIGH, **SLOW, **changes})


LATE_ROWS: Final = (
    _late(
        "CONFIDENCE",
        "low_confidence",
        over("signal_confidence", "67", "66"),
        step("late__confidence", 67, -1),
    ),
    _late(
        "NO_BAR",
        "stale_bar",
        ("", "closed_bar none / some"),
        (put(late__bars_late=0), put(late__bars_late=SKIPPED)),
    ),
    _late("BARS_LATE", "stale_bar", over("bars_late", "3", "4"), step("late__bars_late", 3)),
    _late(
        "MOVED",
        "price_moved",
        over("price_move_atr", "1.3000", "1.3001"),
        step("late__move", 13_000),
    ),
    _late(
        "FATIGUE_BARS",
        "warmup",
        over("fatigue_bars", "15", "14"),
        step("late__fatigue_bars", 15, -1),
    ),
    _late(
        "DAY_CHANGE",
        "fatigue",
        over("day_change_bps", "1234.0000", "1234.0001"),
        (_tired(late__change=1_234 * BPS), _tired(late__change=1_234 * BPS + 1)),
    ),
    _late(
        "DAY_RSI",
        "fatigue",
        over("fatigue_rsi", "69.0000", "69.0001"),
        (_tired(late__rsi=69 * BPS), _tired(late__rsi=69 * BPS + 1)),
    ),
    _late(
        "ACCELERATION",
        "fatigue",
        over("acceleration_bps", "210.0000", "209.9999"),
        (_tired(late__acceleration=210 * BPS), _tired(late__acceleration=210 * BPS - 1)),
    ),
)
