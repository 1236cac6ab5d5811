"""Ticks and trades of one symbol: order, duplicates, gaps, and the touch of each tick."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.exchanges.base import FrameInvalid, Quote, Trade
from minibot.exchanges.units import units
from minibot.market.ticks import WAITING_MAX, PriceBand, TickMaker
from minibot.market.trades import (
    ANEW_MS,
    HELD_MAX,
    JUMP_MAX,
    RESTART_MS,
    WINDOW_MS,
    Arrival,
    Missing,
    TradeOrder,
)

WAIT_MS = 5_000

# The time of an example depends on the machine, not on the product.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def trade(trade_id: int, price: str = "100.00000000", ts: int = 1_000) -> Trade:
    return Trade("BTCUSDT", trade_id, price, units(price), "1.0", units("1.0"), ts, "BUY")


def quote(update_id: int, bid: str = "99.0", ask: str = "101.0", qty: str = "5.0") -> Quote:
    return Quote("BTCUSDT", update_id, bid, units(bid), qty, ask, units(ask), "7.0", None)


def ids(passed: list[Arrival | Missing]) -> list[object]:
    return [item if isinstance(item, Missing) else item.trade.trade_id for item in passed]


# --- order of trades ----------------------------------------------------------------------------


@pytest.mark.row("F116")
@untimed
@given(st.permutations(range(10, 30)), st.lists(st.integers(10, 29), max_size=10))
def test_trades_in_any_order_pass_once_and_in_order(order: list[int], again: list[int]) -> None:
    """Trades in any order within the window come out once and in order."""
    trades = TradeOrder()
    passed = trades.take(trade(9), 0, 0)
    for trade_id in [*order, *again]:
        passed += trades.take(trade(trade_id), 0, 0)

    assert ids(passed) == list(range(9, 30))
    assert trades.duplicates == len(again)


@untimed
@given(st.lists(st.integers(1, 200), min_size=1, max_size=80, unique=True))
def test_missing_trades_are_named_exactly(found: list[int]) -> None:
    """Passed and missing trades together cover every id once."""
    trades = TradeOrder()
    passed = []
    for trade_id in sorted(found):
        passed += trades.take(trade(trade_id), 0, 0)
    passed += trades.flush()

    covered: list[int] = []
    for item in passed:
        covered += (
            range(item.from_id, item.to_id + 1)
            if isinstance(item, Missing)
            else [item.trade.trade_id]
        )
    assert covered == list(range(min(found), max(found) + 1))


def test_trade_behind_a_missing_one_waits_for_its_window() -> None:
    """A trade behind a missing one waits until that comes, or its time is over."""
    trades = TradeOrder()
    trades.take(trade(1), 0, 0)
    assert trades.take(trade(3), 0, 1_000) == []
    assert trades.due(1_000 + WINDOW_MS - 1) == []

    assert ids(trades.due(1_000 + WINDOW_MS)) == [Missing(2, 2), 3]
    assert trades.due_ms is None


def test_first_trade_after_a_lost_connection_tells_at_once() -> None:
    """After a lost connection missing trades are reported at once, as they never come again."""
    trades = TradeOrder()
    trades.take(trade(1), 0, 0)
    trades.resume()

    assert ids(trades.take(trade(5), 0, 0)) == [Missing(2, 4), 5]
    assert trades.take(trade(7), 0, 0) == []


def test_trades_that_wait_are_bounded() -> None:
    """Waiting trades are bounded."""
    trades = TradeOrder()
    trades.take(trade(1), 0, 0)
    passed = []
    for trade_id in range(3, 3 + HELD_MAX):
        passed += trades.take(trade(trade_id), 0, 0)

    assert ids(passed) == [Missing(2, 2), *range(3, 3 + HELD_MAX)]


def test_id_that_cannot_be_one_is_refused_and_forgotten() -> None:
    """An impossible id is refused and changes nothing."""
    trades = TradeOrder()
    trades.take(trade(1), 0, 0)

    with pytest.raises(FrameInvalid):
        trades.take(trade(2 + JUMP_MAX), 0, 0)
    assert ids(trades.take(trade(2), 0, 0)) == [2]


def test_ids_that_start_anew_are_taken() -> None:
    """Ids that start again, as on a wiped test network, are accepted."""
    trades = TradeOrder()
    trades.take(trade(1_000_000, ts=0), 0, 0)

    assert trades.take(trade(5, ts=RESTART_MS - 1), 0, 0) == []
    assert ids(trades.take(trade(6, ts=RESTART_MS), 0, 0)) == [Missing(6, 6), 6]
    assert ids(trades.take(trade(7, ts=RESTART_MS), 0, 0)) == [7]


def test_trades_whose_ids_begin_anew_are_taken() -> None:
    """Lower ids of later trades and nothing else for five seconds are new ones, as of quotes."""
    trades = TradeOrder()
    trades.take(trade(1_000_000), 0, 0)

    assert trades.take(trade(5, ts=1_001), 0, 1_000) == []
    assert trades.take(trade(6, ts=1_002), 0, 1_000 + ANEW_MS - 1) == []
    assert ids(trades.take(trade(7, ts=1_003), 0, 1_000 + ANEW_MS)) == [Missing(7, 7), 7]
    assert ids(trades.take(trade(8, ts=1_004), 0, 1_000 + ANEW_MS)) == [8]
    assert trades.duplicates == 2


@pytest.mark.parametrize("step", [1, 2])
def test_lower_trades_between_newer_ones_begin_nothing_anew(step: int) -> None:
    """Lower ids are repeats as long as newer ones come too, or none of a later trade."""
    trades = TradeOrder()
    last = 100
    for second in range(20):
        last += step
        trades.take(trade(last), 0, second * 1_000)
        trades.due(second * 1_000 + WINDOW_MS)
        assert trades.take(trade(last - step, ts=2_000), 0, second * 1_000) == []
    for second in range(20, 40):
        assert trades.take(trade(last), 0, second * 1_000) == []


# --- ticks --------------------------------------------------------------------------------------


def test_quote_is_a_tick_only_when_price_or_size_of_the_touch_changes() -> None:
    """A quote is a tick only if price or size of the touch changes."""
    ticks = TickMaker("BTCUSDT", WAIT_MS)

    assert len(ticks.on_quote(quote(1), 0, 0)) == 1
    assert ticks.on_quote(quote(2), 0, 0) == []
    assert len(ticks.on_quote(quote(3, qty="6.0"), 0, 0)) == 1
    assert len(ticks.on_quote(quote(4, bid="99.5", qty="6.0"), 0, 0)) == 1


def test_quote_that_is_not_newer_is_counted_and_dropped() -> None:
    """An older quote, as from two overlapping connections, is dropped and counted."""
    ticks = TickMaker("BTCUSDT", WAIT_MS)
    ticks.on_quote(quote(5), 0, 0)

    assert ticks.on_quote(quote(4, bid="98.0"), 0, 0) == []
    assert ticks.on_quote(quote(5, bid="98.0"), 0, 0) == []
    assert ticks.outdated == 2


def test_quotes_whose_ids_begin_anew_are_taken() -> None:
    """Lower ids and nothing else for five seconds are new ones, not those of an overlap."""
    ticks = TickMaker("BTCUSDT", WAIT_MS)
    ticks.on_quote(quote(1_000_000), 0, 0)

    assert ticks.on_quote(quote(5, bid="98.0"), 0, 1_000) == []
    assert ticks.on_quote(quote(6, bid="98.1"), 0, 1_000 + ANEW_MS - 1) == []
    (tick,) = ticks.on_quote(quote(7, bid="98.2"), 0, 1_000 + ANEW_MS)
    assert tick.bid == "98.2"
    assert len(ticks.on_quote(quote(8, bid="98.3"), 0, 1_000 + ANEW_MS)) == 1
    assert ticks.outdated == 2


def test_outdated_quotes_between_newer_ones_begin_nothing_anew() -> None:
    """Outdated quotes stay outdated as long as newer ones come too, or none that differs."""
    ticks = TickMaker("BTCUSDT", WAIT_MS)
    for second in range(20):
        ticks.on_quote(quote(100 + second), 0, second * 1_000)
        assert ticks.on_quote(quote(99 + second, bid="98.0"), 0, second * 1_000) == []
    for second in range(20, 40):
        assert ticks.on_quote(quote(119), 0, second * 1_000) == []

    assert ticks.outdated == 40


def test_price_of_a_quote_is_the_last_trades() -> None:
    """A quote's price is the last trade's, before the first trade the bid's."""
    ticks = TickMaker("BTCUSDT", WAIT_MS)
    (first,) = ticks.on_quote(quote(1), 11, 0)
    (traded,) = ticks.on_trade(Arrival(trade(7, "100.50000000", ts=55), 22), 0)
    (second,) = ticks.on_quote(quote(2, qty="9.0"), 33, 0)

    assert (first.price, first.kind, first.recv_mono_ns) == ("99.0", "quote", 11)
    assert (second.price, second.trade_id) == ("100.50000000", None)
    assert (traded.price, traded.bid, traded.ask_qty) == ("100.50000000", "99.0", "7.0")
    assert (traded.exchange_ts, traded.recv_mono_ns, traded.trade_id) == (55, 22, 7)


