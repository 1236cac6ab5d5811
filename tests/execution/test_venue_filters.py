"""Filters of the venue, each at, below and above its bound, from exchangeInfo to the refusal."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

import pytest

from minibot.events.model import AveragePrice
from tests.instruments import of_filters
from tests.risk.desk import OTHER, SYMBOL, Desk, config, opening, results

LOT = {"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1}
PRICE_FILTER = {
    "filterType": "PRICE_FILTER",
    "minPrice": "95.00",
    "maxPrice": "105.00",
    "tickSize": "0.01",
}
LOT_SIZE = {"filterType": "LOT_SIZE", "minQty": "0.002", "maxQty": "40", "stepSize": "0.001"}
FREE = [
    {**PRICE_FILTER, "minPrice": "0", "maxPrice": "0"},
    {**LOT_SIZE, "minQty": "0", "maxQty": "0"},
]
MARKET_LOT = {
    "filterType": "MARKET_LOT_SIZE",
    "minQty": "0.5",
    "maxQty": "20",
    "stepSize": "0.1",
}
MIN_NOTIONAL = {"filterType": "MIN_NOTIONAL", "minNotional": "10", "applyToMarket": True}
NOTIONAL = {
    "filterType": "NOTIONAL",
    "minNotional": "10",
    "applyMinToMarket": True,
    "maxNotional": "2000",
    "applyMaxToMarket": True,
}
BOTH = {
    "filterType": "PERCENT_PRICE",
    "multiplierUp": "1.05",
    "multiplierDown": "0.95",
    "avgPriceMins": 0,
}
BY_SIDE = {
    "filterType": "PERCENT_PRICE_BY_SIDE",
    "bidMultiplierUp": "1.02",
    "bidMultiplierDown": "0.98",
    "askMultiplierUp": "1.03",
    "askMultiplierDown": "0.97",
    "avgPriceMins": 0,
}
POSITION = {"filterType": "MAX_POSITION", "maxPosition": "15"}

Order = tuple[str, str, str | None]


def desk_of(*filters: dict[str, Any], **changes: Any) -> Desk:
    """Return an executor that holds five coins, with filters as the venue gives them."""
    profile = config(risk__exits_at="venue", **changes)
    desk = Desk(profile, first=opening("10000", (LOT,)), with_risk=False)
    rules = {item["filterType"]: item for item in (*FREE, *filters)}
    desk.put("market_ticks", of_filters(SYMBOL, *rules.values()))
    desk.tick("100", "100")
    return desk


def answer(desk: Desk, order: Order) -> str:
    """Return the reason code of the answer to an order: side, quantity, and limit or market."""
    side, qty, price = order
    kind: dict[str, Any] = {"order_type": "MARKET"}
    if price is not None:
        kind = {"order_type": "LIMIT", "limit_price": price}
    ((_, reason),) = results(desk.intent(side, qty, **kind))
    return str(reason)


@pytest.mark.row("B-53")
@pytest.mark.parametrize(
    ("name", "order", "reason"),
    [
        (PRICE_FILTER, ("BUY", "1", "94.99"), "price_range"),
        (PRICE_FILTER, ("BUY", "1", "95.00"), "accepted"),
        (PRICE_FILTER, ("BUY", "1", "95.01"), "accepted"),
        (PRICE_FILTER, ("BUY", "1", "104.99"), "accepted"),
        (PRICE_FILTER, ("BUY", "1", "105.00"), "accepted"),
        (PRICE_FILTER, ("BUY", "1", "105.01"), "price_range"),
        (PRICE_FILTER, ("BUY", "1", "99.995"), "step_size"),
        (LOT_SIZE, ("BUY", "0.001", None), "qty_min"),
        (LOT_SIZE, ("BUY", "0.002", None), "accepted"),
        (LOT_SIZE, ("BUY", "0.003", None), "accepted"),
        (LOT_SIZE, ("BUY", "0.0025", None), "step_size"),
        (LOT_SIZE, ("BUY", "39.999", None), "accepted"),
        (LOT_SIZE, ("BUY", "40", None), "accepted"),
        (LOT_SIZE, ("BUY", "40.001", None), "qty_max"),
        (MARKET_LOT, ("BUY", "0.4", None), "qty_min"),
        (MARKET_LOT, ("BUY", "0.5", None), "accepted"),
        (MARKET_LOT, ("BUY", "0.6", None), "accepted"),
        (MARKET_LOT, ("BUY", "0.55", None), "step_size"),
        (MARKET_LOT, ("BUY", "19.9", None), "accepted"),
        (MARKET_LOT, ("BUY", "20", None), "accepted"),
        (MARKET_LOT, ("BUY", "20.1", None), "qty_max"),
        (MARKET_LOT, ("BUY", "0.4", "100"), "accepted"),
        (MIN_NOTIONAL, ("BUY", "0.099", None), "min_notional"),
        (MIN_NOTIONAL, ("BUY", "0.1", None), "accepted"),
        (MIN_NOTIONAL, ("BUY", "0.101", None), "accepted"),
        (NOTIONAL, ("BUY", "0.099", "100"), "min_notional"),
        (NOTIONAL, ("BUY", "0.1", "100"), "accepted"),
        (NOTIONAL, ("BUY", "0.101", "100"), "accepted"),
        (NOTIONAL, ("BUY", "19.999", None), "accepted"),
        (NOTIONAL, ("BUY", "20", None), "accepted"),
        (NOTIONAL, ("BUY", "20.001", None), "notional_max"),
        (BOTH, ("BUY", "1", "94.99"), "price_band"),
        (BOTH, ("BUY", "1", "95"), "accepted"),
        (BOTH, ("BUY", "1", "95.01"), "accepted"),
        (BOTH, ("SELL", "1", "104.99"), "accepted"),
        (BOTH, ("SELL", "1", "105"), "accepted"),
        (BOTH, ("SELL", "1", "105.01"), "price_band"),
        (BY_SIDE, ("BUY", "1", "97.99"), "price_band"),
        (BY_SIDE, ("BUY", "1", "98"), "accepted"),
        (BY_SIDE, ("BUY", "1", "102"), "accepted"),
        (BY_SIDE, ("BUY", "1", "102.01"), "price_band"),
        (BY_SIDE, ("SELL", "1", "96.99"), "price_band"),
        (BY_SIDE, ("SELL", "1", "97"), "accepted"),
        (BY_SIDE, ("SELL", "1", "103"), "accepted"),
        (BY_SIDE, ("SELL", "1", "103.01"), "price_band"),
        (POSITION, ("BUY", "9.999", None), "accepted"),
        (POSITION, ("BUY", "10", None), "accepted"),
        (POSITION, ("BUY", "10.001", None), "position_max"),
    ],
    ids=lambda value: value["filterType"] if isinstance(value, dict) else "-".join(map(str, value)),
)
def test_order_at_a_bound_passes_and_a_step_beyond_is_refused(
    name: dict[str, Any], order: Order, reason: str
) -> None:
    """An order at or within the bound of a filter is accepted, one step beyond refused."""
    assert answer(desk_of(name), order) == reason


@pytest.mark.row("B-53")
@pytest.mark.parametrize(
    ("average", "order", "reason"),
    [
        ("110", ("SELL", "0.09", None), "min_notional"),
        ("110", ("SELL", "0.091", None), "accepted"),
        ("90", ("BUY", "0.111", None), "min_notional"),
        ("90", ("BUY", "0.112", None), "accepted"),
        ("110", ("BUY", "18.181", None), "accepted"),
        ("110", ("BUY", "18.182", None), "notional_max"),
        ("90", ("BUY", "22.222", None), "accepted"),
        ("90", ("BUY", "22.223", None), "notional_max"),
        ("90", ("BUY", "0.1", "100"), "accepted"),
        ("110", ("BUY", "0.099", "100"), "min_notional"),
    ],
)
def test_value_of_a_market_order_is_judged_at_the_average_price(
    average: str, order: Order, reason: str
) -> None:
    """The touch of 100 counts neither way once an average is told; a limit has its own price."""
    desk = desk_of(NOTIONAL)
    desk.put("market_ticks", AveragePrice(SYMBOL, average, 5, desk.ts))
    desk.restarted()

    assert answer(desk, order) == reason


@pytest.mark.parametrize(("late_ms", "reason"), [(0, "accepted"), (1, "min_notional")])
def test_value_of_a_market_order_is_judged_at_the_touch_once_the_average_is_old(
    late_ms: int, reason: str
) -> None:
    """An average that is older than its own minutes judges no order."""
    desk = desk_of(NOTIONAL)
    desk.put("market_ticks", AveragePrice(SYMBOL, "110", 5, desk.ts))
    desk.tick("100", "100", after_ms=300_000 + late_ms)

    assert answer(desk, ("SELL", "0.095", None)) == reason


def test_market_order_has_to_be_paid_for_at_the_touch() -> None:
    """An average below the touch makes no purchase cheaper."""
    desk = desk_of()
    desk.put("market_ticks", AveragePrice(SYMBOL, "90", 5, desk.ts))

    assert answer(desk, ("BUY", "100.001", None)) == "insufficient_cash"
    assert answer(desk, ("BUY", "100", None)) == "accepted"


def counts_of(**bounds: int) -> list[dict[str, Any]]:
    """Return the venue's bounds on open orders, algo orders and lists."""
    kinds = {"orders": "ORDERS", "algo_orders": "ALGO_ORDERS", "lists": "ORDER_LISTS"}
    keys = {"orders": "Orders", "algo_orders": "AlgoOrders", "lists": "OrderLists"}
    return [
        {"filterType": f"MAX_NUM_{kinds[name]}", f"maxNum{keys[name]}": most}
        for name, most in bounds.items()
    ]


