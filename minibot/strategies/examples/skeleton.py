"""Skeleton: buys a close that lies below the average of the last ones, sells when it is back.

It works as it stands; change it step by step. `minibot strategy-check FILE` says what a strategy
may not do, the test beside this file shows how to try one idea, docs/STRATEGIES.md has the rest.

One object stands for one symbol. Whatever you keep in attributes of `self` (numbers, text, lists,
deques, indicators of `minibot.features`) comes back after a restart.
"""

from __future__ import annotations

from typing import ClassVar

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
    hold,
    number,
    sell,
    whole,
)


class Skeleton(Strategy):
    """Long while the price is on its way back to its average, else flat."""

    # The numbers of the idea. The profile changes them: --set strategy.parameters.bars=30
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        whole("bars", 20, low=2, high=500, what="closed bars of the average"),
        number("dip_bps", "1.0", low="0", high="1000", what="how far below it a close is a dip"),
        number("loss_bps", "20", low="0", high="10000", what="loss at which it gives up"),
    )

    def __init__(self, settings: Settings) -> None:
        """Start for one symbol, before its first bar."""
        self.interval = settings.interval  # As --timeframe says.
        self.bars = settings.whole("bars")
        self.dip_bps = settings.number("dip_bps")
        self.loss_bps = settings.number("loss_bps")

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the data that this strategy wants: closed bars of the deciding interval."""
        return Needs(intervals=(settings.interval,), history=settings.whole("bars"))

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Answer one closed bar; bars of history come first, and nobody acts on those."""
        closes = [each.close for each in view.bars(self.interval)]
        if len(closes) < self.bars:
            return hold(f"{len(closes)} of {self.bars} bars", code="warmup")
        average = sum(closes) / len(closes)
        below_bps = (average - bar.close) / average * 10_000.0
        # Each compares two numbers by <, <=, >, >= or ==; check(...) says in words what is neither.
        dip = compare("below_bps", below_bps, ">=", self.dip_bps, places=2)

        if not view.is_long:
            if below_bps >= self.dip_bps:
                return buy(f"the close is {below_bps:.2f} bps below its average", (dip,))
            return hold("no dip", (dip,))

        entry_price = view.entry_price_avg
        if entry_price is not None and view.bid > 0.0:  # It is 0 before the first tick.
            loss_bps = (float(entry_price) - view.bid) / float(entry_price) * 10_000.0
            if loss_bps >= self.loss_bps:
                loss = compare("loss_bps", loss_bps, ">=", self.loss_bps, places=2)
                return sell(f"the loss came to {loss_bps:.2f} bps", (loss,))
        back = compare("below_bps", below_bps, "<=", 0.0, places=2)
        if below_bps <= 0.0:
            return sell("the close is back at its average", (back,))
        return hold("on the way back", (back,))
