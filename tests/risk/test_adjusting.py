"""Levels that a strategy moves while it holds: a stop only up, a target either way."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.model import PositionPlan
from minibot.events.money import UNIT
from minibot.kernel.canonical import encode
from tests.risk.desk import SYMBOL, Desk, actions, check_of, config, fills, of, opening
from tests.watchdog.test_carried_plans import carried, following

TWICE = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
PLANNED: dict[str, Any] = {
    "risk__hard_stop_bps": "1000",
    "risk__stop_atr_mult": None,
    "risk__take_profit_atr_mult": None,
    "risk__time_exit_ms": None,
}


def holder(wish: dict[str, Any] | None = None, **changes: Any) -> Desk:
    """Return a desk that holds coins bought at 100, under a hard stop of 90."""
    one = Desk(config(**PLANNED | changes))
    one.ready()
    one.tick("100", "100", trade="100")
    assert actions(one.signal("BUY", **(wish or {})))[0][0] == "ALLOW"
    one.tick("100", "100", trade="100")
    assert fills(one.events("fills"))
    return one


def shown(one: Desk, *bids: str) -> list[tuple[str, str]]:
    """Show each bid for two ticks, and return the exits of risk."""
    answers = []
    for bid in bids:
        for _ in range(2):
            answers += one.tick(bid, bid, trade=bid)
    return [action for action in actions(answers) if action[0] == "EXIT"]


def plan_of(one: Desk) -> PositionPlan:
    """Return the plan that the next beat tells, or the last one told."""
    one.beat()
    told: list[PositionPlan] = of(one.events("risk_actions"), PositionPlan)
    return told[-1]


# --- stop and target ------------------------------------------------------------------------------


@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_adjusted_stop_sells(exits_at: str) -> None:
    """A stop of 97 takes the place of the hard stop of 90."""
    one = holder(risk__exits_at=exits_at)

    assert actions(one.signal("ADJUST", stop_price="97")) == [("ADJUST", "adjusted")]
    shown(one, "97.01")
    assert one.risk.facts()["open_positions"] != []
    shown(one, "97", "97")

    assert one.risk.facts()["open_positions"] == []


@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_adjusted_target_sells_before_the_resting_order_may_move(exits_at: str) -> None:
    """A target from 110 down to 104 is reached at 104.50 while the rate lets no order move."""
    one = holder({"target_price": "110"}, risk__exits_at=exits_at)
    shown(one, "103")

    assert actions(one.signal("ADJUST", target_price="104"))[0] == ("ADJUST", "adjusted")
    assert shown(one, "104.50") == [("EXIT", "signal_target")]
    assert one.risk.facts()["open_positions"] == []


def test_stop_off_the_price_step_is_rounded_up() -> None:
    """A stop between two prices acts early rather than late."""
    one = holder()
    one.signal("ADJUST", stop_price="97.001")

    assert plan_of(one).stop == "97.01000000"


@pytest.mark.parametrize("stop", ["97", "96.99", "90", "80"])
def test_stop_that_is_not_above_the_one_in_force_is_refused(stop: str) -> None:
    """A position's stop never falls, and the refusal shows both."""
    one = holder({"stop_price": "97"})
    events = one.signal("ADJUST", stop_price=stop)

    assert actions(events) == [("BLOCK", "looser_level")]
    assert check_of(events[0], "stop_in_force")["threshold"] == "97.00000000"
    assert shown(one, "97") == [("EXIT", "signal_stop")]


def test_looser_stop_beside_a_target_is_left_out_and_told() -> None:
    """Levels that can be taken are taken; the failed check names the rest."""
    one = holder({"stop_price": "97", "target_price": "104"})
    events = one.signal("ADJUST", stop_price="95", target_price="106")

    assert actions(events) == [("ADJUST", "adjusted")]
    assert check_of(events[0], "stop_in_force")["passed"] is False
    plan = plan_of(one)
    assert (plan.stop, plan.target) == ("97.00000000", "106.00000000")


