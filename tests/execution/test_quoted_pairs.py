"""OCO with the limit of its stop: the target rests as a quote, and one fill ends the other leg."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.ids import position_id
from minibot.events.model import AveragePrice, Book, Event, OrderCancel, OrderReplace, OrderResult
from tests.risk.desk import (
    RUN_ID,
    SYMBOL,
    Desk,
    config,
    fills,
    instrument,
    of,
    opening,
    results,
)

LOT = {"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1}
PAIR: dict[str, Any] = {
    "order_type": "OCO",
    "stop_price": "99",
    "limit_price": "98.50",
    "target_price": "102",
}
CAUSES = tuple(position_id(RUN_ID, "risk_role", "risk_actions", n) for n in (1, 2))


def executor(rules: dict[str, Any] | None = None, **keys: Any) -> Desk:
    """Return an executor without risk that holds five coins; the touch is 99.99 to 100.01."""
    profile = config(**({"risk__exits_at": "venue"} | keys))
    desk = Desk(profile, first=opening("10000", (LOT,)), with_risk=False)
    desk.put("market_ticks", instrument(**(rules or {})))
    desk.tick()
    return desk


def rested(**keys: Any) -> Desk:
    """Return an executor whose pair for two coins has arrived and rests."""
    desk = executor(**keys)
    desk.intent("SELL", "2", **PAIR)
    assert desk.tick() == []
    assert [order.is_waiting for order in desk.execution.orders] == [True]
    return desk


def replaced(desk: Desk, **changes: Any) -> list[Event]:
    """Replace the one open order."""
    (order,) = desk.execution.orders
    number = desk.seqs["order_intents"]
    values: dict[str, Any] = {
        "symbol": SYMBOL,
        "side": "SELL",
        "qty": "2",
        "order_type": "MARKET",
        "client_order_id": position_id(RUN_ID, "replacing", "order_intents", number),
        "purpose": "EXIT",
        "replaces": order.client.text,
    }
    seq = desk.seqs["market_ticks"]
    payload = OrderReplace(**(values | changes))
    return desk.put("order_intents", payload, cause_ids=CAUSES, tick_seq=seq)


# --- the stop -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trade", "said"),
    [("99.01", []), ("99.00", ["TRIGGERED", "FILLED"]), ("98.50", ["TRIGGERED", "FILLED"])],
)
def test_trade_at_the_stop_makes_the_pair_a_limit_order_that_takes(
    trade: str, said: list[str]
) -> None:
    """The bid at the stop's limit or above sells at that bid, as a taker; the quote has ended."""
    desk = rested()

    found = desk.tick(trade, f"{float(trade) + 0.02:.2f}", trade=trade)

    assert [result for result, _ in results(found)] == said
    assert [(fill.price, fill.liquidity) for fill in fills(found)] == (
        [(trade, "TAKER")] if said else []
    )


@pytest.mark.row("B-08")
def test_gap_jumps_past_the_limit_of_the_stop_and_the_quote_is_gone() -> None:
    """A gap below the limit sells nothing; the rest waits at the limit, not at the target."""
    desk = rested()

    gapped = desk.tick("97", "97.02", trade="97")
    desk.restarted()
    later = desk.tick("98.49", "98.51", trade="98.49")
    back = desk.tick("98.50", "98.52", bid_qty="0.5")

    assert results(gapped) == [("TRIGGERED", "stop_triggered")]
    assert later == []
    (fill,) = fills(back)
    assert (fill.qty, fill.price, fill.liquidity) == ("0.500", "98.50", "MAKER")
    assert results(back) == [("PARTIALLY_FILLED", "partial")]


def test_jumped_limit_gives_way_to_a_sale_at_the_market_or_a_cancel() -> None:
    """A replace sells the rest of a jumped limit; a cancel ends it."""
    sold, ended = rested(), rested()
    for desk in (sold, ended):
        desk.tick("97", "97.02", trade="97")
    (order,) = ended.execution.orders

    events = replaced(sold)
    seq = ended.seqs["market_ticks"]
    cancelled = ended.put(
        "order_intents",
        OrderCancel(SYMBOL, order.client.text),
        cause_ids=CAUSES,
        tick_seq=seq,
    )

    assert results(events) == [("CANCELLED", "replaced"), ("ACCEPTED", "accepted")]
    assert [fill.price for fill in fills(sold.tick())] == ["97.00"]
    assert results(cancelled) == [("CANCELLED", "withdrawn")]
    assert (sold.execution.orders, ended.execution.orders) == ([], [])


# --- the target -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bid", ["102.00", "103.00"])
def test_bid_at_the_target_fills_its_quote_as_a_maker_at_its_price(bid: str) -> None:
    """No trade is needed: the fill is the trade at the target, told before it."""
    desk = rested()

    events = desk.tick(bid, "103.50")

    assert results(events) == [("TRIGGERED", "target_triggered"), ("FILLED", "filled")]
    assert of(events, OrderResult)[0].trigger_price == "102.00"
    (fill,) = fills(events)
    assert (fill.qty, fill.price, fill.liquidity) == ("2.000", "102.00", "MAKER")
    kinds = [event.type for event in events]
    assert kinds == ["order_result", "fill", "order_result"]


