"""Indicators against their definitions, computed from the whole series in exact fractions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.features.atr import WilderAtr
from minibot.features.bollinger import BollingerBands
from minibot.features.ema import Ema
from minibot.features.order_flow import OrderFlowImbalance
from minibot.features.rate_of_change import RateOfChange
from minibot.features.rsi import WilderRsi
from minibot.features.touch import mid, spread_bps, touch_notional
from minibot.features.volatility import RealisedVolatility

PRICES = st.lists(
    st.integers(min_value=6_000_000, max_value=6_300_000).map(lambda cents: cents / 100),
    min_size=1,
    max_size=60,
)
PERIODS = st.integers(min_value=1, max_value=14)
SIZES = st.integers(min_value=0, max_value=10_000).map(lambda units: units / 1000)
TOUCHES = st.lists(
    st.tuples(st.integers(1000, 1004), SIZES, st.integers(1005, 1009), SIZES),
    min_size=1,
    max_size=40,
)


def exact(values: Sequence[float]) -> list[Fraction]:
    return [Fraction(value) for value in values]


def assert_close(found: float | None, expected: Fraction | None, scale: float) -> None:
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert math.isclose(found, float(expected), rel_tol=1e-9, abs_tol=1e-9 * scale)


def ema_by_weights(values: Sequence[float], period: int) -> Fraction | None:
    """Return the mean of the first `period` values, then weighted averages."""
    if len(values) < period:
        return None
    series = exact(values)
    alpha = Fraction(2, period + 1)
    seed = sum(series[:period], Fraction(0)) / period
    later = series[period:]
    total = seed * (1 - alpha) ** len(later)
    for age, value in enumerate(reversed(later)):
        total += alpha * (1 - alpha) ** age * value
    return total


def wilder_by_weights(values: Sequence[Fraction], period: int) -> Fraction:
    """Return Wilder's smoothing: the mean of the first `period`, then weights of 1 / period."""
    later = values[period:]
    keep = Fraction(period - 1, period)
    total = sum(values[:period], Fraction(0)) / period * keep ** len(later)
    for age, value in enumerate(reversed(later)):
        total += Fraction(1, period) * keep**age * value
    return total


def rsi_by_definition(closes: Sequence[float], period: int) -> Fraction | None:
    if len(closes) < period + 1:
        return None
    series = exact(closes)
    changes = [after - before for before, after in pairwise(series)]
    gain = wilder_by_weights([max(change, Fraction(0)) for change in changes], period)
    loss = wilder_by_weights([max(-change, Fraction(0)) for change in changes], period)
    if gain == loss == 0:
        return Fraction(50)
    return Fraction(100) if loss == 0 else 100 - 100 / (1 + gain / loss)


def true_ranges(bars: Sequence[tuple[float, float, float]]) -> list[Fraction]:
    ranges: list[Fraction] = []
    for index, (high, low, _) in enumerate(bars):
        options = [Fraction(high) - Fraction(low)]
        if index:
            before = Fraction(bars[index - 1][2])
            options += [abs(Fraction(high) - before), abs(Fraction(low) - before)]
        ranges.append(max(options))
    return ranges


@settings(max_examples=60, deadline=None)
@given(values=PRICES, period=PERIODS)
def test_ema_any_series_equals_weighted_sum(values: list[float], period: int) -> None:
    """The average equals the weighted sum of all values so far, at each step."""
    ema = Ema(period)
    for count, value in enumerate(values, start=1):
        ema.update(value)

        assert_close(ema.value, ema_by_weights(values[:count], period), 1e5)


@settings(max_examples=60, deadline=None)
@given(closes=PRICES, period=PERIODS)
def test_rsi_any_series_equals_definition(closes: list[float], period: int) -> None:
    """The index equals 100 - 100 / (1 + mean gain / mean loss) with Wilder's means."""
    rsi = WilderRsi(period)
    for count, close in enumerate(closes, start=1):
        rsi.update(close)

        assert_close(rsi.value, rsi_by_definition(closes[:count], period), 100.0)
        assert rsi.value is None or 0.0 <= rsi.value <= 100.0


