"""EMA cross by ticks: long while the fast average of the trades is above the slow one, else flat.

The smallest strategy that trades. It says nothing between two crosses. Once both averages have
their ticks, it buys at once if the fast one is already above; a cross down before is passed over.
"""

from __future__ import annotations

from typing import ClassVar

from minibot.features.ema import Ema
from minibot.strategies.protocol import (
    Decision,
    Gap,
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


class EmaCross(Strategy):
    """Long or flat by two averages over the prices of trades."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        whole("fast", 20, low=1, high=10_000, what="trades of the fast average"),
        whole("slow", 100, low=2, high=100_000, what="trades of the slow average"),
    )

    def __init__(self, settings: Settings) -> None:
        """Start with empty averages."""
        self.fast: Ema = Ema(settings.whole("fast"))
        self.slow: Ema = Ema(settings.whole("slow"))
        self.is_above: bool = False

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return no needs: trades are enough."""
        return Needs()

    def on_price(self, price: float, view: View) -> Decision | None:
        """Say BUY where the fast average comes above the slow one, SELL where it falls below."""
        fast, slow = self.fast, self.slow
        is_ready = fast.feed(price)
        if not slow.feed(price) or not is_ready:
            return None
        is_above = fast.mean > slow.mean
        if is_above is self.is_above:
            return None
        self.is_above = is_above
        if is_above == view.is_long:
            return None
        relation = ">" if is_above else "<="
        checks = (compare("fast", fast.mean, relation, slow.mean),)
        if is_above:
            return buy("the fast average came above the slow one", checks)
        return sell("the fast average fell below the slow one", checks)

    def on_gap(self, gap: Gap, view: View) -> None:
        """Start anew: averages over a hole are not what they say."""
        self.fast = Ema(self.fast.period)
        self.slow = Ema(self.slow.period)
