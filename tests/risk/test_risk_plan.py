"""Levels that move: each moves as its key says, never down, and names itself where it is hit."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.accounting.order_rules import OrderRules
from minibot.cores.core_profile import CoreProfile
from minibot.events.model import Event, Gap, OrderReplace, PositionPlan
from minibot.events.money import UNIT, amount_text
from minibot.risk.distances import NEVER
from minibot.risk.plan import NOTHING_WISHED, Plan, PlanRules, Wished
from tests.risk.desk import (
    OTHER,
    SYMBOL,
    Desk,
    actions,
    check_of,
    config,
    fills,
    instrument,
    intents,
    of,
    opening,
)

HARD: dict[str, Any] = {"risk__hard_stop_bps": "1000"}
TRAIL: dict[str, Any] = HARD | {"risk__trail_bps": "100", "risk__trail_from_bps": "200"}
EVEN: dict[str, Any] = HARD | {"risk__break_even_bps": "150", "execution__taker_fee_bps": "10"}
AGES: dict[str, Any] = HARD | {"risk__targets_by_age": [[0, "300"], [10, "100"], [60, "0"]]}
ALL: dict[str, Any] = TRAIL | EVEN | AGES | {"risk__stop_bps": "200", "risk__stale_exit_ms": 2_000}
MINUTE = 60_000


def holder(**changes: Any) -> Desk:
    """Return a desk that holds coins bought at 100, an ATR of two known."""
    one = Desk(config(**changes))
    one.instrument()
    for _ in range(2):
        one.bar("100", "101", "99", "100")
    one.tick("100", "100")
    one.buy()
    assert fills(one.events("fills"))[0].price == "100.00"
    return one


def walk(one: Desk, *bids: str) -> list[tuple[str, str]]:
    """Show bids, and return what risk did."""
    return actions(event for bid in bids for event in one.tick(bid, bid))


def floor(one: Desk) -> str | None:
    """Return the stop in force."""
    stop: str | None = one.risk.facts()["exits"][SYMBOL]["stop"]
    return None if stop is None else f"{float(stop):.2f}"


def opened_ts(one: Desk) -> int:
    """Return when the position was opened."""
    plan = one.risk._state.exits.of(SYMBOL).plan
    assert plan is not None
    return plan.opened_ts


# --- the hard stop --------------------------------------------------------------------------------


@pytest.mark.row("B-45")
def test_hard_stop_stands_with_everything_else_off() -> None:
    """Ten percent below the entry, with all other keys null, and not a step before."""
    one = holder(**HARD, risk__trail_bps=None, risk__targets_by_age=None, risk__stale_exit_ms=None)

    assert walk(one, "90.01") == []
    assert walk(one, "90.00") == [("EXIT", "hard_stop")]
    check = check_of(one.events("risk_actions")[-1], "hard_stop_price")
    assert (check["value"], check["threshold"]) == ("90.00000000", "90.00000000")


def test_hard_stop_holds_while_a_stop_in_atrs_waits_for_its_bars() -> None:
    """A carried lot has its hard stop before any bar; its plan names no ATR."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    one = Desk(config(**HARD, risk__stop_atr_mult="3"), first=opening("9000", (lot,)))
    one.instrument()

    assert walk(one, "90.01") == []
    one.beat()
    assert [plan.atr for plan in told(one.events("risk_actions"))] == [None]
    assert walk(one, "90.00") == [("EXIT", "hard_stop")]


def test_wider_stop_never_stands_in_front_of_the_hard_stop() -> None:
    """A stop of six ATRs lies at 88: the hard stop at 90 is hit first."""
    one = holder(**HARD, risk__stop_atr_mult="6")

    assert walk(one, "90.01", "90.00") == [("EXIT", "hard_stop")]


def test_stop_of_the_smallest_price_sells() -> None:
    """A coin of three hundred-millionths has its stop at one, which the bid reaches."""
    lot = {"symbol": SYMBOL, "qty": "1000", "price": "0.00000003", "ts": 1}
    profile = config(risk__stop_bps="5000", portfolio__at_end="carry")
    one = Desk(profile, first=opening("9000", (lot,)))
    one.instrument(price_increment="0.00000001", notional_min="0.000001")
    one.tick("0.00000002", "0.00000002")

    events = one.tick("0.00000001", "0.00000001")

    assert actions(events) == [("EXIT", "stop_loss")]