def test_rsi_published_example_gives_published_values() -> None:
    """The widely printed 14-day example gives 70.53 first and 62.93 six closes later."""
    closes = (
        "44.3389 44.0902 44.1497 43.6124 44.3278 44.8264 45.0955 45.4245 45.8433 46.0826 45.8931 "
        "46.0328 45.6140 46.2820 46.2820 46.0028 46.0328 46.4116 46.2222 45.6439 46.2122"
    )
    rsi = WilderRsi(14)
    found = []
    for close in closes.split():
        rsi.update(float(close))
        if rsi.value is not None:
            found.append(f"{rsi.value:.2f}")

    assert found == ["70.53", "66.32", "66.55", "69.41", "66.36", "57.97", "62.93"]


@pytest.mark.parametrize(("closes", "value"), [([5.0] * 9, 50.0), ([1.0, 2.0, 3.0], 100.0)])
def test_rsi_without_losses_needs_no_division(closes: list[float], value: float) -> None:
    """RSI without movement is 50, and with gains alone exactly 100."""
    rsi = WilderRsi(2)
    for close in closes:
        rsi.update(close)

    assert rsi.value == value


@settings(max_examples=60, deadline=None)
@given(closes=PRICES, period=PERIODS, spans=st.data())
def test_atr_any_bars_equals_definition(
    closes: list[float], period: int, spans: st.DataObject
) -> None:
    """ATR equals Wilder's smoothing of the true ranges so far, at each step."""
    wick = st.floats(min_value=0.0, max_value=20.0)
    bars = [(c + spans.draw(wick), c - spans.draw(wick), c) for c in closes]
    atr = WilderAtr(period)
    for count, (high, low, close) in enumerate(bars, start=1):
        atr.update(high, low, close)

        ranges = true_ranges(bars[:count])
        expected = None if count < period else wilder_by_weights(ranges, period)
        assert_close(atr.value, expected, 1e5)


@settings(max_examples=60, deadline=None)
@given(values=PRICES, period=PERIODS)
def test_rate_of_change_any_series_equals_ratio_of_slice(values: list[float], period: int) -> None:
    """The rate of change compares with the value exactly `period` steps before."""
    change = RateOfChange(period)
    for count, value in enumerate(values, start=1):
        change.update(value)

        expected = None
        if count > period:
            first = Fraction(values[count - 1 - period])
            expected = (Fraction(value) - first) / first
        assert_close(change.value, expected, 1.0)


@settings(max_examples=60, deadline=None)
@given(values=PRICES, period=PERIODS)
def test_volatility_any_series_equals_root_mean_square(values: list[float], period: int) -> None:
    """The square of the volatility is the mean square of the last `period` returns."""
    volatility = RealisedVolatility(period)
    for count, value in enumerate(values, start=1):
        volatility.update(value)

        if count <= period:
            assert volatility.value is None
            continue
        window = exact(values[count - period - 1 : count])
        squares = [((b - a) / a) ** 2 for a, b in pairwise(window)]
        assert volatility.value is not None
        mean_square = sum(squares, Fraction(0)) / period
        assert math.isclose(volatility.value**2, float(mean_square), rel_tol=1e-6, abs_tol=1e-18)


@settings(max_examples=60, deadline=None)
@given(values=PRICES, period=PERIODS)
def test_bollinger_bands_of_any_series_are_mean_and_population_deviation(
    values: list[float], period: int
) -> None:
    """The middle is the mean of the window; the bands lie two deviations of it to each side."""
    bands = BollingerBands(period)
    for count, value in enumerate(values, start=1):
        bands.update(value)

        if count < period:
            assert (bands.value, bands.upper, bands.lower) == (None, None, None)
            continue
        window = exact(values[count - period : count])
        mean = sum(window, Fraction(0)) / period
        variance = sum(((each - mean) ** 2 for each in window), Fraction(0)) / period
        assert_close(bands.value, mean, 1.0)
        assert bands.deviation is not None
        assert bands.upper is not None
        assert bands.lower is not None
        assert math.isclose(bands.deviation**2, float(variance), rel_tol=1e-6, abs_tol=1e-6)
        assert math.isclose(bands.upper - bands.lower, 4 * bands.deviation, abs_tol=1e-6)


