"""Bars as the strategy uses them: the indicators over one interval, and bars made from trades.

Indicators are fed by closed bars alone, in rising order of `open_ts`, each once: nothing that
happened after a bar closed can be in them (no look-ahead).
"""

from __future__ import annotations

from dataclasses import dataclass

from minibot.events.model import JsonObject
from minibot.features.atr import WilderAtr
from minibot.features.ema import Ema
from minibot.features.lossless import float_from, float_text
from minibot.features.rate_of_change import RateOfChange
from minibot.features.rsi import WilderRsi
from minibot.kernel.errors import RunStop
from minibot.strategies.parameters import StrategyParameters

_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def interval_ms(interval: str) -> int:
    """Return the length of an interval such as `1s`, `15m`, `4h` in milliseconds.

    Raises:
        RunStop: CONFIG_INVALID, for an interval without a fixed length (`1M`) or an unknown one.
    """
    unit = _UNIT_MS.get(interval[-1:])
    if unit is None or not interval[:-1].isdigit():
        raise RunStop(
            "strategy_role",
            "CONFIG_INVALID",
            f"interval {interval!r}: expected a number of s, m, h, d or w",
        )
    return int(interval[:-1]) * unit


@dataclass(frozen=True, slots=True)
class ClosedBar:
    """A closed bar in floats; `open_ts` in ms of exchange time."""

    open_ts: int
    high: float
    low: float
    close: float

    @property
    def is_sound(self) -> bool:
        """Whether the prices can be prices: finite, above zero, the close inside the range."""
        return 0.0 < self.low <= self.close <= self.high < float("inf")


class BarIndicators:
    """RSI, both EMAs, ATR and rate of change over the closed bars of one interval.

    A bar that is not sound empties everything, and so does a hole: any hole after an announced gap
    (`is_strict`), otherwise one that is longer than the slow average's memory. Shorter ones are
    passed over, because between history and the first live bar a few bars may be missing.
    """

    __slots__ = (
        "atr",
        "fast",
        "interval",
        "last",
        "length_ms",
        "momentum",
        "rsi",
        "slow",
        "warmup",
    )

    def __init__(self, interval: str, parameters: StrategyParameters) -> None:
        """Start empty."""
        self.interval: str = interval
        self.length_ms: int = interval_ms(interval)
        self.rsi: WilderRsi = WilderRsi(parameters.rsi_period)
        self.fast: Ema = Ema(parameters.ema_fast)
        self.slow: Ema = Ema(parameters.ema_slow)
        self.atr: WilderAtr = WilderAtr(parameters.atr_period)
        self.momentum: RateOfChange = RateOfChange(parameters.return_bars)
        self.last: ClosedBar | None = None
        self.warmup: int = max(
            self.rsi.warmup, self.slow.warmup, self.atr.warmup, self.momentum.warmup
        )

    @property
    def count(self) -> int:
        """How many bars have been taken since the last reset."""
        return self.slow.count

    @property
    def is_ready(self) -> bool:
        """Whether every indicator has its bars."""
        return self.slow.count >= self.warmup

    def reset(self) -> None:
        """Forget everything; the warm-up begins anew."""
        self.rsi = WilderRsi(self.rsi.period)
        self.fast = Ema(self.fast.period)
        self.slow = Ema(self.slow.period)
        self.atr = WilderAtr(self.atr.period)
        self.momentum = RateOfChange(self.momentum.period)
        self.last = None

    def feed(self, bar: ClosedBar, *, is_strict: bool = False) -> bool:
        """Take the next closed bar; return False for one that is old, repeated or not sound."""
        last = self.last
        if last is not None and bar.open_ts <= last.open_ts:
            return False
        if not bar.is_sound:
            self.reset()
            return False
        steps_max = 1 if is_strict else self.slow.period
        if last is not None and bar.open_ts - last.open_ts > steps_max * self.length_ms:
            self.reset()
        self.rsi.update(bar.close)
        self.fast.update(bar.close)
        self.slow.update(bar.close)
        self.atr.update(bar.high, bar.low, bar.close)
        self.momentum.update(bar.close)
        self.last = bar
        return True

    def state(self) -> JsonObject:
        """Return the state as canonical JSON values."""
        return {
            "atr": self.atr.state(),
            "fast": self.fast.state(),
            "last": None if self.last is None else _bar_state(self.last),
            "momentum": self.momentum.state(),
            "rsi": self.rsi.state(),
            "slow": self.slow.state(),
        }

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self.atr = WilderAtr.from_state(state["atr"])
        self.fast = Ema.from_state(state["fast"])
        self.slow = Ema.from_state(state["slow"])
        self.rsi = WilderRsi.from_state(state["rsi"])
        self.momentum = RateOfChange.from_state(state["momentum"])
        self.last = None if state["last"] is None else _bar_from(state["last"])


class TickBars:
    """Makes closed bars of one interval from trades, for tapes that bring ticks only.

    A bar closes when the first trade of a later interval comes; intervals without a trade between
    them become flat bars, up to `flat_bars_max` (beyond, the bars after the hole stand alone and
    `BarIndicators` starts anew). A trade of an interval that closed already is left out.
    """

    __slots__ = ("_close", "_high", "_low", "_open_ts", "flat_bars_max", "length_ms")

    def __init__(self, interval: str, flat_bars_max: int) -> None:
        """Start empty."""
        self.length_ms: int = interval_ms(interval)
        self.flat_bars_max: int = flat_bars_max
        self._open_ts: int | None = None
        self._high: float = 0.0
        self._low: float = 0.0
        self._close: float = 0.0

    def add(self, ts: int, price: float) -> list[ClosedBar]:
        """Take a trade at exchange time `ts` (ms); return the bars that it closed, oldest first."""
        open_ts = ts - ts % self.length_ms
        if self._open_ts is not None and open_ts < self._open_ts:
            return []
        if self._open_ts == open_ts:
            self._high = max(self._high, price)
            self._low = min(self._low, price)
            self._close = price
            return []
        closed = [] if self._open_ts is None else self._close_until(self._open_ts, open_ts)
        self._open_ts = open_ts
        self._high = self._low = self._close = price
        return closed

    def _close_until(self, first: int, open_ts: int) -> list[ClosedBar]:
        closed = [ClosedBar(first, self._high, self._low, self._close)]
        missing = (open_ts - first) // self.length_ms - 1
        if missing <= self.flat_bars_max:
            for n in range(1, missing + 1):
                flat_ts = first + n * self.length_ms
                closed.append(ClosedBar(flat_ts, self._close, self._close, self._close))
        return closed

    def reset(self) -> None:
        """Forget the open bar."""
        self._open_ts = None
        self._high = self._low = self._close = 0.0

    def state(self) -> JsonObject:
        """Return the state as canonical JSON values."""
        if self._open_ts is None:
            return {"open": None}
        return {"open": _bar_state(ClosedBar(self._open_ts, self._high, self._low, self._close))}

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self.reset()
        if state["open"] is not None:
            bar = _bar_from(state["open"])
            self._open_ts = bar.open_ts
            self._high = bar.high
            self._low = bar.low
            self._close = bar.close


def _bar_state(bar: ClosedBar) -> JsonObject:
    return {
        "close": float_text(bar.close),
        "high": float_text(bar.high),
        "low": float_text(bar.low),
        "open_ts": bar.open_ts,
    }


def _bar_from(state: JsonObject) -> ClosedBar:
    return ClosedBar(
        open_ts=state["open_ts"],
        high=float_from(state["high"]),
        low=float_from(state["low"]),
        close=float_from(state["close"]),
    )