@pytest.mark.parametrize("target", ["102", "108"])
def test_target_moves_either_way(target: str) -> None:
    """The strategy's target is its own, and brings no stop; the sale names it."""
    one = holder({"target_price": "104"})
    one.signal("ADJUST", target_price=target)

    assert plan_of(one).stop_signal is None
    assert shown(one, "101.99") == []
    assert shown(one, target) == [("EXIT", "signal_target")]


def test_target_behind_that_of_the_profile_says_so() -> None:
    """A target above the profile's is kept and does not count."""
    one = holder(risk__take_profit_bps="200")
    events = one.signal("ADJUST", target_price="104")

    assert check_of(events[0], "target_in_force")["passed"] is False
    assert shown(one, "102") == [("EXIT", "take_profit")]


@pytest.mark.parametrize(
    "wish",
    [
        {"stop_price": "100"},
        {"stop_price": "99.995"},
        {"stop_price": "104"},
        {"target_price": "100"},
        {"target_price": "100.009"},
        {"target_price": "1"},
        {"stop_price": "97", "target_price": "99"},
    ],
)
def test_level_that_is_reached_already_refuses_the_wish(wish: dict[str, Any]) -> None:
    """Such a wish is refused whole, as it would sell at once."""
    one = holder()

    assert actions(one.signal("ADJUST", **wish)) == [("BLOCK", "wish_reached")]
    assert shown(one, "96") == []


def test_adjustment_of_nothing_is_refused() -> None:
    """Without a position, or without a plan, no level could be kept."""
    flat = Desk(config(**PLANNED)).ready()
    assert actions(flat.signal("ADJUST", stop_price="97")) == [("BLOCK", "no_position")]

    plain = Desk(config()).ready()
    plain.buy()
    assert actions(plain.signal("ADJUST", stop_price="97")) == [("BLOCK", "no_plan")]

    one = holder()
    assert actions(one.signal("ADJUST")) == [("BLOCK", "looser_level")]


def test_stale_and_repeated_adjustments_are_refused() -> None:
    """One signal counts once, and not after its time."""
    one = holder()
    old = one.signal("ADJUST", stop_price="97", age_ms=3_001)
    one.signal("ADJUST", target_price="104", event_id=TWICE)
    again = one.signal("ADJUST", target_price="104", event_id=TWICE)

    assert actions(old) == [("BLOCK", "stale_signal")]
    assert actions(again) == [("BLOCK", "duplicate")]


# --- trail ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "stop"),
    [({"trail_distance": "3"}, "107.00000000"), ({"trail_bps": "300"}, "106.70000000")],
)
@pytest.mark.parametrize("is_late", [False, True])
def test_trail_follows_the_highest_bid(wish: dict[str, Any], stop: str, is_late: bool) -> None:
    """From the entry on, or from an adjustment on, the stop rises and never falls."""
    one = holder(None if is_late else wish)
    if is_late:
        assert actions(one.signal("ADJUST", **wish)) == [("ADJUST", "adjusted")]
    assert shown(one, "104", "110", "108") == []

    plan = plan_of(one)
    assert (plan.stop, plan.stop_reason) == (stop, "signal_stop")
    assert shown(one, stop) == [("EXIT", "signal_stop")]


def test_trail_in_atrs_waits_for_no_later_atr() -> None:
    """Two ATRs of the entry stay a distance of four."""
    one = Desk(config(**PLANNED))
    one.instrument()
    one.tick("100", "100", trade="100")
    assert actions(one.signal("BUY", trail_atr="2")) == [("BLOCK", "warmup")]
    for _ in range(2):
        one.bar("100", "101", "99", "100")
    one.tick("100", "100", trade="100")
    one.signal("BUY", trail_atr="2")
    one.tick("100", "100", trade="100")
    for _ in range(4):
        one.bar("100", "100.1", "100", "100")

    assert plan_of(one).stop == "96.00000000"
    shown(one, "103")
    assert plan_of(one).stop == "99.00000000"


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize(("step", "stop"), [("0.01", "99.99000000"), ("0.00000001", "99.99999999")])
def test_trail_of_an_atr_that_is_zero_follows_one_step_below(
    is_late: bool, step: str, stop: str
) -> None:
    """Bars that never move, as a coin's of many zeros, make a trail all the same, as a stop."""
    one = Desk(config(**PLANNED))
    one.instrument(price_increment=step)
    for _ in range(3):
        one.bar("100", "100", "100", "100")
    one.tick("100", "100", trade="100")
    if is_late:
        one.signal("BUY")
    else:
        one.signal("BUY", trail_atr="2")
    one.tick("100", "100", trade="100")
    if is_late:
        assert actions(one.signal("ADJUST", trail_atr="2")) == [("ADJUST", "adjusted")]

    plan = plan_of(one)
    assert (plan.stop, plan.stop_reason) == (stop, "signal_stop")


