"""Levels that a strategy wants for its position: they tighten risk's own, and loosen nothing."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.model import PositionPlan
from minibot.events.money import UNIT
from tests.risk.desk import SYMBOL, Desk, actions, check_of, config, fills, finished, of

PLANNED: dict[str, Any] = {
    "risk__hard_stop_bps": "1000",
    "risk__stop_atr_mult": None,
    "risk__take_profit_atr_mult": None,
    "risk__time_exit_ms": None,
}

MAKER: dict[str, Any] = {
    "risk__entry": "maker",
    "risk__maker_patience_market_ms": 60_000,
    "risk__maker_requotes": 1,
    "risk__maker_end": "give_up",
}


def desk(**changes: Any) -> Desk:
    """Return a desk with a plan, at a touch of 100 to 100."""
    one = Desk(config(**PLANNED | changes))
    one.ready()
    one.tick("100", "100", trade="100")
    return one


def bought(one: Desk, **wish: Any) -> Desk:
    """Buy with levels of the strategy's own, and fill it at 100."""
    assert actions(one.signal("BUY", **wish))[0][0] == "ALLOW"
    one.tick("100", "100", trade="100")
    assert fills(one.events("fills"))
    return one


def left(one: Desk, *bids: str) -> list[tuple[str, str]]:
    """Show each bid for two ticks, and return what risk did."""
    answers = []
    for bid in bids:
        for _ in range(2):
            answers += one.tick(bid, bid, trade=bid)
    return actions(answers)


def test_trail_of_the_least_distance_follows_by_one_step() -> None:
    """A ten-thousandth of a basis point is a trail: behind a peak of 101 it sells at 100.98."""
    one = bought(desk(), trail_bps="0.0001")

    assert left(one, "101", "100.98") == [("EXIT", "signal_stop")]


def test_position_is_due_at_its_stop_and_its_target_and_between_them_is_not() -> None:
    """Both sides of each level; without a position nothing is due."""
    flat, one = desk(), bought(desk(), stop_price="99", target_price="101")
    bids = ("98.99", "99", "99.01", "100.99", "101", "101.01")

    due = [one.risk.watch.is_due(SYMBOL, int(float(bid) * UNIT)) for bid in bids]

    assert due == [True, True, False, False, True, True]
    assert not flat.risk.watch.is_due(SYMBOL, 98 * UNIT)


def test_wish_without_a_limit_is_not_judged_by_one() -> None:
    """A check of a limit that nobody gave would mislead who reads it."""
    (allowed,) = [
        each for each in desk().signal("BUY", stop_price="97") if each.type == "risk_action"
    ]

    names = [check["name"] for check in allowed.to_json()["payload"]["checks"]]
    assert "wished_stop" in names
    assert "wished_limit" not in names


def test_trail_is_kept_by_the_plan_alone_once_it_has_it() -> None:
    """A snapshot has the wished stop as it was given, and no second copy of the trail."""
    one = bought(desk(), stop_price="97", trail_distance="0.5")

    (kept,) = one.risk.state()["exits"]["symbols"].values()

    assert kept["wished"] == [97 * UNIT, 0, 0, 0, 0]


def test_wish_is_not_judged_by_a_crossed_touch() -> None:
    """The entry is refused for want of a touch, and its stop is compared with neither side."""
    one = desk()
    one.tick("101", "100")

    (refused,) = one.signal("BUY", stop_price="97")

    checks = refused.to_json()["payload"]["checks"]
    assert actions([refused])[0][0] == "BLOCK"
    assert "wished_stop" not in [check["name"] for check in checks]


@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_stop_of_the_strategy_sells_before_the_hard_stop(exits_at: str) -> None:
    """A stop of 97 above the hard stop of 90 is in force, and named by the exit."""
    one = bought(desk(risk__exits_at=exits_at), stop_price="97")

    assert [reason for kind, reason in left(one, "97.01") if kind == "EXIT"] == []
    left(one, "97", "97")

    assert one.risk.facts()["open_positions"] == []
    if exits_at == "role":
        exits = [action for action in actions(one.events("risk_actions")) if action[0] == "EXIT"]
        assert exits == [("EXIT", "signal_stop")]


def test_trail_is_as_near_as_wanted_again_once_the_venue_has_finer_steps() -> None:
    """Steps of one leave a stop one below its peak; with steps of a cent it rises to a half."""
    one = bought(desk(), trail_distance="0.5")
    one.instrument(price_increment="1")
    assert left(one, "110") == []
    one.instrument(price_increment="0.01")

    assert left(one, "109.51") == []
    assert left(one, "109.50") == [("EXIT", "signal_stop")]


