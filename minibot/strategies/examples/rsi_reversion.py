"""RSI reversion: long once a close is oversold, flat once RSI is back.

It loses where a fall goes on: RSI stays low, and it holds until it is back, however far down.
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


class RsiReversion(Strategy):
    """Long or flat by the RSI of the closes."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        whole("period", 14, low=2, high=1_000, what="bars of the RSI"),
        whole("below", 30, low=1, high=99, what="RSI below which it buys"),
        whole("back", 50, low=1, high=99, what="RSI above which it sells"),
    )

    def __init__(self, settings: Settings) -> None:
        """Start before the first bar."""
        self.rsi: WilderRsi = WilderRsi(settings.whole("period"))
        self.below: float = float(settings.whole("below"))
        self.back: float = float(settings.whole("back"))

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the deciding bars, with as many as the first value takes."""
        history = settings.whole("period") + 1
        return Needs(intervals=(settings.interval,), history=history, trades=False)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Say BUY at an oversold close, SELL once RSI is back."""
        self.rsi.update(bar.close)
        rsi = self.rsi.value
        if rsi is None:
            return None
        if rsi < self.below and not view.is_long:
            return buy("oversold", (compare("rsi", rsi, "<", self.below, places=1),))
        if rsi > self.back and view.is_long:
            return sell("RSI is back", (compare("rsi", rsi, ">", self.back, places=1),))
        return None
