"""Returns and equity by UTC hour, day, week and month.

A period's return is its last equity over the last equity before it, less one; the first period
starts from the run's opening equity. A period without a point of equity has return zero. A candle
that begins exactly with a period gives the last point of the period before, its own first tick
included. The first and the last period are as long as the data; weeks begin on Monday.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from minibot.events.unit_sizes import DAY_MS, HOUR_MS, WEEK_MS

if TYPE_CHECKING:
    from minibot.engine.run_result import EquityColumns

# 1970-01-01 was a Thursday.
MONDAY_MS: Final = 4 * DAY_MS

HOUR, DAY, WEEK, MONTH = "hour", "day", "week", "month"
BREAKDOWNS: Final = (DAY, WEEK, MONTH)
# The market never closes.
PERIODS_PER_YEAR: Final = {HOUR: 8760, DAY: 365}
# Fewer returns than this say nothing about a year.
RETURNS_MIN: Final = 10


class Period(NamedTuple):
    """Period of the calendar.

    Attributes:
        ts: Its beginning, Unix ms.
        opening, closing: Equity before it and at its end, hundred-millionths of quote.
    """

    ts: int
    opening: int
    closing: int

    @property
    def pnl(self) -> int:
        """Gain of equity in the period, hundred-millionths of quote."""
        return self.closing - self.opening

    @property
    def ratio(self) -> float:
        """Return of the period; 0.01 is one percent, and 0 where opening equity is 0."""
        return self.closing / self.opening - 1 if self.opening else 0.0


def start_of(ts: int, kind: str) -> int:
    """Return the beginning of the period that contains a time, Unix ms."""
    if kind == HOUR:
        return ts - ts % HOUR_MS
    if kind == DAY:
        return ts - ts % DAY_MS
    if kind == WEEK:
        return ts - (ts - MONDAY_MS) % WEEK_MS
    first = datetime.fromtimestamp(ts // 1000, UTC).replace(day=1, hour=0, minute=0, second=0)
    return int(first.timestamp()) * 1000


def next_start(start: int, kind: str) -> int:
    """Return the beginning of the period after the one that begins at `start`."""
    if kind == MONTH:
        later = datetime.fromtimestamp(start // 1000, UTC) + timedelta(days=32)
        return int(later.replace(day=1).timestamp()) * 1000
    return start + {HOUR: HOUR_MS, DAY: DAY_MS, WEEK: WEEK_MS}[kind]


def periods(columns: EquityColumns, equity_start: int, from_ts: int, kind: str) -> list[Period]:
    """Return the periods from the start of the run to the last point, without gaps.

    Args:
        columns: Equity at the beginning of candles; a point on a boundary ends the period before
            it.
        equity_start: Equity at the run's start.
        from_ts: Start of the run, Unix ms.
        kind: hour, day, week or month.
    """
    times, amounts = columns
    start, equity, at = start_of(from_ts, kind), equity_start, 0
    found: list[Period] = []
    while at < len(times):
        after, opening = next_start(start, kind), equity
        at = bisect_right(times, after, at)
        if at:
            equity = amounts[at - 1]
        found.append(Period(start, opening, equity))
        start = after
    return found


def basis(from_ts: int, to_ts: int) -> str | None:
    """Return the period whose returns are annualised: day, hour, or None for too short a span."""
    for kind, length in ((DAY, DAY_MS), (HOUR, HOUR_MS)):
        if to_ts - from_ts >= RETURNS_MIN * length:
            return kind
    return None


class Underwater(NamedTuple):
    """Drawdown period.

    Attributes:
        from_ts, low_ts: Time of the high and of the lowest point, Unix ms.
        until_ts: Time of the recovery to the high or above, Unix ms; None for never.
        amount: High less lowest point, hundred-millionths of quote.
        ratio: The same as a share of the high.
    """

    from_ts: int
    low_ts: int
    until_ts: int | None
    amount: int
    ratio: float


def underwaters(columns: EquityColumns, equity_start: int, from_ts: int) -> list[Underwater]:
    """Return every drawdown period of equity, in order of time."""
    found: list[Underwater] = []
    high, high_ts = equity_start, from_ts
    low, low_ts = equity_start, from_ts
    for ts, equity in zip(*columns, strict=True):
        if equity >= high:
            if low < high:
                found.append(_underwater(high_ts, low_ts, ts, high, low))
            high, high_ts, low = equity, ts, equity
        elif equity < low:
            low, low_ts = equity, ts
    if low < high:
        found.append(_underwater(high_ts, low_ts, None, high, low))
    return found


def _underwater(from_ts: int, low_ts: int, until_ts: int | None, high: int, low: int) -> Underwater:
    return Underwater(from_ts, low_ts, until_ts, high - low, (high - low) / high if high else 0.0)
