"""Bars from trades, against a brute-force reference and the venue's own klines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.events.intervals import INTERVAL_MS, align
from minibot.events.model import Bar, Side
from minibot.events.unit_sizes import DAY_MS, WEEK_MS
from minibot.exchanges.base import Candle, Snapshot, Trade
from minibot.exchanges.binance.messages import parse_candles
from minibot.exchanges.units import decimal, units
from minibot.market.bar_backfill import RETRY_MS, TRIES_MAX, BarLane
from minibot.market.bars import BarBuilder, Hole
from minibot.market.history import SETTLE_MS, closed_candles, history_bar
from tests.exchanges.binance.binance_recordings import tape_messages

# The time of an example depends on the machine, not on the product.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

T0 = 1_723_161_255_000


def trade(
    ts: int, price: str = "100.00000000", qty: str = "1.00000000", side: Side = "BUY"
) -> Trade:
    return Trade("BTCUSDT", 1, price, units(price), qty, units(qty), ts, side)


def brute_force(trades: Sequence[Trade], interval_ms: int, end_ts: int) -> list[tuple[object, ...]]:
    """Return the bars that close before `end_ts`, by the contract's words alone.

    There is one for every interval from the first trade on, flat with volume 0 without trades.
    """
    by_start: dict[int, list[Trade]] = {}
    for item in trades:
        by_start.setdefault(item.trade_ts // interval_ms * interval_ms, []).append(item)
    bars: list[tuple[object, ...]] = []
    close = Decimal(0)
    for start in range(min(by_start), end_ts - interval_ms + 1, interval_ms):
        inside = by_start.get(start, [])
        prices = [Decimal(t.price) for t in inside] or [close]
        close = prices[-1]
        sums = [
            sum((Decimal(t.qty) for t in inside), Decimal(0)),
            sum((Decimal(t.qty) * Decimal(t.price) for t in inside), Decimal(0)),
            sum((Decimal(t.qty) for t in inside if t.taker_side == "BUY"), Decimal(0)),
        ]
        bars.append((start, prices[0], max(prices), min(prices), close, *sums, len(inside)))
    return bars


def values(bars: Sequence[Bar]) -> list[tuple[object, ...]]:
    return [
        (
            bar.open_ts,
            Decimal(bar.open),
            Decimal(bar.high),
            Decimal(bar.low),
            Decimal(bar.close),
            Decimal(bar.volume),
            Decimal(bar.quote_volume or "NaN"),
            Decimal(bar.taker_buy_volume or "NaN"),
            bar.trades,
        )
        for bar in bars
    ]


def at(step: Trade | int) -> int:
    return step.trade_ts if isinstance(step, Trade) else step


trades = st.lists(
    st.builds(
        trade,
        st.integers(T0, T0 + 9_000),
        st.sampled_from(["99.99000000", "100.00000000", "100.01000000", "123.45678901"]),
        st.sampled_from(["0.00001000", "1.00000000", "0.33333333"]),
        st.sampled_from(["BUY", "SELL"]),
    ),
    min_size=1,
    max_size=30,
).map(lambda found: sorted(found, key=lambda t: t.trade_ts))


@untimed
@given(trades, st.lists(st.integers(T0, T0 + 12_000), max_size=10))
def test_bars_equal_brute_force_whenever_the_clock_is_asked(
    found: list[Trade], looks: list[int]
) -> None:
    """Asking for bars between trades changes when a bar is written, never its content."""
    builder = BarBuilder("BTCUSDT", "1s", grace_ms=500)
    bars: list[Bar] = []
    steps = sorted(
        [(t.trade_ts, 1, t) for t in found] + [(ts, 0, None) for ts in looks], key=lambda s: s[:2]
    )
    for ts, _, item in steps:
        bars += builder.on_clock(ts) if item is None else builder.on_trade(item)
    bars += builder.on_clock(T0 + 15_500)

    assert values(bars) == brute_force(found, 1000, T0 + 15_000)


@pytest.mark.slow
@pytest.mark.parametrize("interval", ["1s", "1m"])
def test_bars_of_the_tape_equal_brute_force(shared_data: Path, interval: str) -> None:
    """Twenty thousand real trades give exactly their bars."""
    found = [m for m in tape_messages(shared_data) if isinstance(m, Trade)]
    builder = BarBuilder("BTCUSDT", interval, grace_ms=500)
    bars = [bar for item in found for bar in builder.on_trade(item)]

    end_ts = align(found[-1].trade_ts, INTERVAL_MS[interval])
    assert len(bars) > 5
    assert values(bars) == brute_force(found, INTERVAL_MS[interval], end_ts)


def test_bar_without_trades_is_flat_with_volume_zero() -> None:
    """A bar without trades is flat at the last close with volume 0, like the venue's klines."""
    builder = BarBuilder("BTCUSDT", "1s", 500)
    builder.on_trade(trade(T0 + 10, "101.50000000"))

    _, flat = builder.on_clock(T0 + 2_500)

    assert flat == Bar(
        symbol="BTCUSDT",
        interval="1s",
        open_ts=T0 + 1_000,
        close_ts=T0 + 1_999,
        open="101.50000000",
        high="101.50000000",
        low="101.50000000",
        close="101.50000000",
        volume="0.00000000",
        is_history=False,
        quote_volume="0.00000000",
        taker_buy_volume="0.00000000",
        trades=0,
    )


