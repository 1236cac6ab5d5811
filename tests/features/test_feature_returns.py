"""Figures over returns of closed bars: hand-computed values, holes, restoring, references."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.features.bar_returns import BarReturns
from minibot.features.correlation import correlation, correlation_of
from minibot.features.return_drift import distance_of, return_drift
from minibot.features.span_change import SpanChange
from minibot.features.volatility_ratio import volatility_ratio
from minibot.kernel.canonical import decode, encode

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
RETURNS = st.lists(st.integers(-(10**8), 10**9), min_size=1, max_size=30)
PAIRS = st.lists(
    st.tuples(st.integers(-(10**8), 10**9), st.integers(-(10**8), 10**9)), min_size=2, max_size=30
)


def returns_of(*closes: int, period: int = 3, first: int = 0, skips: int = 0) -> BarReturns:
    """Return the returns of minute bars with these closes."""
    returns = BarReturns(period, MINUTE_MS)
    for place, close in enumerate(closes, start=first):
        returns.update((place + skips) * MINUTE_MS, close)
    return returns


# --- returns --------------------------------------------------------------------------------------


def test_returns_are_hundred_millionths_of_the_former_close_rounded_down() -> None:
    """From 100 to 110 to 99 is up a tenth and down a tenth; a third down is rounded down."""
    assert list(returns_of(100, 110, 99).values) == [10_000_000, -10_000_000]
    assert list(returns_of(300, 200, 300).values) == [-33_333_334, 50_000_000]


def test_returns_keep_the_newest_and_are_ready_a_bar_behind_the_period() -> None:
    """Three returns need four bars; the oldest leaves."""
    returns = returns_of(100, 110, 121)
    assert (returns.is_ready, returns.warmup) == (False, 4)
    returns.update(3 * MINUTE_MS, 121)
    assert (returns.is_ready, returns.closed_ts) == (True, 4 * MINUTE_MS)
    returns.update(4 * MINUTE_MS, 242)

    assert list(returns.values) == [10_000_000, 0, 100_000_000]
    assert returns.last(2) == [0, 100_000_000]
    assert returns.last(2, 1) == [10_000_000, 0]
    assert returns.last(3, 1) is None
    assert returns.last(4) is None


def test_returns_begin_anew_behind_a_hole_and_leave_out_old_bars() -> None:
    """A missing bar empties them; a bar that came before changes nothing; neither does zero."""
    returns = returns_of(100, 110, 121)
    returns.update(2 * MINUTE_MS, 999)
    returns.update(MINUTE_MS, 999)
    assert returns.count == 2
    returns.update(4 * MINUTE_MS, 130)
    assert (returns.count, returns.close) == (0, 130)
    returns.update(5 * MINUTE_MS, 0)
    assert list(returns.values) == [-100_000_000]
    returns.update(6 * MINUTE_MS, 5)

    assert returns.count == 0


@pytest.mark.parametrize(("period", "length_ms"), [(0, 1), (1, 0)])
def test_returns_without_period_or_length_are_refused(period: int, length_ms: int) -> None:
    """A period or a length below one is refused."""
    with pytest.raises(ValueError, match="expected at least 1"):
        BarReturns(period, length_ms)


@settings(max_examples=20, deadline=None)
@given(closes=st.lists(st.integers(1, 10**12), min_size=1, max_size=12), cut=st.integers(0, 12))
def test_returns_restored_mid_stream_go_on_the_same(closes: list[int], cut: int) -> None:
    """Returns restored through canonical JSON have the same bytes for ever."""
    whole = returns_of(*closes)
    half = BarReturns.from_state(decode(encode(returns_of(*closes[:cut]).state())))
    for place, close in enumerate(closes[cut:], start=cut):
        half.update(place * MINUTE_MS, close)

    assert encode(half.state()) == encode(whole.state())


# --- correlation ----------------------------------------------------------------------------------


def test_correlation_equals_the_hand_computed_one_rounded_up() -> None:
    """Returns (1, -1, 0) and (1/2, -1, 0): 4.5 / sqrt(21) is 0.98198, and mirrored its negative."""
    first = returns_of(1_000, 1_100, 990, 990)
    assert correlation(first, returns_of(2_000, 2_100, 1_890, 1_890), 3) == 9_820
    assert correlation(first, returns_of(2_000, 1_900, 2_090, 2_090), 3) == -9_819
    assert correlation(first, first, 3) == 10_000
    assert correlation_of([1, -1, 1, -1], [1, 1, -1, -1]) == 0


def test_correlation_asked_bar_by_bar_is_that_of_all_bars_at_once() -> None:
    """Sums remembered for one bar, length or other symbol are not those of the next."""
    closes = [(1_000, 2_000), (1_100, 2_100), (990, 1_890), (1_200, 2_300), (1_150, 2_310)]
    first, second = returns_of(), returns_of()
    for bars, (close, other_close) in enumerate(closes):
        # The second symbol's bar comes later: until then the first one's newest is left out.
        first.update(bars * MINUTE_MS, close)
        for count in (2, 3):
            whole = returns_of(*(each[0] for each in closes[: bars + 1]))
            correlation(first, first, count)
            assert correlation(first, second, count) == correlation(whole, second, count)
        second.update(bars * MINUTE_MS, other_close)
        for count in (2, 3):
            one, other = (returns_of(*(each[at] for each in closes[: bars + 1])) for at in (0, 1))
            assert correlation(first, second, count) == correlation(one, other, count)


def test_correlation_compares_the_bars_that_both_have() -> None:
    """The bar that only one symbol has yet is left out; bars stand by their times."""
    former = correlation(returns_of(1_000, 1_100, 990), returns_of(2_000, 2_100, 1_890), 2)
    ahead = returns_of(1_000, 1_100, 990, 1_980)

    assert former == correlation(ahead, returns_of(2_000, 2_100, 1_890), 2)
    assert former == correlation(returns_of(2_000, 2_100, 1_890), ahead, 2)
    assert correlation(ahead, returns_of(2_000, 2_100, 1_890), 3) is None


@pytest.mark.parametrize("length_ms", [MINUTE_MS // 2, MINUTE_MS * 2])
def test_correlation_of_bars_of_two_lengths_is_refused(length_ms: int) -> None:
    """Bars of other lengths open at the same times, and are no pairs all the same."""
    other = BarReturns(3, length_ms)
    for place, close in enumerate((100, 110, 99, 120)):
        other.update(place * length_ms, close)
    for pair in ((returns_of(100, 110, 99, 120), other), (other, returns_of(100, 110, 99, 120))):
        with pytest.raises(ValueError, match="bars of one length"):
            correlation(*pair, 2)


def test_correlation_without_data_is_none() -> None:
    """Too few bars, bars a hole apart, bars at other times, and a symbol that stands still."""
    moving = returns_of(100, 110, 99, 120)
    shifted = BarReturns(3, MINUTE_MS)
    for place, close in enumerate((100, 110, 99, 120)):
        shifted.update(place * MINUTE_MS + 1, close)

    assert correlation(moving, BarReturns(3, MINUTE_MS), 3) is None
    assert correlation(moving, returns_of(100, 110, 99, 120, skips=2), 2) is None
    assert correlation(moving, shifted, 2) is None
    assert correlation(moving, returns_of(100, 100, 100, 100), 3) is None


@settings(max_examples=50, deadline=None)
@given(pairs=PAIRS)
def test_correlation_is_the_least_ten_thousandth_that_is_no_less(
    pairs: list[tuple[int, int]],
) -> None:
    """The exact correlation lies within the ten-thousandth below the result, which is symmetric."""
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    n, found = len(pairs), correlation_of(first, second)
    means = Fraction(sum(first), n), Fraction(sum(second), n)
    shared = sum(((x - means[0]) * (y - means[1]) for x, y in pairs), Fraction(0))
    spread = sum((x - means[0]) ** 2 for x in first) * sum((y - means[1]) ** 2 for y in second)
    if not spread:
        assert found is None
        return

    def signed(number: Fraction) -> Fraction:
        return number * abs(number)

    assert found is not None
    exact = signed(shared) / spread
    assert signed(Fraction(found - 1, 10_000)) < exact <= signed(Fraction(found, 10_000))
    assert -10_000 <= found <= 10_000
    assert found == correlation_of(second, first)


# --- volatility ratio -----------------------------------------------------------------------------


@pytest.mark.row("B-67")
def test_volatility_ratio_equals_the_hand_computed_one_rounded_up() -> None:
    """One move of a tenth in four bars is twice the long volatility; the second case is 0.8165."""
    still, moving = (100, 100, 100, 100, 110), (1_000, 1_100, 990, 990, 1_089)

    assert volatility_ratio(returns_of(*still, period=4), 1, 4) == 20_000
    assert volatility_ratio(returns_of(*moving, period=4), 2, 4) == 8_165
    assert volatility_ratio(returns_of(*moving, period=4), 4, 4) == 10_000
    assert volatility_ratio(returns_of(100, 110, 100, 100, period=4), 1, 3) == 0


def test_volatility_ratio_without_data_is_none() -> None:
    """Too few bars, and a market that stood still all the time."""
    assert volatility_ratio(returns_of(100, 110, 120), 1, 3) is None
    assert volatility_ratio(returns_of(100, 100, 100, 100), 1, 3) is None


@settings(max_examples=50, deadline=None)
@given(values=RETURNS, short=st.integers(1, 30))
def test_volatility_ratio_is_the_least_ten_thousandth_that_is_no_less(
    values: list[int], short: int
) -> None:
    """The exact ratio lies within the ten-thousandth below the result."""
    long, returns = len(values), BarReturns(30, MINUTE_MS)
    returns.values.extend(values)
    short = min(short, long)
    found = volatility_ratio(returns, short, long)
    if not any(values):
        assert found is None
        return

    assert found is not None
    exact = Fraction(sum(v * v for v in values[-short:]) * long, sum(v * v for v in values) * short)
    assert exact <= Fraction(found, 10_000) ** 2
    assert not found or Fraction(found - 1, 10_000) ** 2 < exact
    assert Fraction(found - 1, 10_000) ** 2 <= Fraction(long, short)


# --- drift ----------------------------------------------------------------------------------------


@pytest.mark.row("B-68")
@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        ([1, 2, 3, 4], [3, 4, 5, 6], 5_000),
        ([1, 1, 2], [1, 2, 2], 3_334),
        ([4, 3, 2, 1], [1, 2, 3, 4], 0),
        ([1, 2], [3, 4, 5], 10_000),
        ([7], [7], 0),
        ([1, 2, 3, 9], [9], 7_500),
    ],
)
def test_distance_equals_the_hand_computed_one(
    first: list[int], second: list[int], distance: int
) -> None:
    """The greatest difference of both shares at most a value, whichever sample comes first."""
    assert distance_of(first, second) == distance_of(second, first) == distance


@settings(max_examples=50, deadline=None)
@given(first=RETURNS, second=RETURNS)
def test_distance_equals_that_of_all_values_one_by_one(first: list[int], second: list[int]) -> None:
    """The distance equals the definition, asked at each value of both samples."""

    def share(sample: list[int], value: int) -> Fraction:
        return Fraction(sum(1 for one in sample if one <= value), len(sample))

    exact = max(abs(share(first, value) - share(second, value)) for value in first + second)
    assert Fraction(distance_of(first, second) - 1, 10_000) < exact
    assert exact <= Fraction(distance_of(first, second), 10_000)


def test_drift_compares_the_newest_returns_with_those_before() -> None:
    """Two large moves behind three small ones are all new; another order of the same is less."""
    shifted = returns_of(1_000, 1_001, 1_002, 1_003, 2_000, 4_000, period=5)
    mixed = returns_of(1_000, 2_000, 2_001, 2_002, 4_004, 4_005, period=5)

    assert return_drift(shifted, 2, 3) == 10_000
    assert return_drift(mixed, 2, 3) == 5_000
    assert return_drift(shifted, 3, 3) is None


# --- change of a span -----------------------------------------------------------------------------


def day_of(*bars: tuple[int, float]) -> SpanChange:
    """Return the change over bars of twelve hours, by number and close."""
    change = SpanChange(12 * HOUR_MS, 24 * HOUR_MS)
    for number, close in bars:
        change.update(number * 12 * HOUR_MS, close)
    return change


def test_span_change_compares_with_the_close_of_24_hours_before() -> None:
    """From 100 to 110 over two bars of twelve hours is a tenth; a bar later it is from 80."""
    change = day_of((0, 100.0), (1, 80.0))
    assert (change.value, change.is_ready, change.warmup) == (None, False, 3)
    change.update(24 * HOUR_MS, 110.0)
    assert change.value == (110.0 - 100.0) / 100.0
    change.update(24 * HOUR_MS, 999.0)
    change.update(36 * HOUR_MS, 60.0)

    assert change.value == (60.0 - 80.0) / 80.0
    assert change.count == 3


def test_span_change_needs_the_bar_of_24_hours_before_and_no_other() -> None:
    """A hole at that bar gives none, a hole between does not matter; zero has no ratio."""
    assert day_of((0, 100.0), (2, 110.0)).value == (110.0 - 100.0) / 100.0
    assert day_of((0, 100.0), (1, 90.0), (2, 95.0), (4, 110.0)).value == (110.0 - 95.0) / 95.0
    assert day_of((0, 100.0), (1, 90.0), (3, 110.0), (5, 110.0)).value == 0.0
    assert day_of((0, 100.0), (2, 90.0), (5, 110.0)).value is None
    assert day_of((0, 0.0), (2, 90.0)).value is None
    with pytest.raises(ValueError, match="length_ms"):
        SpanChange(7 * HOUR_MS, 24 * HOUR_MS)


def test_span_change_restored_mid_stream_has_the_same_bytes() -> None:
    """A change restored through canonical JSON goes on with the same bits."""
    bars: list[tuple[int, float]] = [(0, 0.1), (1, 0.3), (2, 0.7), (3, 0.9), (5, 1.1)]
    for cut in range(len(bars)):
        state: dict[str, Any] = decode(encode(day_of(*bars[:cut]).state()))
        restored = SpanChange.from_state(state)
        for number, close in bars[cut:]:
            restored.update(number * 12 * HOUR_MS, close)

        assert encode(restored.state()) == encode(day_of(*bars).state())
