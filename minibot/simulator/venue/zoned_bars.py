"""Klines of another time zone than UTC: days and other long bars begin at its clock.

Made from the longest UTC bars that divide both the interval and the zone's offset, so that no bar
is ever split. A month of a zone is its calendar month.
"""

from __future__ import annotations

from typing import Final

from minibot.events.unit_sizes import DAY_MS
from minibot.exchanges.tapes.kline_bars import INTERVALS, Bar, copy_bar, next_open, open_of
from minibot.simulator.venue.venue import Venue

_BASES: Final = ("1h", "30m", "15m", "5m", "3m", "1m", "1s")
# More bars than a series keeps, its past included.
_ALL: Final = 1 << 30


def is_shifted(interval: str, offset_ms: int) -> bool:
    """Return whether bars of this interval begin at other times in a zone than in UTC."""
    length_ms = INTERVALS[interval] or DAY_MS
    return offset_ms % length_ms != 0 or (interval in ("3d", "1w", "1M") and offset_ms != 0)


def zoned_bars(
    venue: Venue,
    symbol: str,
    interval: str,
    offset_ms: int,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
) -> list[Bar]:
    """Return bars by the venue's window rule, cut at the clock of the zone; times stay UTC.

    Args:
        venue: The venue.
        symbol: A symbol of it.
        interval: A name of `INTERVALS`.
        offset_ms: How far the zone is ahead of UTC, in ms.
        start_ms: First open time, inclusive; None means the newest `limit` bars.
        end_ms: Last open time, inclusive; None means up to now.
        limit: Most bars to return.
    """
    length_ms = INTERVALS[interval] or DAY_MS
    base = next(
        name
        for name in _BASES
        if length_ms % INTERVALS[name] == 0 and offset_ms % INTERVALS[name] == 0
    )
    first_ms = None if start_ms is None else _open(interval, start_ms, offset_ms)
    gathered: list[Bar] = []
    for bar in venue.bars(symbol, base, first_ms or 0, None, _ALL):
        open_ms = _open(interval, bar.open_ms, offset_ms)
        if gathered and gathered[-1].open_ms == open_ms:
            gathered[-1].merge(bar)
        else:
            close_ms = next_open(interval, open_ms + offset_ms) - offset_ms
            gathered.append(copy_bar(bar, open_ms, close_ms))
    chosen = [
        bar
        for bar in gathered
        if (start_ms is None or bar.open_ms >= start_ms)
        and (end_ms is None or bar.open_ms <= end_ms)
    ]
    return chosen[-limit:] if start_ms is None else chosen[:limit]


def _open(interval: str, time_ms: int, offset_ms: int) -> int:
    return open_of(interval, time_ms + offset_ms) - offset_ms
