"""Returns by the calendar, drawdowns, exposure, and the figures made of them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.backtest.report import ratios
from minibot.backtest.report.exposure import Exposure, Held, exposure_of, stretched
from minibot.backtest.report.returns import (
    DAY,
    HOUR,
    MONTH,
    WEEK,
    basis,
    next_start,
    periods,
    start_of,
    underwaters,
)
from minibot.backtest.report.review import Review
from minibot.backtest.report.statistics import KEY_FIGURES, figure_text
from minibot.engine.run_result import EquityColumns
from minibot.events.model import Fill
from minibot.events.money import UNIT
from tests.backtest.results import DAY as DAY_MS
from tests.backtest.results import HOUR as HOUR_MS
from tests.backtest.results import START, ResultMaker, Trip, made, many, reviewed

KINDS = (HOUR, DAY, WEEK, MONTH)


def points(*pairs: tuple[int, int]) -> EquityColumns:
    """Return points of equity at hours after the start."""
    return EquityColumns(
        [START + hours * HOUR_MS for hours, _ in pairs], [equity for _, equity in pairs]
    )


def test_day_returns_by_hand() -> None:
    """A point on midnight ends the day before; a day without a point has return zero."""
    found = periods(points((1, 101), (24, 110), (25, 121), (73, 99)), 100, START, DAY)

    assert [period.ts for period in found] == [START + day * DAY_MS for day in range(4)]
    assert [round(period.ratio, 6) for period in found] == [0.1, 0.1, 0.0, round(99 / 121 - 1, 6)]


def test_first_period_begins_with_the_calendar_and_counts_from_the_start_equity() -> None:
    """A backtest that starts in mid-month has a first month as long as its data."""
    middle = START + 14 * DAY_MS
    found = periods(EquityColumns([START + 40 * DAY_MS], [150]), 100, middle, MONTH)

    assert [datetime.fromtimestamp(each.ts / 1000, UTC).month for each in found] == [1, 2]
    assert (found[0].opening, found[-1].closing) == (100, 150)


@given(
    steps=st.lists(
        st.tuples(st.integers(1, 40 * HOUR_MS), st.integers(10**11, 10**13)),
        min_size=1,
        max_size=40,
    ),
    kind=st.sampled_from(KINDS),
    offset=st.integers(0, 40 * DAY_MS),
)
@settings(max_examples=80, deadline=None)
def test_periods_have_no_hole_and_lead_from_the_start_to_the_end(
    steps: list[tuple[int, int]], kind: str, offset: int
) -> None:
    """Each period begins where the last one ends, in time and in equity."""
    ts, curve = START + offset, EquityColumns([], [])
    for wait, equity in steps:
        ts += wait
        curve.ts.append(ts)
        curve.amounts.append(equity)
    found = periods(curve, 10**12, START + offset, kind)

    assert found[0].opening == 10**12
    assert found[-1].closing == curve.amounts[-1]
    for before, after in pairwise(found):
        assert after.ts == next_start(before.ts, kind) == start_of(after.ts, kind)
        assert after.opening == before.closing
    assert found[-1].ts < curve.ts[-1] <= next_start(found[-1].ts, kind)
    together = math.prod(1 + period.ratio for period in found)
    assert together == pytest.approx(curve.amounts[-1] / 10**12, rel=1e-9)


def test_weeks_begin_on_monday() -> None:
    """2025-01-01 was a Wednesday."""
    assert datetime.fromtimestamp(start_of(START, WEEK) / 1000, UTC).isoformat()[:10] == (
        "2024-12-30"
    )


@pytest.mark.parametrize(
    ("hours", "kind"), [(9, None), (10, HOUR), (239, HOUR), (240, DAY), (4000, DAY)]
)
def test_figures_of_a_year_need_ten_returns(hours: int, kind: str | None) -> None:
    """Yearly figures need ten daily or else ten hourly returns; below that there are none."""
    assert basis(START, START + hours * HOUR_MS) == kind


def test_falls_by_hand() -> None:
    """Two drawdowns by hand: one of three hours, one that does not end."""
    curve = points((1, 110), (2, 99), (3, 105), (4, 110), (5, 120), (6, 60), (7, 90))
    first, second = underwaters(curve, 100, START)

    assert (first.from_ts, first.until_ts) == (START + HOUR_MS, START + 4 * HOUR_MS)
    assert (first.amount, round(first.ratio, 6)) == (11, 0.1)
    assert (second.from_ts, second.low_ts) == (START + 5 * HOUR_MS, START + 6 * HOUR_MS)
    assert (second.until_ts, second.ratio) == (None, 0.5)


def test_account_that_only_rises_was_never_below_a_high() -> None:
    """An account that only rises has no drawdown."""
    assert underwaters(points((1, 100), (2, 100), (3, 101)), 100, START) == []
    assert reviewed(days=20).figures["underwater_ms_max"] is None


def test_exposure_is_weighted_by_time_however_short_a_position_is_held() -> None:
    """Exposure is weighted by time: one percent of equity for six of 24 hours."""
    result = made([Trip(HOUR_MS, 7 * HOUR_MS, "100", "100", qty="1", fee="0")])
    exposure = exposure_of(result)

    assert exposure.time_ratio == pytest.approx(0.25)
    assert exposure.ratio_max == pytest.approx(0.01)
    assert exposure.ratio_mean == pytest.approx(0.0025)


def test_exposure_of_two_symbols_counts_their_time_once_and_their_cost_twice() -> None:
    """Exposure of two symbols for four hours each, two of them together: time once, cost twice."""
    trip = Trip(0, 4 * HOUR_MS, "100", "100", qty="1", fee="0")
    other = trip._replace(opened=2 * HOUR_MS, closed=6 * HOUR_MS, symbol="ETHUSDT")
    exposure = exposure_of(made([trip, other]))

    assert exposure.time_ratio == pytest.approx(0.25)
    assert exposure.ratio_max == pytest.approx(0.02)
    assert exposure.ratio_mean == pytest.approx(0.01 * 8 / 24)


@pytest.mark.parametrize(("sales", "left"), [(("3",), 50), (("1", "2"), 50), (("1",), 200)])
def test_exposure_after_a_part_is_sold_is_the_cost_of_what_the_books_still_hold(
    sales: tuple[str, ...], left: int
) -> None:
    """A sale takes the oldest purchase first: of lots at 100 and at 50, those at 50 are left."""
    maker = ResultMaker()
    result = maker.result
    orders = [("BUY", "2", "100"), ("BUY", "2", "50"), *(("SELL", qty, "50") for qty in sales)]
    result.from_ts, result.to_ts = START, START + len(orders) * HOUR_MS
    for hour, (side, qty, price) in enumerate(orders):
        ids = f"order-{hour}", f"client-{hour}"
        fill = Fill(*ids, "BTCUSDT", side, qty, price, "0", "USDT", "TAKER")
        maker.add("fills", START + hour * HOUR_MS, fill)
        result.performance.on_fill(fill, START + hour * HOUR_MS)

    held = result.performance.portfolio.position_cost("BTCUSDT")
    assert held == left * UNIT
    assert exposure_of(result).steps[-1].ratio == held / result.equity_start


@pytest.mark.parametrize(
    ("sold", "asset", "hours"),
    [("0.998", "BTC", 2), ("0.997", "BTC", 23), ("1", "USDT", 2), ("0.998", "USDT", 23)],
)
def test_dust_of_a_fee_in_coins_is_no_position(sold: str, asset: str, hours: int) -> None:
    """Two round trips of an hour are two hours in the market, unless a whole unit stays unsold."""
    maker = ResultMaker()
    maker.result.from_ts, maker.result.to_ts = START, START + DAY_MS
    for hour, side in enumerate(("BUY", "SELL", "BUY", "SELL"), start=1):
        qty, fee, paid = ("1", "0.0016", asset) if side == "BUY" else (sold, "0", "USDT")
        ids = f"order-{hour}", f"client-{hour}"
        fill = Fill(*ids, "BTCUSDT", side, qty, "1000", fee, paid, "TAKER")
        maker.add("fills", START + hour * HOUR_MS, fill)

    exposure = exposure_of(maker.result)

    assert exposure.time_ratio == pytest.approx(hours / 24)


def test_fee_in_coins_is_neither_held_nor_money() -> None:
    """A coin bought for a fee of 0.001 of it is gone once 0.999 are sold; the fee cost one."""
    maker = ResultMaker()
    result = maker.result
    result.from_ts, result.to_ts = START, START + DAY_MS
    fills = ((HOUR_MS, "BUY", "1", "0.001", "BTC"), (2 * HOUR_MS, "SELL", "0.999", "0.1", "USDT"))
    for number, (after, side, qty, fee, asset) in enumerate(fills):
        ids = f"order-{number}", f"client-{number}"
        fill = Fill(*ids, "BTCUSDT", side, qty, "1000", fee, asset, "TAKER")
        maker.add("fills", START + after, fill)
        result.performance.on_fill(fill, START + after)
        maker.tick("BTCUSDT", "1000", START + after)
    review = Review.of(result)

    assert review.exposure.time_ratio == pytest.approx(1 / 24)
    assert review.figures["fees"] == "1.10000000"
    assert float(review.figures["fees_bps"]) == pytest.approx(1.1 / 1999 * 10_000)


def test_exposure_in_a_picture_shows_the_shortest_position() -> None:
    """Exposure in the chart shows the highest value of each stretch."""
    result = made([Trip(HOUR_MS, HOUR_MS + 1000, "100", "100", qty="1", fee="0")])
    shown = stretched(exposure_of(result), result.from_ts, result.to_ts, 24)

    assert [round(step.ratio, 4) for step in shown] == [0.0, 0.01] + [0.0] * 22


def test_position_that_ends_with_a_stretch_is_none_of_the_next_one() -> None:
    """A stretch ends a millisecond before the next one begins, and so does what was held in it."""
    exposure = Exposure((Held(0, 0.5), Held(100, 0.0)), 0.5, 0.25, 0.5)

    assert stretched(exposure, 0, 200, 2) == [Held(0, 0.5), Held(100, 0.0)]


def test_key_figures_by_hand() -> None:
    """Key figures by hand: one trade of +50 and one of -20 within twelve days, no fee."""
    trips = [
        Trip(HOUR_MS, 2 * HOUR_MS, "100", "150", qty="1", fee="0"),
        Trip(DAY_MS, DAY_MS + HOUR_MS, "150", "130", qty="1", fee="0"),
    ]
    figures = reviewed(trips, days=12).figures

    assert (figures["pnl"], figures["return"]) == ("30.00000000", "0.003000")
    assert (figures["returns_of"], figures["returns"]) == ("day", 12)
    daily = [50 / 10000, -20 / 10050, *[0.0] * 10]
    assert figures["sharpe"] == ratios.text(ratios.sharpe(daily, 365))
    assert figures["cagr"] == f"{1.003 ** (365 / 12) - 1:.6f}"
    assert figures["drawdown_max"] == "20.00000000"
    assert figures["drawdown_ratio_closes"] == f"{20 / 10050:.6f}"
    # From the last moment at the high, the second entry, to the end.
    assert figures["underwater_ms_max"] == 11 * DAY_MS
    assert (figures["win_rate"], figures["reward_risk"]) == ("0.500000", "2.500000")
    assert (figures["profit_factor"], figures["expectancy"]) == ("2.500000", "15.00000000")
    assert figures["expectancy_ratio"] == "0.750000"
    assert (figures["notional"], figures["fills"]) == ("530.00000000", 4)
    assert figures["fees_bps"] == "0.000000"
    mean = (10_000 + 10_050 + 10_050 + 10_030 + 10_030) / 5  # At each fill, and at the end.
    assert figures["turnover"] == f"{530 / mean:.6f}"
    assert figures["time_in_market"] == f"{2 / (12 * 24):.6f}"


def test_figures_hold_no_float_and_every_one_reads_as_text() -> None:
    """Figures hold no float: money and ratios are decimal strings, counts and times integers."""
    for review in (reviewed(), reviewed(days=30), reviewed([Trip(1, None, "1", "1")])):
        for value in review.figures.values():
            assert not isinstance(value, float)
        for shown in KEY_FIGURES:
            assert figure_text(shown.kind, review.figures[shown.key])


def test_short_backtest_has_no_figure_of_a_year() -> None:
    """A backtest of six minutes has no yearly figure."""
    figures = reviewed([Trip(0, 60_000, "100", "101")], to_ts=START + 360_000).figures

    assert all(figures[name] is None for name in ("cagr", "sharpe", "sortino", "calmar"))


def test_review_of_thousands_of_trades_adds_up() -> None:
    """A review of thousands of trades adds up: gross less fees is net, and counts are complete."""
    figures = Review.of(many(2000, 100)).figures

    assert float(figures["pnl_before_fees"]) - float(figures["fees"]) == pytest.approx(
        float(figures["pnl"]), abs=1e-6
    )
    assert figures["wins"] + figures["losses"] <= figures["trades"] == 2000
