"""Bars of the simulator: klines from trades, windows by the venue's rule."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.exchanges.tapes.decimals import product_text, to_text, to_units
from minibot.exchanges.tapes.kline_bars import (
    INTERVALS,
    Bar,
    TradedBars,
    gather,
    next_open,
    open_of,
    opens_before,
)

START_MS = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC, a Tuesday.

TRADES = st.lists(
    st.tuples(st.integers(0, 400_000), st.integers(1, 10**12), st.integers(1, 10**10)),
    min_size=1,
    max_size=60,
)


def series_of(trades: list[tuple[int, int, int]]) -> TradedBars:
    series = TradedBars()
    for number, (offset_ms, price, qty) in enumerate(trades, 1):
        series.add_trade(START_MS + offset_ms, price, qty, number % 2 == 0, number)
    return series


@given(TRADES, st.sampled_from(["1s", "1m", "3m", "5m", "1h", "1w", "1M"]))
def test_bars_of_trades_equal_a_recount_of_each_interval(
    trades: list[tuple[int, int, int]], interval: str
) -> None:
    """Bars equal a recount of each interval, also for trades out of order."""
    series = series_of(trades)
    first_ms = open_of(interval, START_MS + trades[0][0])
    groups: dict[int, list[tuple[int, int, int]]] = {}
    for trade in trades:
        groups.setdefault(open_of(interval, START_MS + trade[0]), []).append(trade)

    assert first_ms in groups
    for open_ms, group in groups.items():
        bar = series.bar(interval, open_ms)
        assert bar is not None
        last = max(range(len(group)), key=lambda index: (group[index][0], index))
        assert (bar.high, bar.low) == (max(t[1] for t in group), min(t[1] for t in group))
        assert bar.volume == sum(t[2] for t in group)
        assert bar.quote == sum(t[1] * t[2] for t in group)
        assert bar.trades == len(group)
        assert bar.close == group[last][1]


@given(TRADES, st.sampled_from(["1s", "1m", "5m"]), st.integers(1, 50))
def test_window_is_dense_and_newest_first_cut(
    trades: list[tuple[int, int, int]], interval: str, limit: int
) -> None:
    """A window has a bar for every interval from the first trade, flat without trades."""
    trades = sorted(trades, key=lambda trade: trade[0])
    series = series_of(trades)
    now_ms = START_MS + 400_000

    bars = series.window(interval, None, None, limit, now_ms)
    whole = series.window(interval, 0, None, 1000, now_ms)

    assert bars == whole[-limit:] or len(whole) == 1000
    for former, later in pairwise(whole):
        assert later.open_ms == former.end_ms
        if not later.trades:
            assert later.open == later.high == later.low == later.close == former.close
            assert later.volume == 0


def test_window_bounds_are_inclusive_and_never_beyond_now() -> None:
    """`startTime` and `endTime` are inclusive open times, and nothing lies beyond now."""
    series = series_of([(n * 1000, 100, 1) for n in range(60)])
    now_ms = START_MS + 30_500

    def opens(start: int | None, end: int | None, limit: int = 1000) -> list[int]:
        chosen = series.window(
            "1s",
            None if start is None else START_MS + start,
            None if end is None else START_MS + end,
            limit,
            now_ms,
        )
        return [(bar.open_ms - START_MS) // 1000 for bar in chosen]

    assert opens(5_000, 7_000) == [5, 6, 7]
    assert opens(5_001, 6_999) == [6]
    assert opens(5_000, 5_000) == [5]
    assert opens(None, 7_500, 2) == [6, 7]
    assert opens(28_000, None) == [28, 29, 30]
    assert opens(3_000, None, 2) == [3, 4]
    assert opens(None, None)[-1] == 30
    assert opens(40_000, None) == []


@pytest.mark.parametrize("interval", INTERVALS)
def test_interval_bounds_fit_together(interval: str) -> None:
    """Each open time is a bar's own, one bar before the next."""
    open_ms = open_of(interval, START_MS)
    following_ms = next_open(interval, open_ms)

    assert open_ms <= START_MS < following_ms
    assert open_of(interval, open_ms) == open_ms
    assert open_of(interval, following_ms - 1) == open_ms
    assert open_of(interval, following_ms) == following_ms
    assert opens_before(interval, following_ms, 1) == open_ms
    assert opens_before(interval, open_ms, 0) == open_ms


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    """Weeks begin on Monday and months on the first, like the venue's."""
    monday = datetime(2023, 11, 13, tzinfo=UTC)
    first = datetime(2023, 11, 1, tzinfo=UTC)

    assert open_of("1w", START_MS) == monday.timestamp() * 1000
    assert open_of("1M", START_MS) == first.timestamp() * 1000


def test_gathered_bars_equal_bars_made_directly() -> None:
    """Seconds gathered into minutes equal minutes made from the trades."""
    series = series_of([(n * 700, 1000 + n * 37 % 91, 1 + n % 13) for n in range(500)])
    seconds = series.window("1s", 0, None, 1000, START_MS + 350_000)

    gathered = gather([bar for bar in seconds if bar.trades], "1m")

    assert gathered == series.window("1m", 0, None, 1000, START_MS + 350_000)


def test_past_and_live_part_of_one_bar_are_joined() -> None:
    """A bar across the origin is whole if the history is known."""
    series = series_of([(0, 120, 5)])
    open_ms = open_of("1m", START_MS)
    series.set_past("1m", [Bar(open_ms, open_ms + 60_000, 100, 130, 90, 110, 7, 700, 3)])

    bar = series.bar("1m", open_ms)

    assert bar is not None
    assert (bar.open, bar.high, bar.low, bar.close) == (100, 130, 90, 120)
    assert (bar.volume, bar.quote, bar.trades) == (12, 1300, 4)


def test_hole_in_the_past_stays_a_hole() -> None:
    """A hole in the history stays a hole."""
    series = series_of([(600_000, 120, 5)])
    first_ms = open_of("1m", START_MS)
    past = [Bar(first_ms + n * 60_000, first_ms + (n + 1) * 60_000, 1, 1, 1, 1) for n in (0, 1, 4)]
    series.set_past("1m", past)

    bars = series.window("1m", 0, None, 100, START_MS + 600_000)

    assert [(bar.open_ms - first_ms) // 60_000 for bar in bars] == [0, 1, 4, 10]


@given(st.integers(0, 10**19))
def test_decimal_text_and_units_are_inverse(units: int) -> None:
    """Decimal text and units are inverse."""
    assert to_units(to_text(units)) == units


@pytest.mark.parametrize(
    ("text", "units"), [("0.1", 10**7), ("61837.63000000", 6183763000000), ("7", 7 * 10**8)]
)
def test_decimal_text_of_any_length_is_read(text: str, units: int) -> None:
    """Decimal text with fewer places is read."""
    assert to_units(text) == units


def test_finer_number_is_refused_and_products_are_cut() -> None:
    """A ninth decimal place is refused in a number and cut in a product."""
    with pytest.raises(ValueError, match="finer"):
        to_units("0.123456789")

    assert product_text(10**16 + 10**8 - 1) == "1.00000000"
