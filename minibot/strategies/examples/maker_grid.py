"""Maker grid: rests purchases at steps below the average, and sells above what they cost.

It loses where a fall goes through all its steps: each is filled, and none comes back to its cost.
"""

from __future__ import annotations

from decimal import Decimal
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

VALID_MS_MAX = 86_400_000
CENTS = Decimal("0.00000001")


class MakerGrid(Strategy):
    """One limit with each bar, a step lower each time; several rest where the profile lets them.

    That is `risk.limit_entries_max`, and `execution.order_ttl_market_ms` is how long at most.
    """

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        whole("period", 20, low=2, high=1_000, what="bars of the average"),
        whole("rungs", 3, low=1, high=50, what="steps below the average; each rests as many bars"),
        whole("share", 100, low=1, high=10_000, what="bps of what positions may take, per rung"),
        number("step", "0.3", low="0.01", high="10", what="percent between two rungs"),
        number("gain", "0.3", low="0.01", high="50", what="percent above cost at which it sells"),
    )

    def __init__(self, settings: Settings) -> None:
        """Start before the first bar."""
        self.average: Ema = Ema(settings.whole("period"))
        self.rungs: int = settings.whole("rungs")
        self.share: int = settings.whole("share")
        self.step: float = settings.number("step") / 100.0
        self.gain: float = 1.0 + settings.number("gain") / 100.0
        self.rung: int = 0
        self.before_ts: int = 0

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the deciding bars, with as many as the average takes."""
        return Needs(intervals=(settings.interval,), history=settings.whole("period"), trades=False)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Say SELL above cost, else BUY at the limit of the next rung."""
        length_ms, self.before_ts = bar.open_ts - self.before_ts, bar.open_ts
        average = self.average.update(bar.close)
        if average is None or not bar.is_live:
            return None
        cost = view.entry_price_avg
        if view.is_long and cost is not None and bar.close >= float(cost) * self.gain:
            goal = float(cost) * self.gain
            return sell("above cost", (compare("close", bar.close, ">=", goal),))
        self.rung = self.rung % self.rungs + 1
        limit = average * (1.0 - self.rung * self.step)
        price = Decimal(limit).quantize(CENTS)
        if price <= 0 or limit >= bar.close:
            return None
        return buy(
            f"rung {self.rung}",
            (compare("limit", limit, "<", bar.close),),
            share_bps=self.share,
            limit=price,
            valid_ms=min(length_ms * self.rungs, VALID_MS_MAX),
        )
