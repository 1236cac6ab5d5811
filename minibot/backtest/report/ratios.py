"""Ratios by which traders compare bots, from returns and from the results of trades.

Pure functions; docs/BACKTEST.md has the formulas. Returns are floats (0.01 is one percent), results
of trades whole numbers of one unit. Ratios of returns equal those of `quantstats` on the same
returns; a zero denominator gives None, never infinity. Sums are exact (`math.fsum`), so the order
of their terms does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

PLACES: Final = 6
# A deviation below this share of the mean is only a rounding error.
ROUNDING: Final = 1e-12


def mean(values: Sequence[float]) -> float | None:
    """Return the arithmetic mean, None without values."""
    return math.fsum(values) / len(values) if values else None


def deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (n - 1), None for fewer than two values."""
    centre = mean(values)
    if centre is None or len(values) < 2:
        return None
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def volatility(returns: Sequence[float], per_year: int) -> float | None:
    """Return the standard deviation of returns, scaled to a year."""
    spread = deviation(returns)
    return None if spread is None else spread * math.sqrt(per_year)


def sharpe(returns: Sequence[float], per_year: int) -> float | None:
    """Return mean over standard deviation, scaled to a year; the risk-free rate is zero.

    Returns that differ only by rounding have no deviation, and give None.
    """
    middle, spread = mean(returns), deviation(returns)
    if middle is not None and spread is not None and spread <= abs(middle) * ROUNDING:
        return None
    return _over(middle, spread, math.sqrt(per_year))


def sortino(returns: Sequence[float], per_year: int) -> float | None:
    """Return mean over downside deviation (all returns count in it), scaled to a year."""
    if not returns:
        return None
    down = math.sqrt(math.fsum(value * value for value in returns if value < 0) / len(returns))
    return _over(mean(returns), down, math.sqrt(per_year))


def compounded(returns: Sequence[float]) -> float:
    """Return all returns compounded into one; 0 without returns."""
    return math.prod(1 + value for value in returns) - 1


def cagr(returns: Sequence[float], per_year: int) -> float | None:
    """Return the compound annual growth rate of all returns together.

    A loss of everything gives -1. None for a loss of more than everything, for no return at all,
    and for a rate beyond the floats, such as a doubling within a few hours.
    """
    growth = 1 + compounded(returns)
    if not returns or growth < 0:
        return None
    try:
        return float(growth ** (per_year / len(returns)) - 1)
    except OverflowError:
        return None


def drawdown(returns: Sequence[float]) -> float:
    """Return the maximum drawdown over the ends of the periods, as a positive share."""
    equity = high = 1.0
    deepest = 0.0
    for value in returns:
        equity *= 1 + value
        high = max(high, equity)
        deepest = max(deepest, 1 - equity / high)
    return deepest


def calmar(returns: Sequence[float], per_year: int) -> float | None:
    """Return the compound annual growth rate over the maximum drawdown of the same returns."""
    return _over(cagr(returns, per_year), drawdown(returns), 1.0)


def win_rate(results: Sequence[int]) -> float | None:
    """Return the share of trades with a gain after fees; zero is no win."""
    return sum(result > 0 for result in results) / len(results) if results else None


def reward_risk(results: Sequence[int]) -> float | None:
    """Return the mean win over the mean loss; None without a win or without a loss."""
    wins = [result for result in results if result > 0]
    losses = [-result for result in results if result < 0]
    if not wins or not losses:
        return None
    return (sum(wins) / len(wins)) / (sum(losses) / len(losses))


def profit_factor(results: Sequence[int]) -> float | None:
    """Return the sum of wins over the sum of losses; None without losses, 0 with only losses."""
    losses = -sum(result for result in results if result < 0)
    return sum(result for result in results if result > 0) / losses if losses else None


def expectancy_ratio(results: Sequence[int]) -> float | None:
    """Return the mean result of a trade over the mean loss of a losing trade."""
    losses = [-result for result in results if result < 0]
    if not losses:
        return None
    return (sum(results) / len(results)) / (sum(losses) / len(losses))


def text(value: float | None, places: int = PLACES) -> str | None:
    """Return a ratio as a rounded decimal string; None for None, infinity and NaN."""
    if value is None or not math.isfinite(value):
        return None
    shown = f"{value:.{places}f}"
    return shown.removeprefix("-") if not float(shown) else shown


def _over(value: float | None, divisor: float | None, scale: float) -> float | None:
    return None if value is None or not divisor else value / divisor * scale
