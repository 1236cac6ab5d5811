"""Figures and equity curve: short, and never hiding a loss."""

from __future__ import annotations

import re
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from minibot.engine.run_result import PriceBar
from minibot.events.money import amount_text
from minibot.report.chart import equity_chart
from minibot.report.curve import STRETCHES_MAX, EquityCurve
from minibot.report.figures import duration, money, percent, plain_text, short_duration, signed
from minibot.report.price_chart import thinned
from minibot.report.trades import RoundTrip

AMOUNTS = st.integers(-(10**16), 10**16)
STEPS = st.lists(
    st.tuples(st.integers(0, 5_000), st.integers(-(10**9), 10**9)), min_size=1, max_size=3000
)


@given(AMOUNTS)
def test_money_is_within_half_a_cent_and_never_zero_for_something(value: int) -> None:
    """Money is within half a cent, and a tiny loss keeps its digits instead of zero."""
    text = money(amount_text(value))
    shown = Decimal(text.replace(",", ""))

    exact = Decimal(value) / 10**8
    assert abs(shown - exact) <= Decimal("0.005")
    assert (shown == 0) == (value == 0)
    assert not text.startswith("-0.00") or value != 0


@given(AMOUNTS)
def test_signed_money_says_which_way(value: int) -> None:
    """A gain has a plus, a loss a minus, zero neither."""
    text = signed(amount_text(value))

    assert text[0] == ("+" if value > 0 else "-" if value < 0 else "0")


@given(st.integers(0, 10**9))
def test_duration_names_its_units_and_is_right_to_the_second_or_minute(ms: int) -> None:
    """A duration names its units and reads back to the same second or minute."""
    units = {"h": 3_600_000, "min": 60_000, "s": 1_000}
    parts = re.findall(r"([\d.]+) (h|min|s)", duration(ms))

    back = sum(Decimal(number) * units[unit] for number, unit in parts)

    left_out = 60_000 if "h" in duration(ms) else 1_000 if "min" in duration(ms) else 100
    assert 0 <= ms - back < left_out


@given(st.integers(0, 59_999))
def test_duration_below_a_minute_is_one_text_wherever_it_is_shown(ms: int) -> None:
    """A mean in the head of a page and in its table is the same number."""
    assert short_duration(ms) == duration(ms)


@given(st.text(), st.integers(1, 50))
def test_text_from_outside_acts_on_no_terminal_and_is_bounded(text: str, length: int) -> None:
    """Foreign text has no terminal escapes and bounded length."""
    shown = plain_text(text, length)

    assert shown.isprintable()
    assert len(shown) <= 10 * length + 3


def test_percent_of_nothing_is_no_number() -> None:
    """A win rate without trades is not a number, rather than 0 %."""
    assert percent(None) == "-"
    assert percent("0.0000000000") == "0 %"
    assert percent("0.6666666666") == "67 %"


@given(STEPS)
def test_curve_keeps_lowest_deepest_and_last_in_bounded_memory(
    steps: list[tuple[int, int]],
) -> None:
    """A curve keeps low, deepest drawdown and end within bounded memory."""
    curve = EquityCurve()
    ts, equity, peak = 1_700_000_000_000, 10**12, 10**12
    lows, falls = [], []
    for wait, change in steps:
        ts, equity = ts + wait, equity + change
        peak = max(peak, equity)
        curve.add(ts, equity, peak)
        lows.append(equity)
        falls.append(peak - equity)

    points = curve.points

    assert len(points) <= STRETCHES_MAX
    assert min(point.low for point in points) == min(lows)
    assert max(point.drawdown for point in points) == max(falls)
    assert points[-1].last == equity
    assert [point.ts for point in points] == sorted({point.ts for point in points})
    assert points[-1].ts <= ts


def test_curve_of_rare_looks_is_bounded_too() -> None:
    """Stretches far apart are joined until few enough are left, not once for each new one."""
    curve = EquityCurve()
    for number in range(2 * STRETCHES_MAX):
        curve.add(1_700_000_000_000 + number * 600_000, number, number)
        assert len(curve.points) <= STRETCHES_MAX

    assert curve.points[0].low == 0
    assert curve.points[-1].last == 2 * STRETCHES_MAX - 1


@given(STEPS, st.integers(1, 9))
def test_curve_is_the_same_where_equity_is_added_for_many_times_at_once(
    steps: list[tuple[int, int]], alike: int
) -> None:
    """A curve fed in rows of one equity has the points of a curve fed time by time."""
    singly, in_rows = EquityCurve(), EquityCurve()
    ts, equity, peak = 1_700_000_000_000, 10**12, 10**12
    for wait, change in steps:
        equity += change
        peak = max(peak, equity)
        times = [ts + wait * number for number in range(1, alike + 1)]
        ts = times[-1]
        for each in times:
            singly.add(each, equity, peak)
        in_rows.add_all(times, equity, peak)

    assert in_rows.points == singly.points


@given(
    st.lists(
        st.tuples(st.integers(1, 900), st.floats(1, 9), st.floats(1, 9)), min_size=1, max_size=200
    ),
    st.integers(0, 5_000),
    st.integers(1, 20_000),
    st.integers(1, 60),
)
def test_wider_bars_hold_every_price_of_their_stretch(
    moves: list[tuple[int, float, float]], skipped: int, span: int, count: int
) -> None:
    """Each of the wider bars begins, ends and reaches as far as the bars of its stretch."""
    bars, ts = [], 0
    for wait, one, other in moves:
        ts += wait
        bars.append(PriceBar(ts, one, max(one, other), min(one, other), other))
    until = skipped + span
    width = max(1, -(-span // count))

    found = thinned(bars, skipped, until, count)

    stretches: dict[int, list[PriceBar]] = {}
    for bar in bars:
        if skipped <= bar.ts < until:
            stretches.setdefault((bar.ts - skipped) // width, []).append(bar)
    assert found == [
        PriceBar(
            *(each[0].ts, each[0].open, max(bar.high for bar in each)),
            *(min(bar.low for bar in each), each[-1].close),
        )
        for each in stretches.values()
    ]


def test_curve_of_a_whole_night_stays_small() -> None:
    """A curve of seven hours needs no more points than one of a minute."""
    curve = EquityCurve()
    for number in range(252_000):
        curve.add(1_700_000_000_000 + number * 100, 10**12 - number % 100, 10**12)

    assert STRETCHES_MAX // 2 <= len(curve.points) <= STRETCHES_MAX
    assert {point.drawdown for point in curve.points[:-1]} == {99}


@given(STEPS)
def test_chart_of_any_curve_stays_in_its_frame(steps: list[tuple[int, int]]) -> None:
    """Every point of a chart lies inside its frame, and none is `nan`."""
    curve = EquityCurve()
    ts, equity, peak = 1_700_000_000_000, 10**12, 10**12
    for wait, change in steps:
        ts, equity = ts + wait, equity + change
        peak = max(peak, equity)
        curve.add(ts, equity, peak)
    trip = RoundTrip("BTCUSDT", ts, closed_ts=ts, received=5, paid=7)

    picture = equity_chart(curve.points, [trip], "USDT")

    numbers = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", picture)
    assert bool(numbers) == (len(curve.points) > 1)
    assert all(0 <= float(x) <= 960 and 0 <= float(y) <= 400 for x, y in numbers)
    assert "nan" not in picture
