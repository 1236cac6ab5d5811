"""Resting exits: stop and target as one order with the executor, from entry to exit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace as changed

from minibot.events.ids import position_id
from minibot.events.model import (
    Event,
    ExitPosition,
    Gap,
    OrderCancel,
    OrderReplace,
    OrderResult,
    RunEnding,
)
from minibot.events.money import UNIT
from minibot.kernel.errors import InvariantError
from minibot.risk.resting_exits import levels_of, missing
from tests.risk.desk import (
    HASH,
    OTHER,
    RUN_ID,
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

LEVELS = {"risk__exits_at": "venue", "risk__stop_bps": "100", "risk__take_profit_bps": "200"}

TRAIL = {"risk__hard_stop_bps": "300", "risk__trail_bps": "300"}

CAUSES = tuple(position_id(RUN_ID, "risk_role", "risk_actions", n) for n in (1, 2))


def desk(lots: tuple[Any, ...] = (), **changes: Any) -> Desk:
    """Return a desk whose stop is one percent below the entry and its target two above."""
    return Desk(config(**(LEVELS | changes)), first=opening("10000", lots)).ready()


def held(**changes: Any) -> Desk:
    """Return a desk that holds ten coins bought at 100, their order resting and on its way."""
    one = desk(**changes)
    one.tick("99.99", "100", trade="100")
    one.signal("BUY")
    one.tick()
    return one


@pytest.mark.parametrize(
    ("changes", "algo_orders_max", "rests"),
    [
        ({"risk__take_profit_bps": None}, 1, True),
        ({}, 1, False),
        ({}, 2, True),
    ],
)
def test_each_trigger_of_an_exit_counts_against_the_venues_number(
    changes: dict[str, Any], algo_orders_max: int, rests: bool
) -> None:
    """A stop alone is one order with a trigger, a stop with a target are two."""
    one = desk(**changes)
    one.put("market_ticks", instrument(algo_orders_max=algo_orders_max))
    one.tick("99.99", "100", trade="100")
    one.signal("BUY")
    events = one.tick()

    assert [order.is_waiting for order in one.execution.orders] == [True] * rests
    # Risk asks nothing that the executor would refuse.
    assert (("BLOCK", "algo_orders_max") in actions(events)) == (not rests)


def test_entry_rests_stop_and_target_as_one_order_in_the_step_of_its_fill() -> None:
    """The fill of an entry brings PROTECT and an OCO of all that was bought."""
    one = desk()
    one.tick("99.99", "100", trade="100")
    one.signal("BUY")

    events = one.tick()

    (fill,) = fills(events)
    (intent,) = intents(events)
    assert ("PROTECT", "protected") in actions(events)
    assert (intent.order_type, intent.side, intent.qty) == ("OCO", "SELL", fill.qty)
    assert (intent.stop_price, intent.target_price) == ("99.00", "102.00")
    assert results(events)[-1] == ("ACCEPTED", "accepted")


@pytest.mark.parametrize(
    ("off", "kind", "stop", "target"),
    [
        ("risk__take_profit_bps", "STOP_LOSS", "99.00", None),
        ("risk__stop_bps", "TAKE_PROFIT", None, "102.00"),
    ],
)
def test_entry_with_one_level_rests_an_order_of_that_kind(
    off: str, kind: str, stop: str | None, target: str | None
) -> None:
    """Without a target a STOP_LOSS rests, without a stop a TAKE_PROFIT."""
    one = held(**{off: None})

    (intent,) = [found for found in intents(event for _, event in one.log) if found.side == "SELL"]
    assert (intent.order_type, intent.stop_price, intent.target_price) == (kind, stop, target)


@pytest.mark.parametrize(
    ("bid", "trade", "reason", "level"),
    [
        ("98.99", "99.00", "stop_loss", "stop_trade"),
        ("95.00", "95.00", "stop_loss", "stop_trade"),
        ("102.00", "102.00", "take_profit", "target_trade"),
        ("104.00", "103.00", "take_profit", "target_trade"),
    ],
)
def test_trade_at_a_level_sells_at_the_touch_of_that_tick(
    bid: str, trade: str, reason: str, level: str
) -> None:
    """A trade at stop or target sells at that tick's bid: what gaps is filled at the gap."""
    one = held()

    events = one.tick(bid, str(float(bid) + 0.01), trade=trade)

    (fill,) = fills(events)
    assert (fill.side, fill.price) == ("SELL", bid)
    assert [result for result, _ in results(events)] == ["TRIGGERED", "FILLED"]
    assert of(events, OrderResult)[0].trigger_price == f"{float(trade):.2f}"
    (left,) = [event for event in events if event.type == "risk_action"]
    assert actions([left]) == [("EXIT", reason)]
    assert check_of(left, level)["passed"] is False
    assert one.risk.facts()["open_positions"] == []


