"""Order counts: what rests already, against the venue's bounds on one order more."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.accounting.order_rules import OrderRules
from minibot.events.model import BUY, SELL
from minibot.events.money import UNIT
from minibot.risk.order_counts import count_rows
from minibot.risk.positions import WorkingOrder
from minibot.risk.quotes import Quote
from tests.risk.desk import OTHER, instrument
from tests.risk.row_world import World

BOUNDED: dict[str, Any] = {"orders_max": 20, "algo_orders_max": 10, "order_lists_max": 5}


def counts(world: World, algos: int = 0, **fields: Any) -> dict[str, int]:
    """Return the counts with one order more, by the names of their checks."""
    rows = count_rows(world.state, world.market, world.market.rules, algos, **fields)
    return {gate.name: value for gate, value, _ in rows}


def bounded(**changes: Any) -> World:
    """Return a world whose symbol bounds what may rest, with an entry at the market on its way."""
    world = World()
    world.rules(**BOUNDED | changes)
    world.order(BUY, UNIT)
    world.order(SELL, UNIT)
    return world


def resting(world: World, **levels: int) -> WorkingOrder:
    """Let an order of the symbol rest, and return it."""
    world.order(SELL, UNIT)
    order = world.positions.orders[-1]
    order.stop, order.target = levels.get("stop"), levels.get("target")
    order.limit = levels.get("limit")
    return order


def test_order_at_the_market_counts_nothing() -> None:
    """It does not rest: beside two of them the first quote is one order."""
    assert counts(bounded()) == {"open_orders": 1, "algo_orders": 0, "order_lists": 0}


@pytest.mark.parametrize(
    ("levels", "legs", "lists"),
    [
        ({"stop": 90}, 1, 0),
        ({"target": 110}, 1, 0),
        ({"stop": 90, "target": 110}, 2, 1),
    ],
)
def test_each_leg_that_waits_is_an_order_and_two_are_a_list(
    levels: dict[str, int], legs: int, lists: int
) -> None:
    """Resting legs are added to those of the order that is to rest."""
    world = bounded()
    resting(world, **levels)

    assert counts(world, 2) == {
        "open_orders": 2 + legs,
        "algo_orders": 2 + legs,
        "order_lists": 1 + lists,
    }


def test_order_in_whose_place_another_comes_is_not_counted_nor_is_one_that_has_ended() -> None:
    """The former order ends first, and an ended one waits for its fills alone."""
    world = bounded()
    former = resting(world, stop=90, target=110)
    resting(world, stop=80).final_filled = UNIT

    assert counts(world, 2, former=former) == {
        "open_orders": 2,
        "algo_orders": 2,
        "order_lists": 1,
    }


def test_target_that_is_a_quote_is_an_order_without_a_trigger() -> None:
    """A pair of two legs, one of them a quote, has one trigger; so has one that rests."""
    world = bounded()
    resting(world, stop=90, target=110, limit=89)

    assert counts(world, 2, quotes=1) == {"open_orders": 4, "algo_orders": 2, "order_lists": 2}


@pytest.mark.parametrize(("limit", "count"), [(None, 1), (89, 2)])
def test_triggered_order_counts_while_it_waits_at_its_limit(limit: int | None, count: int) -> None:
    """One that sells at the market is gone from the book at once."""
    world = bounded()
    order = resting(world, stop=90, **({} if limit is None else {"limit": limit}))
    order.is_triggered = True

    assert counts(world) == {"open_orders": count, "algo_orders": 0, "order_lists": 0}


def test_quote_of_an_entry_counts_and_one_of_another_symbol_does_not() -> None:
    """The venue counts by symbol."""
    world = bounded()
    other = world.positions.of(OTHER)
    for market in (world.market, other):
        world.order(BUY, 2 * UNIT, market)
        signal = world.signal(BUY)
        signal.symbol = market.symbol
        quote = Quote(signal, 2 * UNIT, 220 * UNIT, 0, 3_000)
        quote.place(world.positions.orders[-1].client, 110 * UNIT, 0)
        world.state.quotes.add(quote)

    assert counts(world)["open_orders"] == 2


@pytest.mark.parametrize("name", BOUNDED)
def test_bound_that_the_venue_has_not_is_not_asked(name: str) -> None:
    """Each bound is asked for itself; without any there is no check."""
    world = bounded(**(dict.fromkeys(BOUNDED) | {name: 7}))
    (asked,) = [
        (value, limit)
        for _, value, limit in count_rows(world.state, world.market, world.market.rules, 2)
        if limit
    ]

    assert asked == ({"orders_max": 2, "algo_orders_max": 2, "order_lists_max": 1}[name], 7)


@pytest.mark.parametrize("rules", [None, OrderRules.of(instrument())])
def test_symbol_without_bounds_or_without_rules_has_no_check_of_them(
    rules: OrderRules | None,
) -> None:
    """A bound that is not told refuses nothing by itself; missing rules refuse elsewhere."""
    world = World()

    assert count_rows(world.state, world.market, rules, 2) == ()