def test_wider_trail_is_left_out() -> None:
    """The nearer of two trails counts, whatever each is measured in."""
    one = holder({"trail_distance": "2"})

    events = one.signal("ADJUST", trail_bps="300")
    assert actions(events) == [("BLOCK", "looser_level")]
    assert check_of(events[0], "trail_in_force") == {
        "name": "trail_in_force",
        "value": "3.00000000",
        "threshold": "2.00000000",
        "passed": False,
    }
    assert actions(one.signal("ADJUST", trail_bps="100")) == [("ADJUST", "adjusted")]
    assert plan_of(one).stop == "99.00000000"


def test_trail_that_begins_below_the_entry_does_not_sell_at_once() -> None:
    """An adjustment in a loss follows the present bid, also once a part of filters changes."""
    one = holder()
    shown(one, "95")
    one.signal("ADJUST", trail_distance="2")
    one.instrument(price_increment="0.1")

    assert shown(one, "95", "94", "93.1") == []
    assert shown(one, "93") == [("EXIT", "signal_stop")]


def test_trail_of_a_second_entry_counts_from_its_bid() -> None:
    """Scaling in at 92 under a trail of 1 stands at 91, far below the average entry."""
    one = holder()
    shown(one, "92")
    one.signal("BUY", trail_distance="1")
    one.tick("92", "92", trade="92")

    assert plan_of(one).stop == "91.00000000"
    assert shown(one, "91.01") == []


def test_nearer_trail_of_a_second_entry_counts_from_its_bid() -> None:
    """Scaling in at 92 under a trail of 1 stands at 91, whatever the wider one had followed."""
    one = holder({"trail_distance": "10"})
    shown(one, "92")
    one.signal("BUY", trail_distance="1")
    one.tick("92", "92", trade="92")

    assert plan_of(one).stop == "91.00000000"
    assert shown(one, "91.01", "95", "94.01") == []
    assert shown(one, "94") == [("EXIT", "signal_stop")]


@pytest.mark.parametrize("bid", ["92", "104"])
def test_wider_trail_of_a_second_entry_leaves_the_former(bid: str) -> None:
    """A trail of 9 under one of 8 that has followed 100, or the bid since, changes nothing."""
    one = holder({"trail_distance": "8.5"})
    shown(one, bid)
    one.signal("BUY", trail_distance="9")
    one.tick(bid, bid, trade=bid)

    plan = plan_of(one)
    assert (plan.stop, plan.trail_signal) == (f"{max(100, int(bid)) - 8.5:.8f}", "8.50000000")


def test_nearer_trail_of_an_adjustment_counts_from_the_highest_bid_so_far() -> None:
    """It tightens the one that it replaces: 3 below 110 is a stop at 107, which 104 has reached."""
    one = holder({"trail_distance": "10"})
    shown(one, "110", "104")
    assert actions(one.signal("ADJUST", trail_distance="3")) == [("ADJUST", "adjusted")]

    assert plan_of(one).stop == "107.00000000"
    assert shown(one, "104") == [("EXIT", "signal_stop")]


# --- carried, restored ----------------------------------------------------------------------------


def test_restart_goes_on_with_adjusted_levels() -> None:
    """A core made from its state has the same plan, and follows on from the same peak."""
    one = holder()
    one.signal("ADJUST", trail_distance="3", target_price="130")
    shown(one, "110")
    one.restarted()

    assert shown(one, "109", "107.01") == []
    assert one.risk.facts()["exits"][SYMBOL]["target"] == "130.00000000"
    shown(one, "111")
    one.restarted()
    assert shown(one, "108") == [("EXIT", "signal_stop")]


