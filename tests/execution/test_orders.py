"""Order table: every legal move is made; any other raises and changes nothing."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from minibot.events.model import BUY
from minibot.execution.orders import NEXT_STATES, TERMINAL_STATES, Order, OrderState
from minibot.kernel.canonical import decode, encode
from minibot.kernel.errors import InvariantError

EARLY = {"early": [2, 88, None]}


def order(state: OrderState = OrderState.NEW, **changes: Any) -> Order:
    """Return an order of a state, by default without a trigger."""
    return Order.from_json(
        {
            "intent_id": "i",
            "intent_ts": 1,
            "order_id": "o",
            "client_order_id": "c",
            "symbol": "BTCUSDT",
            "side": BUY,
            "qty": 1000,
            "qty_places": 3,
            "qty_step": 1,
            "reserve_price": 100,
            "limit": None,
            "time_in_force": "GTC",
            "due_ts": 2,
            "expires_ts": 3,
            "state": state.value,
            "filled": 0,
            "has_met_market": False,
        }
        | changes
    )


@pytest.mark.row("D-48")
@pytest.mark.parametrize(("before", "after"), list(product(OrderState, OrderState)))
def test_order_move_outside_the_table_raises_and_changes_nothing(
    before: OrderState, after: OrderState
) -> None:
    """Each pair of states is either in the table or impossible."""
    moved = order(before, stop=90)

    if after in NEXT_STATES[before]:
        moved.move(after)
        assert moved.state is after
    else:
        with pytest.raises(InvariantError):
            moved.move(after)
        assert moved.state is before


def test_order_that_rests_is_filled_behind_its_trigger_alone() -> None:
    """A resting order fills only once triggered, and one without a trigger has no such state."""
    resting, plain = order(OrderState.ACCEPTED, stop=90), order(OrderState.ACCEPTED)

    with pytest.raises(InvariantError):
        resting.fill(1)
    with pytest.raises(InvariantError):
        plain.move(OrderState.TRIGGERED)
    resting.move(OrderState.TRIGGERED)
    assert resting.fill(1000)


def test_order_table_ends_and_never_returns_to_new() -> None:
    """A terminal state has no exit, no move leads to NEW, and every state is listed."""
    assert set(NEXT_STATES) == set(OrderState)
    assert all(not NEXT_STATES[state] for state in TERMINAL_STATES)
    assert all(OrderState.NEW not in following for following in NEXT_STATES.values())


@pytest.mark.row("D-49")
def test_order_fills_add_up_and_never_exceed_the_quantity() -> None:
    """Partial fills add up; a fill of zero or beyond the rest raises."""
    filled = order(OrderState.ACCEPTED)
    filled.fill(400)
    for impossible in (0, -1, 601):
        with pytest.raises(InvariantError):
            filled.fill(impossible)

    assert (filled.state, filled.filled, filled.remaining) == ("PARTIALLY_FILLED", 400, 600)
    filled.fill(600)
    assert (filled.state, filled.remaining) == (OrderState.FILLED, 0)
    with pytest.raises(InvariantError):
        filled.fill(1)
    for closed in (order(OrderState.NEW), order(OrderState.EXPIRED)):
        with pytest.raises(InvariantError):
            closed.fill(1)


@pytest.mark.parametrize(
    ("triggers", "stop"),
    [
        ({"stop": 90, "trail": 1000}, 108),
        ({"stop": 108, "trail": 1000}, 108),
        ({"stop": 109, "trail": 1000}, 109),
        ({"stop": 90}, 90),
        ({"trail": 1000}, None),
    ],
)
def test_trailing_stop_follows_a_trade_and_a_fixed_one_stays(
    triggers: dict[str, int], stop: int | None
) -> None:
    """A tenth below a trade at 120; it never falls, and what does not trail does not move."""
    resting = order(OrderState.ACCEPTED, **triggers)

    resting.follow(120, 1)

    assert resting.stop == stop


@pytest.mark.parametrize(
    ("former", "new", "early"),
    [
        ({"stop": 90}, {"stop": 95}, (2, 90, None)),
        ({"stop": 95}, {"stop": 90}, (2, 90, None)),
        ({"target": 110}, {"target": 105}, (2, None, 110)),
        ({"target": 105}, {"target": 110}, (2, None, 110)),
        ({"stop": 90, "target": 110}, {"stop": 91, "target": 109}, (2, 90, 110)),
        ({"stop": 90}, {"target": 105}, (2, None, None)),
        ({"stop": 90, "target": 110, "stop_limit": 89}, {"stop": 91, "target": 109}, (2, 90, None)),
        ({"stop": 90, "target": 110}, {"stop": 91, "target": 109, "stop_limit": 88}, (2, 90, None)),
        (
            {"stop": 90, "due_ts": 5, "early": [2, 88, None]},
            {"stop": 91, "due_ts": 6},
            (2, 88, None),
        ),
        (
            {"stop": 90, "due_ts": 4, "early": [2, 88, None]},
            {"stop": 91, "due_ts": 6},
            (4, 90, None),
        ),
        ({}, {"stop": 91}, (None, None, None)),
        ({"stop": 90}, {}, (None, None, None)),
        ({"stop": 90}, {"stop": 91, "due_ts": 1}, (None, None, None)),
    ],
)
def test_replacement_on_its_way_acts_at_the_worse_levels_that_both_have(
    former: dict[str, Any], new: dict[str, Any], early: tuple[int | None, int | None, int | None]
) -> None:
    """Until it is there the former order acts, or the one before if that is on its way itself."""
    resting = order(OrderState.ACCEPTED, **former)
    follower = order(OrderState.ACCEPTED, **{"intent_ts": 4 if "early" in former else 1} | new)

    follower.take_over(resting)

    assert (follower.early_ts, follower.early_stop, follower.early_target) == early


def test_replaced_order_acts_from_the_moment_at_which_it_is_due() -> None:
    """A trade in the millisecond before does not trigger it; one in that millisecond does."""
    follower = order(OrderState.ACCEPTED, stop=95, intent_ts=1)
    follower.take_over(order(OrderState.ACCEPTED, stop=90))
    assert follower.early_ts == 2

    assert [follower.is_reached_early(90, ts) for ts in (1, 2, 3)] == [False, True, True]


def test_order_survives_its_text_form() -> None:
    """An order restored from its text equals the original."""
    partly = order(OrderState.ACCEPTED)
    partly.fill(1)
    partly.has_met_market = True

    restored = Order.from_json(decode(encode(partly.to_json())))

    assert restored.to_json() == partly.to_json()