def test_plan_names_the_reason_of_a_stop_at_the_smallest_price() -> None:
    """A hard stop half below three hundred-millionths is at one, and told as what it is."""
    lot = {"symbol": SYMBOL, "qty": "1000", "price": "0.00000003", "ts": 1}
    one = Desk(config(risk__hard_stop_bps="5000"), first=opening("9000", (lot,)))
    one.instrument(price_increment="0.00000001", notional_min="0.000001")
    one.tick("0.00000003", "0.00000003")

    one.beat()

    (plan,) = told(one.events("risk_actions"))
    assert (plan.stop, plan.stop_reason) == ("0.00000001", "hard_stop")


def test_plan_without_a_stop_names_no_reason_of_one() -> None:
    """A trail that is not active yet is no stop: the plan tells neither a price nor a reason."""
    one = holder(risk__trail_bps="100", risk__trail_from_bps="200")

    one.beat()

    plan = told(one.events("risk_actions"))[-1]
    assert (plan.stop, plan.stop_reason) == (None, None)


# --- the trailing stop ----------------------------------------------------------------------------


@pytest.mark.row("B-17", "B-43")
@pytest.mark.parametrize(
    ("bids", "said"),
    [
        (("101.99", "100.00", "91.00"), []),
        (("102.00", "100.99"), []),
        (("102.00", "100.98"), [("EXIT", "trailing_stop")]),
        (("102.00", "110.00", "108.91"), []),
        (("102.00", "110.00", "108.90"), [("EXIT", "trailing_stop")]),
        (("102.00", "110.00", "109.00", "108.91", "108.90"), [("EXIT", "trailing_stop")]),
        (("102.00", "110.00", "50.00"), [("EXIT", "trailing_stop")]),
    ],
)
def test_trailing_stop_follows_the_highest_bid_once_it_is_active(
    bids: tuple[str, ...], said: list[tuple[str, str]]
) -> None:
    """One percent below the highest bid since two percent of gain, and never lower again."""
    assert walk(holder(**TRAIL), *bids) == said


def test_trailing_stop_in_atrs_keeps_the_atr_of_the_entry() -> None:
    """Two ATRs of two below the highest bid, whatever later bars say."""
    one = holder(**HARD, risk__trail_atr_mult="2", risk__trail_from_atr_mult="1")
    assert walk(one, "102.00") == []
    for _ in range(5):
        one.bar("102", "122", "82", "102")

    assert walk(one, "105.00", "101.01") == []
    assert walk(one, "101.00") == [("EXIT", "trailing_stop")]


def test_trailing_stop_without_activation_begins_at_the_entry_price() -> None:
    """One percent below the entry at once; the first rise takes it along."""
    one = holder(**HARD, risk__trail_bps="100")
    assert floor(one) == "99.00"

    one.tick("101", "101")

    assert floor(one) == "99.99"


def test_gap_through_the_trailing_stop_is_sold_at_the_gap() -> None:
    """The bid jumps from 110 to 80: sold at 80, by the stop that was highest."""
    one = holder(**TRAIL)
    one.tick("110", "110")
    one.tick("80", "80")

    (sold,) = [fill for fill in fills(one.tick("80", "80")) if fill.side == "SELL"]
    assert sold.price == "80.00"


# --- break-even -----------------------------------------------------------------------------------


@pytest.mark.row("B-17")
def test_break_even_stop_pays_entry_and_fees() -> None:
    """After one and a half percent the stop stands where ten bps either way are paid."""
    one = holder(**EVEN)
    cash = UNIT * 10_000

    assert walk(one, "101.49", "100.00") == []
    assert walk(one, "101.50", "100.22") == []
    assert walk(one, "100.21") == [("EXIT", "break_even")]
    one.tick()
    assert float(one.risk.facts()["cash"]) >= cash / UNIT


def test_break_even_stop_is_no_step_below_the_price_that_pays() -> None:
    """An average entry one unit above 99.90 needs a unit more than 100.10, and so a step more."""
    lot = {"symbol": SYMBOL, "qty": "1", "price": "99.90000001", "ts": 1}
    one = Desk(config(**EVEN), first=opening("9000", (lot,)))
    one.instrument()
    one.tick("100", "100")
    one.tick("102", "102")

    assert floor(one) == "100.11"


