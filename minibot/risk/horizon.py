"""Horizon of a position: the longest time to hold it, by volatility and by its thesis.

With each closed bar of the strategy's interval the horizon follows the volatility ratio of the
position's symbol (`features.volatility_ratio`): a market that moves more than usual reaches stop or
target sooner and gets a shorter horizon, a calm one a longer one. The thesis of an entry is that
the price rises. If the bid is far enough above the entry price at the first judged tick after the
horizon, the thesis holds and the position is held to the largest horizon. Stops, targets and the
time stop apply independently.
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
        usual: The horizon at usual volatility; all times are in ms of market time.
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
        """Return the horizon at a volatility ratio, in ms of market time.

        Args:
            ratio: In ten-thousandths; None while too few bars are known, or none of them moved.

        Formula:
            horizon_ms * 10,000 / ratio, rounded down, at least horizon_ms_min and at most
            horizon_ms_max. An unknown ratio counts as 10,000. At 0, when no recent bar moved, it is
            horizon_ms_max.
        """
        if not self.is_on or ratio is None:
            return self.usual
        if ratio <= 0:
            return self.most
        return min(self.most, max(self.least, self.usual * RATIO_UNIT // ratio))
