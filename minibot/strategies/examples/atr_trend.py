"""ATR trend: long once a close is a multiple of ATR above its average, flat at a trailing stop.

It loses in a choppy market: wide swings fill the entry, and the stop gives back a multiple of ATR.
"""

from __future__ import annotations

from typing import ClassVar

from minibot.features.atr import WilderAtr
from minibot.features.ema import Ema
from minibot.strategies.protocol import (
    ClosedBar,
    Decision,
    Needs,
    Parameter,
    Settings,
    Strategy,
    View,
    buy,
    compare,
    number,
    sell,
    whole,
)


class AtrTrend(Strategy):
    """Long or flat by distances in average true ranges: from the average, and from the top."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        whole("trend", 50, low=2, high=1_000, what="bars of the average"),
        whole("period", 14, low=1, high=1_000, what="bars of ATR"),
        number("enter", "1", low="0", high="100", what="ATR above the average at which it buys"),
        number("trail", "3", low="0.1", high="100", what="ATR below the top at which it sells"),
    )

    def __init__(self, settings: Settings) -> None:
        """Start before the first bar."""
        self.trend: Ema = Ema(settings.whole("trend"))
        self.atr: WilderAtr = WilderAtr(settings.whole("period"))
        self.enter: float = settings.number("enter")
        self.trail: float = settings.number("trail")
        self.top: float = 0.0

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the deciding bars, with as many as the slower indicator takes."""
        history = max(settings.whole("trend"), settings.whole("period"))
        return Needs(intervals=(settings.interval,), history=history, trades=False)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Say BUY well above the average, SELL once the close has left the top far enough."""
        self.trend.update(bar.close)
        self.atr.update(bar.high, bar.low, bar.close)
        trend, atr = self.trend.value, self.atr.value
        if trend is None or atr is None or not bar.is_live:
            return None
        if not view.is_long:
            self.top = bar.close
            start = trend + self.enter * atr
            above = compare("close", bar.close, ">", start)
            return buy("close well above its average", (above,)) if bar.close > start else None
        self.top = max(self.top, bar.close)
        stop = self.top - self.trail * atr
        below = compare("close", bar.close, "<", stop)
        return sell("trailing stop reached", (below,)) if bar.close < stop else None
