"""Ladder: parts of the original quantity in whole steps, at their rungs, beside stops that hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minibot.accounting.order_rules import Bounds
from minibot.events.model import Gap
from minibot.events.money import UNIT, amount_text, cost_up
from minibot.risk.ladder import is_too_small, parts_of
from tests.risk.desk import OTHER, SYMBOL, Desk, actions, config, fills, intents
from tests.risk.test_risk_plan import opened_ts, told

LADDER: dict[str, Any] = {
    "risk__hard_stop_bps": "1000",
    "risk__exit_policy": "ladder",
    "risk__ladder_1_bps": "200",
    "risk__ladder_2_bps": "400",
}
STEP = UNIT // 1_000


def holder(**changes: Any) -> Desk:
    """Return a desk that holds ten coins bought at 100, first rung 102, second 104."""
    one = Desk(config(**LADDER | changes)).ready()
    one.tick("100", "100", trade="100")
    one.buy()
    one.ts += 60_000
    return one


def sold(one: Desk) -> list[tuple[str, str]]:
    """Return quantity and price of the sales so far."""
    found = fills(one.events("fills"))
    return [(fill.qty, fill.price) for fill in found if fill.side == "SELL"]


def to(one: Desk, *bids: str, size: str = "1000") -> list[tuple[str, str]]:
    """Show each bid for two ticks, and return what risk did."""
    answers = []
    for bid in bids:
        for _ in range(2):
            answers += one.tick(bid, bid, trade=bid, bid_qty=size)
    return actions(answers)


def waiting(one: Desk) -> list[str]:
    """Return the quantities that rest with the executor."""
    return [amount_text(one_.remaining)[:-5] for one_ in one.execution.orders if one_.is_waiting]


@pytest.mark.row("B-17", "B-44")
def test_half_three_tenths_and_the_rest_are_sold_at_their_levels() -> None:
    """Five of ten at the first rung, three at the second, two at the trailing stop."""
    one = holder(risk__trail_bps="100", risk__trail_from_bps="300")

    assert to(one, "101.99") == []
    assert to(one, "102.00", "103.00") == [("EXIT", "ladder_target")]
    assert to(one, "104.00") == [("EXIT", "ladder_target")]
    assert to(one, "110.00", "108.90") == [("EXIT", "trailing_stop")]
    assert sold(one) == [("5.000", "102.00"), ("3.000", "104.00"), ("2.000", "108.90")]
    assert one.risk.facts()["open_positions"] == []


def test_parts_are_exact_to_the_smallest_step() -> None:
    """Half of ten coins and three tenths of them are sold, where a coin has a hundred million."""
    one = Desk(config(**LADDER))
    one.instrument(qty_increment="0.00000001", qty_min="0.00000001")
    one.bar("100", "100", "100", "100")
    one.tick("100", "100", trade="100")
    one.buy()
    one.ts += 60_000
    to(one, "102", "104")

    assert sold(one) == [("5.00000000", "102.00"), ("3.00000000", "104.00")]


def test_second_rung_below_the_first_sells_its_own_part_first() -> None:
    """With an ATR of one and a half the second rung is at 103, below the first one at 104."""
    one = Desk(
        config(
            **LADDER
            | {
                "risk__ladder_1_bps": "400",
                "risk__ladder_2_bps": None,
                "risk__ladder_2_atr_mult": "2",
            }
        )
    )
    one.instrument()
    one.tick("100", "100", trade="100")
    one.bar("100", "100", "98.50", "100")
    one.bar("100", "100", "98.50", "100")
    one.tick("100", "100")
    one.buy()
    one.ts += 60_000

    assert to(one, "102.99") == []
    assert to(one, "103.00", "103.99") == [("EXIT", "ladder_target")]
    assert to(one, "104.00", "105.00") == [("EXIT", "ladder_target")]
    assert sold(one) == [("3.000", "103.00"), ("5.000", "104.00")]


def test_order_that_rests_behind_a_part_keeps_the_reasons_of_its_levels() -> None:
    """A part is sold beside another position's order; the rest is sold as a hard stop."""
    one = Desk(config(**LADDER, risk__exits_at="venue")).ready()
    one.instrument(OTHER)
    one.bar("100", "100", "100", "100", symbol=OTHER)
    for symbol in (OTHER, SYMBOL):
        one.tick("100", "100", trade="100", symbol=symbol)
        one.signal("BUY", symbol=symbol)
        one.tick("100", "100", trade="100", symbol=symbol)
    one.ts += 60_000

    assert to(one, "102") == [("PROTECT", "protected"), ("EXIT", "ladder_target")]
    assert to(one, "90") == [("EXIT", "hard_stop")]