@pytest.mark.parametrize("fee_asset", ["quote", "base"])
@pytest.mark.parametrize("way", ["stop", "target"])
def test_break_even_brings_back_the_cash_whatever_pays_the_fee(fee_asset: str, way: str) -> None:
    """Coins that paid a fee of one percent are not sold: the others bring back their cost."""
    keys = {"execution__fee_asset": fee_asset, "execution__taker_fee_bps": "100"}
    ages = {"risk__targets_by_age": [[0, "900"], [60, "0"]]}
    rules = {"risk__break_even_bps": "300"} if way == "stop" else ages
    one = holder(**HARD, **keys, **rules)
    if way == "stop":
        assert walk(one, "104.00") == []
        level = floor(one)
    else:
        one.tick("100", "100", after_ms=60 * MINUTE)
        level = one.risk.facts()["exits"][SYMBOL]["target"]
    assert level is not None

    one.tick(level, level)
    one.tick(level, level)

    assert one.risk.facts()["open_positions"] == []
    assert 10_000 <= float(one.risk.facts()["cash"]) < 10_000.10


def test_purchase_above_the_break_even_stop_moves_no_stop_above_the_bid() -> None:
    """A second purchase leaves the stop at break-even until the bid is above the new entry."""
    one = holder(**EVEN | {"risk__order_notional": "100"})
    assert walk(one, "101.50") == []
    assert floor(one) == "100.21"
    one.tick("101.50", "101.52")
    for _ in range(9):
        one.signal("BUY")
        one.tick("101.50", "101.52")
    entry = float(one.risk.facts()["open_positions"][0]["entry_price_avg"])
    assert entry > 101.3

    assert floor(one) == "100.21"
    assert walk(one, "101.50", "101.40") == []
    assert walk(one, "103.50") == []
    assert float(floor(one) or 0) > entry


def test_break_even_below_the_fees_waits_for_a_bid_above_its_stop() -> None:
    """A gain of one bps moves no stop to the bid itself: nothing is sold at a loss by it."""
    one = holder(**EVEN | {"risk__break_even_bps": "1"})

    assert walk(one, "100.01", "100.21") == []
    assert floor(one) == "90.00"
    assert walk(one, "100.22") == []
    assert floor(one) == "100.21"


# --- targets by age -------------------------------------------------------------------------------


@pytest.mark.row("B-17")
@pytest.mark.parametrize(
    ("held_ms", "bid", "said"),
    [
        (10 * MINUTE - 1, "102.99", []),
        (10 * MINUTE - 1, "103.00", [("EXIT", "age_target")]),
        (10 * MINUTE, "100.99", []),
        (10 * MINUTE, "101.00", [("EXIT", "age_target")]),
        (60 * MINUTE, "99.99", []),
        (60 * MINUTE, "100.00", [("EXIT", "age_target")]),
    ],
)
def test_target_falls_with_the_age_of_the_position(
    held_ms: int, bid: str, said: list[tuple[str, str]]
) -> None:
    """The last pair of the table whose minutes are over is in force, from its millisecond on."""
    one = holder(**AGES)

    assert actions(one.tick(bid, bid, after_ms=held_ms)) == said


def test_target_by_age_counts_fees_both_ways_and_stands_beside_the_target() -> None:
    """Zero gain after ten bps either way is 100.21; a nearer target is hit first."""
    fees = {"execution__taker_fee_bps": "10"}
    one = holder(**AGES, **fees)
    assert actions(one.tick("100.20", "100.20", after_ms=60 * MINUTE)) == []
    assert walk(one, "100.21") == [("EXIT", "age_target")]

    near = holder(**AGES, **fees, risk__take_profit_bps="10")
    assert actions(near.tick("100.10", "100.10", after_ms=60 * MINUTE)) == [("EXIT", "take_profit")]


def test_plan_names_the_row_of_the_target_by_age() -> None:
    """Rows count from 1, as the journal's reader counts those of the profile; 0 is none."""
    ages = AGES["risk__targets_by_age"]
    late = holder(**HARD, risk__targets_by_age=[[1, "300"], *ages[1:]])
    for minutes in (1, 9):
        late.tick("100", "100", after_ms=minutes * MINUTE)
        late.beat()

    assert [plan.age_row for plan in told(late.events("risk_actions"))] == [0, 1, 2]


