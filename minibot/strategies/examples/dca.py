"""DCA: buys a fall in equal steps, sells half at a gain and the rest once the fall is made good.

It loses where a fall goes on: every step adds to the loss, and nothing sells before the gain.
"""

from __future__ import annotations

from typing import ClassVar

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

HALF = 5_000


class Dca(Strategy):
    """Long in steps, each a fall below the last one; out in two parts."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        whole("period", 20, low=2, high=1_000, what="bars of the average that it buys below"),
        whole("steps", 3, low=1, high=20, what="purchases of a position at most"),
        whole("share", 100, low=1, high=10_000, what="bps of what positions may take, per step"),
        number("fall", "0.5", low="0.01", high="50", what="percent below average or last step"),
        number("gain", "0.5", low="0.01", high="50", what="percent above cost that sells half"),
    )

    def __init__(self, settings: Settings) -> None:
        """Start before the first bar."""
        self.average: Ema = Ema(settings.whole("period"))
        self.steps: int = settings.whole("steps")
        self.share: int = settings.whole("share")
        self.fall: float = 1.0 - settings.number("fall") / 100.0
        self.gain: float = 1.0 + settings.number("gain") / 100.0
        self.bought: int = 0
        self.last: float = 0.0
        self.has_halved: bool = False

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the deciding bars, with as many as the average takes."""
        return Needs(intervals=(settings.interval,), history=settings.whole("period"), trades=False)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Say BUY a step below, SELL of half at the gain, SELL of the rest above the average."""
        average = self.average.update(bar.close)
        if average is None or not bar.is_live:
            return None
        cost = view.entry_price_avg
        if not view.is_long or cost is None:
            self.bought, self.has_halved, self.last = 0, False, average
        elif bar.close >= float(cost) * self.gain:
            above = compare("close", bar.close, ">=", float(cost) * self.gain)
            if not self.has_halved:
                self.has_halved = True
                return sell("half at the gain", (above,), share_bps=HALF)
            over = compare("close", bar.close, ">", average)
            return sell("fall made good", (above, over)) if bar.close > average else None
        step = self.last * self.fall
        if self.bought >= self.steps or self.has_halved or bar.close > step:
            return None
        self.bought, self.last = self.bought + 1, bar.close
        return buy("a step down", (compare("close", bar.close, "<=", step),), share_bps=self.share)
