"""Klines made from trades, for every interval of the venue at once.

Bars are sparse: an interval without a trade has no bar here and is written flat, at the previous
close, on request. Alignment is in exchange time, weeks begin on Monday, months are calendar months,
as at the venue.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from minibot.events.intervals import INTERVAL_MS, MONTH, align
from minibot.events.unit_sizes import DAY_MS, MINUTE_MS
from minibot.exchanges.tapes.decimals import product_text, to_text

# A calendar month has no fixed length.
INTERVALS: Final[dict[str, int]] = {**INTERVAL_MS, MONTH: 0}
"""Interval names of the venue with their length in ms; case matters."""

_LONGER: Final = tuple(name for name in INTERVALS if name != "1s")

# 25 hours of minutes serve every 24 h ticker; 50 minutes of seconds serve a long warm-up.
BARS_KEPT_MAX: Final = 3000
# One answer holds 1,000; with many symbols hardly more seconds than that are kept.
SECONDS_KEPT_MIN: Final = 1100
SECONDS_KEPT_ALL_MAX: Final = 120_000


def seconds_kept(symbols: int) -> int:
    """Return how many one-second bars to keep for each of `symbols` symbols: 600 bytes each."""
    share = SECONDS_KEPT_ALL_MAX // max(1, symbols)
    return min(BARS_KEPT_MAX, max(SECONDS_KEPT_MIN, share))


def open_of(interval: str, time_ms: int) -> int:
    """Return the open time of the bar of `interval` that contains `time_ms`."""
    length_ms = INTERVALS[interval]
    if length_ms:
        return align(time_ms, length_ms)
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * 1000


def next_open(interval: str, open_ms: int) -> int:
    """Return the open time of the bar after the one that opens at `open_ms`."""
    length_ms = INTERVALS[interval]
    # 32 days after the first of a month always falls into the next month.
    return open_ms + length_ms if length_ms else open_of(interval, open_ms + 32 * DAY_MS)


def opens_before(interval: str, open_ms: int, count: int) -> int:
    """Return the open time of the bar that lies `count` bars before the one at `open_ms`."""
    length_ms = INTERVALS[interval]
    if length_ms:
        return open_ms - count * length_ms
    for _ in range(count):
        open_ms = open_of(interval, open_ms - 1)
    return open_ms


def divides(base: str, interval: str) -> bool:
    """Return whether bars of `base` can be gathered into bars of `interval`."""
    shorter, longer = INTERVALS[base], INTERVALS[interval]
    if not longer:
        return 0 < shorter <= DAY_MS or base == interval
    return bool(shorter) and longer % shorter == 0


@dataclass(slots=True)
class Bar:
    """One bar; prices and volume in units of 10**-8, quote amounts in units of 10**-16."""

    open_ms: int
    end_ms: int  # Open time of the next bar; the venue's close time is one ms less.
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    quote: int = 0
    trades: int = 0
    taker_volume: int = 0
    taker_quote: int = 0
    first_id: int = -1
    last_id: int = -1
    last_ms: int = 0  # Time of the trade that set the close.

    def add(self, time_ms: int, price: int, qty: int, is_taker_sell: bool, trade_id: int) -> None:
        """Add one trade; one older than the trade that set the close does not change the close."""
        if price > self.high:
            self.high = price
        if price < self.low:
            self.low = price
        if time_ms >= self.last_ms:
            self.close = price
            self.last_ms = time_ms
        amount = price * qty
        self.volume += qty
        self.quote += amount
        self.trades += 1
        if not is_taker_sell:
            self.taker_volume += qty
            self.taker_quote += amount
        if self.first_id < 0:
            self.first_id = trade_id
        self.last_id = max(self.last_id, trade_id)

    def merge(self, later: Bar) -> None:
        """Add a later part of the same bar."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        if later.last_ms >= self.last_ms or not later.last_ms:
            self.close = later.close
            self.last_ms = later.last_ms
        self.volume += later.volume
        self.quote += later.quote
        self.trades += later.trades
        self.taker_volume += later.taker_volume
        self.taker_quote += later.taker_quote
        self.first_id = self.first_id if self.first_id >= 0 else later.first_id
        self.last_id = max(self.last_id, later.last_id)

    def row(self) -> list[Any]:
        """Return the twelve elements of the venue's kline."""
        return [
            self.open_ms,
            to_text(self.open),
            to_text(self.high),
            to_text(self.low),
            to_text(self.close),
            to_text(self.volume),
            self.end_ms - 1,
            product_text(self.quote),
            self.trades,
            to_text(self.taker_volume),
            product_text(self.taker_quote),
            "0",
        ]


