"""Moving average cross: long while the fast average of the closes is above the slow one, else flat.

It loses in a sideways market: each cross comes late, and each false one costs two fees.
"""

from __future__ import annotations

from typing import ClassVar

from minibot.features.sma import Sma
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


class MaCross(Strategy):
    """Long or flat by two simple averages over the closes of the profile's bars."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        whole("fast", 20, low=1, high=500, what="bars of the fast average"),
        whole("slow", 50, low=2, high=1_000, what="bars of the slow average"),
    )

    def __init__(self, settings: Settings) -> None:
        """Start before the first bar."""
        self.fast: Sma = Sma(settings.whole("fast"))
        self.slow: Sma = Sma(settings.whole("slow"))

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the deciding bars, with as many as the slow average takes."""
        history = settings.whole("slow")
        return Needs(intervals=(settings.interval,), history=history, trades=False)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Say BUY while the fast average is above the slow one, SELL once it is not."""
        self.fast.update(bar.close)
        self.slow.update(bar.close)
        fast, slow = self.fast.value, self.slow.value
        if fast is None or slow is None:
            return None
        if fast > slow and not view.is_long:
            return buy("fast average above the slow one", (compare("fast", fast, ">", slow),))
        if fast <= slow and view.is_long:
            return sell("fast average no more above", (compare("fast", fast, "<=", slow),))
        return None
