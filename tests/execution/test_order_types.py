"""Types of orders as the venue has them: LIMIT_MAKER, the forms with _LIMIT, trailing stops."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.class_schemas import payload_schema
from minibot.events.ids import position_id
from minibot.events.model import Event, OrderCancel, OrderIntent, OrderReplace
from tests.risk.desk import (
    OTHER,
    RUN_ID,
    SYMBOL,
    Desk,
    config,
    fills,
    instrument,
    opening,
    results,
)

LOT = {"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1}


def executor(**rules: Any) -> Desk:
    """Return an executor without risk that holds five coins; the touch is 99.99 to 100.01."""
    keys: dict[str, Any] = {
        "risk__exits_at": "venue",
        "execution__order_ttl_market_ms": 600_000,
        "execution__left_trading": "hold",
    }
    desk = Desk(config(**keys), first=opening("10000", (LOT,)), with_risk=False)
    desk.put("market_ticks", instrument(**rules))
    desk.tick()
    return desk


def cancel(desk: Desk) -> list[Event]:
    """Ask for the end of the one open order."""
    (order,) = desk.execution.orders
    causes = tuple(position_id(RUN_ID, "risk_role", "risk_actions", n) for n in (1, 2))
    payload = OrderCancel(SYMBOL, order.client.text)
    seq = desk.seqs["market_ticks"]
    return desk.put("order_intents", payload, cause_ids=causes, tick_seq=seq)


# --- LIMIT_MAKER ----------------------------------------------------------------------------------


@pytest.mark.row("B-08")
@pytest.mark.parametrize(("ask", "ended"), [("100.00", True), ("100.01", True), ("100.02", False)])
def test_maker_order_that_would_take_when_it_arrives_ends(ask: str, ended: bool) -> None:
    """A purchase at 100.01 ends unfilled where the ask is there or below, else it rests."""
    desk = executor()
    desk.intent("BUY", "1", order_type="LIMIT_MAKER", limit_price="100.01")

    events = desk.tick("99.99", ask)

    assert fills(events) == []
    assert results(events) == ([("EXPIRED", "would_take")] if ended else [])
    assert len(desk.execution.orders) == (0 if ended else 1)


def test_maker_order_that_rests_is_filled_as_a_maker() -> None:
    """The touch that reaches a resting order fills it at its own price, restarted or not."""
    desk = executor()
    desk.intent("SELL", "1", order_type="LIMIT_MAKER", limit_price="100.50")
    desk.tick()
    desk.restarted()

    (fill,) = fills(desk.tick("100.60", "100.62"))

    assert (fill.price, fill.liquidity) == ("100.50", "MAKER")


def test_maker_order_restarted_before_it_arrives_still_may_not_take() -> None:
    """A restart on its way forgets nothing of its type."""
    desk = executor()
    desk.intent("SELL", "1", order_type="LIMIT_MAKER", limit_price="100.50")
    desk.restarted()

    assert results(desk.tick("100.60", "100.62")) == [("EXPIRED", "would_take")]


# --- the forms with _LIMIT ------------------------------------------------------------------------


@pytest.mark.row("B-08")
@pytest.mark.parametrize(
    ("kind", "changes", "trade"),
    [
        ("STOP_LOSS_LIMIT", {"stop_price": "99", "limit_price": "98.50"}, "99"),
        ("TAKE_PROFIT_LIMIT", {"target_price": "102", "limit_price": "101.50"}, "102"),
    ],
)
def test_triggered_limit_form_sells_at_its_limit_or_better(
    kind: str, changes: dict[str, Any], trade: str
) -> None:
    """A trade at the trigger makes it a limit order, which the bid above its limit fills."""
    desk = executor()
    desk.intent("SELL", "2", order_type=kind, **changes)
    bid = trade

    events = desk.tick(bid, f"{float(bid) + 0.02:.2f}", trade=trade)

    assert [result for result, _ in results(events)] == ["TRIGGERED", "FILLED"]
    assert [fill.price for fill in fills(events)] == [f"{float(bid):.2f}"]


def test_gap_jumps_past_a_stop_limit_and_its_rest_may_be_withdrawn() -> None:
    """A gap below the limit sells nothing; the order waits there, and a cancel ends it."""
    desk = executor()
    desk.intent("SELL", "2", order_type="STOP_LOSS_LIMIT", stop_price="99", limit_price="98.50")

    gapped = desk.tick("97", "97.02", trade="97")
    desk.restarted()
    later = desk.tick("98.49", "98.51")
    back = desk.tick("98.50", "98.52", bid_qty="0.5")
    ended = cancel(desk)

    assert results(gapped) == [("TRIGGERED", "stop_triggered")]
    assert later == []
    assert [(fill.qty, fill.price, fill.liquidity) for fill in fills(back)] == [
        ("0.500", "98.50", "MAKER")
    ]
    assert results(ended) == [("CANCELLED", "withdrawn")]


# --- trailing stops -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trades", "triggered"),
    [
        (["102", "100.99"], False),
        (["102", "100.98"], True),
        (["102", "101", "100.99", "103", "101.97"], True),
        (["99.01"], False),
        (["99"], True),
    ],
)
def test_trailing_stop_follows_the_highest_trade_and_never_falls(
    trades: list[str], triggered: bool
) -> None:
    """One percent below 102 is 100.98: the first trade there triggers; before, 99 does."""
    desk = executor()
    desk.intent("SELL", "2", order_type="STOP_LOSS", stop_price="99", trailing_delta=100)
    events: list[Event] = []
    for trade in trades:
        desk.restarted()
        events = desk.tick("99.50", "99.52", bid_qty="0", trade=trade)

    assert results(events) == ([("TRIGGERED", "stop_triggered")] if triggered else [])


def test_quote_moves_no_trailing_stop() -> None:
    """A bid far above, without a trade there, raises nothing."""
    desk = executor()
    desk.intent("SELL", "2", order_type="STOP_LOSS", stop_price="99", trailing_delta=100)
    desk.tick("110", "110.02")

    assert results(desk.tick("100", "100.02", trade="100")) == []


@pytest.mark.row("B-53")
@pytest.mark.parametrize(
    ("bps", "reason"),
    [
        (0, "trailing_delta"),
        (9, "trailing_delta"),
        (10, "accepted"),
        (11, "accepted"),
        (1999, "accepted"),
        (2000, "accepted"),
        (2001, "trailing_delta"),
    ],
)
def test_trailing_delta_at_a_bound_passes_and_beyond_is_refused(bps: int, reason: str) -> None:
    """The venue's bounds on the delta count, at, below and above."""
    desk = executor(trailing_sell_min=10, trailing_sell_max=2000)

    events = desk.intent("SELL", "1", order_type="STOP_LOSS", stop_price="90", trailing_delta=bps)

    assert results(events)[-1][1] == reason