def test_part_of_exactly_the_least_quantity_has_its_rung() -> None:
    """Half of 0.2 is all that the venue takes at least, and is sold alone."""
    one = Desk(config(**LADDER, risk__order_notional="20")).ready()
    one.instrument(qty_min="0.100")
    one.tick("100", "100", trade="100")
    one.buy()
    plan = one.risk._state.exits.of(SYMBOL).plan

    assert plan is not None
    assert plan.rungs_left == (102 * UNIT, 104 * UNIT)


def test_second_part_of_exactly_the_least_quantity_keeps_its_rung() -> None:
    """Five of ten coins are all that the venue takes at least; the second five wait for 104."""
    one = Desk(config(**LADDER)).ready()
    one.instrument(qty_min="5.000")
    one.tick("100", "100", trade="100")
    one.buy()
    one.ts += 60_000

    assert to(one, "102.00") == [("EXIT", "ladder_target")]
    assert told(one.events("risk_actions"))[-1].rungs == ("104.00000000",)
    assert to(one, "104.00") == [("EXIT", "ladder_target")]
    assert sold(one) == [("5.000", "102.00"), ("5.000", "104.00")]


def test_gap_beyond_both_rungs_sells_both_parts_at_the_gap() -> None:
    """A jump to 106 sells eight of ten at once, at 106; no rung is left in the plan."""
    one = holder()
    assert told(one.events("risk_actions"))[-1].rungs == ("102.00000000", "104.00000000")

    assert to(one, "106.00") == [("EXIT", "ladder_target")]
    assert sold(one) == [("8.000", "106.00")]
    assert told(one.events("risk_actions"))[-1].rungs is None


def test_rung_whose_part_is_sold_is_gone_where_single_units_can_be_sold() -> None:
    """Half of ten coins is the first rung's part: not a unit of it is left."""
    one = Desk(config(**LADDER)).ready()
    one.instrument(qty_increment="0.00000001", qty_min="0.00000001", notional_min="0")
    one.tick("100", "100", trade="100")
    one.buy()

    to(one, "102")

    assert told(one.events("risk_actions"))[-1].rungs == ("104.00000000",)


def test_target_of_the_position_sells_the_rest() -> None:
    """The target above the rungs sells what is left; below them it sells all."""
    one = holder(risk__take_profit_bps="600")
    assert [reason for _, reason in to(one, "102", "104", "106")] == [
        *("ladder_target", "ladder_target", "take_profit")
    ]

    near = holder(risk__take_profit_bps="100")
    assert to(near, "105") == [("EXIT", "take_profit")]
    assert sold(near) == [("10.000", "105.00")]


def test_rung_that_the_book_fills_in_part_sells_the_rest_of_its_part_later() -> None:
    """Two of five are filled before the order expires; the three come at the rung again."""
    one = holder()
    one.tick("102", "102", trade="102", bid_qty="2")
    one.tick("102", "102", bid_qty="2")
    one.beat(after_ms=6_000)
    assert sold(one) == [("2.000", "102.00")]

    assert to(one, "101.99") == []
    assert to(one, "102.00") == [("EXIT", "ladder_target")]
    assert sold(one) == [("2.000", "102.00"), ("3.000", "102.00")]
    assert to(one, "103.00") == []


def test_stop_sells_the_rest_while_a_part_is_on_its_way() -> None:
    """A thin book leaves the part open; the hard stop sells the other half beside it."""
    one = holder()
    one.tick("102", "102", trade="102", bid_qty="0.001")

    assert actions(one.tick("90", "90", bid_qty="0.001")) == [("EXIT", "hard_stop")]
    assert intents(one.events("order_intents"))[-1].qty == "5.000"
    to(one, "89")
    assert one.risk.facts()["open_positions"] == []


def test_scaling_in_counts_to_the_original_quantity() -> None:
    """Ten bought at 100 and as many at 101: the first rung sells half of all of it."""
    one = holder()
    one.tick("101", "101")
    one.buy()
    held = float(one.risk.facts()["open_positions"][0]["qty"])

    to(one, "102.6")

    assert float(sold(one)[0][0]) == pytest.approx(held / 2, abs=0.0006)


def test_part_at_the_venue_leaves_the_rest_covered_in_the_same_step() -> None:
    """The resting stop gives up the part before it is sold, and rests for all that stays."""
    one = holder(risk__exits_at="venue")
    assert waiting(one) == ["10.000"]

    events = one.tick("102", "102", trade="102")

    assert actions(events) == [("PROTECT", "protected"), ("EXIT", "ladder_target")]
    assert waiting(one) == ["5.000"]
    to(one, "103")
    assert (sold(one), waiting(one)) == ([("5.000", "103.00")], ["5.000"])
    one.ts += 60_000
    to(one, "104")
    assert waiting(one) == ["2.000"]
    assert [result for result, _ in actions(one.tick("89", "89", trade="89"))] == ["EXIT"]
    one.tick()
    assert one.risk.facts()["open_positions"] == []


