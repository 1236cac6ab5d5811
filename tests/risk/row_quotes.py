"""Scenarios of quotes: rows of price and count, and of an entry that is quoted anew."""

from __future__ import annotations

from typing import Final

from minibot.events.model import BUY
from minibot.events.money import UNIT
from tests.risk.row_levels import _texts
from tests.risk.row_scenarios import _scenarios, over
from tests.risk.row_world import NOW, Change, World, nothing, orders, put, step

_quote = _scenarios("quote_rows", is_held=False)
_life = _scenarios("life_rows", is_held=False)
_moved = _scenarios("moved_rows", is_held=False)
_again = _scenarios("again_rows", is_held=False)
_late = _scenarios("late_rows", is_held=False)
_rest = _scenarios("rest_rows", is_held=False)


def beside(**bounds: int) -> Change:
    """Return a change to an OCO that rests in the symbol, and these bounds of the venue."""

    def change(world: World) -> None:
        world.rules(**bounds)
        world.order("SELL", UNIT)
        order = world.positions.orders[-1]
        order.stop, order.target = 90 * UNIT, 110 * UNIT

    return change


def beside_limit(is_triggered: bool, **bounds: int) -> Change:
    """Return a change to a pair whose stop has a limit, resting or triggered, and such bounds."""

    def change(world: World) -> None:
        beside(**bounds)(world)
        order = world.positions.orders[-1]
        order.limit, order.is_triggered = 89 * UNIT, is_triggered

    return change


def least(notional: str) -> Change:
    """Return a change of the venue's minimum notional of any order."""
    return lambda world: world.rules(notional_min=notional)


def bought(world: World) -> None:
    """Let another purchase of the symbol be on its way."""
    world.order(BUY, UNIT)


def guarded(world: World) -> None:
    """Let an order rest for a position of the symbol, and its replacement be on its way."""
    for is_replacing in (False, True):
        world.order("SELL", UNIT)
        order = world.positions.orders[-1]
        order.stop, order.is_replacing = 90 * UNIT, is_replacing


def triggered(world: World) -> None:
    """Let an order that rested be sold at the market."""
    guarded(world)
    world.positions.orders[-1].is_triggered = True


QUOTES: Final = (
    _life(
        "LIMIT_MS",
        "",
        over("limit_valid_ms", "5000", "5001"),
        step("horizon_ms", 5_000),
    ),
    _quote(
        "QUOTE_NOTIONAL",
        "",
        (
            "quote_notional 99.99000000 / 99.99000000",
            "quote_notional 99.99000000 / 99.99000001",
        ),
        (least("99.99"), least("99.99000001")),
    ),
)

_count = _scenarios("count_rows", is_held=True)

COUNTS: Final = (
    *(
        _count(
            gate,
            reason,
            (f"{name} {used} / {used}", f"{name} {used} / {used - 1}"),
            (beside(**{key: used}), beside(**{key: used - 1})),
        )
        for gate, reason, name, key, used in (
            ("OPEN_ORDERS", "orders_max", "open_orders", "orders_max", 4),
            ("ALGO_ORDERS", "algo_orders_max", "algo_orders", "algo_orders_max", 4),
            ("ORDER_LISTS", "order_lists_max", "order_lists", "order_lists_max", 2),
        )
    ),
    *(
        _count(
            gate,
            key,
            (f"{name} {used} / {used}", f"{name} {used} / {used - 1}"),
            (beside_limit(has_left, **{key: used}), beside_limit(has_left, **{key: used - 1})),
        )
        for gate, name, key, used, has_left in (
            ("ALGO_ORDERS", "algo_orders", "algo_orders_max", 3, False),
            ("OPEN_ORDERS", "open_orders", "orders_max", 4, False),
            ("OPEN_ORDERS", "open_orders", "orders_max", 3, True),
        )
    ),
)

BID: Final = 10_000 * UNIT // 100

REQUOTES: Final = (
    _moved(
        "BEST_BID",
        "quote_moved",
        over("best_bid", "100.00000000", "100.01000000"),
        (
            put(market__bid=BID, market__ask=2 * BID),
            put(market__bid=BID + UNIT // 100, market__ask=2 * BID),
        ),
    ),
    _moved(
        "BEST_BID",
        "quote_moved",
        over("best_bid", "100.00000000", "100.01000000"),
        (
            put(market__bid=BID + UNIT // 100, market__ask=2 * BID, market__is_fresh=False),
            put(market__bid=BID + UNIT // 100, market__ask=2 * BID),
        ),
    ),
    _moved(
        "BEST_BID",
        "quote_moved",
        over("best_bid", "100.00000000", "100.01000000"),
        (
            put(market__bid=BID + UNIT // 100, market__ask=2 * BID, market__ts=NOW - 5_201),
            put(market__bid=BID + UNIT // 100, market__ask=2 * BID, market__ts=NOW - 5_200),
        ),
    ),
    _again("REQUOTES", "quote_unfilled", over("requotes", "2", "3"), step("quote__requotes", 2)),
    _again(
        "ENTRY_AGE",
        "quote_unfilled",
        _texts("entry_age_ms", ("2999 / 3000", "3000 / 3000")),
        (
            put(quote__started_ts=NOW - 2_999, quote__until_ts=NOW + 1),
            put(quote__started_ts=NOW - 3_000, quote__until_ts=NOW),
        ),
    ),
    _late(
        "ENTRY_LATE",
        "late_fill",
        _texts("entry_late_ms", ("1999 / 2000", "2000 / 2000")),
        (
            put(limits__late_fill_ms=2_000, quote__signal__ts=NOW - 1_999),
            put(limits__late_fill_ms=2_000, quote__signal__ts=NOW - 2_000),
        ),
    ),
    _rest(
        "REST_COST",
        "quote_moved",
        _texts(
            "entry_rest_cost",
            ("200.00000000 / 200.00000000", "200.00000000 / 199.99999999"),
        ),
        (put(quote__cost=398 * UNIT), put(quote__cost=398 * UNIT - 1)),
    ),
    _rest(
        "RATE",
        "order_rate",
        over("orders_per_minute_hard", "23", "24"),
        (orders(22), orders(23)),
    ),
    _rest(
        "OTHER_PENDING",
        "pending_order",
        ("order_pending no / no", "order_pending yes / no"),
        (guarded, bought),
    ),
    _rest(
        "OTHER_PENDING",
        "pending_order",
        ("order_pending no / no", "order_pending yes / no"),
        (nothing, triggered),
    ),
)