@pytest.mark.parametrize(
    ("bid", "trade"),
    [("99.00", "99.01"), ("90", None), ("101.98", "101.99"), ("110", None)],
)
def test_quote_at_a_level_and_trade_beside_it_trigger_nothing(bid: str, trade: str | None) -> None:
    """The last trade triggers: neither a quote beyond a level nor a trade short of it does."""
    one = held()

    assert one.tick(bid, str(float(bid) + 1), trade=trade) == []


def test_target_alone_that_rests_is_left_to_the_executor() -> None:
    """A position with a plan but without a stop is not sold a second time at its target."""
    one = held(risk__stop_bps=None, risk__stop_atr_mult=None, portfolio__at_end="carry")

    (rest,) = one.execution.orders
    assert (rest.stop, rest.target) == (None, 102 * UNIT)
    assert one.tick("102.50", "103", trade="100") == []


def test_risk_lists_positions_each_with_its_own_resting_order() -> None:
    """Each is listed with its own stop and target; the purchase on its way is no such order."""
    one = held()
    one.instrument(OTHER)
    one.tick("49.99", "50", symbol=OTHER, trade="50")
    one.signal("BUY", symbol=OTHER)
    one.tick(symbol=OTHER)
    assert actions(one.signal("BUY", symbol=OTHER)) == [("ALLOW", "allowed")]

    listed = one.risk.facts()["open_positions"]

    assert {
        each["symbol"]: (each["resting_qty"], each["resting_stop"], each["resting_target"])
        for each in listed
    } == {
        SYMBOL: ("10.00000000", "99.00000000", "102.00000000"),
        OTHER: ("20.00000000", "49.50000000", "51.00000000"),
    }


def test_each_partial_fill_of_an_entry_is_covered() -> None:
    """The second partial fill replaces the resting order by one of all that is held."""
    one = desk()
    one.tick("99.99", "100", trade="100")
    one.signal("BUY")
    first = one.tick(ask_qty="4")
    second = one.tick("100.01", "100.02", ask_qty="1000")

    (rest,) = intents(first)
    (replace,) = of(second, OrderReplace)
    assert (rest.qty, rest.stop_price) == ("4.000", "99.00")
    assert (replace.qty, replace.replaces) == ("10.000", rest.client_order_id)
    assert replace.stop_price == "99.01"
    assert ("CANCELLED", "replaced") in results(second)
    assert [order.remaining for order in one.execution.orders] == [10 * 10**8]


def in_two_parts(hard: int, soft: int = 0) -> tuple[Desk, list[tuple[str, str]]]:
    """Return a desk that bought four coins, then six, and what risk did; its orders are few."""
    one = desk(risk__orders_per_minute_soft=soft or hard, risk__orders_per_minute_hard=hard)
    one.tick("99.99", "100", trade="100")
    one.signal("BUY")
    events = one.tick(ask_qty="4")
    return one, actions(events + one.tick("100.01", "100.02", ask_qty="1000"))


@pytest.mark.parametrize(
    ("hard", "said"),
    [
        (2, [("BLOCK", "order_rate")]),
        (3, [("PROTECT", "protected"), ("BLOCK", "order_rate")]),
        (4, [("PROTECT", "protected"), ("PROTECT", "protected")]),
    ],
)
def test_resting_order_leaves_the_last_order_of_the_hard_rate_to_a_sale(
    hard: int, said: list[tuple[str, str]]
) -> None:
    """The first cover and one of more are refused where no sale could follow them."""
    one, covered = in_two_parts(hard)

    sold = one.signal("SELL")

    assert covered == said
    assert actions(sold) == [("EXIT", "signal_exit")]
    assert [fill.qty for fill in fills(one.tick())] == ["10.000"]