def test_trade_above_the_target_alone_triggers_no_quote() -> None:
    """In the model `touch` the bid has to reach a quote, whatever others trade at."""
    desk = rested()

    assert desk.tick("101.99", "102.01", trade="102.01") == []


@pytest.mark.row("B-08")
def test_part_of_the_quote_ends_the_stop_at_once() -> None:
    """After a partial fill a trade below the former stop sells nothing: the rest is quoted on."""
    desk = rested()

    part = desk.tick("102", "102.02", bid_qty="0.5")
    desk.restarted()
    below = desk.tick("98", "98.02", trade="98")
    again = desk.tick("102", "102.02", bid_qty="1000")

    assert results(part) == [("TRIGGERED", "target_triggered"), ("PARTIALLY_FILLED", "partial")]
    assert below == []
    assert results(again) == [("FILLED", "filled")]
    assert [(fill.qty, fill.price) for fill in fills(again)] == [("1.500", "102.00")]


def test_stop_and_quote_in_one_tick_are_the_stop() -> None:
    """A trade at the stop ends the quote before the bid of its tick may fill it."""
    desk = rested()

    events = desk.tick("102.50", "102.52", trade="99")

    assert results(events)[0] == ("TRIGGERED", "stop_triggered")
    assert [(fill.price, fill.liquidity) for fill in fills(events)] == [("102.50", "TAKER")]


@pytest.mark.parametrize(("bid", "ends"), [("101.99", False), ("102.00", True)])
def test_pair_whose_quote_would_take_when_it_arrives_ends(bid: str, ends: bool) -> None:
    """The quote of a pair may not take: both legs end where the bid is at the target already."""
    desk = executor()
    desk.intent("SELL", "2", **PAIR)
    desk.restarted()

    events = desk.tick(bid, "102.50")

    assert results(events) == ([("EXPIRED", "would_take")] if ends else [])
    assert (desk.execution.orders == []) is ends


def test_queue_before_the_quote_is_forgotten_by_its_stop() -> None:
    """In the model `queue` a stop's limit joins the queue at its own price, restarted or not."""
    desk = executor(execution__fill_model="queue")
    desk.put(
        "market_ticks",
        Book(SYMBOL, (("98.50", "3"),), (("102.00", "7"),), 1, "interval"),
    )
    desk.intent("SELL", "2", **PAIR)
    desk.tick()
    (order,) = desk.execution.orders
    before = desk.execution.state()["fill_model"]["ahead"]
    desk.tick("97", "98.50", trade="97", ask_qty="4")
    desk.restarted()
    after = desk.execution.state()["fill_model"]["ahead"]

    assert (before, after) == ({order.order_id: "7.00000000"}, {order.order_id: "4.00000000"})


# --- what is reserved and counted -----------------------------------------------------------------


def test_pair_reserves_its_coins_once() -> None:
    """Beside a pair for two of five coins three are free, and no more."""
    desk = rested(execution__fee_asset="quote")

    assert desk.execution.balances() is not None
    assert (desk.execution.balances() or {})["BTC"] == {
        "free": "3.00000000",
        "reserved": "2.00000000",
    }
    assert results(desk.intent("SELL", "3.001")) == [("REJECTED", "short_sale")]
    assert results(desk.intent("SELL", "3")) == [("ACCEPTED", "accepted")]


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        ({"orders_max": 2, "algo_orders_max": 1, "order_lists_max": 1}, "accepted"),
        ({"orders_max": 1}, "orders_max"),
    ],
)
def test_pair_is_two_orders_one_trigger_and_one_list(bounds: dict[str, int], reason: str) -> None:
    """The quote of a pair counts as an order without a trigger."""
    desk = executor(bounds)

    assert [why for _, why in results(desk.intent("SELL", "2", **PAIR))] == [reason]


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        ({"algo_orders_max": 2}, "accepted"),
        ({"algo_orders_max": 1}, "algo_orders_max"),
        ({"order_lists_max": 1}, "order_lists_max"),
        ({"orders_max": 3}, "orders_max"),
        ({"orders_max": 4}, "accepted"),
    ],
)
def test_second_pair_is_counted_beside_the_first(bounds: dict[str, int], reason: str) -> None:
    """Two pairs are four orders, two triggers and two lists."""
    desk = executor(bounds)
    desk.intent("SELL", "2", **PAIR)

    assert [why for _, why in results(desk.intent("SELL", "2", **PAIR))] == [reason]


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "accepted"),
        ({"limit_price": "99.00"}, "accepted"),
        ({"limit_price": "99.01"}, "price_invalid"),
        ({"limit_price": "0"}, "price_invalid"),
        ({"limit_price": "-1"}, "price_invalid"),
        ({"limit_price": "98.995"}, "step_size"),
        ({"target_price": "102.005"}, "step_size"),
        ({"stop_price": "102", "limit_price": "98"}, "price_invalid"),
        ({"stop_price": "99.99"}, "would_trigger"),
        ({"target_price": "99.99"}, "would_trigger"),
        ({"time_in_force": "GTC"}, "order_type_unsupported"),
        ({"trailing_delta": 100}, "order_type_unsupported"),
        ({"target_price": None}, "order_type_unsupported"),
        ({"stop_price": None}, "order_type_unsupported"),
        ({"order_type": "STOP_LOSS_LIMIT", "target_price": None}, "accepted"),
        (
            {"order_type": "STOP_LOSS_LIMIT", "target_price": None, "limit_price": "99.01"},
            "price_invalid",
        ),
    ],
)
def test_pair_is_accepted_or_rejected_by_its_reason(changes: dict[str, Any], reason: str) -> None:
    """A limit above its trigger, and legs that cross the market, are rejected by reason code."""
    desk = executor()

    outcome = "ACCEPTED" if reason == "accepted" else "REJECTED"
    assert results(desk.intent("SELL", "2", **(PAIR | changes))) == [(outcome, reason)]
    assert len(desk.execution.orders) == (reason == "accepted")


