"""RSI of closes: long once it falls below a band, flat once it rises above it.

The smallest strategy of bars that trades. It listens to no tick and says nothing within the band.
"""

from __future__ import annotations

from typing import ClassVar

from minibot.features.rsi import WilderRsi
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
    sell,
    whole,
)


class RsiBand(Strategy):
    """Long or flat by one indicator over the closed bars of `strategy.bar_interval`."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        whole("period", 14, low=2, high=1_000, what="bars of the indicator"),
        whole("below", 30, low=1, high=99, what="it buys below"),
        whole("above", 70, low=1, high=99, what="it sells above"),
        whole("warm", 100, low=0, high=100_000, what="bars before it decides anything"),
    )

    def __init__(self, settings: Settings) -> None:
        """Start before the first bar."""
        self.rsi: WilderRsi = WilderRsi(settings.whole("period"))
        self.below: float = float(settings.whole("below"))
        self.above: float = float(settings.whole("above"))
        self.warm: int = settings.whole("warm")
        self.bars: int = 0
        self.wants_long: bool = False

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the deciding interval, with as many bars as the first value takes."""
        interval = str(settings.profile["strategy"]["bar_interval"])
        return Needs(intervals=(interval,), history=settings.whole("period") + 1)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Follow the closes; say BUY below the band and SELL above it, once each."""
        self.rsi.update(bar.close)
        self.bars += 1
        value = self.rsi.value
        if value is None or self.bars <= self.warm or not bar.is_live:
            return None
        if self.wants_long:
            if value > self.above:
                self.wants_long = False
                return sell("RSI rose above the band", (compare("rsi", value, ">", self.above),))
        elif value < self.below:
            self.wants_long = True
            return buy("RSI fell below the band", (compare("rsi", value, "<", self.below),))
        return None