# --- a symbol that does not trade -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "changes", "trade"),
    [
        ("STOP_LOSS", {"stop_price": "99"}, "98.99"),
        ("TAKE_PROFIT", {"target_price": "102"}, "102.01"),
    ],
)
def test_trade_of_a_symbol_that_left_trading_triggers_nothing(
    kind: str, changes: dict[str, Any], trade: str
) -> None:
    """An order keeps resting through a halt, and the first trade behind it triggers it."""
    desk = executor()
    desk.intent("SELL", "1", order_type=kind, **changes)
    desk.tick()
    desk.instrument(status="BREAK")

    halted = desk.tick(trade, trade, trade=trade)
    (order,) = desk.execution.orders
    was_waiting = order.is_waiting
    desk.instrument()
    back = desk.tick(trade, trade, trade=trade)

    assert (halted, was_waiting) == ([], True)
    assert [result for result, _ in results(back)] == ["TRIGGERED", "FILLED"]


LEAST, NEXT = "0.00000001", "0.00000002"


@pytest.mark.parametrize(
    ("kind", "prices", "reason"),
    [
        ("LIMIT", {"limit_price": LEAST}, "accepted"),
        ("LIMIT_MAKER", {"limit_price": LEAST}, "accepted"),
        ("STOP_LOSS", {"stop_price": LEAST}, "accepted"),
        ("STOP_LOSS_LIMIT", {"stop_price": LEAST, "limit_price": LEAST}, "accepted"),
        ("OCO", {"stop_price": LEAST, "target_price": NEXT, "limit_price": LEAST}, "would_trigger"),
        ("OCO", {"stop_price": LEAST, "target_price": "0.00000003"}, "accepted"),
        ("TAKE_PROFIT", {"target_price": LEAST}, "would_trigger"),
    ],
)
def test_each_price_of_an_order_may_be_the_smallest_there_is(
    kind: str, prices: dict[str, Any], reason: str
) -> None:
    """A price of a hundred-millionth is one; a target there has been reached by a last of two."""
    desk = executor(price_increment=LEAST, price_min=LEAST, notional_min="0")
    desk.tick(NEXT, "0.00000003", trade=NEXT)

    events = desk.intent("BUY" if kind == "LIMIT" else "SELL", "1", order_type=kind, **prices)

    assert [said for _, said in results(events)] == [reason]


