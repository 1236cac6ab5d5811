"""Stops with a limit: what a gap jumps past, or a part leaves, is sold at the market at once."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.cores.messages import ActionMessage, Message
from minibot.events.model import Book, Event, OrderCancel, OrderReplace
from minibot.events.money import UNIT
from minibot.risk.core import RiskCore
from minibot.risk.exits import ExitRules
from tests.risk.desk import (
    OTHER,
    SYMBOL,
    Desk,
    actions,
    check_of,
    config,
    fills,
    instrument,
    intents,
    of,
    opening,
    results,
)

LEVELS = {
    "risk__exits_at": "venue",
    "risk__stop_bps": "100",
    "risk__take_profit_bps": "200",
    "risk__stop_limit_bps": "50",
}
LOT = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
PLANNED = {"risk__stop_bps": None, "risk__hard_stop_bps": "100"}


def desk(lots: tuple[Any, ...] = (), **changes: Any) -> Desk:
    """Return a desk with a stop one percent below the entry, its limit half a percent below it."""
    return Desk(config(**(LEVELS | changes)), first=opening("10000", lots)).ready()


def held(**changes: Any) -> Desk:
    """Return a desk that holds ten coins bought at 100, their order arrived and resting."""
    one = desk((LOT,), **changes)
    one.tick("99.99", "100", trade="100")
    (order,) = one.execution.orders
    assert order.is_waiting
    return one


class Ahead:
    """Risk that takes ticks and leaves what execution says for later."""

    def __init__(self, core: RiskCore) -> None:
        self._core, self._kept = core, list[tuple[Event, int, int]]()

    def process(self, item: Event, seq: int, now: int) -> list[Message] | None:
        """Take an input, or keep it."""
        if item.type in ("order_result", "fill"):
            self._kept.append((item, seq, now))
            return None
        return self._core.process(item, seq, now)

    def catch_up(self) -> list[Message]:
        """Take what was kept."""
        kept, self._kept = self._kept, []
        return [message for each in kept for message in self._core.process(*each) or ()]


def replaces(events: list[Event]) -> list[tuple[str, str]]:
    """Return type and quantity of each replacement."""
    return [(found.order_type, found.qty) for found in of(events, OrderReplace)]


def left(events: list[Event]) -> list[tuple[str, str]]:
    """Return the names and values of failed checks of each EXIT."""
    exits = [
        e
        for e in events
        if e.type == "risk_action" and ("EXIT" in e.to_json()["payload"]["action"])
    ]
    return [
        (check["name"], check["value"])
        for event in exits
        for check in event.to_json()["payload"]["checks"]
        if check["passed"] is False
    ]


# --- the order that rests -------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "kind"), [("200", "OCO"), (None, "STOP_LOSS_LIMIT")])
def test_stop_rests_with_its_limit_below_it(target: str | None, kind: str) -> None:
    """Half a percent of the stop at 99, in whole steps, is a limit at 98.50."""
    one = held(risk__take_profit_bps=target)

    (intent,) = intents(one.events("order_intents"))
    assert (intent.order_type, intent.stop_price, intent.limit_price) == (kind, "99.00", "98.50")
    assert intent.target_price == (None if target is None else "102.00")
    assert results(one.events("order_results")) == [("ACCEPTED", "accepted")]


def test_target_alone_rests_as_without_the_key() -> None:
    """Without a stop there is no limit: a TAKE_PROFIT at the market rests."""
    one = held(risk__stop_bps=None)

    (intent,) = intents(one.events("order_intents"))
    assert (intent.order_type, intent.limit_price) == ("TAKE_PROFIT", None)


def test_level_that_moves_takes_its_limit_along() -> None:
    """A trailing stop that rises is replaced by one with a limit as far below."""
    one = held(**PLANNED, risk__take_profit_bps=None, risk__trail_bps="100")

    events = one.tick("110", "110.01", trade="110", after_ms=60_000)

    (replace,) = of(events, OrderReplace)
    assert (replace.order_type, replace.stop_price, replace.limit_price) == (
        *("STOP_LOSS_LIMIT", "108.90"),
        "108.35",
    )


def test_price_step_that_moves_the_limit_alone_replaces_the_order() -> None:
    """Steps of one leave stop and target where they are, and put the limit at 98."""
    one = held()
    one.put("market_ticks", instrument(price_increment="1"))

    (replace,) = of(one.tick("99", "100"), OrderReplace)

    assert (replace.stop_price, replace.limit_price, replace.target_price) == ("99", "98", "102")


@pytest.mark.parametrize(
    ("stop", "limit"), [(99 * UNIT, UNIT // 100), (UNIT // 100, UNIT // 100), (None, None)]
)
def test_limit_is_at_least_one_step(stop: int | None, limit: int | None) -> None:
    """A distance of nearly the whole price leaves a limit of one step, and no stop none."""
    rules = ExitRules(config(**(LEVELS | {"risk__stop_limit_bps": "9999.9999"})))

    assert rules.limit_of(stop, UNIT // 100) == limit


# --- the stop -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bid", ["99.00", "98.50"])
def test_bid_at_the_limit_or_above_sells_all_and_nothing_more_is_sent(bid: str) -> None:
    """A stop that sells at its limit or better needs no other sale."""
    one = held()
    (rested,) = intents(one.events("order_intents"))
    assert rested.limit_price == "98.50"

    events = one.tick(bid, "99.10", trade="99.00")
    later = one.tick(bid, "99.10")

    assert actions(events) == [("EXIT", "stop_loss")]
    assert [fill.price for fill in fills(events)] == [bid]
    assert len(one.events("order_intents")) == 1
    assert later == []
    assert one.risk.facts()["open_positions"] == []


@pytest.mark.parametrize("target", ["200", None])
@pytest.mark.parametrize("first", ["", "fills"])
def test_gap_past_the_limit_is_sold_at_the_market_in_the_step_of_the_trigger(
    target: str | None, first: str
) -> None:
    """A bid below the limit sends the market sale at once, with the reason of the stop."""
    one = held(risk__take_profit_bps=target)
    one.first = first

    events = one.tick("97", "97.02", trade="97")
    after = one.tick("96", "96.02")

    assert results(events)[0] == ("TRIGGERED", "stop_triggered")
    assert actions(events) == [("EXIT", "stop_loss"), ("EXIT", "stop_loss")]
    assert left(events) == [("stop_trade", "97.00000000"), ("unsold_qty", "10.00000000")]
    assert replaces(events) == [("MARKET", "10.000")]
    assert ("CANCELLED", "replaced") in results(events)
    assert [(fill.qty, fill.price) for fill in fills(after)] == [("10.000", "96.00")]
    assert one.risk.facts()["open_positions"] == []


def test_gap_sold_at_the_market_is_sold_even_where_the_price_comes_back() -> None:
    """A price that is back above the stop changes nothing: the stop has ended."""
    one = held()
    one.tick("97", "97.02", trade="97")

    back = one.tick("101", "101.02", trade="101")

    assert [fill.price for fill in fills(back)] == ["101.00"]
    assert one.execution.orders == []


@pytest.mark.parametrize("first", ["", "fills"])
def test_part_sold_at_the_limit_leaves_a_rest_that_is_sold_at_once(first: str) -> None:
    """Four of ten coins sell at the trigger: the other six go to the market in that step."""
    one = held()
    one.first = first

    events = one.tick("98.80", "98.82", trade="99", bid_qty="4")
    after = one.tick("90", "90.02")

    assert ("unsold_qty", "6.00000000") in left(events)
    assert replaces(events) == [("MARKET", "6.000")]
    assert [(fill.qty, fill.price) for fill in fills(after)] == [("6.000", "90.00")]
    assert one.risk.facts()["open_positions"] == []


def test_limit_that_finds_no_size_stands_until_the_bid_is_below_it() -> None:
    """A bid at the limit without size sells nothing; the first one below it is the gap."""
    one = held()

    events = one.tick("98.80", "98.82", trade="99", bid_qty="0")
    at_limit = one.tick("98.50", "98.92", bid_qty="0")
    below = one.tick("98.49", "98.92", bid_qty="1000")

    assert actions(events) == [("EXIT", "stop_loss")]
    assert at_limit == []
    assert left(below) == [("unsold_qty", "10.00000000")]
    assert replaces(below) == [("MARKET", "10.000")]
    assert [fill.price for fill in fills(one.tick())] == ["98.49"]


def test_risk_that_is_ahead_of_the_trigger_waits_for_its_next_tick() -> None:
    """A trigger told late, behind a newer tick, is judged by the tick after that."""
    one = held()
    ahead = one.risk = Ahead(one.risk)  # type: ignore[assignment]
    one.tick("98.80", "98.82", trade="99", bid_qty="0")
    one.tick("97", "97.02")
    messages = ahead.catch_up()
    after = one.tick("97", "97.02")

    assert [told_one.action for told_one in messages if isinstance(told_one, ActionMessage)] == [
        "EXIT"
    ]
    assert replaces(after) == [("MARKET", "10.000")]


def test_whole_sale_in_parts_that_is_told_before_its_fills_leaves_nothing() -> None:
    """Results that end the order, read before the first of its fills, bring no other sale."""
    one = held(execution__fill_model="book")
    levels = (("98.90", "6"), ("98.80", "9"))
    one.put("market_ticks", Book(SYMBOL, levels, (("99.10", "9"),), 1, "interval"))
    one.first = "order_results"

    events = one.tick("99", "99.10", trade="99", bid_qty="4")

    assert [(fill.qty, fill.price) for fill in fills(events)] == [
        *[("4.000", "99.00"), ("6.000", "98.90")]
    ]
    assert actions(events) == [("EXIT", "stop_loss")]


def test_triggered_order_is_one_until_its_last_unit_is_sold() -> None:
    """A hundred-millionth left is still its own to sell; behind its last fill nothing is."""
    one = Desk(config(**LEVELS), first=opening("10000", (LOT,)))
    one.instrument(qty_increment="0.00000001", qty_min="0.00000001")
    one.tick("99.99", "100", trade="100")
    one.tick()
    positions = one.risk._state.positions
    (order,) = positions.orders
    one.with_risk = False
    events = one.tick("99", "99.10", trade="99", bid_qty="9.99999999")
    events += one.tick("99", "99.10", bid_qty="1")
    found = {}
    for event in events:
        if ("FILLED", "filled") not in results([event]):  # The end is told behind all fills.
            one.risk.process(event, 1, one.ts)
        found[order.pending] = positions.triggered(order.market) is order

    assert found == {10 * UNIT: True, 1: True, 0: False}


def test_gap_beyond_the_hard_order_rate_is_a_stop_that_stands_alone() -> None:
    """A sale of the rest that would be one order too many ends the run, and says nothing else."""
    rate = {"risk__orders_per_minute_soft": 2, "risk__orders_per_minute_hard": 2}
    one = held(**rate)
    one.instrument(OTHER)
    one.tick(symbol=OTHER)
    one.signal("BUY", symbol=OTHER)

    events = one.tick("97", "97.02", trade="97")

    assert actions(events) == [("STOP", "RISK_LIMIT")]
    assert intents(events) == []


def test_gap_is_sold_beside_a_part_that_the_strategy_sells() -> None:
    """A sale of a part on its way does not keep the rest from the market."""
    one = held(**PLANNED)
    one.signal("SELL", qty="4")
    one.tick("99.99", "100.01", bid_qty="0")

    events = one.tick("97", "97.02", trade="97", bid_qty="0")

    assert replaces(events) == [("MARKET", "6.000")]
    after = one.tick("97", "97.02", bid_qty="1000")
    assert sorted(fill.qty for fill in fills(after)) == ["4.000", "6.000"]


def test_gap_whose_sale_is_refused_rests_no_stop_anew() -> None:
    """While the next attempt waits nothing rests, also where levels change and prices are back."""
    ages = {"risk__tick_age_ms_max": 60_000, "execution__tick_age_ms_max": 5}
    one = held(**ages)
    one.lag_ms = 10  # The executor trades on no tick.
    one.tick("97", "97.02", trade="97")
    one.tick("97", "97.02")
    one.put("market_ticks", instrument(price_increment="4"))

    events = one.tick("100", "104", trade="100")

    refused = [why for result, why in results(one.events("order_results")) if result == "REJECTED"]
    assert refused == ["stale_tick"] * 2
    assert actions(events) == []


def test_gap_is_the_hard_stops_where_that_was_triggered() -> None:
    """The sale of the rest tells the stop of the plan, not another one."""
    one = held(**PLANNED)

    events = one.tick("97", "97.02", trade="97")

    assert actions(events)[:2] == [("EXIT", "hard_stop"), ("EXIT", "hard_stop")]


def test_entry_that_still_buys_is_cancelled_once_with_the_gap() -> None:
    """The trigger withdraws what an entry may still buy, and the sale of the rest not again."""
    one = desk()
    one.tick("99.99", "100", trade="100")
    one.signal("BUY")
    one.tick(ask_qty="4")
    one.tick(ask_qty="0")

    events = one.tick("97", "97.02", ask_qty="0", trade="97")

    assert len(of(events, OrderCancel)) == 1
    assert replaces(events) == [("MARKET", "4.000")]
    assert ("CANCELLED", "withdrawn") in results(events)
    assert [result for result, _ in results(events) if result == "CANCEL_REJECTED"] == []


def test_entry_is_cancelled_with_a_gap_whose_rest_is_too_small_to_be_sold() -> None:
    """The trigger withdraws what an entry may still buy also where no sale of the rest does."""
    one = desk()
    one.first = "fills"
    one.tick("99.99", "100", trade="100")
    one.signal("BUY")
    one.tick(ask_qty="4")
    one.tick(ask_qty="0")

    events = one.tick("98.80", "98.82", ask_qty="0", trade="99", bid_qty="3.95")

    assert actions(events) == [("EXIT", "stop_loss"), ("BLOCK", "min_notional")]
    assert ("CANCELLED", "withdrawn") in results(events)


# --- the target -----------------------------------------------------------------------------------


def test_quote_at_the_target_sells_all_as_a_maker() -> None:
    """The bid at the target fills the quote: the exit is told by the trade at the target."""
    one = held()

    events = one.tick("102.00", "102.02")

    assert actions(events) == [("EXIT", "take_profit")]
    assert left(events) == [("target_trade", "102.00000000")]
    assert [(fill.price, fill.liquidity) for fill in fills(events)] == [("102.00", "MAKER")]
    assert one.risk.facts()["open_positions"] == []


@pytest.mark.parametrize("first", ["", "fills"])
def test_part_of_the_quote_leaves_a_rest_that_is_sold_at_once(first: str) -> None:
    """A part at the target ends the stop, so that the rest is sold at the market in that step."""
    one = held()
    one.first = first

    events = one.tick("102.00", "102.02", bid_qty="4")
    after = one.tick("101", "101.02")

    assert ("EXIT", "take_profit") in actions(events)
    assert ("unsold_qty", "6.00000000") in left(events)
    assert replaces(events) == [("MARKET", "6.000")]
    assert [(fill.qty, fill.price) for fill in fills(after)] == [("6.000", "101.00")]


def test_quote_that_a_queue_fills_below_its_price_is_no_gap() -> None:
    """In the model `queue` a trade fills the quote while the bid is below: nothing is unsold."""
    one = held(execution__fill_model="queue")

    events = one.tick("101.90", "102.50", trade="102.01", bid_qty="1000")

    (fill,) = fills(events)
    assert (fill.qty, fill.price) == ("1.000", "102.00")
    assert left(events)[0] == ("target_trade", "102.00000000")
    assert replaces(events) == [("MARKET", "9.000")]


def test_quote_that_sells_all_with_the_bid_below_the_stops_limit_leaves_nothing() -> None:
    """No gap jumps past a quote: whatever the bid, its own fill tells what is left."""
    lot = LOT | {"qty": "1"}
    one = desk((lot,), execution__fill_model="queue")
    one.tick("99.99", "100", trade="100")

    events = one.tick("98", "102.50", trade="102.01")

    assert [fill.price for fill in fills(events)] == ["102.00"]
    assert actions(events) == [("EXIT", "take_profit")]


def test_quote_that_would_take_when_it_arrives_leaves_the_position_to_risk() -> None:
    """A bid above the target before the pair arrives ends it, and risk sells by the bid."""
    one = desk((LOT,), execution__latency_market_ms=250)
    assert len(one.execution.orders) == 1

    one.tick("102.50", "102.52", after_ms=100)
    events = one.tick("102.50", "102.52", after_ms=300)
    after = one.tick(after_ms=300)

    assert results(events)[0] == ("EXPIRED", "would_take")
    assert actions(events) == [("EXIT", "take_profit")]
    assert [fill.price for fill in fills(after)] == ["102.50"]


# --- refusals -------------------------------------------------------------------------------------


def test_refused_sale_of_the_rest_is_tried_again_while_the_limit_stands() -> None:
    """Without trading the sale is refused once; the limit stays, and later the rest is sold."""
    one = held(execution__left_trading="hold")
    one.tick("98.80", "98.82", trade="99", bid_qty="0")
    one.put("market_ticks", instrument(status="BREAK"))
    refused = one.tick("97", "97.02")
    again = one.tick("97", "97.02")
    assert len(one.execution.orders) == 1
    one.put("market_ticks", instrument())

    events = one.tick("97", "97.02")

    assert actions(refused) == [("BLOCK", "not_trading")]
    assert again == []
    assert replaces(events) == [("MARKET", "10.000")]
    assert [fill.price for fill in fills(one.tick())] == ["97.00"]


def test_limit_out_of_the_venues_range_is_refused_and_risk_watches_the_stop() -> None:
    """A limit below the least price rests nothing, which is told once; the bid is watched."""
    one = Desk(config(**LEVELS), first=opening("10000", (LOT,)))
    one.put("market_ticks", instrument(price_min="98.51"))

    blocked = one.tick("99.99", "100.01", trade="100")
    again = one.tick("99.99", "100.01")
    events = one.tick("98.99", "99.01")

    assert actions(blocked) == [("BLOCK", "price_range")]
    assert again == []
    assert actions(events) == [("EXIT", "stop_loss")]
    (sale,) = intents(events)
    assert (sale.order_type, sale.qty) == ("MARKET", "10.000")


def test_target_out_of_the_percent_band_is_refused_and_risk_watches_both_levels() -> None:
    """The executor rejects a quote out of the band; the bid at the target sells all the same."""
    one = Desk(config(**LEVELS), first=opening("10000", (LOT,)))
    one.put("market_ticks", instrument(ask_percent_up="1.01"))

    refused = one.tick("99.99", "100.01", trade="100")
    events = one.tick("102", "102.02")

    assert ("REJECTED", "price_band") in results(refused)
    assert actions(events) == [("EXIT", "take_profit")]


def test_order_that_is_refused_is_sent_again_at_once_then_a_second_later() -> None:
    """The second refusal makes it wait, to the millisecond."""
    one = Desk(config(**LEVELS), first=opening("10000", (LOT,)))
    one.put("market_ticks", instrument(ask_percent_up="1.01"))
    one.tick("99.99", "100.01", trade="100")
    sent = []
    for after_ms in (1, 999, 1):
        sent.append(len(intents(one.tick("99.99", "100.01", trade="100", after_ms=after_ms))))

    assert sent == [1, 0, 1]


def test_order_that_is_refused_after_an_accepted_one_is_sent_again_at_once() -> None:
    """An accepted order ends the count of refusals; the first one behind it waits for nothing."""
    one = desk()
    one.tick("99.99", "100", trade="100")
    one.signal("BUY")
    one.tick(ask_qty="4")
    one.put("market_ticks", instrument(ask_percent_up="1.01"))

    refused = one.tick(trade="100")
    again = one.tick(trade="100", after_ms=1)

    assert ("REJECTED", "price_band") in results(refused)
    assert len(of(again, OrderReplace)) == 1


@pytest.mark.parametrize(("most", "qty"), [("1020", "10.000"), ("1019.99", "9.999")])
def test_pair_rests_for_no_more_than_its_target_may_sell(most: str, qty: str) -> None:
    """The venue's largest value is judged at the target, which is worth more than the stop."""
    one = Desk(config(**LEVELS), first=opening("10000", (LOT,)))
    one.put("market_ticks", instrument(notional_max=most))
    events = one.tick("99.99", "100.01", trade="100")

    assert results(events) == [("ACCEPTED", "accepted")]
    assert [intent.qty for intent in intents(events)] == [qty]