@pytest.mark.parametrize(("exchange_ts", "count"), [(T0 + 1_499, 0), (T0 + 1_500, 1)])
def test_bar_closes_by_time_at_the_end_of_its_grace(exchange_ts: int, count: int) -> None:
    """A bar closes by time exactly at the end of its grace."""
    builder = BarBuilder("BTCUSDT", "1s", 500)
    builder.on_trade(trade(T0 + 999))

    assert len(builder.on_clock(exchange_ts)) == count


def test_late_trade_is_counted_and_not_merged() -> None:
    """A late trade is counted, and a written bar never changes."""
    builder = BarBuilder("BTCUSDT", "1s", 500)
    builder.on_trade(trade(T0))
    (bar,) = builder.on_clock(T0 + 1_500)

    assert builder.on_trade(trade(T0 + 999, "500.00000000")) == []
    assert builder.late == 1
    assert bar.high == "100.00000000"


def test_bar_closed_by_a_trade_carries_its_receipt() -> None:
    """A bar closed by a trade carries the trade's receive time, so that latency is true."""
    builder = BarBuilder("BTCUSDT", "1s", 500)
    builder.on_trade(trade(T0), 11)
    (by_trade,) = builder.on_trade(trade(T0 + 1_000), 22)
    (by_clock,) = builder.on_clock(T0 + 2_500)

    assert (by_trade.recv_mono_ns, by_clock.recv_mono_ns) == (22, None)


@untimed
@given(trades, st.integers(T0, T0 + 9_000), st.integers(0, 3_000))
def test_bars_after_missed_trades_are_whole_or_a_hole(
    found: list[Trade], cut: int, length: int
) -> None:
    """Bars with missed trades are never written; hole and bars cover every interval once."""
    builder = BarBuilder("BTCUSDT", "1s", 500)
    bars: list[Bar] = []
    holes: list[Hole] = []
    seen = [t for t in found if not cut <= t.trade_ts < cut + length]
    has_broken = False
    for item in seen:
        if item.trade_ts >= cut + length and not has_broken:
            has_broken = True
            builder.suspend()
            bars += builder.resume_broken(cut + length)
        bars += builder.on_trade(item)
        hole = builder.take_hole()
        holes += [hole] if hole else []
    bars += builder.on_clock(T0 + 20_500)
    hole = builder.take_hole()
    holes += [hole] if hole else []
    if not seen or (seen != found and not has_broken):
        return  # Without a trade after the missed ones, nobody can know of them.

    whole = {value[0]: value for value in brute_force(found, 1000, T0 + 20_000)}
    assert all(whole[value[0]] == value for value in values(bars) if has_broken or value[8])
    starts = [bar.open_ts for bar in bars]
    for hole in holes:
        starts += range(hole.from_ts, hole.to_ts, 1000)
    first = align(seen[0].trade_ts, 1000)
    assert sorted(starts) == list(range(first, T0 + 20_000, 1000))


def test_missed_trade_at_the_very_end_of_a_break_leaves_its_bar_to_klines() -> None:
    """A break that ends with the first time of a bar may have missed a trade of that bar."""
    builder = BarBuilder("BTCUSDT", "1m", 500)
    start = align(T0, 60_000)
    builder.on_trade(trade(start + 59_900))
    bars = builder.resume_broken(start + 60_000)
    bars += builder.on_trade(trade(start + 60_000))
    bars += builder.on_trade(trade(start + 120_000))

    assert bars == []
    assert builder.take_hole() == Hole(start, start + 120_000)


def test_suspended_builder_closes_nothing_by_time() -> None:
    """A suspended builder closes nothing by time, so no flat bar is invented."""
    builder = BarBuilder("BTCUSDT", "1s", 500)
    builder.on_trade(trade(T0))
    builder.suspend()
    assert builder.on_clock(T0 + 5_000) == []

    builder.resume()

    assert len(builder.on_clock(T0 + 5_500)) == 5
    assert builder.take_hole() is None