@pytest.mark.parametrize("at", ["role", "venue"])
def test_part_waits_where_the_order_rate_has_no_room_and_ends_no_run(at: str) -> None:
    """With two of three orders used a part waits a minute; then it is sold."""
    rate = {"risk__orders_per_minute_soft": 2, "risk__orders_per_minute_hard": 3}
    one = holder(risk__exits_at=at, **rate)
    one.risk._state.budgets.on_order(one.ts, 0)
    one.risk._state.budgets.on_order(one.ts, 1)

    assert to(one, "103") == []
    assert one.risk.facts()["open_positions"] != []
    assert ("EXIT", "ladder_target") in actions(one.tick("103", "103", after_ms=60_000))


@pytest.mark.parametrize(("at", "used"), [("role", 3), ("venue", 2)])
def test_part_leaves_the_last_order_of_the_hard_rate_to_a_sale_of_the_whole(
    at: str, used: int
) -> None:
    """With the orders of a part the hard rate of four would be spent: the part waits, no sale."""
    one = holder(risk__exits_at=at, risk__orders_per_minute_soft=2, risk__orders_per_minute_hard=4)
    for number in range(used):
        one.risk._state.budgets.on_order(one.ts, number)

    assert to(one, "103") == []
    assert actions(one.signal("SELL")) == [("EXIT", "signal_exit")]


def test_part_that_expires_at_the_venue_rests_again() -> None:
    """A part that nobody buys joins the resting order again."""
    one = holder(risk__exits_at="venue")
    one.tick("102", "102", trade="102")
    assert waiting(one) == ["5.000"]
    one.tick("101", "101", bid_qty="0")
    one.tick("101", "101", bid_qty="0", after_ms=6_000)

    one.tick("101", "101", bid_qty="0", after_ms=60_000)

    assert waiting(one) == ["10.000"]


def test_rung_whose_remainder_is_too_small_for_the_limit_of_its_stop_sells_all() -> None:
    """The remainder of the first part is worth ten USDT at the stop, and less at its limit."""
    one = holder(
        risk__exits_at="venue",
        risk__hard_stop_bps="100",
        risk__stop_limit_bps="100",
        risk__order_notional="20.30",
    )
    assert waiting(one) == ["0.203"]

    to(one, "102")

    assert sold(one) == [("0.203", "102.00")]
    assert one.execution.orders == []