def counting(**bounds: int) -> Desk:
    """Return an executor with bounds on open orders, algo orders and lists of the symbol."""
    return desk_of(*counts_of(**bounds))


def placed(desk: Desk, kind: str, **changes: Any) -> str:
    """Return the reason code of the answer to a sale of one coin of a type."""
    prices: dict[str, dict[str, Any]] = {
        "LIMIT": {"limit_price": "110"},
        "MARKET": {},
        "STOP_LOSS": {"stop_price": "90"},
        "TAKE_PROFIT": {"target_price": "110"},
        "OCO": {"stop_price": "90", "target_price": "110"},
        "STOP_LOSS_LIMIT": {"stop_price": "90", "limit_price": "89"},
        QUOTED: {"stop_price": "90", "target_price": "110", "limit_price": "89"},
    }
    name = "OCO" if kind == QUOTED else kind
    events = desk.intent("SELL", "1", order_type=name, **prices[kind], **changes)
    return str(results(events)[-1][1])


@pytest.mark.row("B-53")
@pytest.mark.parametrize(
    ("bounds", "kinds", "reason"),
    [
        ({"orders": 3}, ["LIMIT", "OCO"], "accepted"),
        ({"orders": 2}, ["LIMIT", "OCO"], "orders_max"),
        ({"orders": 2}, ["LIMIT", "STOP_LOSS"], "accepted"),
        ({"orders": 1}, ["LIMIT", "LIMIT"], "orders_max"),
        ({"orders": 2}, ["LIMIT", "LIMIT"], "accepted"),
        ({"orders": 1}, ["LIMIT", "MARKET"], "accepted"),
        ({"orders": 0}, ["LIMIT", "OCO"], "accepted"),
        ({"algo_orders": 3}, ["STOP_LOSS", "OCO"], "accepted"),
        ({"algo_orders": 2}, ["STOP_LOSS", "OCO"], "algo_orders_max"),
        ({"algo_orders": 1}, ["TAKE_PROFIT", "LIMIT"], "accepted"),
        ({"algo_orders": 1}, ["TAKE_PROFIT", "STOP_LOSS"], "algo_orders_max"),
        ({"lists": 2}, ["OCO", "OCO"], "accepted"),
        ({"lists": 1}, ["OCO", "OCO"], "order_lists_max"),
        ({"lists": 1}, ["OCO", "STOP_LOSS"], "accepted"),
    ],
)
def test_order_beyond_a_count_is_refused_by_its_reason(
    bounds: dict[str, int], kinds: list[str], reason: str
) -> None:
    """An OCO counts as two orders with triggers and one list; what trades at once counts nothing.

    The last order that a bound holds is accepted, the next refused; a bound of zero is off.
    """
    desk = counting(**bounds)
    *first, last = kinds

    assert [placed(desk, kind) for kind in first] == ["accepted"] * len(first)
    assert placed(desk, last) == reason