# --- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"order_type": "LIMIT_MAKER"}, "price_invalid"),
        (
            {"order_type": "LIMIT_MAKER", "limit_price": "101", "time_in_force": "IOC"},
            "order_type_unsupported",
        ),
        ({"order_type": "STOP_LOSS_LIMIT", "stop_price": "99"}, "order_type_unsupported"),
        (
            {"order_type": "STOP_LOSS_LIMIT", "stop_price": "99", "limit_price": "0"},
            "price_invalid",
        ),
        (
            {"order_type": "STOP_LOSS_LIMIT", "stop_price": "99", "limit_price": "98.995"},
            "step_size",
        ),
        (
            {"order_type": "TAKE_PROFIT_LIMIT", "stop_price": "99", "limit_price": "98"},
            "order_type_unsupported",
        ),
        ({"order_type": "MARKET", "trailing_delta": 100}, "order_type_unsupported"),
        ({"order_type": "STOP_LOSS", "stop_price": "0"}, "price_invalid"),
        ({"order_type": "TAKE_PROFIT", "target_price": "0"}, "price_invalid"),
        ({"order_type": "OCO", "stop_price": "99", "target_price": "0"}, "price_invalid"),
        ({"order_type": "OCO", "stop_price": "99", "target_price": "99"}, "price_invalid"),
        (
            {"order_type": "STOP_LOSS_LIMIT", "stop_price": "99", "limit_price": "99.01"},
            "price_invalid",
        ),
        (
            {"order_type": "STOP_LOSS", "stop_price": "99", "time_in_force": "GTC"},
            "order_type_unsupported",
        ),
        (
            {
                "order_type": "OCO",
                "stop_price": "99",
                "target_price": "102",
                "trailing_delta": 100,
            },
            "order_type_unsupported",
        ),
    ],
)
def test_fields_that_do_not_fit_the_type_are_refused(changes: dict[str, Any], reason: str) -> None:
    """A type has its own prices and no others; nothing rests after a refusal."""
    desk = executor()

    assert results(desk.intent("SELL", "1", **changes)) == [("REJECTED", reason)]
    assert desk.execution.orders == []


def test_resting_order_of_a_quantity_that_the_venue_refuses_is_rejected() -> None:
    """Sound levels excuse no quantity."""
    desk = executor()

    events = desk.intent("SELL", "1.0005", order_type="STOP_LOSS", stop_price="99")

    assert results(events) == [("REJECTED", "step_size")]
    assert desk.execution.orders == []


@pytest.mark.row("B-06")
def test_orders_are_those_of_spot_and_no_others() -> None:
    """No type, field or side of an intent borrows, hedges or goes short."""
    schema = payload_schema(OrderIntent)
    kinds = schema["properties"]["order_type"]["enum"]

    assert set(kinds) == {
        *("MARKET", "LIMIT", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT"),
        *("TAKE_PROFIT", "TAKE_PROFIT_LIMIT", "OCO"),
    }
    words = ("leverage", "margin", "borrow", "side_effect", "reduce_only", "position_side")
    assert not [name for name in schema["properties"] if any(word in name for word in words)]
    assert results(executor().intent("SELL", "1", purpose="ENTRY")) == [("REJECTED", "short_sale")]


# --- an order on its way --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "trades", "said"),
    [
        ({"order_type": "STOP_LOSS", "stop_price": "99"}, ["98.90"], "stop_triggered"),
        ({"order_type": "STOP_LOSS", "stop_price": "99"}, ["99.00"], "stop_triggered"),
        ({"order_type": "STOP_LOSS", "stop_price": "99"}, ["99.01"], None),
        ({"order_type": "STOP_LOSS", "stop_price": "99"}, ["98.90", "99.01"], None),
        ({"order_type": "STOP_LOSS", "stop_price": "99"}, ["99.01", "98.90"], "stop_triggered"),
        ({"order_type": "TAKE_PROFIT", "target_price": "102"}, ["102"], "target_triggered"),
        (
            {"order_type": "OCO", "stop_price": "99", "target_price": "102"},
            ["102"],
            "target_triggered",
        ),
    ],
)
def test_order_is_triggered_when_it_arrives_by_the_last_trade_on_its_way(
    changes: dict[str, Any], trades: list[str], said: str | None
) -> None:
    """Once its latency is over a quote brings the trigger that a trade before has caused."""
    keys = {"risk__exits_at": "venue", "execution__latency_market_ms": 250}
    desk = Desk(config(**keys), first=opening("10000", (LOT,)), with_risk=False).ready()
    desk.intent("SELL", "2", **changes)
    for trade in trades:
        assert desk.tick("98.80", "98.82", trade=trade) == []
        desk.restarted()

    found = desk.tick("98.50", "98.52", after_ms=200)
    later = desk.tick("98.40", "98.42")

    assert results(found) == ([("TRIGGERED", said), ("FILLED", "filled")] if said else [])
    assert [fill.price for fill in fills(found)] == (["98.50"] if said else [])
    assert later == []