def test_position_whose_limit_is_worth_too_little_is_watched_by_risk() -> None:
    """A least value between limit and stop rests nothing, and says so once."""
    one = Desk(config(**LEVELS), first=opening("10000", (LOT,)))
    one.put("market_ticks", instrument(notional_min="985.01"))

    events = one.tick("99.99", "100.01", trade="100")

    assert actions(events) == [("BLOCK", "min_notional")]


def test_rest_too_small_to_be_sold_stays_at_its_limit() -> None:
    """A rest below the least value is blocked once; its limit sells it when the bid is back."""
    one = held(**PLANNED)

    events = one.tick("98.80", "98.82", trade="99", bid_qty="9.95")
    again = one.tick("97", "97.02")
    entry = one.signal("BUY")
    back = one.tick("98.50", "98.52")

    assert actions(events)[-1] == ("BLOCK", "min_notional")
    assert again == []
    assert actions(entry) == [("BLOCK", "pending_order")]
    assert [(fill.qty, fill.price) for fill in fills(back)] == [("0.050", "98.50")]


def test_part_that_the_strategy_sells_moves_the_limit_order_to_the_rest() -> None:
    """A SELL of a part replaces the pair by one of the rest, with the same three prices."""
    one = held(**PLANNED)

    events = one.signal("SELL", qty="4")

    (replace,) = of(events, OrderReplace)
    assert (replace.order_type, replace.qty) == ("OCO", "6.000")
    assert (replace.stop_price, replace.limit_price, replace.target_price) == (
        *("99.00", "98.50"),
        "102.00",
    )