# --- missing data ---------------------------------------------------------------------------------


@pytest.mark.row("B-17")
@pytest.mark.parametrize(("after_ms", "said"), [(4_999, []), (5_000, [("EXIT", "stale_exit")])])
def test_missing_data_ends_the_position_at_the_first_fresh_price(
    after_ms: int, said: list[tuple[str, str]]
) -> None:
    """A gap as long as the key, from its last price to the first tick behind it, sells."""
    one = holder(**HARD, risk__stale_exit_ms=5_000)
    one.tick()
    since = one.ts
    one.put("market_ticks", Gap(SYMBOL, "trade", since, since + 10, "reconnect"))

    assert actions(one.tick(after_ms=after_ms)) == said
    if not said:
        assert actions(one.tick(after_ms=60_000)) == []


@pytest.mark.parametrize("said", [[], [("EXIT", "take_profit")]])
def test_short_gap_is_forgotten_where_its_first_price_cannot_be_sold_at(
    said: list[tuple[str, str]],
) -> None:
    """The gap took a second: how long a target without bids goes unsold is no missing data."""
    one = holder(**HARD, risk__stale_exit_ms=5_000, risk__take_profit_bps="100")
    one.tick()
    one.put("market_ticks", Gap(SYMBOL, "trade", one.ts, one.ts + 10, "reconnect"))
    bid = "101" if said else "100"
    assert actions(one.tick(bid, bid, after_ms=1_000, bid_qty="0")) == said

    later = [event for _ in range(12) for event in one.tick("100", "100", bid_qty="0")]
    later += one.tick(after_ms=6_000, bid_qty="0") + one.tick(after_ms=6_000)
    assert actions(later) == []
    assert one.risk.facts()["open_positions"]


@pytest.mark.parametrize("key", ["stale_exit_ms", "silent_exit_ms"])
def test_exit_made_again_tells_how_long_the_data_was_missing(key: str) -> None:
    """Prices came meanwhile, so the wait for bids is no part of it."""
    one = holder(**HARD, **{f"risk__{key}": 5_000})
    one.tick()
    one.put("market_ticks", Gap(SYMBOL, "trade", one.ts, one.ts + 10, "reconnect"))
    told_: list[Event] = []
    for after_ms in (6_000, *[1_000] * 12):
        told_ += [each for each in one.tick(after_ms=after_ms, bid_qty="0") if actions([each])]
        one.restarted()

    name = {"stale_exit_ms": "data_gap_ms", "silent_exit_ms": "silent_ms"}[key]
    assert len(told_) > 1
    assert {check_of(event, name)["value"] for event in told_} == {"6000"}


def test_long_gap_behind_a_short_one_counts_from_its_own_begin() -> None:
    """The short one ended with its first price, so that neither its begin nor its end stays."""
    one = holder(**HARD, risk__stale_exit_ms=5_000)
    events: list[Event] = []
    for after_ms in (1_000, 6_000):
        events += one.tick(after_ms=1_000)
        one.put("market_ticks", Gap(SYMBOL, "trade", one.ts, one.ts + 10, "reconnect"))
        events += one.tick(after_ms=after_ms)

    (event,) = [each for each in events if actions([each])]
    assert actions([event]) == [("EXIT", "stale_exit")]
    assert check_of(event, "data_gap_ms")["value"] == "6000"


@pytest.mark.parametrize("stream", ["depth", "trade"])
def test_gap_of_a_stream_beside_which_prices_went_on_sells_nothing(stream: str) -> None:
    """A book that is lost and read anew, or trades that lack since long, are no missing prices."""
    one = holder(**HARD, risk__stale_exit_ms=5_000)
    one.tick()
    since = one.ts
    one.put("market_ticks", Gap(SYMBOL, stream, since, since, "lost"))
    events = [event for _ in range(12) for event in one.tick(after_ms=500)]
    one.put("market_ticks", Gap(SYMBOL, stream, since, one.ts, "lost"))

    assert actions(events + one.tick()) == []