@pytest.mark.row("N-30")
def test_trades_before_the_first_quote_wait_for_it() -> None:
    """Trades before the first quote wait, so that each tick has a touch of its own time."""
    ticks = TickMaker("BTCUSDT", WAIT_MS)
    assert ticks.on_trade(Arrival(trade(1), 1), 0) == []
    assert ticks.on_trade(Arrival(trade(2), 2), 0) == []

    found = ticks.on_quote(quote(1), 3, 0)

    assert [(tick.kind, tick.trade_id) for tick in found] == [
        ("quote", None),
        ("trade", 1),
        ("trade", 2),
    ]


def test_touch_is_forgotten_with_its_connection() -> None:
    """A touch is forgotten with its connection."""
    ticks = TickMaker("BTCUSDT", WAIT_MS)
    ticks.on_quote(quote(9), 0, 0)
    ticks.forget_touch()

    assert ticks.on_trade(Arrival(trade(1), 0), 0) == []
    assert len(ticks.on_quote(quote(1), 0, 0)) == 2


def test_trades_without_any_quote_are_bounded_and_counted() -> None:
    """Trades without any quote are bounded and counted."""
    ticks = TickMaker("BTCUSDT", WAIT_MS)
    for trade_id in range(WAITING_MAX + 5):
        ticks.on_trade(Arrival(trade(trade_id), 0), 0)

    assert ticks.dropped == 5
    assert len(ticks.on_quote(quote(1), 0, 0)) == WAITING_MAX + 1


@pytest.mark.row("F112")
def test_trade_that_waited_for_its_touch_is_lost_with_its_connection() -> None:
    """A trade that waited for its touch makes no tick of the next connection, and is counted."""
    ticks = TickMaker("BTCUSDT", WAIT_MS)
    ticks.on_quote(quote(1), 0, 0)
    ticks.on_disconnected()
    assert ticks.on_trade(Arrival(trade(1, "90.00000000"), 0), 0) == []
    ticks.on_disconnected()

    (tick,) = ticks.on_quote(quote(2), 0, 60_000)
    assert (tick.kind, tick.price, ticks.dropped) == ("quote", "99.0", 1)


@pytest.mark.row("F115")
@pytest.mark.parametrize(
    ("price", "accepted"),
    [
        ("120.00000000", True),
        ("120.00000001", False),
        ("80.00000000", True),
        ("79.99999999", False),
    ],
)
def test_price_band_around_the_last_accepted_price(price: str, accepted: bool) -> None:
    """A price twenty percent off is plausible; one unit more is refused and moves no band."""
    band = PriceBand(20)
    assert band.accepts(units("100"))

    assert band.accepts(units(price)) is accepted
    assert band.reference == (units(price) if accepted else units("100"))
