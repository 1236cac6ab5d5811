"""The indicators of `nore_strategy_v1` over the closed bars of one interval.

They take only closed bars, in rising order of `open_ts`, each once.
"""

from __future__ import annotations

from minibot.cores.closed_bar import ClosedBar
from minibot.events.model import JsonObject
from minibot.features.atr import WilderAtr
from minibot.features.ema import Ema
from minibot.features.rate_of_change import RateOfChange
from minibot.features.rsi import WilderRsi
from minibot.strategies.bars import interval_ms
from minibot.strategies.parameters import StrategyParameters


class BarIndicators:
    """RSI, both EMAs, ATR and rate of change over the closed bars of one interval.

    A bar that is not sound resets them, and so does one after a hole: after an announced gap
    (`is_strict`) any hole, otherwise one of `ema_slow` missing bars or more. Shorter holes are
    ignored, because a few bars may be missing between history and the first live bar.
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
        """Number of bars since the last reset."""
        return self.slow.count

    @property
    def is_ready(self) -> bool:
        """True when every indicator has had its warm-up bars."""
        return self.slow.count >= self.warmup

    def reset(self) -> None:
        """Forget everything; the warm-up starts again."""
        self.rsi = WilderRsi(self.rsi.period)
        self.fast = Ema(self.fast.period)
        self.slow = Ema(self.slow.period)
        self.atr = WilderAtr(self.atr.period)
        self.momentum = RateOfChange(self.momentum.period)
        self.last = None

    def feed(self, bar: ClosedBar, *, is_strict: bool = False) -> bool:
        """Take the next closed bar; return False if it is old, repeated or not sound."""
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
        self.fast.feed(bar.close)
        self.slow.feed(bar.close)
        self.atr.update(bar.high, bar.low, bar.close)
        self.momentum.update(bar.close)
        self.last = bar
        return True

    def state(self) -> JsonObject:
        """Return the state as canonical JSON values."""
        return {
            "atr": self.atr.state(),
            "fast": self.fast.state(),
            "last": None if self.last is None else self.last.state(),
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
        self.last = None if state["last"] is None else ClosedBar.from_state(state["last"])