def copy_bar(bar: Bar, open_ms: int, end_ms: int) -> Bar:
    """Return a copy of the bar with other bounds, as the first part of a longer bar."""
    return Bar(
        open_ms,
        end_ms,
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
        bar.quote,
        bar.trades,
        bar.taker_volume,
        bar.taker_quote,
        bar.first_id,
        bar.last_id,
        bar.last_ms,
    )


def gather(bars: list[Bar], interval: str) -> list[Bar]:
    """Return the bars gathered into longer ones of `interval`; both oldest first."""
    gathered: list[Bar] = []
    for bar in bars:
        open_ms = open_of(interval, bar.open_ms)
        if gathered and gathered[-1].open_ms == open_ms:
            gathered[-1].merge(bar)
        else:
            gathered.append(copy_bar(bar, open_ms, next_open(interval, open_ms)))
    return gathered


class TradedBars:
    """Bars of one symbol, from its trades as they are played and its past as it is requested.

    A trade changes its second's bar at once. The longer bars take the trades of a minute together:
    when it is over, or on request.
    """

    def __init__(self, seconds_max: int = BARS_KEPT_MAX) -> None:
        self._live: dict[str, dict[int, Bar]] = {name: {} for name in INTERVALS}
        self._kept_max = dict.fromkeys(INTERVALS, BARS_KEPT_MAX) | {"1s": seconds_max}
        self._cut: set[str] = set()
        self._open: dict[str, Bar] = {}
        self._waiting: Bar | None = None  # Trades of one minute that only its seconds know.
        self._past: dict[str, dict[int, Bar]] = {}
        self.late_trades = 0

    def add_trade(
        self, time_ms: int, price: int, qty: int, is_taker_sell: bool, trade_id: int
    ) -> None:
        """Add one trade to the bar of every interval that contains its time."""
        second = self._open.get("1s")
        if second is None or time_ms >= second.end_ms:
            second = self._open["1s"] = self._new("1s", time_ms, price)
        elif time_ms < second.open_ms:
            self._add_late(time_ms, price, qty, is_taker_sell, trade_id)
            return
        second.add(time_ms, price, qty, is_taker_sell, trade_id)
        waiting = self._waiting
        if waiting is None or time_ms >= waiting.end_ms:
            self._settle()
            open_ms = time_ms - time_ms % MINUTE_MS
            waiting = Bar(open_ms, open_ms + MINUTE_MS, price, price, price, price)
            self._waiting = waiting
        waiting.add(time_ms, price, qty, is_taker_sell, trade_id)

    def _settle(self) -> None:
        """Add the waiting trades to the bars that are longer than a second."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        for name in _LONGER:
            bar = self._open.get(name)
            if bar is None or waiting.open_ms >= bar.end_ms:
                bar = self._open[name] = self._new(name, waiting.open_ms, waiting.open)
            bar.merge(waiting)

    def _add_late(
        self, time_ms: int, price: int, qty: int, is_taker_sell: bool, trade_id: int
    ) -> None:
        """Add a trade of an earlier second to closed bars too; it sets a close that is older."""
        self.late_trades += 1
        self._settle()
        for name in INTERVALS:
            known = self._live[name].get(open_of(name, time_ms))
            bar = known or self._new(name, time_ms, price)
            bar.add(time_ms, price, qty, is_taker_sell, trade_id)

    def _new(self, interval: str, time_ms: int, price: int) -> Bar:
        open_ms = open_of(interval, time_ms)
        bar = Bar(open_ms, next_open(interval, open_ms), price, price, price, price)
        kept = self._live[interval]
        is_late = bool(kept) and open_ms < next(reversed(kept))
        kept[open_ms] = bar
        if is_late:
            kept = self._live[interval] = dict(sorted(kept.items()))
        if len(kept) > self._kept_max[interval]:
            del kept[next(iter(kept))]
            self._cut.add(interval)
        return bar

    def is_cut(self, interval: str) -> bool:
        """Return whether bars of this interval have been forgotten."""
        return interval in self._cut

    def is_past(self, interval: str, open_ms: int) -> bool:
        """Return whether a part of this bar lies before the first trade that was played."""
        return open_ms in self._past.get(interval, {})

    def newest_open(self, interval: str) -> int | None:
        """Return the open time of the newest bar, None while there is none."""
        self._settle()
        live = self._open.get(interval)
        if live is not None:
            return live.open_ms
        return max(self._past.get(interval, {}), default=None)

    def has_past(self, interval: str) -> bool:
        """Return whether the past of this interval has been set."""
        return interval in self._past

    def set_past(self, interval: str, bars: list[Bar]) -> None:
        """Set the closed bars before the origin; they never overlap a live trade."""
        self._past[interval] = {
            bar.open_ms: bar for bar in sorted(bars, key=lambda bar: bar.open_ms)
        }

    def bar(self, interval: str, open_ms: int) -> Bar | None:
        """Return the bar that opens at `open_ms`, past and live parts joined; None if untraded."""
        if self._waiting is not None:
            self._settle()
        live = self._live[interval].get(open_ms)
        past = self._past.get(interval, {}).get(open_ms)
        if past is None or live is None:
            return live or past
        joined = copy_bar(past, past.open_ms, past.end_ms)
        joined.merge(live)
        return joined

    def first_open(self, interval: str) -> int | None:
        """Return the open time of the oldest bar, None while there is none."""
        # Both are in order of time.
        return min((next(iter(part)) for part in self._parts(interval) if part), default=None)

    def _parts(self, interval: str) -> tuple[dict[int, Bar], dict[int, Bar]]:
        self._settle()
        return self._past.get(interval, {}), self._live[interval]

    def last_before(self, interval: str, open_ms: int) -> Bar | None:
        """Return the newest bar that opens before `open_ms`."""
        opens = (
            next((key for key in reversed(part) if key < open_ms), None)
            for part in self._parts(interval)
        )
        newest = max((key for key in opens if key is not None), default=None)
        return None if newest is None else self.bar(interval, newest)

    def window(
        self, interval: str, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int
    ) -> list[Bar]:
        """Return bars by the venue's window rule, oldest first, untraded ones flat.

        Args:
            interval: A name of `INTERVALS`.
            start_ms: First open time, inclusive; None means the newest `limit` bars.
            end_ms: Last open time, inclusive; None means up to now.
            limit: Most bars to return.
            now_ms: Exchange time; bars that open later are not returned.
        """
        first_ms = self.first_open(interval)
        if first_ms is None or limit < 1:
            return []
        last_ms = open_of(interval, now_ms if end_ms is None else min(now_ms, end_ms))
        if start_ms is None:
            open_ms = max(first_ms, opens_before(interval, last_ms, limit - 1))
        else:
            open_ms = open_of(interval, start_ms)
            open_ms = open_ms if open_ms == start_ms else next_open(interval, open_ms)
            open_ms = max(open_ms, first_ms)
        return self._dense(interval, open_ms, last_ms, limit)

    def _dense(self, interval: str, open_ms: int, last_ms: int, limit: int) -> list[Bar]:
        self._settle()
        live = self._live[interval]
        flat_from_ms = next(iter(live), None)
        former = self.last_before(interval, open_ms)
        bars: list[Bar] = []
        while open_ms <= last_ms and len(bars) < limit:
            bar = self.bar(interval, open_ms)
            end_ms = next_open(interval, open_ms)
            # A hole in the past is a hole; after the first trade no trade means a flat bar.
            if bar is None and former and flat_from_ms is not None and open_ms > flat_from_ms:
                price = former.close
                bar = Bar(open_ms, end_ms, price, price, price, price)
            if bar is not None:
                bars.append(bar)
                former = bar
            open_ms = end_ms
        return bars