@settings(max_examples=300, deadline=None)
@given(
    original=st.integers(1, 10**13),
    qty_step=st.sampled_from([1, 10, STEP, UNIT]),
    minimum=st.integers(0, 10**10),
    notional=st.integers(0, 10**12),
    price=st.integers(1, 10**13),
)
def test_parts_sum_to_the_whole_steps_of_the_holding(
    original: int, qty_step: int, minimum: int, notional: int, price: int
) -> None:
    """Parts are whole steps and sum to the holding; none is too small unless the whole is."""
    least = -(-minimum // qty_step) * qty_step
    bounds = Bounds(qty_step, least, None, notional, None)

    parts = parts_of(original, bounds, (price, price, price))

    whole = original // qty_step * qty_step
    assert sum(parts) == whole
    assert all(part % qty_step == 0 and part >= 0 for part in parts)

    def is_small(qty: int) -> bool:
        return qty < least or cost_up(qty, price) < notional

    if not is_small(whole) and whole:
        assert not any(is_small(part) for part in parts if part)
    plain = whole // 2 // qty_step * qty_step, whole * 30 // 100 // qty_step * qty_step
    if not any(map(is_small, (*plain, whole - sum(plain)))) and min(plain):
        assert parts[:2] == plain


STEPS = st.lists(
    st.tuples(st.integers(-250, 300), st.integers(1, 90_000), st.sampled_from([0, 1, 5, 1_000])),
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(steps=STEPS, at=st.sampled_from(["role", "venue"]))
# The bid falls below a trail that rose while a part was being sold.
@example(steps=[(0, 50, 0), (1, 1, 0), (199, 1, 0), (-56, 1, 0), (-250, 1, 0)], at="role")
def test_any_walk_sells_exactly_what_was_bought(steps: list[tuple[int, int, int]], at: str) -> None:
    """Over thin books, gaps and restarts nothing is sold twice, and stops never fall."""
    keys = LADDER | {"risk__exits_at": at, "risk__trail_bps": "300", "risk__stop_bps": "500"}
    one, cut = Desk(config(**keys)).ready(), Desk(config(**keys)).ready()
    price, floor, opened = 10_000, 0.0, 0
    for move, after_ms, size in steps:
        price = max(1_000, price + move)
        text = f"{price / 100:.2f}"
        for desk in (one, cut):
            if move % 5 == 0:
                desk.signal("BUY")
            desk.tick(text, text, after_ms=after_ms, trade=text, bid_qty=str(size))
        cut.restarted()
        bought = sum(float(f.qty) for f in fills(one.events("fills")) if f.side == "BUY")
        gone = sum(float(f.qty) for f in fills(one.events("fills")) if f.side == "SELL")
        held = one.risk.facts()["open_positions"]
        assert bought - gone == pytest.approx(sum(float(each["qty"]) for each in held))
        now = float(one.risk.facts()["exits"]["BTCUSDT"]["stop"]) if held else 0.0
        since = opened_ts(one)
        assert now >= floor or not held or since != opened
        floor, opened = now, since
    assert one.log_bytes() == cut.log_bytes()


@pytest.mark.parametrize(
    ("qty", "prices", "parts"),
    [
        (10, (2, 4, 5), (5, 3, 2)),
        (10, (1, 4, 5), (0, 8, 2)),
        (10, (1, 4, 4), (0, 10, 0)),
        (10, (2, 3, 5), (8, 0, 2)),
        (10, (1, 3, 5), (0, 0, 10)),
        (10, (2, 4, 4), (5, 5, 0)),
        (9, (1, 1, 1), (0, 0, 9)),
    ],
)
def test_part_too_small_for_the_venue_joins_another(
    qty: int, prices: tuple[int, int, int], parts: tuple[int, int, int]
) -> None:
    """Ten quote at least: half, three tenths and the rest are valued at their own prices."""
    bounds = Bounds(UNIT, UNIT, None, 10 * UNIT, None)
    lower, upper, hard = prices

    found = parts_of(qty * UNIT, bounds, (lower * UNIT, upper * UNIT, hard * UNIT))

    assert found == tuple([part * UNIT for part in parts])


@pytest.mark.parametrize(
    ("qty", "qty_min", "notional_min", "found"),
    [
        (0, 0, 0, True),
        (-1, 0, 0, True),
        (1, 0, 0, False),
        (4, 5, 0, True),
        (5, 5, 0, False),
        (5, 5, 11, True),
        (5, 5, 10, False),
    ],
)
def test_quantity_is_too_small_below_the_venues_least_or_without_anything_to_sell(
    qty: int, qty_min: int, notional_min: int, found: bool
) -> None:
    """Both bounds hold at their value; nothing is no sale even where there is no bound."""
    bounds = Bounds(UNIT, qty_min * UNIT, None, notional_min * UNIT, None)

    assert is_too_small(qty * UNIT, bounds, 2 * UNIT) is found
    assert not is_too_small(1, Bounds(1, 1, None, 0, None), UNIT)


def test_upper_rung_that_moves_alone_is_reported() -> None:
    """New price steps move the upper rung to a whole step; the lower one was at one before."""
    one = holder(risk__ladder_2_bps="430")
    one.instrument(price_increment="0.5")

    (plan,) = told(one.beat())
    assert plan.rungs == ("102.00000000", "104.50000000")
    assert plan.moved == ("rungs",)


@pytest.mark.parametrize(
    ("changes", "after_ms", "reason"),
    [
        ({"risk__stale_exit_ms": 5_000}, 5_000, "stale_exit"),
        ({"risk__silent_exit_ms": 70_000}, 70_000, "stale_exit"),
        ({"risk__time_exit_ms": 65_000}, 5_000, "time_exit"),
    ],
)
def test_whole_position_is_left_where_a_rung_is_reached_as_well(
    changes: dict[str, Any], after_ms: int, reason: str
) -> None:
    """No part of it waits for the next price, which may be far below this one."""
    one = holder(**changes)
    one.tick()
    one.put("market_ticks", Gap(SYMBOL, "trade", one.ts, one.ts + 10, "reconnect"))

    assert actions(one.tick("102", "102", after_ms=after_ms)) == [("EXIT", reason)]
    one.tick()
    assert sold(one) == [("10.000", "102.00")]


def test_gap_between_a_tick_and_its_fill_is_judged_at_the_next_price() -> None:
    """The fill of a part computes anew at which prices nothing is due: not while a gap pends."""
    one = holder(risk__stale_exit_ms=5_000)
    one.tick("102", "102")
    one.with_risk = False
    answers = one.tick()
    one.with_risk = True
    one.put("market_ticks", Gap(SYMBOL, "trade", one.ts, one.ts + 10, "reconnect"))
    for event in answers:
        one.take("fills" if event.type == "fill" else "order_results", event)

    assert sold(one)[-1] == ("5.000", "102.00")
    assert actions(one.tick(after_ms=5_000)) == [("EXIT", "stale_exit")]