def test_signal_that_sells_a_part_of_a_jumped_position_sells_all() -> None:
    """While the sale of the rest waits, no part of it rests anew at a stop that was passed."""
    one = held(**PLANNED, execution__left_trading="hold")
    one.tick("98.80", "98.82", trade="99", bid_qty="0")
    one.put("market_ticks", instrument(status="BREAK"))
    one.tick("97", "97.02")
    one.put("market_ticks", instrument())

    events = one.signal("SELL", qty="4")

    assert replaces(events) == [("MARKET", "10.000")]


def test_pair_of_a_profile_counts_one_trigger() -> None:
    """A venue that lets one order with a trigger rest takes the pair."""
    one = Desk(config(**LEVELS), first=opening("10000", (LOT,)))
    one.put("market_ticks", instrument(algo_orders_max=1, orders_max=2, order_lists_max=1))
    one.tick("99.99", "100.01", trade="100")

    assert [order.is_waiting for order in one.execution.orders] == [True]


# --- restart -----------------------------------------------------------------------


@pytest.mark.parametrize("model", ["touch", "worse", "queue", "book"])
def test_restart_in_each_step_of_a_limit_goes_on_as_without_it(model: str) -> None:
    """Both cores restored from their states in every step give the same queues, byte by byte."""
    whole, cut = (desk(execution__fill_model=model) for _ in range(2))
    for one in (whole, cut):
        for n, (bid, ask, trade, size) in enumerate(
            [
                *[("99.99", "100", "100", "4"), ("100.01", "100.02", None, "3")],
                *[("100", "100.01", "100", "1000"), ("101.9", "102", "102", "2")],
                *[("102.5", "102.6", "102", "2"), ("98.8", "98.9", "99", "0")],
                *[("98.8", "98.9", None, "1"), ("98", "98.1", "98", "1000")],
                *[("98", "98.1", "98", "1000"), ("98", "98.1", None, "1000")],
                *[("97.2", "97.3", "97.02", "2"), ("96", "96.1", "96", "3")],
                *[("96", "96.1", "96", "2"), ("96", "96.1", None, "1000")],
            ]
        ):
            if n in (1, 8):
                one.signal("BUY")
            if one is cut:
                one.restarted()
            one.tick(bid, ask, trade=trade, bid_qty=size, ask_qty=size)
            if one is cut:
                one.restarted()

    assert whole.log_bytes() == cut.log_bytes()
    assert whole.risk.state() == cut.risk.state()
    assert whole.execution.state() == cut.execution.state()
    assert "unsold_qty" in str(whole.log_bytes())