# --- lanes --------------------------------------------------------------------------------------


def candle(open_ts: int, close: str = "100.00000000") -> Candle:
    return Candle(
        open_ts, open_ts + 999, close, close, close, close, "5.00000000", "500.0", 3, "2.00000000"
    )


def klines_of(hole: Hole, close: str = "101.00000000") -> list[Candle]:
    return [candle(ts, close) for ts in range(hole.from_ts, hole.to_ts, 1_000)]


def broken_lane() -> BarLane:
    """Return a backfill that misses the bars T0..T0+3 s, with a whole bar waiting behind them."""
    lane = BarLane("BTCUSDT", "1s", 500)
    lane.on_trade(trade(T0 + 100), 1)
    lane.builder.suspend()
    assert lane.resume_broken(T0 + 2_100) == []
    assert lane.on_trade(trade(T0 + 2_200), 2) == []
    assert lane.on_trade(trade(T0 + 3_100), 3) == []
    assert lane.on_trade(trade(T0 + 4_100), 4) == []
    return lane


def test_hole_is_filled_before_younger_bars_are_written() -> None:
    """A hole is filled before younger bars are written, so readers get each bar once in order."""
    lane = broken_lane()
    assert lane.wanted(T0) is None
    hole = lane.wanted(T0 + SETTLE_MS)
    assert hole == Hole(T0, T0 + 3_000)

    bars = lane.fill(hole, [candle(T0 + 1000 * n) for n in range(5)], T0 + 600)

    assert [(bar.open_ts - T0, bar.is_history) for bar in bars] == [
        (0, True),
        (1_000, True),
        (2_000, True),
        (3_000, False),
    ]
    assert [bar.open_ts - T0 for bar in lane.on_trade(trade(T0 + 5_000), 5)] == [4_000]
    assert lane.unfilled == 0


def test_hole_that_nobody_fills_is_given_up_and_counted() -> None:
    """A hole that stays unfilled is given up and counted, and younger bars are written."""
    lane = broken_lane()
    now, bars = T0 + SETTLE_MS, list[Bar]()
    lane.wanted(T0)
    for _ in range(TRIES_MAX):
        assert bars == []
        hole = lane.wanted(now)
        assert hole is not None
        bars = lane.fill(hole, [], now)
        now += RETRY_MS

    assert [bar.open_ts - T0 for bar in bars] == [3_000]
    assert lane.unfilled == 3


def given_up(answers: Sequence[Sequence[int] | None]) -> tuple[BarLane, list[Bar]]:
    """Return a lane and its bars, after answers with the klines of some seconds; None failed."""
    lane = BarLane("BTCUSDT", "1s", 500)
    for second in (0, 1, 2):
        lane.on_trade(trade(T0 + second * 1_000 + 100), 1)
    lane.builder.suspend()
    lane.resume_broken(T0 + 2_500)
    for second in (3, 4, 5):
        lane.on_trade(trade(T0 + second * 1_000 + 100), 1)
    lane.builder.suspend()
    lane.resume_broken(T0 + 5_500)
    lane.on_trade(trade(T0 + 6_100), 1)
    now, bars = T0 + SETTLE_MS, list[Bar]()
    lane.wanted(T0)
    for seconds in answers:
        assert bars == []
        hole = lane.wanted(now)
        assert hole == Hole(T0 + 2_000, T0 + 6_000)
        if seconds is None:
            bars = lane.fail(now)
        else:
            bars = lane.fill(hole, [candle(T0 + 1_000 * second) for second in seconds], now)
        now += RETRY_MS
    return lane, bars


@pytest.mark.parametrize("last", [(), None])
def test_bars_that_stand_in_a_hole_are_not_counted_as_missing(last: tuple[int] | None) -> None:
    """A hole may hold whole bars between two breaks: they are written, however the hole ends."""
    lane, bars = given_up([*([None] * (TRIES_MAX - 1)), last])

    assert [(bar.open_ts - T0, bar.is_history) for bar in bars] == [
        (3_000, False),
        (4_000, False),
    ]
    assert lane.unfilled == 2


@pytest.mark.parametrize("last", [(), None])
def test_klines_that_came_with_any_answer_are_written_when_a_hole_is_given_up(
    last: tuple[int] | None,
) -> None:
    """A last request that fails takes nothing away that an earlier one has brought."""
    lane, bars = given_up([(5,), *([None] * (TRIES_MAX - 2)), last])

    assert [bar.open_ts - T0 for bar in bars] == [3_000, 4_000, 5_000]
    assert lane.unfilled == 1


