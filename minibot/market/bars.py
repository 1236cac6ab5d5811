"""Closed bars of one symbol and one interval, built from single trades.

Bars are aligned in exchange time (trade time). From the first trade on there is one bar for every
interval, flat with volume 0 when nothing traded, as in the venue's klines. A bar is closed by a
trade of a later interval, or by the exchange's clock plus a grace period. While its line is silent,
it waits until that brings something. A trade that comes after the close is counted, and is in no
bar of this interval; longer intervals may still take it.

A bar that is known to lack trades is never written: after a break in the stream, intervals that
may be incomplete become a hole, which klines fill, and so do quiet ones behind them until a price
is known. A trade that a live connection drops is known
only with the next one; a bar that the clock has closed, and that is written by then, stays as it
is. Volumes are exact integers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from minibot.events.intervals import INTERVAL_MS, align
from minibot.events.model import BUY, Bar
from minibot.events.unit_sizes import NEVER
from minibot.exchanges.base import Trade
from minibot.exchanges.units import QUOTE_VOLUME_PLACES, decimal

_ALWAYS: Final = -(2**62)


class Hole(NamedTuple):
    """Interval [from_ts, to_ts) of open times whose bars could not be built from trades."""

    from_ts: int
    to_ts: int


class BarBuilder:
    """Builds the bars of one symbol and one interval.

    Args:
        symbol: In the venue's own spelling.
        interval: Its name at the venue, such as `1s` or `1m`.
        grace_ms: How long past its end a bar waits for late trades when no later trade closes it.
    """

    def __init__(self, symbol: str, interval: str, grace_ms: int) -> None:
        self.symbol = symbol
        self.interval = interval
        self.interval_ms = INTERVAL_MS[interval]
        self.grace_ms = grace_ms
        self.open_ts: int | None = None
        self.is_suspended = False
        self.late = 0
        self.hole: Hole | None = None
        self._floor_ts = 0
        self._starts_partial = False
        self._whole_from = _ALWAYS
        self._close = ""  # Last known price; "" where unseen trades may have moved it.
        self._clear()

    def _clear(self) -> None:
        self._open = self._high = self._low = ""
        self._high_units = self._low_units = 0
        self._volume = self._quote_volume = self._taker_buy = self._trades = 0

    def start_after(self, ts: int) -> None:
        """Treat trades of bars that open before `ts` as late: those bars are already written."""
        self._floor_ts = max(self._floor_ts, ts)

    def start_partial(self) -> None:
        """Treat the first trade's bar as incomplete: some of its trades may have been missed."""
        self._starts_partial = True

    def learn_close(self, price: str, end_ts: int) -> None:
        """Take the close of a kline that ends before `end_ts` as the last price.

        It is not one if a trade has come since, or may have been missed since.
        """
        if not self._trades and not self._close and end_ts >= self._whole_from:
            self._close = price

    # --- time ---------------------------------------------------------------------------------

    def on_trade(self, trade: Trade, recv_mono_ns: int | None = None) -> list[Bar]:
        """Take one trade and return the bars that it closes, oldest first.

        `recv_mono_ns` is machine time of its socket read; the bars that it closes carry it.
        """
        start = align(trade.trade_ts, self.interval_ms)
        if start < (self._floor_ts if self.open_ts is None else self.open_ts):
            self.late += 1
            return []
        if self.open_ts is None and self._starts_partial:
            self._whole_from = start + self.interval_ms
        closed = self._roll_to(start, recv_mono_ns)
        self.merge(trade)
        return closed

    @property
    def has_trades(self) -> bool:
        """Return whether the open bar has a trade."""
        return self._trades > 0

    def is_within(self, trade_ts: int) -> bool:
        """Return whether a trade of that time closes nothing and is not late."""
        open_ts = self.open_ts
        return open_ts is not None and open_ts <= trade_ts < open_ts + self.interval_ms

    def on_clock(self, exchange_ts: int) -> list[Bar]:
        """Return the bars that the exchange's clock closes, oldest first."""
        if self.open_ts is None or self.is_suspended:
            return []
        return self._roll_to(align(exchange_ts - self.grace_ms, self.interval_ms))

    def next_close_ts(self) -> int | None:
        """Return the exchange time that closes the current bar, Unix ms; None for none."""
        if self.open_ts is None or self.is_suspended:
            return None
        return self.open_ts + self.interval_ms + self.grace_ms

    def _roll_to(self, start: int, recv_mono_ns: int | None = None) -> list[Bar]:
        if self.open_ts is None:
            self.open_ts = start
        closed: list[Bar] = []
        while self.open_ts < start:
            self._close_current(self.open_ts, closed, recv_mono_ns)
            self.open_ts += self.interval_ms
        return closed

    # --- breaks -------------------------------------------------------------------------------

    def suspend(self) -> None:
        """Close nothing by time: trades may be missing, which only the next trade can tell."""
        self.is_suspended = True

    def resume(self) -> None:
        """Go on after a break without loss: the next trade's id shows that none is missing."""
        self.is_suspended = False

    def resume_broken(self, exchange_ts: int) -> list[Bar]:
        """Go on after missed trades: only bars that open after `exchange_ts` are complete.

        A trade of that very time may be among the missed ones.
        """
        self.is_suspended = False
        self._whole_from = exchange_ts + 1
        if self.open_ts is None:
            return []
        self._close = ""
        return self._roll_to(align(exchange_ts, self.interval_ms))

    def take_hole(self) -> Hole | None:
        """Return the hole that klines have to fill, once; None without one."""
        hole, self.hole = self.hole, None
        return hole

    # --- one bar ------------------------------------------------------------------------------

    def merge(self, trade: Trade) -> None:
        """Add a trade to the open bar."""
        price, units = trade.price, trade.price_units
        if not self._trades:
            self._open = self._high = self._low = price
            self._high_units = self._low_units = units
        elif units > self._high_units:
            self._high, self._high_units = price, units
        elif units < self._low_units:
            self._low, self._low_units = price, units
        self._close = price
        self._trades += 1
        self._volume += trade.qty_units
        self._quote_volume += trade.qty_units * units
        if trade.taker_side == BUY:
            self._taker_buy += trade.qty_units

    def _close_current(self, open_ts: int, closed: list[Bar], recv_mono_ns: int | None) -> None:
        if open_ts < self._whole_from or not self._close:
            start = open_ts if self.hole is None else self.hole.from_ts
            self.hole = Hole(start, open_ts + self.interval_ms)
        else:
            closed.append(self._bar(open_ts, recv_mono_ns))
        self._clear()

    def _bar(self, open_ts: int, recv_mono_ns: int | None) -> Bar:
        has_trades = self.has_trades
        return Bar(
            symbol=self.symbol,
            interval=self.interval,
            open_ts=open_ts,
            close_ts=open_ts + self.interval_ms - 1,
            open=self._open if has_trades else self._close,
            high=self._high if has_trades else self._close,
            low=self._low if has_trades else self._close,
            close=self._close,
            volume=decimal(self._volume),
            is_history=False,
            quote_volume=decimal(self._quote_volume, QUOTE_VOLUME_PLACES),
            taker_buy_volume=decimal(self._taker_buy),
            trades=self._trades,
            recv_mono_ns=recv_mono_ns,
        )


def next_close(builders: Iterable[BarBuilder]) -> int:
    """Return the exchange time that closes the next bar, Unix ms; `NEVER` for none."""
    return min((builder.next_close_ts() or NEVER for builder in builders), default=NEVER)