@pytest.mark.row("B-53")
@pytest.mark.parametrize(
    ("rules", "changes", "reason"),
    [
        ({"price_min": "98.50"}, {}, "accepted"),
        ({"price_min": "98.51"}, {}, "price_range"),
        ({"price_max": "102"}, {}, "accepted"),
        ({"price_max": "101.99"}, {}, "price_range"),
        ({"ask_percent_down": "0.985"}, {}, "accepted"),
        ({"ask_percent_down": "0.985"}, {"limit_price": "98.49"}, "price_band"),
        ({"ask_percent_up": "1.02"}, {}, "accepted"),
        ({"ask_percent_up": "1.02"}, {"target_price": "102.01"}, "price_band"),
        ({"notional_min": "197"}, {}, "accepted"),
        ({"notional_min": "197.01"}, {}, "min_notional"),
        ({"notional_max": "204"}, {}, "accepted"),
        ({"notional_max": "203.99"}, {}, "notional_max"),
    ],
)
def test_filters_of_each_price_of_a_pair_count_at_their_bounds(
    rules: dict[str, str], changes: dict[str, str], reason: str
) -> None:
    """Price range, percent band and value are judged at the limit and at the target."""
    desk = executor(rules)
    desk.put("market_ticks", AveragePrice(SYMBOL, "100", 5, desk.ts))

    assert [why for _, why in results(desk.intent("SELL", "2", **(PAIR | changes)))] == [reason]


# --- a replacement on its way ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bid", "trade", "said"),
    [
        ("98.90", "98.99", ["TRIGGERED", "FILLED"]),
        ("98.90", "99.00", ["TRIGGERED", "FILLED"]),
        ("99.30", "99.01", []),
        ("103.50", "103.50", []),
    ],
)
def test_replacement_on_its_way_acts_at_the_lower_stop_and_not_at_targets(
    bid: str, trade: str, said: list[str]
) -> None:
    """The former stop acts until the new pair arrives; a quote on its way gets nothing."""
    desk = executor(execution__latency_market_ms=250)
    desk.intent("SELL", "2", **PAIR)
    desk.tick(after_ms=300)
    replaced(desk, **(PAIR | {"stop_price": "99.50", "target_price": "103"}))
    desk.restarted()

    found = desk.tick(bid, "104", trade=trade)

    assert [result for result, _ in results(found)] == said
    assert [fill.price for fill in fills(found)] == (["98.90"] if said else [])


def test_pair_restarted_in_each_step_writes_the_same_bytes() -> None:
    """An executor restored from its state in every step goes on as the one that ran through."""
    whole, cut = executor(), executor()
    for desk in (whole, cut):
        for n, (bid, trade, size) in enumerate(
            [
                *[("99.99", None, "1"), ("101", "101", "1"), ("102", None, "0.3")],
                *[("98", "98", "1"), ("102", "102", "0.4"), ("103", None, "9")],
                *[("103", None, "9"), ("97", "97", "9"), ("98.5", None, "0.4")],
            ]
        ):
            if desk is cut:
                desk.restarted()
            if n in (0, 6):
                prices = {"stop_price": "99", "target_price": "102" if n == 0 else "104"}
                desk.intent("SELL", "2", **(PAIR | prices))
            desk.tick(bid, f"{float(bid) + 0.02:.2f}", trade=trade, bid_qty=size)

    assert whole.log_bytes() == cut.log_bytes()
    assert whole.execution.state() == cut.execution.state()
    reasons = [why for _, why in results(whole.events("order_results"))]
    assert {"target_triggered", "stop_triggered", "partial"} <= set(reasons)
