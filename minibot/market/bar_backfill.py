"""Bars of one symbol and interval in order: history, bars from trades, filled holes.

A process writes each bar at most once and in order of time. While a hole waits for its klines,
later bars wait for it; one that may lack trades after all becomes a part of it. A hole that grows
meanwhile is filled part by part. A part whose klines do not come in time is given up: those that
any answer brought are written, the missing ones counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from minibot.events.model import Bar
from minibot.exchanges.base import Candle, Trade
from minibot.market.average import AverageWindow
from minibot.market.bars import BarBuilder, Hole
from minibot.market.history import SETTLE_MS, candles_of, history_bar

RETRY_MS: Final = 1000
TRIES_MAX: Final = 5
# Of a longer hole only the newest bars are filled, and none of one between history and the first
# trade. No survivable outage leaves a longer one.
BARS_MAX: Final = 1000


class BarLane:
    """Bars of one symbol and interval: their builder, and the hole that waits for klines."""

    def __init__(self, symbol: str, interval: str, grace_ms: int) -> None:
        self.builder = BarBuilder(symbol, interval, grace_ms)
        self.symbol = symbol
        self.interval = interval
        self.unfilled = 0
        self._hole: Hole | None = None
        self._waiting: list[Bar] = []
        self.history_end: int | None = None
        # Part of the hole that settles, or is requested: up to `_part_to`.
        self._part_to = 0
        self._is_asked = False
        self._due_ms: int | None = None
        self._tries = 0
        # Klines of the part that any answer has brought, by their open times.
        self._came: dict[int, Candle] = {}
        # Written bars that open before are whole, whatever trades turn out to be missing.
        self._whole_to = 0
        # Average price computed from the bars of this lane, if there is one.
        self.average: AverageWindow | None = None

    # --- history ------------------------------------------------------------------------------

    def take_history(self, candles: Iterable[Candle]) -> list[Bar]:
        """Return the warm-up bars that are not written yet; live bars start after them."""
        end = self.history_end or 0
        bars = [history_bar(self.symbol, self.interval, c) for c in candles if c.open_ts >= end]
        if bars:
            self.end_history(bars[-1].open_ts + self.builder.interval_ms)
        return self._written(bars)

    def end_history(self, ts: int) -> None:
        """Treat bars that open before `ts` as already written."""
        self.history_end = ts
        self.builder.start_after(ts)

    # --- live ---------------------------------------------------------------------------------

    def on_trade(self, trade: Trade, recv_mono_ns: int) -> list[Bar]:
        """Take one trade and return the bars that can be written now."""
        builder = self.builder
        if builder.is_within(trade.trade_ts):
            builder.merge(trade)
            return []
        is_first = builder.open_ts is None
        bars = self._ordered(builder.on_trade(trade, recv_mono_ns))
        if is_first:
            self._join_history()
        return bars

    def on_clock(self, exchange_ts: int) -> list[Bar]:
        """Return the bars that are closed by the exchange's clock and can be written now."""
        return self._ordered(self.builder.on_clock(exchange_ts))

    def resume_broken(self, exchange_ts: int) -> list[Bar]:
        """Go on after a break: trades were missed before `exchange_ts`."""
        self._replace_doubtful()
        return self._ordered(self.builder.resume_broken(exchange_ts))

    @property
    def doubtful(self) -> Hole | None:
        """Return the written bars that lack trades if any were missed since the last one."""
        open_ts = self.builder.open_ts
        if open_ts is None or self.builder.has_trades or self._hole is not None:
            return None
        return Hole(self._whole_to, open_ts) if self._whole_to < open_ts else None

    def _replace_doubtful(self) -> None:
        """Leave to klines the waiting bars that the clock has closed since the last trade."""
        end = start = self.builder.open_ts
        has_trades = self.builder.has_trades
        while start is not None and not has_trades and self._waiting:
            if self._waiting[-1].open_ts != start - self.builder.interval_ms:
                break
            bar = self._waiting.pop()
            start, has_trades = bar.open_ts, bool(bar.trades)
        if start is not None and end is not None and start < end:
            self._extend(Hole(start, end))

    def _join_history(self) -> None:
        """Make a hole of the bars between the last kline of the warm-up and the first trade."""
        first, end = self.builder.open_ts, self.history_end
        if first is None or end is None or end >= first:
            return
        count = (first - end) // self.builder.interval_ms
        if count > BARS_MAX:
            self.unfilled += count
            return
        self._hole = Hole(end, first)

    def _ordered(self, bars: list[Bar]) -> list[Bar]:
        hole = self.builder.take_hole()
        if hole is not None:
            self._extend(hole)
        if self._hole is None:
            return self._written(bars) if bars else bars
        self._waiting += bars
        return []

    def _extend(self, hole: Hole) -> None:
        start = hole.from_ts if self._hole is None else self._hole.from_ts
        whole = Hole(start, hole.to_ts)
        limit = BARS_MAX * self.builder.interval_ms
        if whole.to_ts - whole.from_ts > limit:
            self.unfilled += (whole.to_ts - limit - whole.from_ts) // self.builder.interval_ms
            whole = Hole(whole.to_ts - limit, whole.to_ts)
        self._hole = whole

    # --- the hole -----------------------------------------------------------------------------

    def wanted(self, now_ms: int) -> Hole | None:
        """Return the part whose klines to request now; returning it counts as the request.

        A new part waits for the venue's `SETTLE_MS` from the first call on, a failed one for
        `RETRY_MS`.
        """
        if self._hole is None or self._is_asked:
            return None
        if self._due_ms is None:
            self._due_ms, self._part_to = now_ms + SETTLE_MS, self._hole.to_ts
        if now_ms < self._due_ms:
            return None
        self._is_asked = True
        return self._part()

    def _part(self) -> Hole:
        start = self._part_to if self._hole is None else self._hole.from_ts
        return Hole(start, max(start, self._part_to))

    def fill(self, hole: Hole, candles: Iterable[Candle], now_ms: int) -> list[Bar]:
        """Fill `hole` with the klines of the answer and return the bars that can be written now."""
        if not self._is_asked or hole.to_ts != self._part_to:
            return []  # An answer to a former lane of this symbol.
        self._is_asked = False
        self._came.update((c.open_ts, c) for c in candles_of(candles, self._part()))
        return self._answered(now_ms)

    def fail(self, now_ms: int) -> list[Bar]:
        """Note a failed request: retry, or give the part up and return the bars of what came."""
        if not self._is_asked:
            return []
        self._is_asked = False
        return self._answered(now_ms)

    def _answered(self, now_ms: int) -> list[Bar]:
        """End the part, or ask again while a bar is missing; return the bars to write now."""
        part = self._part()
        standing = {bar.open_ts for bar in self._waiting}
        found = [c for c in candles_of(self._came.values(), part) if c.open_ts not in standing]
        covered = len(found) + sum(part.from_ts <= ts < part.to_ts for ts in standing)
        missing = self._count(part) - covered
        if missing and self._tries + 1 < TRIES_MAX:
            self._again(now_ms)
            return []
        self.unfilled += missing
        if found:
            last = found[-1]
            self.builder.learn_close(last.close, last.open_ts + self.builder.interval_ms)
        return self._released([history_bar(self.symbol, self.interval, c) for c in found])

    def _count(self, hole: Hole) -> int:
        return (hole.to_ts - hole.from_ts) // self.builder.interval_ms

    def _again(self, now_ms: int) -> None:
        self._tries += 1
        self._due_ms = now_ms + RETRY_MS

    def _released(self, history: list[Bar]) -> list[Bar]:
        """Return history and bars that wait for nothing else, in order of time; end the part."""
        end, whole = self._part_to, self._hole
        self._tries, self._due_ms = 0, None
        self._came.clear()
        if whole is None or whole.to_ts <= end:
            self._hole = None
            ready, self._waiting = self._waiting, []
        else:
            self._hole = Hole(max(whole.from_ts, end), whole.to_ts)
            ready = [bar for bar in self._waiting if bar.open_ts < end]
            self._waiting = [bar for bar in self._waiting if bar.open_ts >= end]
        bars = self._written(sorted(history + ready, key=lambda bar: bar.open_ts))
        self._whole_to = max(self._whole_to, end)
        return bars

    def _written(self, bars: list[Bar]) -> list[Bar]:
        """Return bars that are written now, in order, after noting them and their average."""
        for bar in reversed(bars):
            if bar.is_history or bar.trades:
                self._whole_to = bar.open_ts + self.builder.interval_ms * bar.is_history
                break
        if self.average is not None:
            self.average.take(bars)
        return bars
