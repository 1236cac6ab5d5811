"""Ratios by hand, by numpy, and by quantstats on the same returns."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.backtest.report import ratios
from tools.quantstats_check import differences, ours, series

RETURNS = st.lists(st.floats(-0.3, 0.3, allow_subnormal=False), min_size=2, max_size=60)


def test_ratios_are_those_of_quantstats_on_the_same_returns(project: Path) -> None:
    """Sharpe, Sortino, Calmar and the other ratios equal quantstats' on the same series."""
    path = project / "tests" / "fixtures" / "quantstats" / "figures.json"
    answers = json.loads(path.read_text(encoding="utf-8"))

    assert [case["returns"] for case in answers["cases"]] == [case["returns"] for case in series()]
    assert len(answers["figures"]) == len(answers["cases"]) > 5
    assert differences(answers) == []


def test_a_changed_answer_of_quantstats_is_noticed(project: Path) -> None:
    """A figure changed by a millionth makes the comparison above fail."""
    path = project / "tests" / "fixtures" / "quantstats" / "figures.json"
    answers = json.loads(path.read_text(encoding="utf-8"))
    answers["figures"][0]["sortino"] += 1e-6

    assert len(differences(answers)) == 1


def test_figures_by_hand() -> None:
    """Four days of +2 %, -1 %, 0 and +1 %, computed by hand."""
    returns = [0.02, -0.01, 0.0, 0.01]

    # Mean 0.005; squares of distances 2.25, 2.25, 0.25, 0.25 e-4 over n - 1 = 3.
    assert ratios.deviation(returns) == pytest.approx(math.sqrt(5.0e-4 / 3))
    assert ratios.sharpe(returns, 365) == pytest.approx(
        0.005 / math.sqrt(5.0e-4 / 3) * math.sqrt(365)
    )
    # One loss of 0.01 among four: sqrt(1e-4 / 4) = 0.005, so the mean is exactly it.
    assert ratios.sortino(returns, 4) == pytest.approx(2.0)
    # From 1.02 down to 1.0098: one percent of the high.
    assert ratios.drawdown(returns) == pytest.approx(0.01)
    assert ratios.compounded(returns) == pytest.approx(1.02 * 0.99 * 1.01 - 1)
    assert ratios.cagr(returns, 4) == pytest.approx(1.02 * 0.99 * 1.01 - 1)
    assert ratios.calmar(returns, 4) == pytest.approx((1.02 * 0.99 * 1.01 - 1) / 0.01)


def test_trades_by_hand() -> None:
    """Trades by hand: wins of 30 and 10, losses of 5 and 15, one at zero."""
    results = [30, -5, 10, 0, -15]

    assert ratios.win_rate(results) == 0.4
    assert ratios.reward_risk(results) == 2.0
    assert ratios.profit_factor(results) == 2.0
    assert ratios.expectancy_ratio(results) == pytest.approx(4 / 10)


@pytest.mark.parametrize("returns", [[], [0.01], [0.0, 0.0, 0.0], [0.01, 0.02]])
def test_ratio_without_a_denominator_is_none_and_never_infinity(returns: list[float]) -> None:
    """A ratio without return, loss or movement is None, never infinity."""
    for value in ours({"returns": returns, "per_year": 365}).values():
        assert value is None or math.isfinite(value)
    assert ratios.calmar(returns, 365) is None
    assert ratios.sortino(returns, 365) is None


def test_growth_of_an_account_that_lost_all_is_none() -> None:
    """An account that lost everything has no yearly growth."""
    assert ratios.cagr([-0.5, -1.5], 365) is None
    assert ratios.cagr([-0.5, -1.0], 365) == -1.0


@given(returns=RETURNS)
@settings(max_examples=60, deadline=None)
def test_ratios_on_returns_equal_an_independent_reckoning(returns: list[float]) -> None:
    """Ratios equal numpy's means and deviations."""
    values = np.array(returns)
    down = np.sqrt(np.mean(np.minimum(values, 0.0) ** 2))
    wealth = np.concatenate([[1.0], np.cumprod(1 + values)])
    fall = np.max(1 - wealth / np.maximum.accumulate(wealth))

    spread = values.std(ddof=1)
    assert ratios.volatility(returns, 365) == pytest.approx(spread * np.sqrt(365), abs=1e-12)
    assert ratios.drawdown(returns) == pytest.approx(fall, abs=1e-12)
    if spread > 1e-9:
        expected = values.mean() / spread * np.sqrt(365)
        assert ratios.sharpe(returns, 365) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    if down > 1e-9:
        expected = values.mean() / down * np.sqrt(365)
        assert ratios.sortino(returns, 365) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(returns=RETURNS)
@settings(max_examples=40, deadline=None)
def test_order_of_returns_moves_no_ratio_that_does_not_depend_on_it(returns: list[float]) -> None:
    """Shuffled days give the same text, because sums are exact."""
    turned = sorted(returns)
    for ratio in (ratios.sharpe, ratios.sortino, ratios.volatility):
        assert ratio(returns, 365) == ratio(turned, 365)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.12345678, "0.123457"), (-0.0000001, "0.000000"), (None, None), (math.inf, None)],
)
def test_ratio_as_text_has_six_places_and_no_negative_zero(
    value: float | None, shown: str | None
) -> None:
    """A ratio's text has six places and no negative zero, so equal results are equal texts."""
    assert ratios.text(value) == shown


def test_rate_beyond_the_floats_is_none() -> None:
    """Ten hours that gain 130 % are no rate of a year, and no crash."""
    assert ratios.cagr([1.3] + [0.0] * 9, 8760) is None


def test_returns_that_are_all_the_same_have_no_sharpe_ratio() -> None:
    """The rounding of their mean is not a deviation."""
    assert ratios.sharpe([0.1] * 24, 8760) is None
    assert ratios.sharpe([0.001] * 24, 8760) is None
