"""Regime of a market, and the weight of each factor in it.

The first scan at or after each 00, 04, 08, 12, 16 and 20 UTC of market time decides it, from the
4-hour bars that had closed by that hour. It holds until the next such scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, Final, NamedTuple

from minibot.cores.core_profile import MIXED
from minibot.events.decimals import decimal_text, parse_fixed
from minibot.events.unit_sizes import HOUR_MS
from minibot.features.window import total
from minibot.strategies.scanner.factors import PERCENT

REGIME_MS: Final = 4 * HOUR_MS
VOLATILITY_BARS: Final = 42
MEAN_BARS: Final = 20
THRUST_BARS: Final = 6
REGIME_BARS_MIN: Final = VOLATILITY_BARS + 1
"""Closed 4-hour bars without a hole that a symbol needs to count: seven days and one bar."""

BARS_A_YEAR: Final = 365.0 * 6.0

TRENDING: Final = "trending"
CHOPPY: Final = "choppy"
HIGHVOL: Final = "highvol"

WEIGHTS: Final[dict[str, tuple[int, int, int, int]]] = {
    TRENDING: (50, 20, 20, 10),
    CHOPPY: (25, 35, 15, 25),
    HIGHVOL: (30, 15, 20, 35),
    MIXED: (40, 20, 20, 20),
}
"""Weights of MomentumCore, Technical, Volume and Quality in percent; each row adds up to 100."""

PLACES: Final = 2
BOUND_PLACES: Final = 6


class Bounds(NamedTuple):
    """Bounds of the three measures as percent text; a measure is high above its bound."""

    volatility: str = "25"
    above: str = "60"
    thrust: str = "70"


class Regime(NamedTuple):
    """Present regime, its time, and the measures that decided it.

    Attributes:
        name: trending, choppy, highvol or mixed.
        since_ts: The 00, 04 ... 20 UTC for which it was decided.
        volatility, above, thrust: The measures in percent as decimal text; None if too few symbols
            had enough bars, which makes the regime mixed.
        symbols, missing: Number of symbols that counted, and that lacked bars.
    """

    name: str
    since_ts: int
    volatility: str | None
    above: str | None
    thrust: str | None
    symbols: int
    missing: int

    @property
    def weights(self) -> tuple[int, int, int, int]:
        """The weights of the factors in percent."""
        return WEIGHTS[self.name]


def boundary(now: int) -> int:
    """Return the last 00, 04, 08, 12, 16 or 20 UTC at or before a time, ms."""
    return now - now % REGIME_MS


def regime_of(
    closes: Sequence[Sequence[float]], missing: int, since_ts: int, bounds: Bounds
) -> Regime:
    """Return the regime.

    Formula:
        volatility: the mean over symbols of sqrt(mean of r * r * 2190), r the changes of the last
        42 closes (7 days), as a ratio; in percent a year.
        above: share of symbols whose close lies above the mean of their last 20 closes.
        thrust: rises / (rises + falls) of the last 6 changes (a day) of all symbols; 50 without.

        | above is high | thrust is high | volatility is high | regime |
        | --- | --- | --- | --- |
        | yes | yes | - | trending |
        | no | no | yes | highvol |
        | no | no | no | choppy |
        | one of the two | | - | mixed |

        Measures are compared as reported, rounded to two places. The two measures with a direction
        have to agree; volatility decides between the regimes without one. If more symbols lack
        bars than count, it is mixed.

    Args:
        closes: At least `REGIME_BARS_MIN` closes of each symbol that counts, oldest first.
        missing: Number of symbols that lack bars.
        since_ts: Time for which it is decided.
        bounds: Bounds of the measures.
    """
    count = len(closes)
    if not count or missing > count:
        return Regime(MIXED, since_ts, None, None, None, count, missing)
    volatility = total([_volatility(one) for one in closes]) / count
    above = PERCENT * len([one for one in closes if one[-1] > _mean(one)]) / count
    rises = falls = 0
    for one in closes:
        for at in range(len(one) - THRUST_BARS, len(one)):
            rises += one[at] > one[at - 1]
            falls += one[at] < one[at - 1]
    thrust = PERCENT * rises / (rises + falls) if rises + falls else 50.0
    found = (
        decimal_text(volatility, PLACES),
        decimal_text(above, PLACES),
        decimal_text(thrust, PLACES),
    )
    is_wild, is_above, is_thrust = (
        parse_fixed(text, BOUND_PLACES) > parse_fixed(bound, BOUND_PLACES)
        for text, bound in zip(found, bounds, strict=True)
    )
    if is_above != is_thrust:
        name = MIXED
    elif is_above:
        name = TRENDING
    else:
        name = HIGHVOL if is_wild else CHOPPY
    return Regime(name, since_ts, *found, count, missing)


def regime_from(state: Sequence[Any]) -> Regime:
    """Return the regime from the list of its fields in a snapshot."""
    return Regime(*state)


def _volatility(closes: Sequence[float]) -> float:
    squares = 0.0
    for at in range(len(closes) - VOLATILITY_BARS, len(closes)):
        change = closes[at] / closes[at - 1] - 1.0
        squares = squares + change * change
    return PERCENT * sqrt(squares / VOLATILITY_BARS * BARS_A_YEAR)


def _mean(closes: Sequence[float]) -> float:
    return total(closes[-MEAN_BARS:]) / MEAN_BARS
