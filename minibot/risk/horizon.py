"""Horizon of a position: how long it may be held, by its symbol's volatility and by its thesis.

The horizon follows the volatility ratio of the position's own symbol (`features.volatility_ratio`)
with each closed bar of the strategy's interval: a market that moves more than usual reaches stop or
target sooner, so that the horizon shrinks; in a calm one it grows. The thesis of an entry is that
the price rises: where the bid is far enough above the entry price at the first judged tick behind
the horizon, the thesis holds, and the position is held to the largest horizon. Stops, targets and
the time stop stand beside it.
"""

from __future__ import annotations

from typing import Final, final

from minibot.cores.core_profile import RiskSection
from minibot.events.reasons import HORIZON_EXIT
from minibot.features.volatility_ratio import RATIO_UNIT
from minibot.risk.checks import BELOW, Gate
from minibot.risk.distances import NEVER, Distance

HORIZON_MS: Final = Gate("horizon_ms", HORIZON_EXIT, passes=BELOW)


@final
class HorizonRules:
    """The keys of a horizon.

    Attributes:
        is_on: Whether the profile has one.
        usual: The horizon where the symbol is as volatile as usual, market ms; so are the others.
        least, most: Its bounds.
        thesis: Gain over the entry price at which the thesis holds; off without its key.
    """

    __slots__ = ("is_on", "least", "most", "thesis", "usual")

    def __init__(self, risk: RiskSection) -> None:
        """Take the keys of the profile; without `horizon_ms` all times are `NEVER`."""
        usual = risk.horizon_ms
        self.is_on: bool = usual is not None
        self.usual: int = NEVER if usual is None else usual
        self.least: int = risk.horizon_ms_min or NEVER
        self.most: int = risk.horizon_ms_max or NEVER
        self.thesis: Distance = Distance(risk.horizon_thesis_bps, None)

    def length(self, ratio: int | None) -> int:
        """Return how long a position may be held at a volatility ratio, market ms.

        Args:
            ratio: In ten-thousandths; None while too few bars are known, or none of them moved.

        Formula:
            horizon_ms * 10,000 / ratio, rounded down, at least horizon_ms_min and at most
            horizon_ms_max. An unknown ratio counts as 10,000. At 0, as no bar of late moved, it is
            horizon_ms_max.
        """
        if not self.is_on or ratio is None:
            return self.usual
        if ratio <= 0:
            return self.most
        return min(self.most, max(self.least, self.usual * RATIO_UNIT // ratio))
