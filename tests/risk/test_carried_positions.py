"""Carried positions: what another run opened, by the keys of this one, over its first prices."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.model import JsonObject, RunOpening
from minibot.events.money import UNIT, amount_text, parse_amount
from minibot.kernel.canonical import decode, encode
from minibot.risk.core import core_from_config, core_from_state
from minibot.risk.plan import Plan
from tests.risk.desk import OTHER, SYMBOL, Desk, actions, config, opening

LOT = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
OTHER_LOT = {"symbol": OTHER, "qty": "10", "price": "100", "ts": 1}
HARD: dict[str, Any] = {"risk__hard_stop_bps": "1000"}
TRAIL: dict[str, Any] = {"risk__trail_bps": "1000", "risk__trail_from_bps": "200"}
LEVELS: JsonObject = {
    "stop_hard": "90",
    "stop_entry": "92",
    "stop_break_even": "93",
    "stop_trailing": "94",
    "peak": "104",
    "stop_signal": "95",
}
"""Stops that another run left; the highest of those whose key is on is in force."""


def plan(symbol: str = SYMBOL, **fields: Any) -> JsonObject:
    """Return the plan of ten coins bought at 100, as an opening tells it."""
    held: JsonObject = {"qty": "10", "original_qty": "10", "entry_price": "100", "age_row": 0}
    return {"symbol": symbol, "opened_ts": 1} | held | fields


def carrier(*plans: JsonObject, lots: tuple[JsonObject, ...] = (LOT,), **changes: Any) -> Desk:
    """Return a desk whose run carries ten coins on, with their rules."""
    first = RunOpening({"USDT": "9000"}, lots, {}, plans=plans or None)
    one = Desk(config(**changes), first=first)
    one.instrument()
    return one


def stop(one: Desk) -> str | None:
    """Return the stop in force, behind a bid that reaches none."""
    one.tick("100", "100", trade="100")
    found: str | None = one.risk.facts()["exits"][SYMBOL]["stop"]
    return found


@pytest.mark.row("B-17", "B-43")
@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (HARD | TRAIL | {"risk__break_even_bps": "150", "risk__stop_bps": "900"}, "95"),
        (HARD | TRAIL, "95"),
        (HARD | {"risk__break_even_bps": "150"}, "95"),
        (TRAIL | {"risk__stop_bps": "900"}, "95"),
    ],
)
@pytest.mark.parametrize("without", [(), ("stop_signal",)])
def test_stop_whose_key_is_off_now_is_left_out(
    keys: dict[str, Any], found: str, without: tuple[str, ...]
) -> None:
    """Stops that another run left count where this profile has them, the highest first."""
    fields = {name: level for name, level in LEVELS.items() if name not in without}
    if without:
        found = "94" if "risk__trail_bps" in keys else "93"

    one = carrier(plan(**fields), **keys)

    assert stop(one) == f"{found}.00000000"


@pytest.mark.parametrize(("keys", "found"), [({}, "90"), ({"risk__stop_bps": "900"}, "92")])
def test_stop_of_the_entry_is_left_out_by_a_profile_with_a_hard_stop_alone(
    keys: dict[str, Any], found: str
) -> None:
    """A hard stop is no stop at the entry."""
    one = carrier(plan(stop_hard="90", stop_entry="92"), **HARD, **keys)

    assert stop(one) == f"{found}.00000000"


def test_levels_that_a_profile_without_keys_of_a_plan_gets_are_those_of_the_entry_alone() -> None:
    """A run that only carries keeps the stop of the entry, and no other of an earlier profile."""
    one = carrier(plan(**LEVELS), portfolio__at_end="carry", risk__stop_bps="900")

    assert stop(one) == "92.00000000"


def test_profile_without_a_plan_takes_over_no_level_and_leaves_what_an_operator_asked_for() -> None:
    """A request to leave is not a level: it outlasts the profile."""
    held, left = carrier(plan(**LEVELS)), carrier(plan(leaving="operator_exit", **LEVELS))

    assert held.tick("50", "50") == []
    assert actions(left.tick("100", "100")) == [("EXIT", "operator_exit")]


@pytest.mark.parametrize(("policy", "said"), [("close", [("EXIT", "left_trading")]), ("hold", [])])
def test_position_that_was_to_be_left_behind_its_halt_is_left_where_this_profile_leaves_such(
    policy: str, said: list[tuple[str, str]]
) -> None:
    """A policy that is off now leaves nothing."""
    one = carrier(plan(leaving="left_trading"), **HARD, risk__left_trading=policy)

    assert actions(one.tick("100", "100")) == said


@pytest.mark.parametrize("is_restarted", [False, True])
def test_distance_in_atrs_is_that_of_the_entry_and_not_of_this_runs_bars(
    is_restarted: bool,
) -> None:
    """The entry's ATR of two stands for stop and trail, though this run's bars have four."""
    one = carrier(plan(atr="2", stop_hard="90"), **HARD, risk__stop_atr_mult="3")
    for _ in range(3):
        one.bar("100", "102", "98", "100")
    if is_restarted:
        one.restarted()

    assert stop(one) == "94.00000000"
    assert actions(one.tick("94.01", "94.01")) == []
    assert actions(one.tick("94", "94")) == [("EXIT", "stop_loss")]


def test_trail_in_atrs_stays_where_it_was_left_until_an_atr_is_known() -> None:
    """A profile that trails by ATRs now knows none of the entry: a new peak moves nothing yet."""
    one = carrier(plan(stop_trailing="94", peak="99"), **HARD, risk__trail_atr_mult="2")
    one.tick("105", "105")
    waiting = stop(one)
    for _ in range(3):
        one.bar("105", "106", "104", "105")
    one.tick("106", "106")

    assert waiting == "94.00000000"
    assert one.risk.facts()["exits"][SYMBOL]["stop"] == "102.00000000"


@pytest.mark.parametrize(
    ("wished", "trail"),
    [
        ((0, 0, 5, 0, 110), (1, 110, 109)),
        ((0, 0, 5, 0, 90), (1, 100, 99)),
        ((0, 0, 1, 0, 110), (1, 110, 109)),
        ((0, 0, 0, 50_000, 110), (1, 110, 109)),
    ],
)
def test_wider_trail_that_a_strategy_wants_leaves_the_nearer_one_at_the_higher_peak(
    wished: tuple[int, int, int, int, int], trail: tuple[int, int, int]
) -> None:
    """A trail of one below a peak of 100 is kept beside one of five, and follows to its peak."""
    one = Plan(True)
    one._step, one.own_gap, one.own_peak = UNIT, UNIT, 100 * UNIT
    stop_, target, gap, share, peak = wished

    one.wish((stop_, target, gap * UNIT, share, peak * UNIT))

    assert (one.own_gap, one.own_peak, one.own) == tuple([each * UNIT for each in trail])
    assert one.own_share == 0


# --- what is told ---------------------------------------------------------------------------------


def test_plan_of_a_symbol_without_rules_is_told_with_the_first_beat_behind_them() -> None:
    """Levels stand on price steps: before these are known no plan is told, and none is lost."""
    one = carrier(plan(**LEVELS), plan(OTHER, **LEVELS), lots=(LOT, OTHER_LOT), **HARD, **TRAIL)
    for symbol in (SYMBOL, OTHER):
        one.tick("100", "100", symbol=symbol)

    def told() -> list[tuple[str, tuple[str, ...], str | None]]:
        """Return symbol, move and stop of the plans that a beat tells."""
        answers = [event.to_json()["payload"] for event in one.beat()]
        return [(each["symbol"], tuple(each["moved"]), each.get("stop")) for each in answers]

    first, second = told(), told()
    one.instrument(OTHER)
    one.tick("100", "100", symbol=OTHER)
    third = told()

    assert first == [(SYMBOL, ("carried",), "95.00000000")]
    assert second == []
    assert third == [(OTHER, ("carried",), "95.00000000")]


def test_quiet_range_of_a_symbol_ends_with_a_plan_that_is_to_be_told_and_with_no_other() -> None:
    """A position without rules has nothing to tell; a level that moved is told by a beat."""
    one = carrier(plan(**LEVELS), plan(OTHER, **LEVELS), lots=(LOT, OTHER_LOT), **HARD, **TRAIL)
    one.tick("100", "100", symbol=OTHER)
    one.tick("100", "100")
    one.beat()
    one.tick("100", "100")
    settled = one.risk.quiet_range(SYMBOL, one.ts)
    one.tick("110", "110")
    moved = one.risk.quiet_range(SYMBOL, one.ts)
    one.beat()
    one.tick("110", "110")

    assert settled is not None
    assert moved is None
    assert one.risk.quiet_range(SYMBOL, one.ts) is not None


def test_quiet_range_ends_with_new_rules_until_a_tick_has_judged_them() -> None:
    """A price step that changed may have moved every level."""
    one = carrier(plan(**LEVELS), **HARD)
    one.tick("100", "100")
    one.beat()
    one.tick("100", "100")
    before = one.risk.quiet_range(SYMBOL, one.ts)
    one.instrument(price_increment="0.1")
    during = one.risk.quiet_range(SYMBOL, one.ts)
    exits = one.risk._state.exits.of(SYMBOL)

    assert before is not None
    assert during is None
    assert exits.bound(one.ts, one.risk._quiet_held) is False


# --- what it is worth -----------------------------------------------------------------------------


def test_lot_without_a_price_keeps_its_difference_through_a_purchase_of_another() -> None:
    """Ten coins last seen at 120 are worth 200 more than their cost, until their first price."""
    first = RunOpening({"USDT": "9000"}, (OTHER_LOT,), {}, marks={OTHER: "120"})
    one = Desk(config(), first=first)
    one.ready()
    positions = one.risk._state.positions
    before = positions.unpriced

    one.buy()
    between = positions.unpriced
    one.tick("119", "119", symbol=OTHER)

    assert positions.qty_with_orders(positions.of(SYMBOL)) > 0
    assert (before, between, positions.unpriced) == (200 * UNIT, 200 * UNIT, 0)
    assert positions.marks == {}
    assert positions.equity == positions.cash + positions.worth


def test_mark_may_be_the_smallest_price_there_is() -> None:
    """A coin last seen at one hundred-millionth opens a run as any other."""
    first = RunOpening({"USDT": "9000"}, (OTHER_LOT,), {}, marks={OTHER: "0.00000001"})

    positions = Desk(config(), first=first).risk._state.positions

    assert positions.marks == {OTHER: 1}


def test_dust_that_has_a_price_is_unseen_no_more_and_the_other_lot_is() -> None:
    """Dust is worth nothing before its price and behind it: it moves no drawdown."""
    dust = {"symbol": SYMBOL, "qty": "0.0005", "price": "100", "ts": 1}
    marks = {SYMBOL: "120", OTHER: "90"}
    first = RunOpening({"USDT": "9000"}, (dust, OTHER_LOT), {}, marks=marks)
    one = Desk(config(execution__fee_asset="base"), first=first)
    one.instrument()
    one.instrument(OTHER)
    positions = one.risk._state.positions
    before = positions.unpriced

    one.tick("120", "120")
    one.restarted()

    positions = one.risk._state.positions
    assert (before, positions.unpriced) == (-100 * UNIT, -100 * UNIT)
    assert positions.equity == 10_000 * UNIT
    assert amount_text(positions.portfolio.position_qty(SYMBOL)) == "0.00050000"


@pytest.mark.parametrize(
    ("lots", "count", "cost"),
    [
        (("0.0004", "0.0005", "1"), 2, "1"),
        (("0.0004", "0.0006"), 1, "0.0006"),
        (("1", "0.0004"), 0, "1.0004"),
    ],
)
def test_oldest_lots_that_are_dust_together_are_no_part_of_the_position(
    lots: tuple[str, ...], count: int, cost: str
) -> None:
    """A thousandth is the least sale: the lots before it is reached belong to a former trade."""
    rows = [{"symbol": SYMBOL, "qty": qty, "price": "100", "ts": n} for n, qty in enumerate(lots)]
    first = RunOpening({"USDT": "9000"}, tuple(rows), {})
    one = Desk(config(execution__fee_asset="base"), first=first)
    one.instrument(notional_min="0")
    holding = one.risk._state.positions.of(SYMBOL).holding

    assert holding is not None
    assert holding.dust_lots == count
    assert holding.opened_ts == count
    assert holding.cost_of_newest(parse_amount(cost)) == 100 * parse_amount(cost)


def test_smallest_unit_below_a_least_sale_of_two_is_dust() -> None:
    """A hundred-millionth is no position where the venue sells two at least."""
    row = {"symbol": SYMBOL, "qty": "0.00000001", "price": "100", "ts": 1}
    first = RunOpening({"USDT": "9000"}, (row,), {})
    one = Desk(config(execution__fee_asset="base"), first=first)

    one.instrument(qty_increment="0.00000001", qty_min="0.00000002", notional_min="0")

    assert one.risk._state.positions.of(SYMBOL).holding is None


@pytest.mark.parametrize(("asset", "is_dust"), [("base", True), (None, False)])
def test_small_holding_is_listed_as_dust_where_the_profile_has_dust_and_the_rules_are_known(
    asset: str | None, is_dust: bool
) -> None:
    """Half of the least sale counts as a position in any other profile, and before the rules."""
    row = {"symbol": SYMBOL, "qty": "0.0005", "price": "100", "ts": 1}
    one = Desk(config(execution__fee_asset=asset), first=RunOpening({"USDT": "9000"}, (row,), {}))
    (before,) = one.risk.facts()["open_positions"]

    one.instrument()

    (behind,) = one.risk.facts()["open_positions"]
    assert ["dust_qty" in listed for listed in (before, behind)] == [False, is_dust]


def test_state_of_a_carried_run_is_whole_before_and_behind_its_first_prices() -> None:
    """A snapshot between opening and first price goes on to the same bytes."""
    plans = (plan(**LEVELS), plan(OTHER, **LEVELS))
    one, other = [carrier(*plans, lots=(LOT, OTHER_LOT), **HARD, **TRAIL) for _ in range(2)]
    for step in range(4):
        other.restarted()
        for desk in (one, other):
            if step == 1:
                desk.instrument(OTHER)
            desk.tick("100", "100", symbol=(SYMBOL, OTHER)[step % 2])
            desk.beat()

    assert encode(other.risk.state()) == encode(one.risk.state())
    assert other.log_bytes() == one.log_bytes()


def test_position_that_was_sold_before_its_plan_was_told_is_told_by_nothing() -> None:
    """A plan that nobody was told of has no end to tell."""
    one = carrier(plan(**LEVELS), **HARD)
    one.tick("100", "100")
    one.signal("SELL")

    events = one.tick("100", "100") + one.beat()

    assert one.risk.facts()["open_positions"] == []
    assert [event.type for event in events if event.type == "position_plan"] == []


def test_state_before_the_opening_is_whole() -> None:
    """A role that is killed before its first event starts as it did."""
    profile = config(**HARD)
    before = core_from_config(profile).state()

    restored = core_from_state(profile, decode(encode(before)))

    assert encode(restored.state()) == encode(before)
    assert not restored._state.positions.is_open


@pytest.mark.row("B-57")
@pytest.mark.parametrize(
    ("qty", "is_held"), [("0.00099999", False), ("0.001", True), ("0.00100001", True)]
)
def test_holding_is_a_position_from_the_least_quantity_that_can_be_sold(
    qty: str, is_held: bool
) -> None:
    """A thousandth can be sold, and takes a place; what is less is dust, worth nothing."""
    lot = {"symbol": SYMBOL, "qty": qty, "price": "100", "ts": 1}
    one = Desk(config(execution__fee_asset="base"), first=opening("9000", (lot,)))
    one.instrument(notional_min="0")
    one.tick("100", "100")
    positions = one.risk._state.positions

    assert (SYMBOL in positions.held) is is_held
    assert positions.worth == (parse_amount(qty) * 100 if is_held else 0)


def seller(qty: str, step: str) -> Desk:
    """Return a desk that sells a carried lot in steps, and whose protections count its trades."""
    lot = {"symbol": SYMBOL, "qty": qty, "price": "100", "ts": 1}
    keys = {"execution__fee_asset": "base", "execution__order_ttl_market_ms": 60_000}
    protections = [{"method": "CooldownPeriod", "stop_duration": 1}]
    one = Desk(config(risk__protections=protections, **keys), first=opening("9000", (lot,)))
    one.instrument(notional_min="0", qty_increment=step)
    one.tick("100", "100")
    one.signal("SELL")
    return one


def test_trade_ends_with_the_last_fill_of_its_sale_though_the_rest_alone_would_be_dust() -> None:
    """Ten of fifteen ten-thousandths are sold first: five are too few for an order of their own."""
    one = seller("0.0015", "0.0001")
    found = []
    for size in ("0.001", "1000"):
        one.tick("100", "100", bid_qty=size)
        trades = one.risk._state.protections.trades
        found.append(
            ([amount_text(trade.received) for trade in trades], one.risk.facts()["open_orders"])
        )

    assert found == [([], 1), (["0.15000000"], 0)]


@pytest.mark.parametrize(("lot", "trades"), [("0.00100001", []), ("0.001", ["0.10000000"])])
def test_trade_is_open_while_its_sale_lacks_a_single_unit(lot: str, trades: list[str]) -> None:
    """The least quantity there is can still be sold by the order that is under way."""
    one = seller(lot, "0.00000001")

    one.tick("100", "100", bid_qty="0.001")

    kept = one.risk._state.protections.trades
    assert [amount_text(trade.received) for trade in kept] == trades


def test_position_without_the_venues_rules_has_no_levels_to_watch() -> None:
    """A walk over bars stops at levels; before the rules are told there is none, and then two."""
    one = Desk(config(**HARD, risk__take_profit_bps="500"), first=opening("9000", (LOT,)))
    watch = one.risk.watch
    before = watch.levels(SYMBOL), watch.levels(OTHER)

    one.instrument()
    one.tick("100", "100", trade="100")

    assert before == ((), ())
    assert {amount_text(level) for level in watch.levels(SYMBOL)} >= {"90.00000000", "105.00000000"}


def test_position_that_new_rules_make_dust_for_a_while_begins_with_new_levels() -> None:
    """Its stop was two below by the ATR of its purchase; as a position again it takes today's."""
    one = Desk(config(execution__fee_asset="base", risk__stop_atr_mult="1.0"))
    one.instrument()
    for _ in range(3):
        one.bar("100", "101", "99", "100")
    one.tick("100", "100")
    one.buy()
    one.tick("100", "100")

    one.instrument(qty_min="5000")
    for _ in range(12):
        one.bar("100", "103", "97", "100")
    one.instrument()
    one.tick("100", "100")

    assert actions(one.tick("97", "97") + one.tick("97", "97")) == []