def test_gap_told_anew_behind_an_outage_does_not_count_the_outage_twice() -> None:
    """The book comes back after the prices, with a gap from before an outage that was too short."""
    one = holder(**HARD, risk__stale_exit_ms=5_000)
    one.tick()
    since = one.ts
    one.put("market_ticks", Gap(SYMBOL, "depth", since, since, "lost"))
    one.put("market_ticks", Gap(SYMBOL, "bookTicker", since, since + 4_000, "lost"))
    events = one.tick(after_ms=4_000)
    events += one.tick(after_ms=1_000)
    one.put("market_ticks", Gap(SYMBOL, "depth", since, one.ts, "lost"))

    assert actions(events + one.tick()) == []


def test_gap_while_nothing_is_held_is_forgotten() -> None:
    """A gap before the entry ends no later position."""
    one = Desk(config(**HARD, risk__stale_exit_ms=1_000)).ready()
    one.put("market_ticks", Gap(SYMBOL, "trade", one.ts, one.ts, "reconnect"))
    one.tick(after_ms=50_000)
    one.buy()

    assert actions(one.tick(after_ms=5_000)) == []


# --- resting with the executor --------------------------------------------------------------------


def resting(one: Desk) -> list[tuple[str, str | None]]:
    """Return quantity and stop of the orders that wait with the executor."""
    found = [order for order in one.execution.orders if order.is_waiting]
    return [(str(order.remaining // UNIT), amount_text(order.stop or 0)[:-6]) for order in found]


def test_stop_that_moves_replaces_the_resting_order_at_the_order_rates_pace() -> None:
    """A raised stop is an order_replace, never more than one in three seconds of twenty a half."""
    rate = {"risk__orders_per_minute_soft": 40, "risk__orders_per_minute_hard": 60}
    one = holder(**HARD, risk__trail_bps="100", risk__exits_at="venue", **rate)
    assert resting(one) == [("10", "99.00")]

    one.ts += 60_000
    events = one.tick("102", "102", trade="102")
    soon = one.tick("103", "103", after_ms=2_999, trade="103")
    then = one.tick(after_ms=1)

    (replace,) = of(events, OrderReplace)
    assert (replace.stop_price, replace.qty) == ("100.98", "10.000")
    assert of(soon, OrderReplace) == []
    assert [moved.stop_price for moved in of(then, OrderReplace)] == ["101.97"]
    assert resting(one) == [("10", "101.97")]


def test_stops_of_all_positions_together_move_with_half_of_the_soft_rate() -> None:
    """Two trailing stops share two moves of a minute, each gets one, and an entry still passes."""
    rate = {"risk__orders_per_minute_soft": 4, "risk__orders_per_minute_hard": 10}
    one = Desk(config(**HARD, risk__trail_bps="100", risk__exits_at="venue", **rate))
    symbols = (SYMBOL, OTHER)
    for symbol in (*symbols, "SOLUSDT"):
        one.instrument(symbol)
        one.bar("100", "100", "100", "100", symbol=symbol)
        one.tick("100", "100", symbol=symbol, trade="100")
    for symbol in symbols:
        one.signal("BUY", symbol=symbol)
        one.tick(symbol=symbol)
    one.ts += MINUTE
    events: list[Event] = []
    for cents in range(120):
        price = f"{102 + cents / 100:.2f}"
        for symbol in symbols:
            events += one.tick(price, price, symbol=symbol, trade=price, after_ms=250)
    one.tick("100", "100", symbol="SOLUSDT", trade="100")

    entry = one.signal("BUY", symbol="SOLUSDT")

    assert actions(entry) == [("ALLOW", "allowed")]
    assert sorted(moved.symbol for moved in of(events, OrderReplace)) == [SYMBOL, OTHER]


def test_stop_above_the_resting_one_is_watched_until_it_may_move() -> None:
    """Between two replaces the position is sold by the bid at the stop in force."""
    one = holder(**HARD, risk__trail_bps="100", risk__exits_at="venue")
    one.ts += 60_000
    one.tick("102", "102", trade="102")
    one.tick("110", "110", trade="110")
    assert resting(one) == [("10", "100.98")]

    assert actions(one.tick("108.90", "108.90")) == [("EXIT", "trailing_stop")]
    assert fills(one.tick())[0].price == "108.90"
    assert resting(one) == []


@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_target_that_falls_below_the_last_trade_sells_at_the_market(exits_at: str) -> None:
    """No order may rest at a price that is traded already: risk sells once ten minutes are over."""
    one = holder(**AGES, risk__exits_at=exits_at)
    assert walk(one, "102") == []
    for _ in range(5):
        assert actions(one.tick("102", "102", after_ms=2 * MINUTE - 1_000, trade="102")) == []

    events = [event for _ in range(4) for event in one.tick("102", "102", after_ms=2_000)]

    assert actions(events) == [("EXIT", "age_target")]
    assert one.risk.facts()["open_positions"] == []
    assert resting(one) == []


def test_trade_below_both_stops_sells_while_the_moved_one_is_on_its_way() -> None:
    """A fall between the replace and its arrival is sold once, at the bid of that trade."""
    one = holder(
        **HARD, risk__trail_bps="100", risk__exits_at="venue", execution__latency_market_ms=100
    )
    one.ts += 60_000
    one.tick("102", "102", trade="102")
    one.restarted()

    events = one.tick("98", "98", trade="98", after_ms=50)
    later = one.tick("101", "101", trade="101")

    assert actions(events) == [("EXIT", "trailing_stop")]
    assert [(fill.qty, fill.price) for fill in fills(events)] == [("10.000", "98.00")]
    assert fills(later) == []


def test_spent_order_rate_moves_no_stop_and_stops_no_run() -> None:
    """With every order of the minute used the former order rests on, and nothing is said."""
    rate = {"risk__orders_per_minute_soft": 2, "risk__orders_per_minute_hard": 3}
    one = holder(**HARD, risk__trail_bps="100", risk__exits_at="venue", **rate)

    assert [one.tick(bid, bid, trade=bid) for bid in ("102", "104", "106")] == [[], [], []]
    assert resting(one) == [("10", "99.00")]


def test_stop_moves_at_a_soft_rate_of_one_order_a_minute() -> None:
    """Half of one order is none; a move then waits a minute, as for a rate of two."""
    rate = {"risk__orders_per_minute_soft": 1, "risk__orders_per_minute_hard": 3}
    one = holder(**HARD, risk__trail_bps="100", risk__exits_at="venue", **rate)

    one.tick("102", "102", trade="102", after_ms=2 * MINUTE)
    assert resting(one) == [("10", "100.98")]
    one.tick("104", "104", trade="104", after_ms=MINUTE - 1)
    assert resting(one) == [("10", "100.98")]
    one.tick("104", "104", trade="104", after_ms=1)
    assert resting(one) == [("10", "102.96")]


def test_trailing_stop_moves_with_the_least_rise_over_its_peak() -> None:
    """A bid a hundred-millionth above the highest one is the lowest that can raise it."""
    one = holder(**TRAIL)
    walk(one, "103")
    plan = one.risk._state.exits.of(SYMBOL).plan

    assert plan is not None
    assert plan.moves_at(one.risk._state.exits.rules.plan) == 103 * UNIT + 1


def plan_behind(
    rules: PlanRules, entries: tuple[int, int], wished: Wished, bids: Iterable[int]
) -> Plan:
    """Return a plan after bids, then with another entry price; prices are whole price steps."""
    plan = Plan()
    plan.qty = plan.original = UNIT
    for entry, shown in zip(entries, (bids, ()), strict=True):
        plan.entry = entry * UNIT
        order_rules = OrderRules.of(instrument(price_increment="1"))
        plan.settle(rules, order_rules, True, None, None, wished)
        for bid in shown:
            plan.advance(rules, bid * UNIT, 0)
    return plan


def stops_of(plan: Plan) -> tuple[int, ...]:
    """Return the stops that a bid may raise."""
    return plan.even, plan.trail, plan.own


@pytest.mark.parametrize("trail", [{}, {"risk__trail_bps": "200"}, TRAIL], ids=["", "at", "from"])
@pytest.mark.parametrize("wished", [NOTHING_WISHED, (0, 0, 2 * UNIT, 0, 100 * UNIT)])
def test_no_bid_below_the_lowest_that_moves_a_stop_moves_one(
    trail: dict[str, Any], wished: Wished
) -> None:
    """Ticks below it may be passed over, as rows of a backtest are; there a stop or peak moves."""
    rules = PlanRules(CoreProfile.of(config(**(HARD | {"risk__break_even_bps": "150"} | trail))))
    seen = 0
    for entries, bids in product(
        product((100, 101), (100, 101, 102, 103)), product(range(100, 106), repeat=2)
    ):
        below, there = (plan_behind(rules, entries, wished, bids) for _ in "ab")
        before, at = stops_of(below), below.moves_at(rules)
        if at == NEVER:
            continue
        below.advance(rules, at - 1, 0)
        assert stops_of(below) == before, (entries, bids, at)
        peaks = there.peak, there.own_peak
        there.advance(rules, at, 0)
        assert (stops_of(there), there.peak, there.own_peak) != (before, *peaks)
        seen += 1

    assert seen > 100


@pytest.mark.parametrize(
    ("trades", "reason", "level"),
    [
        (("102", "100.98"), "trailing_stop", "trail_trade"),
        (("90",), "hard_stop", "hard_stop_trade"),
    ],
)
def test_trigger_names_the_level_that_rested(
    trades: tuple[str, ...], reason: str, level: str
) -> None:
    """The EXIT behind a trigger bears the reason of the level and its numbers."""
    one = holder(**TRAIL, risk__exits_at="venue")
    one.ts += 60_000
    for trade in trades:
        events = one.tick("101.5" if trade != "90" else "90", "102", trade=trade, after_ms=60_000)
        if trade == "102":
            one.tick("102", "102.01", after_ms=60_000)

    (left,) = [event for event in events if event.type == "risk_action"]
    assert actions([left]) == [("EXIT", reason)]
    assert check_of(left, level)["passed"] is False


# --- any walk -------------------------------------------------------------------------------------


STEPS = st.lists(
    st.tuples(st.integers(-300, 300), st.integers(1, 400_000), st.booleans()), max_size=40
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(steps=STEPS, at=st.sampled_from(["role", "venue"]), trail=st.sampled_from([None, "100"]))
def test_no_stop_ever_falls_and_the_hard_stop_is_always_there(
    steps: list[tuple[int, int, bool]], at: str, trail: str | None
) -> None:
    """Over any walk of prices, purchases, gaps and restarts no level loosens while held."""
    keys = {**ALL, "risk__trail_bps": trail, "risk__exits_at": at}
    if trail is None:
        keys["risk__trail_from_bps"] = None
    one, cut = Desk(config(**keys)).ready(), Desk(config(**keys)).ready()
    price, stop, opened = 10_000, 0.0, 0
    for move, after_ms, is_buy in steps:
        price = max(1_000, price + move)
        text = f"{price / 100:.2f}"
        for desk in (one, cut):
            if is_buy:
                desk.signal("BUY")
            if move % 7 == 0:
                desk.put("market_ticks", Gap(SYMBOL, "trade", desk.ts, desk.ts, "reconnect"))
            desk.tick(text, text, after_ms=after_ms, trade=text if move % 3 else None)
        cut.restarted()
        held = one.risk.facts()["open_positions"]
        if not held:
            stop = 0.0
            continue
        now, since = float(one.risk.facts()["exits"][SYMBOL]["stop"]), opened_ts(one)
        # A position may end, and the next one begin, in one step.
        assert now >= max(stop if since == opened else 0.0, 0.01)
        stop, opened = now, since
    assert one.log_bytes() == cut.log_bytes()


def test_keys_off_leave_state_and_events_as_they_were() -> None:
    """Without the keys no state, check or reason knows of a plan."""
    one = Desk(config(risk__stop_bps="100")).ready()
    one.buy()
    one.tick("98", "98.01")
    one.tick()

    text = f"{one.log_bytes()!r}{one.risk.state()}"
    for word in ("plan", "peak", "hard_stop", "trail", "break_even", "age_target", "data_gap"):
        assert word not in text
    assert intents(one.events("order_intents"))[-1].purpose == "EXIT"


# --- told -----------------------------------------------------------------------------------------


def told(events: Iterable[Event]) -> list[PositionPlan]:
    """Return the plans that risk told."""
    return of(events, PositionPlan)


def test_gap_is_not_noted_in_a_profile_that_leaves_it_alone() -> None:
    """Only `stale_exit_ms` asks how long data was missing."""
    one = holder(**HARD)
    one.put("market_ticks", Gap(SYMBOL, "trade", one.ts, one.ts + 1, "a test"))
    plan = one.risk._state.exits.of(SYMBOL).plan

    assert plan is not None
    assert plan.state()["gap_ts"] == -1


def test_plan_without_a_gap_has_the_mark_of_older_snapshots() -> None:
    """Snapshots of every version write -1 where no data is missing."""
    plan = holder(**ALL).risk._state.exits.of(SYMBOL).plan

    assert plan is not None
    assert plan.state()["gap_ts"] == -1


@pytest.mark.parametrize(
    "key",
    [
        {},
        {"risk__hard_stop_bps": "1000"},
        {"risk__trail_bps": "100"},
        {"risk__trail_from_bps": "100"},
        {"risk__break_even_bps": "100"},
        {"risk__targets_by_age": [[0, "300"]]},
        {"risk__stale_exit_ms": 2_000},
        {"risk__silent_exit_ms": 2_000},
    ],
)
def test_each_key_of_a_plan_alone_gives_positions_one(key: dict[str, Any]) -> None:
    """Without any of them there is none."""
    assert PlanRules(CoreProfile.of(config(**key))).has_levels is bool(key)


@pytest.mark.parametrize("policy", [None, "ladder"])
def test_rungs_in_atrs_wait_for_the_atr(policy: str | None) -> None:
    """They do so where nothing else of the profile needs one, and only where there are rungs."""
    rungs = {"risk__ladder_1_atr_mult": "1", "risk__ladder_2_atr_mult": "2"}

    rules = PlanRules(CoreProfile.of(config(**HARD | rungs, risk__exit_policy=policy)))

    assert rules.needs_atr is (policy == "ladder")


@pytest.mark.row("B-43")
def test_plan_is_told_with_a_fill_and_with_the_beat_behind_a_move() -> None:
    """Each plan names what has moved; a beat without a move tells nothing, nor does a tick."""
    one = holder(**TRAIL | EVEN)
    (first,) = told(one.events("risk_actions"))
    assert (first.moved, first.stop, first.stop_reason) == (("opened",), "90.00000000", "hard_stop")
    assert (first.target, first.target_reason) == (None, None)
    assert not told(one.beat())

    assert not told([event for bid in ("102", "105", "104") for event in one.tick(bid, bid)])
    (second,) = told(one.beat())
    assert second.moved == ("stop_break_even", "stop_trailing")
    assert (second.stop, second.stop_reason) == ("103.95000000", "trailing_stop")
    assert second.peak == "105.00000000"
    assert not told(one.beat())

    (closed,) = told([event for bid in ("103", "103") for event in one.tick(bid, bid)])
    assert (closed.qty, closed.moved, closed.stop) == ("0", ("closed",), None)
    assert not told(one.beat())


def test_beat_reports_a_moved_stop_beside_a_symbol_without_rules() -> None:
    """The other symbol comes first and has no plan to report before its rules come."""
    lots = [{"symbol": each, "qty": "10", "price": "100", "ts": 1} for each in ("AAAUSDT", SYMBOL)]
    one = Desk(config(**TRAIL), first=opening("9000", lots))
    one.instrument()
    one.tick("100", "100")
    one.beat()
    plans, state = one.risk._plans, one.risk._state

    assert list(state.positions.held) == ["AAAUSDT", SYMBOL]
    assert not plans.is_due(state)
    one.tick("105", "105")
    assert plans.is_due(state)
    one.beat()
    assert not plans.is_due(state)
    one.instrument(price_increment="0.02")
    assert plans.is_due(state)


def test_profile_without_a_plan_tells_none() -> None:
    """Without a key of a plan nothing is told."""
    one = holder(risk__stop_bps="100")
    one.beat()

    assert not told(one.events("risk_actions"))


def test_rung_that_is_sold_is_told() -> None:
    """A sale at the first rung tells the quantity and the rungs that are left."""
    ladder = {
        "risk__exit_policy": "ladder",
        "risk__ladder_1_bps": "100",
        "risk__ladder_2_bps": "300",
    }
    one = holder(**HARD | ladder)
    before = told(one.events("risk_actions"))[-1]
    one.tick("101", "101")
    after = told(one.tick("101", "101"))[-1]

    assert before.rungs == ("101.00000000", "103.00000000")
    assert (after.moved, after.rungs) == (("qty", "rungs"), ("103.00000000",))


def test_restart_between_move_and_beat_tells_the_same() -> None:
    """A role that restarts behind a move tells it as it would have."""
    one = holder(**TRAIL)
    walk(one, "105")
    one.restarted()
    (said,) = told(one.beat())

    assert said.moved == ("stop_trailing",)
    assert said.stop_trailing == "103.95000000"
