"""Bars for a strategy: closed bars in order, and bars made from trades.

A bar contains nothing that happened after it closed (no look-ahead).
"""

from __future__ import annotations

from typing import Any

from minibot.cores.closed_bar import ClosedBar
from minibot.events.intervals import align
from minibot.events.model import JsonObject
from minibot.events.names import STRATEGY_ROLE
from minibot.events.reasons import CONFIG_INVALID
from minibot.kernel.errors import RunStop

_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def interval_ms(interval: str) -> int:
    """Return the length of an interval such as `1s`, `15m`, `4h` in milliseconds.

    Raises:
        RunStop: CONFIG_INVALID, for an interval without a fixed length (`1M`) or an unknown one.
    """
    unit = _UNIT_MS.get(interval[-1:])
    if unit is None or not interval[:-1].isdigit():
        raise RunStop(
            STRATEGY_ROLE,
            CONFIG_INVALID,
            f"interval {interval!r}: expected a number of s, m, h, d or w",
        )
    return int(interval[:-1]) * unit


class BarSeries:
    """The last closed bars of one interval, in rising order, each once.

    A newer bar that is not sound empties it, and so does a hole of more than `hole_bars_max` bars,
    as indicators over a hole are wrong. After a bar that is not sound, any next bar is taken, also
    an older one.
    """

    __slots__ = (
        *("_apart_ms_max", "_bars", "_bars_max", "_last", "_seen", "hole_bars_max", "interval"),
        "length_ms",
    )

    def __init__(self, interval: str, bars_max: int, hole_bars_max: int) -> None:
        """Start empty."""
        self.interval: str = interval
        self.length_ms: int = interval_ms(interval)
        self.hole_bars_max: int = hole_bars_max
        # Largest time between the openings of two neighbouring bars.
        self._apart_ms_max: int = (hole_bars_max + 1) * self.length_ms
        # Only the last of these count; the others are dropped in bulk.
        self._bars: list[ClosedBar] = []
        self._bars_max: int = bars_max
        self._last: ClosedBar | None = None
        self._seen: tuple[ClosedBar, ...] | None = None

    @property
    def bars(self) -> tuple[ClosedBar, ...]:
        """The bars, oldest first."""
        if self._seen is None:
            self._seen = tuple(self._bars[-self._bars_max :])
        return self._seen

    def add(self, bar: ClosedBar) -> bool:
        """Take the next closed bar; return False if it is old, repeated or not sound."""
        last = self._last
        if last is not None:
            ahead_ms = bar.open_ts - last.open_ts
            if ahead_ms <= 0:
                return False
            if ahead_ms > self._apart_ms_max:
                self._forget()
        self._seen = None
        if not bar.is_sound:
            self._forget()
            return False
        self._last = bar
        bars, most = self._bars, self._bars_max
        bars.append(bar)
        if len(bars) == 2 * most:
            del bars[:most]
        return True

    def _forget(self) -> None:
        self._bars = []
        self._last = None
        self._seen = None

    def state(self) -> list[Any]:
        """Return the state as canonical JSON values."""
        return [bar.state() for bar in self.bars]

    def restore(self, state: list[Any]) -> None:
        """Take over what `state` described."""
        self._forget()
        self._bars = [ClosedBar.from_state(bar) for bar in state[-self._bars_max :]]
        self._last = self._bars[-1] if self._bars else None


class TickBars:
    """Makes closed bars of one interval from trades, for tapes that bring ticks only.

    The first bar begins with the first trade, even within an interval, whose earlier trades it
    lacks. A bar closes with the first trade of a later interval. Intervals without a trade in
    between become flat bars, up to `hole_bars_max`; after a longer hole indicators start again. A
    trade of an interval that has closed already, or that a gap interrupted, is ignored.
    """

    __slots__ = (
        "_close",
        "_high",
        "_low",
        "_open",
        "_open_ts",
        "_volume",
        "_whole_from",
        "hole_bars_max",
        "interval",
        "length_ms",
    )

    def __init__(self, interval: str, hole_bars_max: int) -> None:
        """Start empty."""
        self.interval: str = interval
        self.length_ms: int = interval_ms(interval)
        self.hole_bars_max: int = hole_bars_max
        self._open_ts: int = -1
        self._open: float = 0.0
        self._high: float = 0.0
        self._low: float = 0.0
        self._close: float = 0.0
        self._volume: float = 0.0
        # Earlier trades belong to an interval that lacks some trades.
        self._whole_from: int = -1

    def add(self, ts: int, price: float, qty: float) -> tuple[ClosedBar, ...]:
        """Take a trade at exchange time `ts` (ms); return the bars that it closed, oldest first.

        The newest of them is live, unless more bars are missing after it than may be filled; flat
        bars and the bars before them only fill a hole.
        """
        open_ts = self._open_ts
        if open_ts <= ts < open_ts + self.length_ms and open_ts >= 0:
            if price > self._high:
                self._high = price
            if price < self._low:
                self._low = price
            self._close = price
            self._volume = self._volume + qty
            return ()
        if ts < open_ts or ts < self._whole_from:
            return ()
        new_ts = align(ts, self.length_ms)
        closed = () if open_ts < 0 else self._close_until(open_ts, new_ts)
        self._open_ts = new_ts
        self._open = self._high = self._low = self._close = price
        self._volume = qty
        return closed

    def _close_until(self, first: int, open_ts: int) -> tuple[ClosedBar, ...]:
        missing = (open_ts - first) // self.length_ms - 1
        closed = [self._bar(first, is_live=missing == 0)]
        if missing > self.hole_bars_max:
            return tuple(closed)
        close = self._close
        for n in range(1, missing + 1):
            flat_ts = first + n * self.length_ms
            is_live = n == missing
            closed.append(
                ClosedBar(self.interval, flat_ts, close, close, close, close, 0.0, is_live)
            )
        return tuple(closed)

    def _bar(self, open_ts: int, *, is_live: bool) -> ClosedBar:
        return ClosedBar(
            self.interval,
            open_ts,
            self._open,
            self._high,
            self._low,
            self._close,
            self._volume,
            is_live,
        )

    def reset(self, until_ts: int) -> None:
        """Forget the open bar, as trades up to `until_ts` (ms) are missing.

        Neither its interval nor the one that contains that time becomes a bar.
        """
        torn = max(self._open_ts, align(until_ts, self.length_ms))
        self._whole_from = max(self._whole_from, torn + self.length_ms)
        self._forget()

    def _forget(self) -> None:
        self._open_ts = -1
        self._open = self._high = self._low = self._close = self._volume = 0.0

    def state(self) -> JsonObject:
        """Return the state as canonical JSON values."""
        is_open = self._open_ts >= 0
        return {
            "open": self._bar(self._open_ts, is_live=False).state() if is_open else None,
            "whole_from": self._whole_from,
        }

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self._forget()
        self._whole_from = state.get("whole_from", -1)
        if state["open"] is not None:
            bar = ClosedBar.from_state(state["open"])
            self._open_ts = bar.open_ts
            self._open = bar.open
            self._high = bar.high
            self._low = bar.low
            self._close = bar.close
            self._volume = bar.volume
