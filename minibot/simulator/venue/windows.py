"""Rolling windows over one symbol's trades: exact to the millisecond, and cheap for 400 symbols.

A window has three parts: the trades of its first, partial minute; whole minutes and hours, added up
once a minute and cached; and the current minute. Where the trades of the first minute are no longer
known (a log is bounded, a past has only bars) that minute's bar is counted whole, and where minutes
are gone too (after two days) its hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from minibot.events.unit_sizes import HOUR_MS, MINUTE_MS
from minibot.exchanges.tapes.kline_bars import Bar, TradedBars, copy_bar
from minibot.simulator.venue.logs import StreamLog

# A ticker stream of each length and the REST windows in use; a client may request any.
_KEPT_MAX: Final = 8
_EDGE_TRADES_MAX: Final = 1 << 20


@dataclass(slots=True)
class _Middle:
    """Whole minutes of a window, added up, and the price before its partial minute."""

    first_ms: int
    end_ms: int
    changes: int
    bar: Bar | None
    price_before: int


class TickerWindows:
    """Windows of one symbol."""

    def __init__(self, bars: TradedBars, trades: StreamLog) -> None:
        self._bars = bars
        self._trades = trades
        self._kept: dict[int, _Middle] = {}

    def bar(self, open_ms: int, now_ms: int) -> tuple[Bar | None, int]:
        """Return one bar over all trades from `open_ms` on, and the last price before it.

        The bar is None if nothing traded; the price is 0 if none is known.
        """
        minute_ms = now_ms // MINUTE_MS * MINUTE_MS
        first_ms = -(-open_ms // MINUTE_MS) * MINUTE_MS
        middle = self._middle(first_ms, max(first_ms, minute_ms))
        edge, edge_before = self._edge(open_ms, first_ms)
        total: Bar | None = None
        parts = [edge, middle.bar, *self._newest(middle.end_ms)]
        for part in parts:
            if part is None:
                continue
            if total is None:
                total = copy_bar(part, open_ms, now_ms + 1)
            else:
                total.merge(part)
        return total, edge_before or middle.price_before

    def _newest(self, start_ms: int) -> list[Bar | None]:
        """Return the bars from the current minute on; clocks may differ by one."""
        last_ms = self._bars.newest_open("1m")
        opens = range(start_ms, last_ms + 1, MINUTE_MS) if last_ms is not None else ()
        return [self._bars.bar("1m", open_ms) for open_ms in opens]

    def _edge(self, open_ms: int, first_ms: int) -> tuple[Bar | None, int]:
        """Return the part of the partial minute inside the window, and the price before it."""
        minute = self._bars.bar("1m", first_ms - MINUTE_MS)
        if minute is None:
            return None, 0
        if open_ms == first_ms:
            return None, minute.close
        is_past = self._bars.is_past("1m", first_ms - MINUTE_MS)
        if is_past or not self._trades.reaches(first_ms - MINUTE_MS):
            return minute, 0
        rows = self._trades.between(first_ms - MINUTE_MS, first_ms - 1, _EDGE_TRADES_MAX)
        bar: Bar | None = None
        before = 0
        for identity, time_ms, price, qty, is_sell in rows:
            if time_ms < open_ms:
                before = price
                continue
            if bar is None:
                bar = Bar(open_ms, first_ms, price, price, price, price)
            bar.add(time_ms, price, qty, bool(is_sell), identity)
        return bar, before

    def _middle(self, first_ms: int, end_ms: int) -> _Middle:
        length_ms = end_ms - first_ms
        kept = self._kept.get(length_ms)
        changes = self._bars.late_trades
        if kept and (kept.first_ms, kept.end_ms, kept.changes) == (first_ms, end_ms, changes):
            return kept
        made = _Middle(first_ms, end_ms, changes, self._sum(first_ms, end_ms), 0)
        former = self._bars.last_before("1m", first_ms - MINUTE_MS)
        made.price_before = former.close if former else 0
        self._kept.pop(length_ms, None)
        self._kept[length_ms] = made
        if len(self._kept) > _KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        return made

    def _sum(self, first_ms: int, end_ms: int) -> Bar | None:
        total: Bar | None = None
        oldest_minute_ms = self._bars.first_open("1m") or 0
        open_ms = max(first_ms, (self._bars.first_open("1h") or 0) // HOUR_MS * HOUR_MS)
        while open_ms < end_ms:
            hour_ms = open_ms // HOUR_MS * HOUR_MS
            is_gone = open_ms + MINUTE_MS <= oldest_minute_ms and self._bars.is_cut("1m")
            if (open_ms == hour_ms or is_gone) and hour_ms + HOUR_MS <= end_ms:
                bar, open_ms = self._bars.bar("1h", hour_ms), hour_ms + HOUR_MS
            else:
                bar, open_ms = self._bars.bar("1m", open_ms), open_ms + MINUTE_MS
            if bar is None:
                continue
            if total is None:
                total = copy_bar(bar, first_ms, end_ms)
            else:
                total.merge(bar)
        return total
