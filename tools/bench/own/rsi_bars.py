"""RSI of closes: long below 30 until it is above 70; what the peers of the bench trade on bars."""

from __future__ import annotations

from minibot.features.rsi import WilderRsi
from minibot.strategies.protocol import (
    ClosedBar,
    Decision,
    Needs,
    Settings,
    Strategy,
    View,
    buy,
    check,
    sell,
)

WARM = 100


class RsiBars(Strategy):
    """Long or flat by one indicator."""

    def __init__(self, settings: Settings) -> None:
        """Start before the first bar."""
        self.rsi = WilderRsi(14)
        self.bars = 0
        self.wants_long = False

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return that bars of a minute are enough."""
        return Needs(intervals=("1m",))

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Say BUY and SELL as the indicator leaves its band."""
        self.rsi.update(bar.close)
        self.bars += 1
        value = self.rsi.value
        if value is None or self.bars <= WARM:
            return None
        if self.wants_long:
            if value > 70.0:
                self.wants_long = False
                return sell("it is above 70", (check("rsi", f"{value:.2f}", "> 70"),))
        elif value < 30.0:
            self.wants_long = True
            return buy("it is below 30", (check("rsi", f"{value:.2f}", "< 30"),))
        return None
