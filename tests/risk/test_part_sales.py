"""Sales of a part of a position, as its strategy wants them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from minibot.events.model import ExitPosition
from minibot.events.money import parse_amount
from tests.risk.desk import (
    SYMBOL,
    Desk,
    actions,
    check_of,
    config,
    fills,
    intents,
    opening,
    results,
)
from tests.risk.test_risk_ladder import LADDER

COINS = "10"


def holder(**changes: Any) -> Desk:
    """Return a desk that holds ten coins bought at 100."""
    one = Desk(config(**{"risk__order_notional": "1000"} | changes))
    one.ready()
    one.tick("100", "100", trade="100")
    one.buy()
    assert held(one) == Decimal(COINS)
    return one


def held(one: Desk) -> Decimal:
    """Return how many coins are held."""
    return sum((Decimal(each["qty"]) for each in one.risk.facts()["open_positions"]), Decimal(0))


@pytest.mark.parametrize(
    ("wish", "sold"),
    [
        ({"share_bps": 2_500}, "2.5"),
        ({"qty": "3"}, "3"),
        ({"qty": "3", "share_bps": 2_500}, "2.5"),
        ({"notional": "250"}, "2.5"),
        ({"notional": "250", "share_bps": 3_000}, "2.5"),
        ({"notional": "250", "qty": "2"}, "2"),
        ({"notional": "123.45"}, "1.234"),
        ({"notional": "5000"}, COINS),
        ({"share_bps": 3_333}, "3.333"),
        ({"qty": "1.23456789"}, "1.234"),
        ({"share_bps": 10_000}, COINS),
        ({"qty": "11"}, COINS),
        ({"share_bps": 9_999}, COINS),
        ({"qty": "9.95"}, COINS),
    ],
)
def test_part_is_sold_in_whole_steps_and_a_small_rest_with_it(
    wish: dict[str, Any], sold: str
) -> None:
    """A rest that can be sold later is kept; one that could not is sold now."""
    one = holder()
    events = one.signal("SELL", **wish)
    one.tick()

    assert actions(events) == [("EXIT", "signal_exit")]
    assert Decimal(intents(events)[0].qty) == Decimal(sold)
    assert held(one) == Decimal(COINS) - Decimal(sold)


@pytest.mark.parametrize(
    "changes",
    [
        {"risk__stop_bps": "1000"},
        {"risk__stop_bps": "1000", "portfolio__at_end": "carry"},
        {"risk__stop_bps": "200", "risk__hard_stop_bps": "1000"},
    ],
)
@pytest.mark.parametrize(("qty", "rest"), [("9.889", "0"), ("9.888", "0.112")])
def test_rest_can_be_sold_at_its_stop(changes: dict[str, Any], qty: str, rest: str) -> None:
    """The stop is at 90: a rest of 0.111 is worth 9.99 there, one of 0.112 is worth 10.08."""
    one = holder(**changes)
    one.signal("SELL", qty=qty)
    one.tick()

    assert held(one) == Decimal(rest)
    if held(one):
        assert actions(one.tick("90", "90"))[0][0] == "EXIT"


@pytest.mark.parametrize(
    "changes",
    [{"risk__stop_bps": "500", "risk__take_profit_bps": "900"}, {"risk__hard_stop_bps": "500"}],
)
def test_part_of_two_lots_moves_no_level_of_the_rest(changes: dict[str, Any]) -> None:
    """The first lot is sold first, and the entry price of both stays that of the position."""
    one = Desk(config(**changes, risk__order_notional="500", risk__time_exit_ms=60_000))
    one.ready()
    for price in ("100", "98"):
        one.tick(price, price)
        one.buy()
    levels = one.risk.facts()["exits"]

    one.signal("SELL", share_bps=5_000)
    assert [fill.side for fill in fills(one.tick())] == ["SELL"]

    assert one.risk.facts()["exits"] == levels
    assert 0 < held(one) < 6


def test_part_of_more_than_is_held_says_what_was_cut() -> None:
    """The failed check names the wish and the position."""
    event, *_ = holder().signal("SELL", qty="11")

    assert check_of(event, "part_qty") == {
        "name": "part_qty",
        "value": "11.00000000",
        "threshold": "10.00000000",
        "passed": False,
    }


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"share_bps": 1}, "min_notional"),
        ({"qty": "0.0009"}, "min_notional"),
        ({"notional": "0.1"}, "min_notional"),
    ],
)
def test_part_too_small_to_sell_is_refused(wish: dict[str, Any], reason: str) -> None:
    """The venue takes no such order, and more than is wanted is not sold."""
    one = holder()

    assert actions(one.signal("SELL", **wish)) == [("BLOCK", reason)]
    assert held(one) == Decimal(COINS)


def test_parts_follow_each_other() -> None:
    """A part beside a part on its way is refused; afterwards it is a share of what is left."""
    one = holder()
    one.signal("SELL", share_bps=5_000)
    again = one.signal("SELL", share_bps=5_000)
    one.tick()
    one.signal("SELL", share_bps=5_000)
    one.tick()

    assert actions(again) == [("BLOCK", "pending_order")]
    assert held(one) == Decimal("2.5")


def test_stop_sells_what_a_part_has_left() -> None:
    """The rest stays guarded."""
    one = holder(risk__hard_stop_bps="1000")
    one.signal("SELL", share_bps=4_000)
    one.tick()
    events = one.tick("90", "90", trade="90")
    one.tick()

    assert actions(events) == [("EXIT", "hard_stop")]
    assert [Decimal(intent.qty) for intent in intents(events)] == [Decimal("6")]
    assert held(one) == 0


@pytest.mark.parametrize("is_restarted", [False, True])
def test_stop_sells_beside_a_part_that_is_on_its_way(*, is_restarted: bool) -> None:
    """The part finds no bid of its size: what is free is sold at the stop, and no more."""
    one = holder(risk__hard_stop_bps="1000")
    one.signal("SELL", share_bps=4_000)
    one.tick("95", "95", bid_qty="0")
    if is_restarted:
        one.restarted()

    events = one.tick("90", "90", bid_qty="0")
    again = one.tick("89", "89", bid_qty="0")
    one.tick("89", "89")

    assert actions(events) == [("EXIT", "hard_stop")]
    assert [Decimal(intent.qty) for intent in intents(events)] == [Decimal("6")]
    assert again == []
    assert held(one) == 0


def test_operator_leaves_beside_a_part_that_is_on_its_way() -> None:
    """A request waits for no part: what is free is sold at once."""
    one = holder(risk__hard_stop_bps="1000")
    one.signal("SELL", share_bps=4_000)

    events = one.put("control", ExitPosition(who="operator", why="test", symbol=SYMBOL))

    assert actions(events) == [("EXIT", "operator_exit")]
    assert [Decimal(intent.qty) for intent in intents(events)] == [Decimal("6")]


def test_order_that_rests_for_the_rest_is_left_alone_beside_a_part() -> None:
    """The executor sells what a part leaves: a bid at the stop without a trade sells nothing."""
    one = holder(risk__hard_stop_bps="1000", risk__exits_at="venue")
    one.signal("SELL", share_bps=4_000)
    one.tick("95", "95", bid_qty="0")

    assert actions(one.tick("89", "89", bid_qty="0")) == []
    sold = one.tick("89", "89", trade="89")
    assert actions(sold) == [("EXIT", "hard_stop")]
    assert held(one) == 0


@pytest.mark.parametrize("share", [None, 4_000])
def test_sale_of_more_than_the_venue_takes_goes_on_order_by_order(share: int | None) -> None:
    """Beside a sale of the whole no further one is sent, however many orders it needs."""
    one = holder(risk__hard_stop_bps="1000")
    one.instrument(qty_max="3")
    if share is not None:
        one.signal("SELL", share_bps=share)
    events = [event for _ in range(10) for event in one.tick("90", "90", bid_qty="0")]

    assert actions(events) == [("EXIT", "hard_stop")]


def test_resting_stop_shrinks_with_a_part() -> None:
    """Its replacement comes first, so that both sell no more than the position."""
    one = holder(risk__hard_stop_bps="1000", risk__exits_at="venue")
    events = one.signal("SELL", share_bps=4_000)
    one.tick()

    assert actions(events) == [("PROTECT", "protected"), ("EXIT", "signal_exit")]
    assert [Decimal(intent.qty) for intent in intents(events)] == [Decimal("6"), Decimal("4")]
    one.tick("90", "90", trade="90")
    one.tick("90", "90", trade="90")
    assert held(one) == 0


def test_stop_that_rests_for_what_a_part_leaves_is_not_replaced() -> None:
    """The venue takes six coins in one order: of twelve, the other six are sold beside it."""
    one = Desk(
        config(risk__order_notional="600", risk__hard_stop_bps="1000", risk__exits_at="venue")
    )
    one.ready()
    one.instrument(qty_max="6")
    one.tick("100", "100", trade="100")
    one.buy()
    one.buy()
    (before,) = one.execution.orders

    events = one.signal("SELL", share_bps=5_000)
    one.tick()

    assert actions(events) == [("EXIT", "signal_exit")]
    assert held(one) == 6
    assert [order.order_id for order in one.execution.orders] == [before.order_id]


@pytest.mark.parametrize(
    ("notional", "levels", "sold"),
    [
        ("20.10", {"risk__stop_bps": "200"}, "0.201"),
        ("20.50", {"risk__stop_bps": "200"}, "0.102"),
        ("20.30", {"risk__stop_bps": "100", "risk__stop_limit_bps": "100"}, "0.203"),
        ("20.50", {"risk__stop_bps": "100", "risk__stop_limit_bps": "100"}, "0.102"),
    ],
)
def test_part_whose_remainder_is_too_small_to_rest_sells_all(
    notional: str, levels: dict[str, Any], sold: str
) -> None:
    """The executor values an order at its stop or limit, which is worth less than at the bid."""
    keys = {"risk__order_notional": notional, "risk__exits_at": "venue"} | levels
    one = Desk(config(**keys))
    one.ready()
    one.tick("100", "100", trade="100")
    one.buy()
    whole = held(one)

    events = one.signal("SELL", share_bps=5_000)
    one.tick()

    assert actions(events)[-1] == ("EXIT", "signal_exit")
    assert "REJECTED" not in [result for result, _ in results(events)]
    assert held(one) == whole - Decimal(sold)
    assert [order.remaining for order in one.execution.orders] == [
        parse_amount(f"{held(one)}") for _ in range(held(one) > 0)
    ]


@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_part_never_ends_the_run(exits_at: str) -> None:
    """Parts stop before the hard order rate, and the whole can still be sold."""
    rates = {"risk__orders_per_minute_soft": 8, "risk__orders_per_minute_hard": 8}
    one = holder(risk__hard_stop_bps="1000", risk__exits_at=exits_at, **rates)
    answers = []
    for _ in range(12):
        answers += actions(one.signal("SELL", qty="0.5"))
        one.tick()

    assert ("BLOCK", "order_rate") in answers
    assert "STOP" not in {kind for kind, _ in answers}
    assert actions(one.signal("SELL"))[-1] == ("EXIT", "signal_exit")
    one.tick()
    assert held(one) == 0


def test_profile_without_exits_on_signals_sells_no_part() -> None:
    """A part is a sale on a signal like any other."""
    one = holder(risk__signal_exit=False)

    assert actions(one.signal("SELL", share_bps=5_000)) == [("BLOCK", "signal_exit")]


def test_restart_beside_a_part_changes_nothing() -> None:
    """Cores made from their states sell and guard the same."""
    plain, cut = (holder(risk__hard_stop_bps="1000", risk__exits_at="venue") for _ in "ab")
    for one in (plain, cut):
        one.signal("SELL", share_bps=4_000)
        if one is cut:
            one.restarted()
        one.tick()
        if one is cut:
            one.restarted()
        one.tick("90", "90", trade="90")
        one.tick("90", "90", trade="90")

    assert plain.log_bytes() == cut.log_bytes()
    assert fills(plain.events("fills"))


def test_entry_price_beyond_64_bits_is_kept_over_a_restart() -> None:
    """A price of 200,000,000,000 fits a snapshot beside a part that was sold, too."""
    price = "200000000000"
    budgets = {
        f"risk__{span}_{kind}_{side}": f"1{zeros}"
        for span in ("night", "day")
        for kind, zeros in (("notional", "0" * 17), ("loss", "0" * 16))
        for side in ("soft", "hard")
    }
    size = {"risk__order_notional": "2000000000000", "risk__position_notional_max": "1" + "0" * 17}
    profile = config(**budgets, **size, risk__stop_bps="100")
    plain, cut = (Desk(profile, first=opening(cash="1" + "0" * 15)) for _ in "ab")
    for one in (plain, cut):
        one.instrument()
        one.tick(price, price)
        one.buy()
        one.signal("SELL", share_bps=5_000)
        one.tick()
        if one is cut:
            one.restarted()
        one.tick("198000000000", "198000000000")

    assert plain.log_bytes() == cut.log_bytes()
    assert actions(plain.events("risk_actions"))[-1] == ("EXIT", "stop_loss")


@pytest.mark.parametrize(
    ("wish", "changes", "first", "passed"),
    [
        ({"share_bps": 5_000}, {"risk__stop_bps": "100"}, "signal_age_ms", True),
        (None, LADDER, "ladder_price", False),
    ],
)
def test_order_for_the_rest_shows_the_first_check_of_the_sale_as_it_came_out(
    wish: dict[str, Any] | None, changes: dict[str, Any], first: str, passed: bool
) -> None:
    """A signal is not too old: nothing has failed; a rung that sells is the check that failed."""
    one = holder(**changes, risk__exits_at="venue")
    one.tick("100", "100", trade="100")

    events = one.tick("103", "103", trade="103") if wish is None else one.signal("SELL", **wish)

    protect, leave = [event.to_json()["payload"] for event in events if event.type == "risk_action"]
    assert [each["action"] for each in (protect, leave)] == ["PROTECT", "EXIT"]
    assert protect["checks"] == leave["checks"][:1]
    assert [(each["name"], each["passed"]) for each in protect["checks"]] == [(first, passed)]