@pytest.mark.parametrize("wish", [{"trail_distance": "3"}, {"trail_bps": "300"}])
def test_next_run_goes_on_with_adjusted_levels(wish: dict[str, Any]) -> None:
    """Stop, target and trail are carried; the trail follows on in the next run."""
    one = holder()
    one.signal("ADJUST", stop_price="97.5", target_price="130", **wish)
    one.beat()
    told = carried(one)
    assert told is not None
    assert told[0]["peak_signal"] == "100.00000000"
    other = following(one)

    assert shown(other, "101") == []
    assert plan_of(other).stop in ("98.00000000", "97.97000000")
    assert other.risk.facts()["exits"][SYMBOL]["target"] == "130.00000000"
    assert shown(other, "97.97") == [("EXIT", "signal_stop")]


def test_adjusted_stop_is_not_compared_with_the_target_in_force() -> None:
    """The profile's target of 110 stands; only a wanted target is compared with it."""
    one = holder(risk__take_profit_bps="1000")

    stop, target = one.signal("ADJUST", stop_price="97"), one.signal("ADJUST", target_price="108")

    assert "target_in_force" not in encode(stop[0].to_json()).decode()
    assert check_of(target[0], "target_in_force")["threshold"] == "110.00000000"


def test_adjusted_stop_is_not_compared_with_the_trail_in_force() -> None:
    """A trail of 10 stands; only a wanted trail is compared with it."""
    one = holder({"trail_distance": "10"})

    stop, trail = one.signal("ADJUST", stop_price="97"), one.signal("ADJUST", trail_distance="5")

    assert "trail_in_force" not in encode(stop[0].to_json()).decode()
    assert check_of(trail[0], "trail_in_force")["value"] == "5.00000000"


def test_adjusted_target_leaves_the_trailing_stop_where_it_is() -> None:
    """A trail of 10 has its stop at 94 behind a bid of 104; a new target does not move it."""
    one = holder({"trail_distance": "10"})
    shown(one, "104")

    one.signal("ADJUST", target_price="120")

    assert plan_of(one).stop == "94.00000000"


def test_further_purchase_without_a_stop_leaves_the_trailing_stop_where_it_is() -> None:
    """A trail of 10 has its stop at 94 behind a bid of 104; the purchase brings a target alone."""
    one = holder({"trail_distance": "10"})
    shown(one, "104")

    one.signal("BUY", target_price="120")
    one.tick("104", "104", trade="104")

    assert len(fills(one.events("fills"))) == 2
    assert plan_of(one).stop == "94.00000000"


def test_trailing_stop_moves_with_the_least_rise_of_the_bid() -> None:
    """A bid a hundred-millionth above the highest one is the lowest that can raise it."""
    one = holder({"trail_distance": "3"})
    plan, rules = one.risk._state.exits.of(SYMBOL).plan, one.risk._state.exits.rules.plan

    assert plan is not None
    assert plan.moves_at(rules) == 100 * UNIT + 1


def test_levels_are_forgotten_with_the_position() -> None:
    """The next position begins with the profile's levels alone."""
    one = holder({"trail_distance": "3"})
    shown(one, "96")
    one.tick("100", "100", trade="100")
    one.buy()

    assert (plan_of(one).stop, plan_of(one).trail_signal) == ("90.00000000", None)


@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_stop_in_atrs_that_no_tick_has_set_yet_counts_before_an_adjusted_one(exits_at: str) -> None:
    """A carried position waits for its ATR; bars that make it 2 set a stop of 98 at once."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    profile = config(**PLANNED | {"risk__stop_atr_mult": "1"}, risk__exits_at=exits_at)
    one = Desk(profile, first=opening("9000", (lot,)))
    one.instrument()
    one.tick("100", "100", trade="100")
    for _ in range(2):
        one.bar("100", "101", "99", "100")

    looser = one.signal("ADJUST", stop_price="98")
    nearer = one.signal("ADJUST", stop_price="98.01")

    assert actions(looser)[0] == ("BLOCK", "looser_level")
    assert check_of(looser[0], "stop_in_force")["threshold"] == "98.00000000"
    assert actions(nearer)[0] == ("ADJUST", "adjusted")