QUOTED = "OCO with a limit"
COUNTED = {
    "LIMIT": (1, 0, 0),
    "STOP_LOSS": (1, 1, 0),
    "STOP_LOSS_LIMIT": (1, 1, 0),
    "TAKE_PROFIT": (1, 1, 0),
    "OCO": (2, 2, 1),
    QUOTED: (2, 1, 1),
}
"""Orders, algo orders and lists as which the venue counts an order of each type."""


@pytest.mark.row("B-53")
@pytest.mark.parametrize("resting", [*combinations_with_replacement(COUNTED, 2)], ids="+".join)
@pytest.mark.parametrize("last", COUNTED)
def test_orders_of_all_types_add_up_to_each_bound(resting: tuple[str, ...], last: str) -> None:
    """Beside two orders a third fits into bounds of their sum, and into none that is one less."""
    most = map(sum, zip(*(COUNTED[kind] for kind in (*resting, last)), strict=True))
    bounds = dict(zip(("orders", "algo_orders", "lists"), most, strict=True))
    desk = counting()
    assert [placed(desk, kind) for kind in resting] == ["accepted", "accepted"]

    for (name, total), own in zip(bounds.items(), COUNTED[last], strict=True):
        if own and total > 1:  # A bound of zero is off.
            desk.put("market_ticks", of_filters(SYMBOL, *FREE, *counts_of(**{name: total - 1})))
            assert placed(desk, last) == f"{name.replace('lists', 'order_lists')}_max"
    desk.put("market_ticks", of_filters(SYMBOL, *FREE, *counts_of(**bounds)))
    assert placed(desk, last) == "accepted"


def test_order_of_another_symbol_counts_for_that_alone() -> None:
    """Each symbol has its own bounds, and the room that its own resting orders leave."""
    desk = counting(orders=1)
    one = of_filters(OTHER, *FREE, {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 1})
    desk.put("market_ticks", one)
    desk.tick("100", "100", symbol=OTHER)
    told = [
        results(desk.intent("BUY", "1", order_type="LIMIT", limit_price="90", symbol=symbol))[-1][1]
        for symbol in (OTHER, SYMBOL, SYMBOL)
    ]

    assert told == ["accepted", "accepted", "orders_max"]


def test_ended_order_makes_room() -> None:
    """A triggered stop counts no longer: it trades at the market."""
    desk = counting(algo_orders=1)
    refused = placed(desk, "OCO"), placed(desk, "STOP_LOSS"), placed(desk, "STOP_LOSS")
    desk.tick("100", "100", trade="90", bid_qty="0.5")

    assert refused == ("algo_orders_max", "accepted", "algo_orders_max")
    assert placed(desk, "TAKE_PROFIT") == "accepted"
