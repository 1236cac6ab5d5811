"""Ranking: scores from factors, filters with their thresholds, and the result for each symbol.

Points are whole hundredths from here on: each component is rounded once, to two places (the
nearest decimal, ties to even on the exact binary value), and everything after that is exact. So the
reported score is 50 and the components, unless 50 and the four factors had to be cut to 0 or 100;
and a filter is judged by the figure that it shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from minibot.events.decimals import POWERS, decimal_text, format_fixed, parse_fixed
from minibot.strategies.scanner.factors import Factors
from minibot.strategies.scanner.orthogonal import orthogonal, standardised
from minibot.strategies.scanner.regime import PLACES
from minibot.strategies.scanner.settings import ScannerSettings

MIDDLE: Final = 5_000
SCORE_MAX: Final = 10_000
SOCIAL_MAX: Final = 1_000
ONCHAIN_MAX: Final = 500
"""Hundredths of a point: the score of an average symbol, the highest without social, the most that
social adds, and the most that on-chain values move a score."""

POINTS: Final = 25.0
"""Points of one deviation at full weight."""

ONCHAIN_SHARE: Final = 0.25
"""Share with which the on-chain distance joins Volume's before it is orthogonalised."""

FACTORS: Final = ("momentum", "technical", "volume", "quality")
COMPONENTS: Final = (*FACTORS, "onchain", "social")
THRESHOLD_PLACES: Final = 8
_THRESHOLD_UNITS: Final = POWERS[THRESHOLD_PLACES - PLACES]

NO_VALUE: Final = "missing"
NO_MODEL: Final = "-"


class Filter(NamedTuple):
    """Filter of a symbol: a figure with its threshold.

    Attributes:
        name: Name of its threshold's key.
        figure: The figure in hundredths; None if it is missing, which never passes.
        relation: `>=` or `<=`.
        threshold: Decimal text.
    """

    name: str
    figure: int | None
    relation: str
    threshold: str

    @property
    def value(self) -> str | None:
        """The figure as decimal text; None if it is missing."""
        return None if self.figure is None else _text(self.figure)

    @property
    def passed(self) -> bool:
        """True if the figure meets the threshold."""
        room, _ = self.headroom()
        return room >= 0

    @property
    def text(self) -> str:
        """The filter in a few words, such as `score 55.10 >= 60`."""
        what = self.name.removesuffix("_min").removesuffix("_max")
        return f"{what} {self.value or NO_VALUE} {self.relation} {self.threshold}"

    def headroom(self) -> tuple[int, int]:
        """Return the room left as a share of the threshold: numerator, and denominator above 0."""
        if self.figure is None:
            return -(10**30), 1
        value, limit = self.figure * _THRESHOLD_UNITS, _limit_of(self.threshold)
        room = value - limit if self.relation == ">=" else limit - value
        return room, max(1, abs(limit))

    def to_json(self) -> dict[str, Any]:
        """Return it as one JSON object."""
        return {
            "name": self.name,
            "value": self.value,
            "relation": self.relation,
            "threshold": self.threshold,
            "passed": self.passed,
        }


class Ranked(NamedTuple):
    """Result for one symbol.

    Attributes:
        symbol: The market.
        rank: From 1; None without a score.
        score: Decimal text of two places, 0 to 110; None if a value is missing.
        points: Hundredths by component, in the order of `COMPONENTS`; empty without a score.
        filters: Each filter with figure and threshold.
        lacks: The missing values; empty if none is missing.
    """

    symbol: str
    rank: int | None
    score: str | None
    points: tuple[int, ...]
    filters: tuple[Filter, ...]
    lacks: str

    @property
    def components(self) -> dict[str, str]:
        """Points by component as decimal text of two places; empty without a score."""
        return dict(zip(COMPONENTS, map(_text, self.points), strict=False))

    @property
    def is_opportunity(self) -> bool:
        """True if there is a score and every filter passed."""
        return self.rank is not None and all(one.passed for one in self.filters)

    @property
    def against(self) -> str:
        """Nearest reason against it: the missing values, else the filter with the least room.

        Room is (value - threshold) / threshold, so that filters in different units compare; it is
        negative for a failed filter. Of equal filters the first counts.
        """
        if self.lacks:
            return self.lacks
        nearest = self.filters[0]
        room, by = nearest.headroom()
        for one in self.filters[1:]:
            other, other_by = one.headroom()
            if (not one.passed, -other * by) > (not nearest.passed, -room * other_by):
                nearest, room, by = one, other, other_by
        return nearest.text

    def to_json(self) -> dict[str, Any]:
        """Return it as one JSON object."""
        return {
            "rank": self.rank,
            "symbol": self.symbol,
            "score": self.score,
            "components": self.components,
            "filters": [one.to_json() for one in self.filters],
            "is_opportunity": self.is_opportunity,
            "lacks": self.lacks,
            "against": self.against,
        }


class Measured(NamedTuple):
    """Figures of one symbol, the input of the ranking.

    Attributes:
        factors: Factors from its bars; None if bars are missing.
        lacks: The missing bars.
        social: Points from a local feed; None without one.
        onchain: On-chain volume; None without one.
    """

    factors: Factors | None
    lacks: str = ""
    social: float | None = None
    onchain: float | None = None


