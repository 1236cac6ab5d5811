"""Latency of orders: fixed, or drawn from measured ways by seed and id alone."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.model import Fill, JsonObject
from tests.risk.desk import SYMBOL, Desk, config, fills, of, opening

WAYS = [20, 250, 900]
LOT = {"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1}


def profile_of(seed: int = 1, ways: list[int] | None = WAYS) -> JsonObject:
    """Return a profile with a seed, and measured ways if any."""
    changes: dict[str, Any] = {} if ways is None else {"execution__latency_drawn_market_ms": ways}
    return config(execution__order_ttl_market_ms=600_000, **changes) | {"seed": seed}


def drawn(profile: JsonObject, *, orders: int = 30, restarts: bool = False) -> list[int]:
    """Return the latency of each of some purchases, as their fills tell it."""
    desk = Desk(profile, first=opening("100000", (LOT,)), with_risk=False).ready()
    for _ in range(orders):
        desk.intent("BUY", "1", after_ms=1)
        if restarts:
            desk.restarted()
        for _ in range(10):
            desk.tick()
    found = of((event for _, event in desk.log), Fill)
    return [int(fill.latency_market_ms) for fill in found]


def test_each_order_draws_one_of_the_measured_ways() -> None:
    """Thirty orders draw all three ways, and no other."""
    found = drawn(profile_of())

    assert len(found) == 30
    assert set(found) == set(WAYS)


def test_draw_follows_from_seed_and_id_alone() -> None:
    """The same night draws the same, restarted after each order or not; another seed differs."""
    plain = drawn(profile_of())

    assert drawn(profile_of(), restarts=True) == plain
    assert drawn(profile_of(seed=2)) != plain


def test_profile_without_measured_ways_has_the_fixed_one() -> None:
    """Without the key every order has `latency_market_ms`."""
    assert set(drawn(profile_of(ways=None), orders=5)) == {50}


@pytest.mark.parametrize(("after_ms", "count"), [(899, 0), (900, 1), (901, 1)])
def test_order_meets_no_tick_before_its_drawn_latency(after_ms: int, count: int) -> None:
    """A tick a millisecond early passes an order by; the one at its time fills it."""
    desk = Desk(profile_of(ways=[900]), with_risk=False).ready()
    desk.intent("BUY", "1")

    assert len(fills(desk.tick(after_ms=after_ms))) == count
