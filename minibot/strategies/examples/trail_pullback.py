"""Trail pullback: long from a dip within a rise, guarded by a trail that tightens with the gain.

It loses where the rise is over: the dip that it buys goes on, down to the trail.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
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
    adjust,
    buy,
    compare,
    number,
    sell,
    whole,
)

# The places of a trail in basis points that risk takes.
PLACES = Decimal("0.0001")


class TrailPullback(Strategy):
    """Long or flat; risk keeps the trail, for which it needs `risk.hard_stop_bps`."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        whole("fast", 10, low=2, high=1_000, what="bars of the average that a dip is below"),
        whole("slow", 50, low=2, high=1_000, what="bars of the average below it in a rise"),
        number("trail", "100", low="1", high="5000", what="bps of the trail at the entry"),
        number("gain", "100", low="1", high="5000", what="bps of gain at which it tightens"),
        number("near", "50", low="1", high="5000", what="bps of the trail from then on"),
    )

    def __init__(self, settings: Settings) -> None:
        """Start before the first bar."""
        self.fast: Ema = Ema(settings.whole("fast"))
        self.slow: Ema = Ema(settings.whole("slow"))
        self.trail: str = str(settings.exact("trail").quantize(PLACES, ROUND_DOWN))
        self.near: str = str(settings.exact("near").quantize(PLACES, ROUND_DOWN))
        self.gain: float = settings.number("gain") / 10_000.0
        self.has_tightened: bool = False

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the deciding bars, with as many as the slower average takes."""
        history = max(settings.whole("fast"), settings.whole("slow"))
        return Needs(intervals=(settings.interval,), history=history, trades=False)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Say BUY at a dip within a rise, ADJUST once it has gained, SELL once the rise is over."""
        fast, slow = self.fast.update(bar.close), self.slow.update(bar.close)
        if fast is None or slow is None or not bar.is_live:
            return None
        entry = view.entry_price_avg
        if not view.is_long or entry is None:
            self.has_tightened = False
            checks = (compare("fast", fast, ">", slow), compare("close", bar.close, "<", fast))
            if not slow < fast or bar.close >= fast:
                return None
            return buy("dip within a rise", checks, trail_bps=self.trail)
        if fast < slow:
            return sell("rise is over", (compare("fast", fast, "<", slow),))
        goal = float(entry) * (1.0 + self.gain)
        if self.has_tightened or bar.close < goal:
            return None
        self.has_tightened = True
        gained = compare("close", bar.close, ">=", goal)
        return adjust("gained enough", (gained,), trail_bps=self.near)
