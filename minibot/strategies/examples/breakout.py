"""Breakout: long once a close is above the channel of the last bars, flat once below a shorter one.

It loses where the range holds: it buys the top of it and sells the bottom.
"""

from __future__ import annotations

from typing import ClassVar

from minibot.features.donchian import Donchian
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


class Breakout(Strategy):
    """Long or flat by two Donchian channels, as they were before the bar that leaves them."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        whole("enter", 20, low=2, high=1_000, what="bars of the channel that it enters above"),
        whole("leave", 10, low=2, high=1_000, what="bars of the channel that it leaves below"),
    )

    def __init__(self, settings: Settings) -> None:
        """Start before the first bar."""
        self.enter: Donchian = Donchian(settings.whole("enter"))
        self.leave: Donchian = Donchian(settings.whole("leave"))

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the deciding bars, with as many as the longer channel takes."""
        history = max(settings.whole("enter"), settings.whole("leave"))
        return Needs(intervals=(settings.interval,), history=history, trades=False)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Say BUY at a close above the one channel, SELL at a close below the other."""
        top, bottom = self.enter.upper, self.leave.lower
        self.enter.update(bar.high, bar.low)
        self.leave.update(bar.high, bar.low)
        if top is None or bottom is None:
            return None
        if bar.close > top and not view.is_long:
            return buy("close above the channel", (compare("close", bar.close, ">", top),))
        if bar.close < bottom and view.is_long:
            return sell("close below the channel", (compare("close", bar.close, "<", bottom),))
        return None