def test_parts_of_an_entry_beyond_the_soft_rate_leave_the_hard_one_to_sales() -> None:
    """The first part is covered up to the hard rate; further ones within the soft rate alone."""
    covered = [in_two_parts(9, soft)[1] for soft in (1, 2, 3)]
    one, _ = in_two_parts(9, 2)
    one.tick(after_ms=60_000)

    assert covered == [
        *[[("PROTECT", "protected"), ("BLOCK", "order_rate")]] * 2,
        [("PROTECT", "protected")] * 2,
    ]
    assert [order.remaining for order in one.execution.orders] == [10 * 10**8]


@pytest.mark.parametrize(
    ("bid", "after_ms", "said"),
    [("99.01", 100, ("EXIT", "stop_loss")), ("100.01", 60_000, ("PROTECT", "protected"))],
)
def test_part_that_no_order_covers_is_watched_until_the_rate_has_room(
    bid: str, after_ms: int, said: tuple[str, str]
) -> None:
    """The bid at the stop sells the whole position; a minute later an order rests for it."""
    one, _ = in_two_parts(3)

    found = one.tick(bid, "100.02", after_ms=after_ms)

    assert actions(found) == [said]
    assert [replace.qty for replace in of(found, OrderReplace)] == ["10.000"]


@pytest.mark.parametrize(
    ("hard", "short", "reached", "reason"),
    [(3, "99.02", "99.01", "stop_loss"), (2, "102.01", "102.02", "take_profit")],
)
def test_part_that_no_order_covers_is_sold_by_the_last_trade_too(
    hard: int, short: str, reached: str, reason: str
) -> None:
    """A trade at a level counts as it does with the executor, though the bid stays away from it."""
    one, _ = in_two_parts(hard)
    calm = one.tick("100.01", "100.02", trade=short)

    found = one.tick("100.01", "100.02", trade=reached)

    assert actions(calm) == []
    assert actions(found) == [("EXIT", reason)]


def test_moved_stop_leaves_the_last_order_of_the_hard_rate_to_a_sale() -> None:
    """The second of two trails that may move would take that order, so it stays."""
    rate = {"risk__orders_per_minute_soft": 6, "risk__orders_per_minute_hard": 6}
    alone: dict[str, Any] = {**rate, **TRAIL, "risk__stop_bps": None}
    one = desk(**alone, risk__take_profit_bps=None)
    one.instrument(OTHER)
    one.bar("100", "100", "100", "100", symbol=OTHER)
    for symbol in (SYMBOL, OTHER):
        one.tick("99.99", "100", trade="100", symbol=symbol)
        one.signal("BUY", symbol=symbol)
        one.tick(symbol=symbol)

    moved = [
        actions(one.tick("104", "104.01", trade="104", symbol=symbol, after_ms=after_ms))
        for symbol, after_ms in ((SYMBOL, 45_000), (OTHER, 100))
    ]

    assert moved == [[("PROTECT", "protected")], []]


def test_moves_of_a_rate_of_two_are_a_minute_apart() -> None:
    """Half of it is one move in a minute, though the rate would leave room for another."""
    rate = {"risk__orders_per_minute_soft": 2, "risk__orders_per_minute_hard": 6}
    alone: dict[str, Any] = {**rate, **TRAIL, "risk__stop_bps": None}
    one = desk(**alone, risk__take_profit_bps=None)
    one.tick("99.99", "100", trade="100")
    one.signal("BUY")
    one.tick()

    moved = [
        actions(one.tick(f"{bid}", f"{bid}.01", trade=f"{bid}", after_ms=after_ms))
        for bid, after_ms in ((104, 61_000), (108, 59_000), (108, 1_000))
    ]

    assert moved == [[("PROTECT", "protected")], [], [("PROTECT", "protected")]]


def test_exit_of_a_triggered_order_names_the_intent_as_its_cause() -> None:
    """The causes lead from the sale to the order that rested."""
    one = held()
    (intent,) = [
        event
        for event in one.events("order_intents")
        if event.to_json()["payload"]["side"] == "SELL"
    ]

    events = one.tick("102", "102.01", trade="102")

    (left,) = [event for event in events if event.type == "risk_action"]
    assert intent.id in (left.cause_ids or ())


def test_partial_fill_of_a_triggered_leg_leaves_no_other_leg_and_sells_the_rest() -> None:
    """Once the target triggered, the stop is gone; the rest is sold at the market, not again."""
    one = held()

    first = one.tick("102", "102.01", bid_qty="3", trade="102")
    second = one.tick("98", "98.01", bid_qty="1000", trade="98")

    assert [fill.qty for fill in fills(first)] == ["3.000"]
    assert [(fill.qty, fill.price) for fill in fills(second)] == [("7.000", "98.00")]
    assert actions(first + second) == [("EXIT", "take_profit")]