def test_order_of_a_triggered_limit_is_kept_by_the_state() -> None:
    """A restart between trigger and gap still knows the limit, what is to be sold, and why."""
    one = held(**PLANNED)
    one.tick("98.80", "98.82", trade="99", bid_qty="0")
    one.restarted()
    at_limit = one.tick("98.50", "98.92", bid_qty="0")
    one.restarted()

    events = one.tick("98.49", "98.92")

    assert at_limit == []
    assert actions(events) == [("EXIT", "hard_stop")]
    assert replaces(events) == [("MARKET", "10.000")]


def test_key_off_leaves_states_and_events_as_they_were() -> None:
    """Without the key no event, state or check knows of limits of stops."""
    one = held(risk__stop_limit_bps=None)
    one.tick("97", "97.02", trade="97", bid_qty="1")
    one.tick("96", "96.02", trade="96")

    text = f"{one.log_bytes()!r}{one.risk.state()}{one.execution.state()}"
    for word in ("limit_price", "unsold", "stop_limit", "'left': ["):
        assert word not in text


def test_stop_alone_is_an_order_with_a_trigger_though_it_has_a_limit() -> None:
    """Only beside a target is one of the legs a quote."""
    profile = config(**LEVELS | {"risk__take_profit_bps": None})
    one = Desk(profile, first=opening("10000", (LOT,)))
    one.instrument(algo_orders_max=5)

    events = one.tick("99.99", "100", trade="100")

    assert actions(events) == [("PROTECT", "protected")]
    assert check_of(events[0], "algo_orders")["value"] == "1"
