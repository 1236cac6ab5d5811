"""Bollinger reversion: long at a close below the lower band, flat once it is back at the middle.

It loses where the bands widen in one direction: the close runs along the lower one.
"""

from __future__ import annotations

from typing import ClassVar

from minibot.features.bollinger import BollingerBands
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


class Bollinger(Strategy):
    """Long or flat by the bands around the simple average of the closes."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        whole("period", 20, low=2, high=1_000, what="bars of the average"),
        number("width", "2", low="0.1", high="10", what="standard deviations to each band"),
    )

    def __init__(self, settings: Settings) -> None:
        """Start before the first bar."""
        self.bands: BollingerBands = BollingerBands(
            settings.whole("period"), settings.number("width")
        )

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the deciding bars, with as many as the average takes."""
        history = settings.whole("period")
        return Needs(intervals=(settings.interval,), history=history, trades=False)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Say BUY at a close below the lower band, SELL at one above the middle."""
        self.bands.update(bar.close)
        lower, middle = self.bands.lower, self.bands.value
        if lower is None or middle is None:
            return None
        if bar.close < lower and not view.is_long:
            return buy("close below the lower band", (compare("close", bar.close, "<", lower),))
        if bar.close > middle and view.is_long:
            return sell("close back at the middle", (compare("close", bar.close, ">", middle),))
        return None