def test_signal_exit_replaces_the_resting_order_by_a_sale() -> None:
    """A SELL signal sells all at the market in the resting order's place, in one step."""
    one = held()

    events = one.signal("SELL")

    (replace,) = of(events, OrderReplace)
    assert (replace.order_type, replace.qty) == ("MARKET", "10.000")
    assert results(events) == [("CANCELLED", "replaced"), ("ACCEPTED", "accepted")]
    assert [fill.side for fill in fills(one.tick())] == ["SELL"]
    assert one.risk.facts()["open_positions"] == []


def test_exit_cancels_what_the_entry_may_still_buy() -> None:
    """A stop hit while the entry still buys sells what is held and withdraws the rest."""
    one = desk()
    one.tick("99.99", "100", trade="100")
    one.signal("BUY")
    one.tick(ask_qty="4")

    events = one.tick("98", "98.5", ask_qty="0", trade="98")

    (cancel,) = of(events, OrderCancel)
    (bought,) = [i for i in intents(e for _, e in one.log) if i.side == "BUY"]
    assert cancel.client_order_id == bought.client_order_id
    assert ("CANCELLED", "withdrawn") in results(events)
    assert one.execution.orders == []
    assert one.risk.facts()["open_orders"] == 0


def test_replace_and_cancel_behind_a_trigger_change_nothing() -> None:
    """A replace or cancel behind a trigger is refused by its code, and the order sells on."""
    one = Desk(
        config(**LEVELS),
        first=opening(lots=({"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1},)),
        with_risk=False,
    ).ready()
    (_,) = one.intent("SELL", "5", order_type="OCO", stop_price="99", target_price="102")
    (name,) = [order.client.text for order in one.execution.orders]
    one.tick("99", "99.01", bid_qty="2", trade="99")

    late = one.intent("SELL", "3")
    cancelled = cancel(one, name)
    replaced = replace(one, name, "5")

    assert results(late) == [("REJECTED", "short_sale")]
    assert results(cancelled) == [("CANCEL_REJECTED", "order_triggered")]
    assert results(replaced) == [("REJECTED", "order_triggered")]
    assert [fill.qty for fill in fills(one.tick())] == ["3.000"]
    assert results(cancel(one, name)) == [("CANCEL_REJECTED", "order_ended")]
    assert results(replace(one, name, "5")) == [("REJECTED", "order_ended")]


def test_refused_replace_leaves_the_former_order_resting() -> None:
    """A replace that breaks a filter ends nothing: the former order still triggers."""
    one = Desk(
        config(**LEVELS),
        first=opening(lots=({"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1},)),
        with_risk=False,
    ).ready()
    one.intent("SELL", "5", order_type="STOP_LOSS", stop_price="99")
    (name,) = [order.client.text for order in one.execution.orders]

    events = replace(one, name, "5.0005")

    assert results(events) == [("REJECTED", "step_size")]
    assert len(fills(one.tick("98", "98.01", trade="98"))) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"order_type": "OCO", "stop_price": "99"}, "order_type_unsupported"),
        ({"order_type": "STOP_LOSS", "target_price": "102"}, "order_type_unsupported"),
        ({"order_type": "STOP_LOSS"}, "order_type_unsupported"),
        (
            {"order_type": "STOP_LOSS", "stop_price": "99", "limit_price": "99"},
            "order_type_unsupported",
        ),
        ({"order_type": "STOP_LOSS", "stop_price": "0"}, "price_invalid"),
        ({"order_type": "OCO", "stop_price": "101", "target_price": "101"}, "price_invalid"),
        ({"order_type": "STOP_LOSS", "stop_price": "98.995"}, "step_size"),
        ({"order_type": "STOP_LOSS", "stop_price": "99.99"}, "would_trigger"),
        ({"order_type": "STOP_LOSS", "stop_price": "99.98"}, "accepted"),
        ({"order_type": "TAKE_PROFIT", "target_price": "99.99"}, "would_trigger"),
        ({"order_type": "TAKE_PROFIT", "target_price": "100.00"}, "accepted"),
        ({"order_type": "OCO", "stop_price": "100.5", "target_price": "102"}, "would_trigger"),
        ({"order_type": "STOP_LOSS", "stop_price": "1.99"}, "min_notional"),
        ({"order_type": "STOP_LOSS", "stop_price": "2.00"}, "accepted"),
    ],
)
def test_resting_intent_is_accepted_or_rejected_by_its_reason(
    changes: dict[str, Any], reason: str
) -> None:
    """Contradictory triggers, and legs that cross the market, are rejected by reason code."""
    one = Desk(
        config(**LEVELS),
        first=opening(lots=({"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1},)),
        with_risk=False,
    ).ready()

    events = one.intent("SELL", "5", **changes)

    outcome = "ACCEPTED" if reason == "accepted" else "REJECTED"
    assert results(events) == [(outcome, reason)]


def test_planned_end_that_closes_sells_in_the_resting_orders_place() -> None:
    """At a planned end with close the position is sold, and no order stays open."""
    one = held()

    one.put("control", ending(one))
    one.tick()

    assert one.risk.facts()["open_positions"] == []
    assert one.execution.orders == []


def test_planned_end_that_carries_expires_the_order_and_the_next_run_rests_it_anew() -> None:
    """Under carry the resting order expires at the end; a carried lot is covered at first sight."""
    one = held(portfolio__at_end="carry")
    one.put("control", ending(one))
    one.tick()
    assert [order.is_waiting for order in one.execution.orders] == [True]

    ended = one.beat(after_ms=20_000)
    after = one.tick("99.99", "100")

    assert results(ended) == [("EXPIRED", "run_ending")]
    assert after == []
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    (intent,) = intents(event for _, event in desk((lot,)).log)
    assert (intent.order_type, intent.qty, intent.stop_price) == ("OCO", "10.000", "99.00")


def test_operator_exit_and_carried_position_below_its_stop_are_sold_at_once() -> None:
    """An operator's exit replaces the order; a lot already below its stop is never rested."""
    one = held()
    one.put("control", ExitPosition(who="operator", why="test", symbol=SYMBOL))
    one.tick()
    assert one.risk.facts()["open_positions"] == []

    lot = {"symbol": SYMBOL, "qty": "10", "price": "150", "ts": 1}
    low = desk((lot,))
    (intent,) = intents(event for _, event in low.log)
    assert intent.order_type == "MARKET"


def test_position_too_small_to_rest_is_watched_by_the_bid() -> None:
    """A BLOCK says once that no order may rest, and the bid is watched as without the key."""
    one = desk()
    one.tick("99.99", "100", trade="100")
    one.signal("BUY")
    events = one.tick(ask_qty="0.1")
    blocked = [action for action in actions(events) if action[0] == "BLOCK"]

    assert blocked == [("BLOCK", "min_notional")]
    assert actions(one.tick(ask_qty="0")) == []
    grown = one.tick(ask_qty="5")
    assert ("PROTECT", "protected") in actions(grown)


def test_position_too_large_for_one_order_rests_in_part_and_leaves_whole() -> None:
    """One order rests for what it may sell at the stop; risk itself sells the remainder there."""
    one = held()

    one.put("market_ticks", instrument(notional_max="650"))
    (replace,) = of(one.tick("99.99", "100"), OrderReplace)
    sold = [fill for _ in range(4) for fill in fills(one.tick("98.99", "99", trade="98.99"))]

    assert (replace.qty, replace.stop_price) == ("6.565", "99.00")
    assert sum(Decimal(fill.qty) for fill in sold) == Decimal("10")
    assert one.risk.facts()["open_positions"] == []


def test_price_step_that_changes_moves_the_resting_levels() -> None:
    """Filters that change with an order resting replace it by levels on the new steps."""
    one = held()

    one.put("market_ticks", instrument(price_increment="4"))
    events = one.tick("100", "104")

    (replace,) = of(events, OrderReplace)
    assert (replace.stop_price, replace.target_price) == ("96", "104")


def test_price_step_that_changes_moves_the_levels_beyond_the_soft_rate() -> None:
    """The soft rate is for entries: an order of the same quantity is moved up to the hard one."""
    one = held(risk__orders_per_minute_soft=2, risk__orders_per_minute_hard=4)

    one.put("market_ticks", instrument(price_increment="4"))
    events = one.tick("100", "104")

    (replace,) = of(events, OrderReplace)
    assert (replace.stop_price, replace.target_price) == ("96", "104")


def test_levels_that_a_trade_passed_rest_anew_once_the_price_is_back() -> None:
    """New steps whose target the last trade has passed wait; the next trade below rests them."""
    one = held(risk__stop_bps=None, risk__take_profit_bps="100")
    one.put("market_ticks", instrument(price_increment="4"))
    one.tick("100", "104")
    one.tick("103", "104", trade="102")
    one.put("market_ticks", instrument())

    waiting = one.tick("100", "100.01")
    events = one.tick("100", "100.01", trade="100")

    (replace,) = of(events, OrderReplace)
    assert waiting == []
    assert replace.target_price == "101.00"


@pytest.mark.parametrize("is_told_by_a_trade", [False, True])
def test_price_that_rose_over_an_outage_trails_the_resting_stop(
    *, is_told_by_a_trade: bool
) -> None:
    """A first quote whose price is its bid, or a trade, moves the order; nothing is sold."""
    one = held(risk__stop_bps=None, risk__take_profit_bps=None, **TRAIL)
    one.put("market_ticks", Gap(SYMBOL, "bookTicker", one.ts, one.ts, "reconnect"))
    one.is_traded = False

    trade = "108" if is_told_by_a_trade else None
    events = one.tick("108", "108.01", trade=trade, after_ms=20_000)

    (replace,) = of(events, OrderReplace)
    assert (replace.order_type, replace.stop_price) == ("STOP_LOSS", "104.76")
    assert fills(events) == []


def test_restart_with_a_resting_order_goes_on_as_without_it() -> None:
    """Both cores restored from their states in every step give the same queues, byte by byte."""
    whole, cut = desk(), desk()
    for one in (whole, cut):
        for n, (bid, ask, trade, size) in enumerate(
            [
                *[("99.99", "100", "100", "4"), ("100.01", "100.02", None, "3")],
                *[("100", "100.01", "100", "1000"), ("101.5", "101.6", "101", "2")],
                *[("102.5", "102.6", "102", "2"), ("98", "98.1", "98", "1000")],
                *[("98", "98.1", None, "1000"), ("98", "98.1", "98", "1000")],
            ]
        ):
            if n == 1:
                one.signal("BUY")
            if one is cut:
                one.restarted()
            one.tick(bid, ask, trade=trade, bid_qty=size, ask_qty=size)
            if one is cut:
                one.restarted()

    assert whole.log_bytes() == cut.log_bytes()
    assert whole.risk.state() == cut.risk.state()
    assert whole.execution.state() == cut.execution.state()
    assert {"order_replace", "fill"} <= {event.type for _, event in whole.log}


def test_key_off_leaves_states_events_and_checks_as_they_were() -> None:
    """Without the key no event, state or check knows of resting orders."""
    one = Desk(config(risk__stop_bps="100")).ready()
    one.buy()
    one.tick("98", "98.01", trade="98")
    one.tick()

    text = f"{one.log_bytes()!r}{one.risk.state()}{one.execution.state()}"
    for word in ("order_replace", "PROTECT", "trigger", "rest", "'last'", "'stop'"):
        assert word not in text


@pytest.mark.parametrize("bounds", [{"price_min": "99.50"}, {"price_max": "101"}])
def test_level_out_of_the_venues_range_is_refused_once_and_watched(bounds: dict[str, str]) -> None:
    """No order is sent that the executor would reject again and again; risk sells by the bid."""
    one = desk()
    one.instrument(**bounds)
    one.tick("99.99", "100", trade="100")
    one.signal("BUY")

    events = one.tick() + one.tick(after_ms=60_000)
    sold = one.tick("98.99", "99.01")

    assert actions(events) == [("BLOCK", "price_range")]
    assert intents(events) == []
    assert actions(sold) == [("EXIT", "stop_loss")]


def test_fill_at_the_end_of_the_run_rests_no_order() -> None:
    """A fill at the announced time itself rests nothing, one a millisecond before it does."""
    answers = []
    for until in (100, 101):
        one = desk(portfolio__at_end="carry")
        one.tick("99.99", "100", trade="100")
        one.signal("BUY")
        one.put("control", RunEnding(who="launcher", why="duration", until_ts=one.ts + until))
        answers.append(one.tick(after_ms=100))

    assert [len(fills(each)) for each in answers] == [1, 1]
    assert [actions(each) for each in answers] == [[], [("PROTECT", "protected")]]


def ending(one: Desk) -> RunEnding:
    return RunEnding(who="launcher", why="duration", until_ts=one.ts + 10_000)


def cancel(one: Desk, name: str) -> list[Event]:
    """Send a cancel in place of risk's."""
    return one.put(
        "order_intents",
        OrderCancel(SYMBOL, name),
        cause_ids=CAUSES,
        tick_seq=one.seqs["market_ticks"],
    )


def replace(one: Desk, name: str, qty: str) -> list[Event]:
    """Send a replace by a sale at the market in place of risk's."""
    number = one.seqs["order_intents"]
    values: dict[str, Any] = {
        "symbol": SYMBOL,
        "side": "SELL",
        "qty": qty,
        "order_type": "MARKET",
        "client_order_id": position_id(RUN_ID, "replacing", "order_intents", number),
        "purpose": "EXIT",
        "replaces": name,
    }
    return one.put(
        "order_intents",
        OrderReplace(**values),
        cause_ids=CAUSES,
        tick_seq=one.seqs["market_ticks"],
    )


@pytest.mark.parametrize("at", ["venue", "role"])
def test_order_that_comes_too_late_is_tried_again_later_and_not_at_once(at: str) -> None:
    """While orders come too late, attempts grow further apart: none spends the order rate."""
    ages = {"risk__tick_age_ms_max": 60_000, "execution__tick_age_ms_max": 60_000}
    one = held(**ages, risk__exits_at=at)
    before = len(intents(one.events("order_intents")))
    one.lag_ms = 5_001  # Behind the life of an intent.
    bid, ask = ("100", "104") if at == "venue" else ("90", "90.01")
    one.put("market_ticks", instrument(price_increment="4" if at == "venue" else "0.01"))

    for _ in range(100):
        one.tick(bid, ask, after_ms=10)

    assert ("EXPIRED", "expired") in results(one.events("order_results"))
    assert 1 <= len(intents(one.events("order_intents"))) - before <= 3


def test_refused_purchases_delay_no_sale() -> None:
    """Two refusals in a row make a sale wait a second; those of further purchases are not its."""
    ages = {"risk__tick_age_ms_max": 60_000, "execution__tick_age_ms_max": 5}
    one = held(risk__time_exit_ms=300, **ages)
    one.lag_ms = 10  # The executor trades on no tick.
    for _ in range(2):
        one.signal("BUY")
        one.tick()
    one.lag_ms = 0

    events = one.tick()

    refused = [why for result, why in results(one.events("order_results")) if result == "REJECTED"]
    assert refused == ["stale_tick"] * 2
    assert actions(events) == [("EXIT", "time_exit")]


def test_stop_that_a_trade_passes_while_it_is_on_its_way_sells_when_it_arrives() -> None:
    """The first quote after the latency sells at its bid, though no trade follows."""
    one = held(risk__take_profit_bps=None, execution__latency_market_ms=250)
    assert fills(one.tick(after_ms=250))

    assert one.tick("98.80", "98.82", trade="98.90", after_ms=100) == []
    events = one.tick("98.50", "98.52", after_ms=200)

    assert [(fill.side, fill.price) for fill in fills(events)] == [("SELL", "98.50")]
    assert actions(events) == [("EXIT", "stop_loss")]
    assert one.risk.facts()["open_positions"] == []


def test_no_moment_of_a_move_is_without_a_stop() -> None:
    """A trade below both stops, while the order that moves them is on its way, sells all."""
    one = held(
        risk__hard_stop_bps="1000",
        risk__take_profit_bps=None,
        risk__trail_bps="100",
        execution__latency_market_ms=250,
    )
    for _ in range(4):
        one.tick("99.99", "100", trade="100", after_ms=300)
    moved = one.tick("110", "110.01", trade="110", after_ms=60_000)

    crashed = one.tick("90", "90.01", trade="90", after_ms=100)

    assert of(moved, OrderReplace)
    assert ("TRIGGERED", "stop_triggered") in results(crashed)


# --- what may not rest ----------------------------------------------------------------------------


def test_nothing_rests_without_a_position_without_rules_or_without_a_level() -> None:
    """There is nothing to sell, no step to sell it by, or no price at which to sell."""
    flat, unknown, bare = desk(), held(), held(risk__stop_bps=None, risk__take_profit_bps=None)
    found = []
    for one in (flat, unknown, bare):
        state = one.risk._state
        market = state.positions.of(SYMBOL)
        state.positions.orders.clear()
        rules, exits = market.rules, state.exits_of(market)
        assert rules is not None
        if one is unknown:
            assert missing(state, market) == (99 * UNIT, 102 * UNIT)
            market.rules = None
        found.append((missing(state, market), levels_of(state, market, exits, rules)))

    nothing = (None, None)
    assert found == [(None, nothing), (None, (99 * UNIT, 102 * UNIT)), (None, nothing)]


def test_stop_of_the_smallest_price_rests_and_one_of_nothing_does_not() -> None:
    """A coin of three hundred-millionths can have its stop at one; two thirds below is none."""
    lot = {"symbol": SYMBOL, "qty": "900000000", "price": "0.00000003", "ts": 1}
    found = []
    for stop_bps in ("5000", "6700"):
        one = desk((lot,), risk__stop_bps=stop_bps, risk__take_profit_bps=None)
        one.instrument(price_increment="0.00000001", notional_min="1")
        one.tick("0.00000003", "0.00000003", bid_qty="9000000000")
        state = one.risk._state
        market = state.positions.of(SYMBOL)
        assert market.rules is not None
        found.append(levels_of(state, market, state.exits_of(market), market.rules))

    assert found == [(1, None), (None, None)]


@pytest.mark.parametrize(("stop_bps", "told"), [("5000", "0.00000001"), ("6700", None)])
def test_stop_of_a_plan_is_told_from_the_smallest_price_on(stop_bps: str, told: str | None) -> None:
    """The screen shows a stop of one hundred-millionth, and none where the distance leaves none."""
    lot = {"symbol": SYMBOL, "qty": "900000000", "price": "0.00000003", "ts": 1}
    profile = config(risk__stop_bps=stop_bps, portfolio__at_end="carry")
    one = Desk(profile, first=opening("9000", (lot,)))
    one.instrument(price_increment="0.00000001", notional_min="1")
    one.tick("0.00000003", "0.00000003", bid_qty="9000000000")

    assert one.risk.facts()["exits"][SYMBOL]["stop"] == told


def test_range_ends_at_a_stop_of_the_smallest_price() -> None:
    """A bid of one hundred-millionth is the stop, and outside the range without an exit."""
    lot = {"symbol": SYMBOL, "qty": "900000000", "price": "0.00000003", "ts": 1}
    profile = config(risk__stop_bps="5000", risk__take_profit_bps=None)
    one = Desk(profile, first=opening("9000", (lot,)))
    one.instrument(price_increment="0.00000001", notional_min="1")
    one.tick("0.00000003", "0.00000003", bid_qty="9000000000")
    one.tick("0.00000003", "0.00000003", bid_qty="9000000000")

    quiet = one.risk.quiet_range(SYMBOL, one.ts)

    assert quiet is not None
    assert quiet.above == 1


def test_stop_in_atrs_of_a_carried_position_is_missing_as_soon_as_the_atr_is_known() -> None:
    """Two bars make it 2: three of them below the entry is where an order is to rest."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    keys = {"risk__stop_bps": None, "risk__take_profit_bps": None, "risk__stop_atr_mult": "3"}
    one = desk((lot,), **keys)
    state = one.risk._state
    market = state.positions.of(SYMBOL)
    before = missing(state, market)
    for _ in range(2):
        one.bar("100", "101", "99", "100")

    assert before is None
    assert missing(state, market) == (94 * UNIT, None)
    one.tick("99.99", "100", trade="100")
    assert [order.stop for order in one.execution.orders] == [94 * UNIT]


@pytest.mark.parametrize(("price", "stops"), [("99", False), ("99.01", True), ("101.99", True)])
def test_trigger_at_no_level_of_its_order_stops_the_run(price: str, stops: bool) -> None:
    """The executor said that a trade triggered the order, and none of its levels was reached."""
    one = held()
    (accepted,) = [
        event
        for event in one.events("order_results")
        if event.payload.client_order_id == one.execution.orders[0].client.text  # type: ignore[attr-defined]
    ]
    assert isinstance(accepted.payload, OrderResult)
    said = changed(
        accepted.payload, result="TRIGGERED", reason_code="stop_triggered", trigger_price=price
    )
    event = changed(accepted, payload=said, id="0" * 32, ts=one.ts)

    if stops:
        with pytest.raises(InvariantError, match="not at its levels"):
            one.risk.process(event, 9, one.ts)
    else:
        messages = one.risk.process(event, 9, one.ts) or []
        assert [message.event(HASH).payload.action for message in messages] == ["EXIT"]  # type: ignore[attr-defined]