@pytest.mark.parametrize("limit", [{}, {"limit_price": "99.99"}])
@pytest.mark.parametrize("entry", [{}, MAKER])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_rest_of_an_entry_that_fills_behind_the_stop_of_its_first_part_has_its_levels(
    limit: dict[str, Any], entry: dict[str, Any], *, is_restarted: bool
) -> None:
    """The executor sells four coins at the stop and buys six more before risk's cancel comes."""
    one = desk(risk__exits_at="venue", **entry)
    one.signal("BUY", stop_price="97", target_price="104", **limit)
    one.tick("99.98", "100", ask_qty="0")
    one.tick("99.98", "99.99", ask_qty="4")
    one.beat()
    if is_restarted:
        one.restarted()

    one.with_risk = False
    before = len(one.log)
    one.tick("97", "97.01", ask_qty="0", trade="97")
    one.tick("97.50", "97.50")
    late, one.with_risk = one.log[before:], True
    for event in [event for _, event in late]:
        for queue, answer in finished(one.risk.process(event, 1, one.ts) or [], event, "risk_role"):
            one.take(queue, answer)

    assert [fill.side for fill in fills(one.events("fills"))] == ["BUY", "SELL", "BUY"]
    levels = one.risk.facts()["exits"][SYMBOL]
    assert (levels["stop"], levels["target"]) == ("97.00000000", "104.00000000")


def test_rest_that_is_quoted_anew_leaves_an_adjusted_target() -> None:
    """Levels are asked for once: the next quote of an entry does not take them again."""
    one = desk(**MAKER | {"risk__maker_patience_market_ms": 1_000})
    one.signal("BUY", target_price="104")
    one.tick("99.98", "100", ask_qty="0")
    one.tick("99.98", "99.99", ask_qty="4")
    assert actions(one.signal("ADJUST", target_price="110")) == [("ADJUST", "adjusted")]
    one.restarted()
    one.tick("100.10", "100.12", after_ms=1_000)
    one.tick("100.10", "100.12")
    one.tick("100.10", "100.10")

    assert [fill.price for fill in fills(one.events("fills"))] == ["99.99", "100.10"]
    assert one.risk.facts()["exits"][SYMBOL]["target"] == "110.00000000"


def test_stop_of_the_strategy_below_the_hard_stop_loosens_nothing() -> None:
    """The hard stop of 90 stands beside a wish of 80."""
    one = bought(desk(), stop_price="80")

    assert left(one, "90.01", "90") == [("EXIT", "hard_stop")]


@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_target_of_the_strategy_is_reached(exits_at: str) -> None:
    """A target of 104 is sold at; the profile has none of its own."""
    one = bought(desk(risk__exits_at=exits_at), target_price="104")

    left(one, "103.99")
    assert one.risk.facts()["open_positions"] != []
    left(one, "104", "104")

    assert one.risk.facts()["open_positions"] == []


def test_lower_of_two_targets_counts() -> None:
    """The profile's target of 2 % comes before the strategy's of 104."""
    one = bought(desk(risk__take_profit_bps="200"), target_price="104")

    assert left(one, "102") == [("EXIT", "take_profit")]


def test_levels_are_told_in_the_plan_and_forgotten_with_the_position() -> None:
    """The plan names both levels; the next entry without a wish has neither."""
    one = bought(desk(), stop_price="97", target_price="104")
    plan = of(one.events("risk_actions"), PositionPlan)[-1]
    left(one, "96")
    bought(one)
    later = of(one.events("risk_actions"), PositionPlan)[-1]

    assert (plan.stop, plan.stop_reason) == ("97.00000000", "signal_stop")
    assert (plan.target, plan.target_reason) == ("104.00000000", "signal_target")
    assert (later.stop_reason, later.target, later.stop_signal) == ("hard_stop", None, None)


def test_wish_of_an_entry_that_bought_nothing_is_no_wish_of_the_next() -> None:
    """An entry that expires leaves no level behind."""
    one = desk()
    one.signal("BUY", stop_price="97")
    one.tick(after_ms=120_000)
    assert fills(one.events("fills")) == []
    bought(one)

    assert left(one, "96") == []