def test_quotes_alone_trigger_no_order_on_its_way() -> None:
    """Before the first trade the bid stands for it; such a tick is no trade at the stop."""
    keys = {"risk__exits_at": "venue", "execution__latency_market_ms": 250}
    desk = Desk(config(**keys), first=opening("10000", (LOT,)), with_risk=False).ready()
    desk.intent("SELL", "2", order_type="STOP_LOSS", stop_price="99")

    assert [desk.tick("98.50", "98.52") for _ in range(4)] == [[]] * 4


# --- a replacement on its way ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trade", "said"),
    [
        ("98.99", ["TRIGGERED", "FILLED"]),
        ("99.00", ["TRIGGERED", "FILLED"]),
        ("99.01", []),
        ("102.99", []),
        ("103.00", ["TRIGGERED", "FILLED"]),
    ],
)
def test_replacement_on_its_way_sells_at_a_trade_that_triggers_both_orders(
    trade: str, said: list[str]
) -> None:
    """The venue's former order acts until the new one arrives, after 250 ms, restarted or not."""
    keys = {"risk__exits_at": "venue", "execution__latency_market_ms": 250}
    desk = Desk(config(**keys), first=opening("10000", (LOT,)), with_risk=False).ready()
    desk.intent("SELL", "2", order_type="OCO", stop_price="99", target_price="102")
    desk.tick(after_ms=300)
    (former,) = desk.execution.orders
    number = desk.seqs["order_intents"]
    payload = OrderReplace(
        symbol=SYMBOL,
        side="SELL",
        qty="2",
        order_type="OCO",
        client_order_id=position_id(RUN_ID, "replacing", "order_intents", number),
        purpose="EXIT",
        stop_price="99.50",
        target_price="103",
        replaces=former.client.text,
    )
    causes = tuple(position_id(RUN_ID, "risk_role", "risk_actions", n) for n in (1, 2))
    seq = desk.seqs["market_ticks"]
    desk.put("order_intents", payload, cause_ids=causes, tick_seq=seq)
    desk.restarted()

    found = desk.tick("98.90", "103.10", trade=trade)
    later = desk.tick("99.99", "100.01", trade="100")

    assert [result for result, _ in results(found)] == said
    assert [fill.price for fill in fills(found)] == (["98.90"] if said else [])
    assert results(later) == []


# --- the symbol of the former order ---------------------------------------------------------------


def test_replace_and_cancel_of_another_symbols_order_leave_it_open() -> None:
    """An order is found in its own symbol alone, as at the venue; both are refused as not open."""
    desk = executor()
    desk.put("market_ticks", instrument(OTHER))
    desk.tick(symbol=OTHER)
    desk.intent("SELL", "2", order_type="STOP_LOSS", stop_price="99")
    (resting,) = desk.execution.orders
    causes = tuple(position_id(RUN_ID, "risk_role", "risk_actions", n) for n in (1, 2))
    replace = OrderReplace(
        symbol=OTHER,
        side="BUY",
        qty="1",
        order_type="MARKET",
        client_order_id=position_id(RUN_ID, "replacing", "order_intents", 1),
        purpose="ENTRY",
        replaces=resting.client.text,
    )
    seq = desk.seqs["market_ticks"]

    refused = [
        desk.put("order_intents", payload, cause_ids=causes, tick_seq=seq)
        for payload in (replace, OrderCancel(OTHER, resting.client.text))
    ]

    assert [results(events) for events in refused] == [
        [("REJECTED", "order_ended")],
        [("CANCEL_REJECTED", "order_ended")],
    ]
    assert desk.execution.orders == [resting]
    assert results(cancel(desk)) == [("CANCELLED", "withdrawn")]
