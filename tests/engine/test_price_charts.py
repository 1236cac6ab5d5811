"""Candles for charts: fine for minutes of ticks, few for months, with true prices."""

from __future__ import annotations

from collections.abc import MutableSequence

from minibot.engine.price_charts import CANDLES_MAX, WIDTHS_MS, PriceCharts
from minibot.engine.run_result import PriceBar
from tests.backtest.results import START, tick_at

SECOND, MINUTE = 1_000, 60_000


def test_candles_of_ticks_last_a_second_and_tell_when_one_is_finished() -> None:
    """Candles of ticks last a second, with the open, high, low and close of their ticks."""
    prices: dict[str, MutableSequence[PriceBar]] = {}
    charts = PriceCharts(prices, SECOND)
    numbers = [
        charts.on_tick(tick_at(price), START + ms)
        for ms, price in ((0, "5"), (400, "7"), (900, "4"), (1_000, "6"), (5_500, "8"))
    ]

    assert numbers == [0, 0, 0, START + 1_000, START + 5_000]
    first = prices["BTCUSDT"][0]
    assert (first.open, first.high, first.low, first.close) == (5, 7, 4, 4)


def test_ticks_in_a_row_make_the_candles_of_ticks_taken_one_by_one() -> None:
    """Ticks in a row make the same candles and closes as ticks one by one."""
    moves = [("5", 0), ("7", 400), ("7", 500), ("4", 900), ("4", 1_000), ("6", 1_100), ("6", 9_000)]
    ticks = [(tick_at(price, symbol), START + ms) for price, ms in moves for symbol in ("A", "B")]
    one: dict[str, MutableSequence[PriceBar]] = {}
    row: dict[str, MutableSequence[PriceBar]] = {}
    singly, in_rows = PriceCharts(one, SECOND), PriceCharts(row, SECOND)
    for tick, ts in ticks:
        singly.on_tick(tick, ts)

    in_rows.on_ticks(*zip(*ticks, strict=True))

    assert row == one
    assert in_rows.closes() == singly.closes()


def test_candles_of_a_file_are_its_own_bars() -> None:
    """Candles of a file are its own bars, however many prices the model makes of each."""
    prices: dict[str, MutableSequence[PriceBar]] = {}
    charts = PriceCharts(prices, MINUTE)
    for at in range(40):
        charts.on_tick(tick_at(str(100 + at)), START + at * 15_000)

    assert [bar.ts for bar in prices["BTCUSDT"]] == [START + at * MINUTE for at in range(10)]


def test_long_backtests_of_ticks_keep_few_candles_and_every_extreme() -> None:
    """Candles of long tick backtests grow wider and keep every extreme, in order of time."""
    prices: dict[str, MutableSequence[PriceBar]] = {}
    charts = PriceCharts(prices, SECOND)
    count = CANDLES_MAX * 4
    for at in range(count):
        charts.on_tick(tick_at(str(1000 + at % 977)), START + at * SECOND)
        charts.on_tick(tick_at(str(50 + at % 13), "ETHUSDT"), START + at * SECOND + 1)

    assert sum(len(bars) for bars in prices.values()) <= CANDLES_MAX + 2
    for symbol, low, high in (("BTCUSDT", 1000, 1976), ("ETHUSDT", 50, 62)):
        bars = prices[symbol]
        assert min(bar.low for bar in bars) == low
        assert max(bar.high for bar in bars) == high
        starts = [bar.ts for bar in bars]
        assert starts == sorted(set(starts))
        assert all(start % WIDTHS_MS[1] == 0 for start in starts)