def test_levels_of_a_second_entry_wait_for_its_fill_over_a_restart() -> None:
    """A core made anew from its state does not take them early."""
    one = bought(desk(), target_price="104")
    assert actions(one.signal("BUY", target_price="101"))[0][0] == "ALLOW"
    one.restarted()
    one.beat()
    assert one.risk.facts()["exits"][SYMBOL]["target"] == "104.00000000"
    one.instrument(price_increment="0.1")
    one.beat()
    assert one.risk.facts()["exits"][SYMBOL]["target"] == "104.00000000"
    one.tick("100", "100", trade="100")
    assert one.risk.facts()["exits"][SYMBOL]["target"] == "101.00000000"


@pytest.mark.parametrize(
    "wish", [{"target_price": "1000000000000"}, {"trail_distance": "1000000000000"}]
)
@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_level_beyond_64_bits_is_kept_over_a_restart(exits_at: str, wish: dict[str, Any]) -> None:
    """The largest amount that a strategy may name fits a snapshot, asked for and in force."""
    plain, cut = desk(risk__exits_at=exits_at), desk(risk__exits_at=exits_at)
    for one in (plain, cut):
        assert actions(one.signal("BUY", stop_price="97", **wish))[0][0] == "ALLOW"
        if one is cut:
            one.restarted()
        one.tick("100", "100", trade="100")
        one.beat()
        if one is cut:
            one.restarted()
        one.signal("ADJUST", stop_price="98")
        left(one, "98")

    assert plain.log_bytes() == cut.log_bytes()
    assert plain.risk.state() == cut.risk.state()


@pytest.mark.parametrize("stop", [{"stop_price": "95"}, {}])
def test_second_entry_raises_the_stop_and_never_lowers_it(stop: dict[str, Any]) -> None:
    """The highest of stops wanted one after the other counts; a target is replaced."""
    one = bought(desk(), stop_price="97", target_price="104")
    bought(one, **stop, target_price="106")

    plan = of(one.events("risk_actions"), PositionPlan)[-1]
    assert (plan.stop_signal, plan.target_signal) == ("97.00000000", "106.00000000")


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"stop_price": "100"}, "wish_reached"),
        ({"stop_price": "101"}, "wish_reached"),
        ({"stop_price": "99.995"}, "wish_reached"),
        ({"target_price": "100"}, "wish_reached"),
        ({"target_price": "100.009"}, "wish_reached"),
        ({"target_price": "99"}, "wish_reached"),
    ],
)
def test_level_that_is_reached_already_is_refused(wish: dict[str, Any], reason: str) -> None:
    """A stop at the bid would sell at once, a target at the ask too, both in price steps."""
    assert actions(desk().signal("BUY", **wish)) == [("BLOCK", reason)]


def test_later_entry_without_levels_makes_no_trail_of_the_former_target() -> None:
    """The target that the first entry wanted stays, and its price is no distance of a trail."""
    one = bought(bought(desk(), target_price="110"))

    plan = of(one.events("risk_actions"), PositionPlan)[-1]
    assert (plan.target, plan.trail_signal) == ("110.00000000", None)


def test_level_without_a_plan_is_refused() -> None:
    """A stop that nothing would keep is no stop: the entry is refused, with what to do."""
    one = Desk(config()).ready()
    events = one.signal("BUY", stop_price="1")

    assert actions(events) == [("BLOCK", "no_plan")]
    assert check_of(events[0], "keeps_levels")["value"] == "no"


def test_restart_keeps_the_levels() -> None:
    """Both cores made anew from their states sell at the same stop."""
    one = desk()
    one.signal("BUY", stop_price="97", target_price="104")
    one.restarted()
    one.tick("100", "100", trade="100")
    one.restarted()

    assert one.risk.facts()["exits"][SYMBOL]["stop"] == "97.00000000"
    assert left(one, "97") == [("EXIT", "signal_stop")]


def test_levels_of_a_symbol_without_rules_are_shown_as_they_were_wished() -> None:
    """Without a price step nothing is rounded; the entry is refused for the missing rules."""
    one = Desk(config(risk__hard_stop_bps="1000"))
    one.tick("100", "100")

    events = one.signal("BUY", stop_price="97.00000001", target_price="103.99999999")

    assert actions(events) == [("BLOCK", "no_instrument")]
    assert check_of(events[0], "wished_stop")["value"] == "97.00000001"
    assert check_of(events[0], "wished_target")["value"] == "103.99999999"