def test_answers_that_have_all_klines_between_them_fill_a_hole() -> None:
    """A second answer needs only the klines that the first one lacked."""
    lane, bars = given_up([(2,), (5,)])

    assert [bar.open_ts - T0 for bar in bars] == [2_000, 3_000, 4_000, 5_000]
    assert lane.unfilled == 0


def test_hole_that_grows_while_asked_is_filled_and_the_rest_is_asked_for() -> None:
    """The answer fills the part that was requested; a whole bar behind it waits for the rest."""
    lane = broken_lane()
    lane.wanted(T0)
    hole = lane.wanted(T0 + SETTLE_MS)
    assert hole is not None
    lane.builder.suspend()
    lane.resume_broken(T0 + 6_000)

    bars = lane.fill(hole, [candle(T0 + 1000 * n) for n in range(6)], T0 + 700)
    assert [bar.open_ts - T0 for bar in bars] == [0, 1_000, 2_000]
    lane.wanted(T0 + 700)
    rest = lane.wanted(T0 + 700 + SETTLE_MS)
    assert rest == Hole(T0 + 3_000, T0 + 6_000)
    bars = lane.fill(rest, [candle(T0 + 1000 * n) for n in range(6)], T0 + 1_300)
    assert [bar.open_ts - T0 for bar in bars] == [3_000, 4_000, 5_000]
    assert [bar.is_history for bar in bars] == [False, True, True]


def test_answer_to_a_former_lane_changes_nothing() -> None:
    """A symbol that was unfollowed and followed again takes the answer to its own request."""
    lane = broken_lane()
    former = Hole(T0 - 9_000, T0 - 8_000)
    lane.wanted(T0)
    assert lane.fail(T0) == lane.fill(former, [candle(T0 - 9_000)], T0) == []
    hole = lane.wanted(T0 + SETTLE_MS)
    assert hole is not None
    assert lane.fill(former, [candle(T0 - 9_000)], T0 + 600) == []

    assert len(lane.fill(hole, klines_of(hole), T0 + 700)) == 4


def silent_lane() -> BarLane:
    """Return a lane whose stream came back 5.4 s after its last trade, and no trade with it."""
    lane = BarLane("BTCUSDT", "1s", 500)
    lane.on_trade(trade(T0 + 100), 1)
    lane.builder.suspend()
    assert lane.resume_broken(T0 + 5_400) == []
    return lane


def test_hole_that_grows_each_second_is_filled_by_answers_that_take_most_of_one() -> None:
    """Each answer fills its part; what came behind it has settled before it is requested."""
    lane, bars = silent_lane(), list[Bar]()
    asked: list[tuple[int, Hole]] = []
    for now in range(T0 + 5_400, T0 + 12_000, 100):
        bars += lane.on_clock(now)
        if asked and now == asked[-1][0] + 700:
            bars += lane.fill(asked[-1][1], klines_of(asked[-1][1]), now)
        hole = lane.wanted(now)
        if hole is not None:
            assert now >= hole.to_ts + SETTLE_MS
            asked.append((now, hole))

    assert [bar.open_ts - T0 for bar in bars] == list(range(0, 11_000, 1_000))
    assert {bar.close for bar in bars} == {"101.00000000"}
    assert [hole.to_ts - hole.from_ts for _, hole in asked] == [5_000, 1_000, 1_000]
    assert not bars[-1].is_history
    assert lane.unfilled == 0


@pytest.mark.parametrize("has_answer", [True, False])
def test_hole_that_grows_each_second_is_given_up_after_as_many_tries_as_any_other(
    has_answer: bool,
) -> None:
    """A part that no answer holds is given up, however much comes behind it meanwhile."""
    lane, tries = silent_lane(), 0
    for now in range(T0 + 5_400, T0 + 30_000, 100):
        assert lane.on_clock(now) == []
        hole = lane.wanted(now)
        if hole is not None:
            tries += 1
            assert (lane.fill(hole, [], now) if has_answer else lane.fail(now)) == []
        if lane.unfilled:
            break

    assert tries == TRIES_MAX
    assert lane.unfilled == 5


def test_close_before_missed_trades_is_no_price_of_later_bars() -> None:
    """The bar in which the stream came back may have moved the price: only its kline tells."""
    lane = silent_lane()
    lane.wanted(T0 + 5_400)
    early = lane.wanted(T0 + 5_900)
    assert early == Hole(T0, T0 + 5_000)
    bars = lane.fill(early, klines_of(early), T0 + 6_000)
    bars += lane.on_clock(T0 + 7_500)
    lane.wanted(T0 + 7_500)
    late = lane.wanted(T0 + 8_000)
    assert late == Hole(T0 + 5_000, T0 + 7_000)
    bars += lane.fill(late, klines_of(late, "105.00000000"), T0 + 8_100)
    bars += lane.on_clock(T0 + 8_500)

    assert [bar.close for bar in bars] == ["101.00000000"] * 5 + ["105.00000000"] * 3