def ranked(
    measured: Mapping[str, Measured], weights: Sequence[int], settings: ScannerSettings
) -> tuple[Ranked, ...]:
    """Return all symbols: ranked ones by falling score, ties by name; then the others by name.

    Args:
        measured: Figures by symbol.
        weights: Weights of the four factors in percent.
        settings: Thresholds of the filters.
    """
    names = sorted(measured)
    scored = [(name, one.factors) for name in names if (one := measured[name]).factors is not None]
    points = _points([factors for _, factors in scored if factors is not None], weights)
    moved = _moved(measured, [name for name, _ in scored], points, weights)
    rows: list[tuple[int, str, tuple[int, ...]]] = []
    for number, (name, _) in enumerate(scored):
        four = points[number]
        base = _bounded(MIDDLE + sum(four))
        joined = _bounded(base + moved[number])
        social = _social(measured[name].social)
        rows.append((-joined - social, name, (*four, joined - base, social)))
    rows.sort()  # By falling score, then by name, which no two have in common.
    found = [
        Ranked(name, rank, _text(-fall), all_points, _filters(measured[name], -fall, settings), "")
        for rank, (fall, name, all_points) in enumerate(rows, 1)
    ]
    return (
        *found,
        *(
            Ranked(name, None, None, (), _filters(one, None, settings), one.lacks)
            for name in names
            if (one := measured[name]).factors is None
        ),
    )


def _points(factors: Sequence[Factors], weights: Sequence[int]) -> list[tuple[int, ...]]:
    """Return each symbol's hundredths by factor."""
    if not factors:
        return []
    columns = [standardised([one[at] for one in factors]) for at in range(len(FACTORS))]
    return _weighed(orthogonal(columns), weights)


def _weighed(columns: Sequence[Sequence[float]], weights: Sequence[int]) -> list[tuple[int, ...]]:
    rows = [
        [hundredths(POINTS * weight / 100.0 * one) for one in column]
        for column, weight in zip(columns, weights, strict=True)
    ]
    return list(zip(*rows, strict=True))


def _moved(
    measured: Mapping[str, Measured],
    names: Sequence[str],
    points: Sequence[tuple[int, ...]],
    weights: Sequence[int],
) -> list[int]:
    """Return the hundredths by which on-chain volume moves each score, at most `ONCHAIN_MAX`.

    It counts only if it is robust: every ranked symbol has a fresh value, and the values differ. A
    quarter of its distance is added to Volume's before Volume is orthogonalised, in the usual
    order, and the change of the sum is cut.
    """
    values = [measured[name].onchain for name in names]
    known = [value for value in values if value is not None]
    if not names or len(known) < len(names):
        return [0] * len(names)
    columns = standardised_factors(measured, names)
    onchain = standardised(known)
    columns[2] = [
        one + ONCHAIN_SHARE * other for one, other in zip(columns[2], onchain, strict=True)
    ]
    joined = _weighed(orthogonal(columns), weights)
    return [
        max(-ONCHAIN_MAX, min(ONCHAIN_MAX, sum(after) - sum(before)))
        for after, before in zip(joined, points, strict=True)
    ]


def standardised_factors(
    measured: Mapping[str, Measured], names: Sequence[str]
) -> list[list[float]]:
    """Return the four factors of symbols that have them, as distances from their means."""
    factors = [one for name in names if (one := measured[name].factors) is not None]
    return [standardised([one[at] for one in factors]) for at in range(len(FACTORS))]


def _social(value: float | None) -> int:
    """Return the hundredths that social adds at the end: 0 to 10 points, 0 without a value."""
    if value is None:
        return 0
    return hundredths(max(0.0, min(SOCIAL_MAX / 100.0, value)))


def _filters(one: Measured, score: int | None, settings: ScannerSettings) -> tuple[Filter, ...]:
    factors = one.factors
    traded = spread = rise = None
    if factors is not None:
        traded = hundredths(factors.quote_volume)
        spread = hundredths(factors.range_bps)
        rise = hundredths(factors.change_percent)
    return (
        Filter("score_min", score, ">=", settings.score_min),
        Filter("quote_volume_min", traded, ">=", settings.quote_volume_min),
        Filter("range_bps_min", spread, ">=", settings.range_bps_min),
        Filter("range_bps_max", spread, "<=", settings.range_bps_max),
        Filter("change_percent_max", rise, "<=", settings.change_percent_max),
    )


@cache
def _limit_of(threshold: str) -> int:
    """Return a threshold in whole units of `THRESHOLD_PLACES`; each scan needs the same few."""
    return parse_fixed(threshold, THRESHOLD_PLACES)


def hundredths(value: float) -> int:
    """Return a figure in whole hundredths, by the module's rule of rounding."""
    text = decimal_text(value, PLACES)
    return int(text[: -PLACES - 1] + text[-PLACES:])  # The point left out; nothing else can be.


def _text(value: int) -> str:
    return format_fixed(value, PLACES)


def _bounded(value: int) -> int:
    return max(0, min(SCORE_MAX, value))