def push(before: tuple[float, ...], after: tuple[float, ...]) -> Fraction:
    """Return one term of Cont, Kukanov and Stoikov, by the cases of their table."""
    bid, bid_qty, ask, ask_qty = exact(before)
    new_bid, new_bid_qty, new_ask, new_ask_qty = exact(after)
    if new_bid > bid:
        demand = new_bid_qty
    elif new_bid == bid:
        demand = new_bid_qty - bid_qty
    else:
        demand = -bid_qty
    if new_ask < ask:
        supply = new_ask_qty
    elif new_ask == ask:
        supply = new_ask_qty - ask_qty
    else:
        supply = -ask_qty
    return demand - supply


@settings(max_examples=60, deadline=None)
@given(touches=TOUCHES, period=PERIODS)
def test_order_flow_any_touches_equals_table(
    touches: list[tuple[int, float, int, float]], period: int
) -> None:
    """The imbalance is the net of the last `period` terms over the sum of their sizes."""
    flow = OrderFlowImbalance(period)
    for count, (bid, bid_qty, ask, ask_qty) in enumerate(touches, start=1):
        flow.update(float(bid), bid_qty, float(ask), ask_qty)

        expected: Fraction | None = None
        if count > period:
            window = touches[count - period - 1 : count]
            pushes = [push(a, b) for a, b in pairwise(window)]
            size = sum((abs(p) for p in pushes), Fraction(0))
            expected = sum(pushes, Fraction(0)) / size if size > Fraction(1, 10**9) else None
        if count > period and expected is None:
            continue  # Sizes that cancel to float noise have no meaningful ratio.
        assert_close(flow.value, expected, 1.0)


@pytest.mark.row("C-87")
@pytest.mark.parametrize(
    ("bid", "ask", "expected"),
    [
        (99.95, 100.05, 10.0),
        (99.0, 101.0, 200.0),
        (100.0, 100.0, 0.0),
        (61837.63, 61837.64, 0.01 / 61837.635 * 10_000),
    ],
)
def test_spread_hand_computed_book_gives_bps(bid: float, ask: float, expected: float) -> None:
    """The spread is ask minus bid over the mid, in basis points."""
    found = spread_bps(bid, ask)

    assert found is not None
    assert math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("bid", "ask"),
    [
        (100.01, 100.0),
        (0.0, 100.0),
        (-1.0, 100.0),
        (100.0, math.inf),
        (math.nan, 100.0),
        (100.0, math.nan),
    ],
)
def test_spread_of_no_touch_is_none(bid: float, ask: float) -> None:
    """A crossed, empty or meaningless touch has no spread."""
    assert spread_bps(bid, ask) is None


def test_touch_hand_computed_gives_mid_and_notional() -> None:
    """The mid is the mean of both prices; the notional is price times quantity."""
    assert mid(99.0, 101.0) == 100.0
    assert touch_notional(61837.5, 0.5) == 30918.75


def test_order_flow_unchanged_touch_is_balanced() -> None:
    """An unchanged touch gives a balanced flow."""
    flow = OrderFlowImbalance(3)
    for _ in range(4):
        flow.update(99.0, 1.0, 101.0, 2.0)

    assert flow.value == 0.0


def test_order_flow_hand_computed_gives_net_over_size() -> None:
    """Two units at the bid and one at the ask give (2 - 1) / (2 + 1)."""
    flow = OrderFlowImbalance(2)
    flow.update(99.0, 1.0, 101.0, 5.0)
    flow.update(99.0, 3.0, 101.0, 5.0)
    flow.update(99.0, 3.0, 101.0, 6.0)

    assert flow.value == 1.0 / 3.0