def test_bars_between_history_and_first_trade_are_filled() -> None:
    """Bars between the start's klines and the first trade are filled from klines."""
    lane = BarLane("BTCUSDT", "1s", 500)
    assert len(lane.take_history([candle(T0 - 2_000), candle(T0 - 1_000)])) == 2
    lane.on_trade(trade(T0 + 2_500), 1)
    lane.wanted(T0 + 3_000)

    assert lane.wanted(T0 + 3_000 + SETTLE_MS) == Hole(T0, T0 + 2_000)


def test_trade_of_a_bar_that_history_holds_is_late() -> None:
    """A trade in a bar that history holds is late, and the kline stays."""
    lane = BarLane("BTCUSDT", "1s", 500)
    lane.take_history([candle(T0)])

    assert lane.on_trade(trade(T0 + 999), 1) == []
    assert lane.builder.late == 1


# --- klines -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_history_of_recorded_klines_keeps_every_character(shared_data: Path) -> None:
    """History of recorded klines keeps the venue's characters, odd close times included."""
    path = shared_data / "binance-klines-rest" / "BTCUSDT-1h-to-2025-12-31.jsonl.gz"
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file][:2000]

    bars = [history_bar("BTCUSDT", "1h", item) for item in parse_candles(rows)]

    for bar, row in zip(bars, rows, strict=True):
        assert [bar.open_ts, bar.open, bar.high, bar.low, bar.close, bar.volume] == row[:6]
        assert [bar.close_ts, bar.quote_volume, bar.trades, bar.taker_buy_volume] == row[6:10]
        assert bar.is_history


def test_klines_of_one_minute_match_bars_of_their_values(shared_data: Path) -> None:
    """A bar from trades is formatted exactly like a real kline."""
    path = shared_data / "message-fixtures/binance/nautilus/ADABTC-1m-2021-11-28.csv"
    row = path.read_text().splitlines()[0].split(",")
    opened, high, low, close, volume = row[1:6]
    builder = BarBuilder("ADABTC", "1m", 500)
    start = int(row[0])
    rest = decimal(units(volume) - 3)
    for ts, price, qty in (
        (start, opened, "0.00000001"),
        (start + 5, high, "0.00000001"),
        (start + 6, low, "0.00000001"),
        (start + 59_999, close, rest),
    ):
        builder.on_trade(trade(ts, price, qty))
    (bar,) = builder.on_clock(start + 60_500)

    assert [str(bar.open_ts), bar.open, bar.high, bar.low, bar.close, bar.volume] == row[:6]
    assert str(bar.close_ts) == row[6]


@untimed
@given(st.integers(0, 100), st.integers(1, 20))
def test_running_kline_is_never_history(offset_ms: int, count: int) -> None:
    """REST's newest row is the unfinished kline and never becomes history."""
    candles = [candle(T0 + 1000 * n) for n in range(10)]
    settled_ts = T0 + 9_000 + offset_ms

    closed = closed_candles(reversed(candles + candles), "1s", settled_ts=settled_ts, count=count)

    assert [c.open_ts for c in closed] == [T0 + 1000 * n for n in range(9)][-count:]


def test_weeks_begin_on_monday() -> None:
    """1970-01-05 was the first Monday of Unix time."""
    assert align(4 * DAY_MS, WEEK_MS) == 4 * DAY_MS
    assert align(11 * DAY_MS - 1, WEEK_MS) == 4 * DAY_MS
    assert align(1_723_161_255_342, 60_000) % 60_000 == 0


@untimed
@given(st.integers(0, 10**30), st.integers(8, 16))
def test_decimal_text_is_exact_with_at_least_eight_places(value: int, places: int) -> None:
    """Volumes are never rounded, and look like the venue's."""
    text = decimal(value, places)

    assert Fraction(text) == Fraction(value, 10**places)
    assert len(text.partition(".")[2]) >= 8


@pytest.mark.slow
def test_snapshot_of_the_tape_is_no_trade(shared_data: Path) -> None:
    """The tape's one unwrapped line is its depth snapshot, not a trade."""
    found = [m for m in tape_messages(shared_data) if isinstance(m, Snapshot)]

    assert len(found) == 1
