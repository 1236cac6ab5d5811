"""Carried plans: the next run goes on with the levels that risk told last."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
from msgspec.structs import replace

from minibot.events.model import ExitPosition, JsonObject, PositionPlan, RunOpening
from minibot.kernel.errors import InvariantError
from minibot.watchdog.carried_plans import carried_plans
from tests.risk.desk import OTHER, SYMBOL, Desk, actions, config, opening
from tests.risk.test_horizon import KEYS, MOST, THESIS, USUAL, VOLATILE, at, bars, opened_ts
from tests.risk.test_horizon import holder as held_behind

TRAIL: dict[str, Any] = {
    "risk__hard_stop_bps": "1000",
    "risk__trail_bps": "100",
    "risk__trail_from_bps": "200",
}
AGES: dict[str, Any] = {
    "risk__hard_stop_bps": "1000",
    "risk__targets_by_age": [[0, "300"], [10, "100"], [60, "0"]],
}
WITHOUT: dict[str, Any] = dict.fromkeys(TRAIL)
MINUTE = 60_000


def holder(**changes: Any) -> Desk:
    """Return a desk that holds coins bought at 100."""
    one = Desk(config(**changes))
    one.ready()
    one.tick("100", "100")
    one.buy()
    return one


def walk(one: Desk, *bids: str) -> list[tuple[str, str]]:
    """Show bids, and return what risk did."""
    return actions(event for bid in bids for event in one.tick(bid, bid))


def carried(one: Desk) -> tuple[JsonObject, ...] | None:
    """Return the plans that the desk's run leaves."""
    first = one.events("control")[0].payload
    assert isinstance(first, RunOpening)
    return carried_plans(first, lambda queue, _: one.events(queue))


def following(one: Desk, **changes: Any) -> Desk:
    """Return the desk of a run that carries the desk's position on, a minute later."""
    portfolio = one.risk._state.positions.portfolio
    profile = deepcopy(one.profile)
    profile["risk"].update(changes)
    first = RunOpening(
        portfolio.opening_cash(), tuple(portfolio.opening_lots()), {}, plans=carried(one)
    )
    other = Desk(profile, first=first)
    other.ts = one.ts + MINUTE
    other.instrument()
    return other


def next_run(one: Desk, bids: Sequence[str], **changes: Any) -> list[tuple[str, str]]:
    """Return risk's actions on bids in a run that carries the desk's position on."""
    return walk(following(one, **changes), *bids)


@pytest.mark.row("B-17", "B-43")
def test_next_run_goes_on_with_the_stops_of_the_last() -> None:
    """A stop that had trailed to 103.95 is hit there by the first bid of the next run."""
    one = holder(**TRAIL)
    walk(one, "105")
    one.beat()

    assert next_run(one, ("103.96",)) == []
    assert next_run(one, ("103.95",)) == [("EXIT", "trailing_stop")]
    assert next_run(one, ("110", "108.91", "108.90")) == [("EXIT", "trailing_stop")]


def test_levels_that_the_strategy_wanted_are_carried() -> None:
    """The next run sells at the stop of 97, and knows the target of 120."""
    one = Desk(config(risk__hard_stop_bps="1000", risk__stop_atr_mult=None))
    one.ready()
    one.tick("100", "100")
    one.signal("BUY", stop_price="97", target_price="120")
    one.tick("100", "100")
    other = following(one)

    plans = carried(one)
    assert plans is not None
    assert (plans[0]["stop_signal"], plans[0]["target_signal"]) == ("97.00000000", "120.00000000")
    assert walk(other, "97.01") == []
    assert other.risk.facts()["exits"][SYMBOL]["target"] == "120.00000000"
    assert walk(other, "97") == [("EXIT", "signal_stop")]


CARRIES = pytest.mark.parametrize(
    "carries", [{"portfolio__at_end": "carry"}, {"portfolio__start_from": "carry"}]
)


@CARRIES
@pytest.mark.row("B-17")
def test_stop_in_atrs_without_a_key_of_a_plan_does_not_fall_between_runs(
    carries: dict[str, Any],
) -> None:
    """A stop of 97 stands in the next run, though its bars have four times the range."""
    one = Desk(config(risk__stop_atr_mult="3", **carries))
    one.instrument()
    for _ in range(4):
        one.bar("100", "100.5", "99.5", "100")
    one.tick("99.99", "100")
    one.buy()
    other = following(one)
    for _ in range(4):
        other.bar("100", "102", "98", "100")
    other.restarted()

    assert walk(other, "97.01") == []
    assert walk(other, "97") == [("EXIT", "stop_loss")]


@CARRIES
def test_entry_price_behind_a_sale_in_part_is_carried_without_a_key_of_a_plan(
    carries: dict[str, Any],
) -> None:
    """The stop stays by the average of 110, though the newest lot, which is left, cost 100."""
    one = Desk(config(risk__stop_bps="2000", risk__stop_atr_mult=None, **carries))
    one.ready()
    for price in ("120", "100"):
        one.tick(price, price)
        one.buy()
    one.signal("SELL", share_bps=5000)
    one.tick()
    stop = one.risk.facts()["exits"][SYMBOL]["stop"]
    other = following(one)

    assert walk(other, "100") == []
    assert other.risk.facts()["exits"][SYMBOL]["stop"] == stop


@CARRIES
def test_exit_that_waits_is_carried_without_a_key_of_a_plan(carries: dict[str, Any]) -> None:
    """A halted position that the operator wants to leave is left once the next run can."""
    one = halted("operator_exit", **WITHOUT, **carries)

    assert next_run(one, ("100",)) == [("EXIT", "operator_exit")]


@CARRIES
def test_strategy_has_no_levels_without_a_key_of_a_plan(carries: dict[str, Any]) -> None:
    """A profile that carries refuses a strategy's stop as one that does not carry."""
    one = Desk(config(**carries)).ready()

    assert actions(one.signal("BUY", stop_price="97")) == [("BLOCK", "no_plan")]
    assert next_run(wished_at(97), ("97", "90")) == [("EXIT", "signal_stop")]
    assert next_run(wished_at(97), ("97", "90"), hard_stop_bps=None) == []


def wished_at(price: int) -> Desk:
    """Return a desk that holds coins bought at 100 with a strategy's stop, and carries."""
    levels = {"risk__hard_stop_bps": "1000", "risk__stop_atr_mult": None}
    one = Desk(config(portfolio__start_from="carry", **levels)).ready()
    one.tick("100", "100")
    one.signal("BUY", stop_price=str(price))
    one.tick("100", "100")
    return one


def test_carried_plan_is_told_once_by_the_first_beat() -> None:
    """The next run says that it carries the plan, and nothing more until a level moves."""
    one = holder(**TRAIL)
    walk(one, "105")
    one.beat()
    other = following(one)
    walk(other, "105")

    (payload,) = [event.payload for event in other.beat() if event.type == PositionPlan.TYPE]
    assert isinstance(payload, PositionPlan)
    assert (payload.moved, payload.stop) == (("carried",), "103.95000000")
    assert not other.beat()


def test_stop_whose_key_is_off_in_the_next_run_is_left_out() -> None:
    """The next run's profile says which stops there are."""
    one = holder(**TRAIL)
    walk(one, "105")
    one.beat()

    off = {"trail_bps": None, "trail_from_bps": None}
    assert next_run(one, ("103.95", "90.01"), **off) == []
    assert next_run(one, ("90",), **off) == [("EXIT", "hard_stop")]


@pytest.mark.parametrize("held_ms", [0, 10 * MINUTE])
def test_age_counts_on_in_the_next_run(held_ms: int) -> None:
    """A position's time goes on: its target falls to one percent ten minutes after the purchase."""
    one = holder(**AGES)
    opened_ts = (carried(one) or ())[0]["opened_ts"]
    one.ts = opened_ts + held_ms
    one.beat()
    walk(one, "100.50")

    one.ts = opened_ts + 9 * MINUTE - 100  # `next_run` begins a minute later.
    assert next_run(one, ("100.99",)) == []
    assert next_run(one, ("101.00",)) == [("EXIT", "age_target")]


def test_age_counts_by_the_rows_of_the_next_run() -> None:
    """Twenty minutes are the second of three rows, and the first of the next run's two."""
    one = holder(**AGES)
    one.ts = (carried(one) or ())[0]["opened_ts"] + 20 * MINUTE
    walk(one, "100.50")
    one.beat()

    later = [[0, "200"], [60, "0"]]
    assert next_run(one, ("101.99",), targets_by_age=later) == []
    assert next_run(one, ("102.00",), targets_by_age=later) == [("EXIT", "age_target")]


@pytest.mark.row("B-17")
def test_next_run_keeps_the_atr_of_the_entry() -> None:
    """The stop stands three of the entry's ATRs below, whatever ATR the next run measures."""
    atrs = {"risk__stop_atr_mult": "3.0", "risk__take_profit_atr_mult": "4.0"}
    one = Desk(config(risk__hard_stop_bps="1000", **atrs))
    one.instrument()
    for _ in range(2):
        one.bar("100", "101", "99", "100")
    one.tick("100", "100")
    one.buy()
    one.beat()

    other = following(one)
    assert walk(other, "107.99") == []
    for _ in range(3):
        other.bar("100", "100.5", "100", "100.5")

    assert walk(other, "94.01", "107.99") == []
    assert walk(other, "108") == [("EXIT", "take_profit")]


def test_plan_of_an_earlier_position_is_not_carried() -> None:
    """Levels told before a symbol was flat are left out: they are of another position."""
    one = holder(**TRAIL)
    walk(one, "105")
    one.beat()
    left = carried(one)
    walk(one, "103", "103")

    assert left is not None
    assert left[0]["stop_trailing"] == "103.95000000"
    assert carried(one) is None
    behind = [
        event for event in one.events("risk_actions") if not isinstance(event.payload, PositionPlan)
    ]
    assert (
        carried_plans(
            replace(opening(), plans=left),
            lambda queue, _: behind if queue == "risk_actions" else one.events(queue),
        )
        is None
    )


def test_run_without_a_plan_hands_on_what_it_was_given() -> None:
    """Levels outlive a run whose profile has none."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    one = holder(**TRAIL)
    one.beat()
    left = carried(one)
    first = replace(opening("9000", (lot,)), plans=left)
    other = Desk(config(), first=first)
    other.instrument()

    assert left
    assert carried(other) == left


def test_opening_with_a_plan_of_no_position_is_a_stop() -> None:
    """A plan of a symbol that is not held contradicts the opening."""
    one = holder(**TRAIL)
    (left,) = carried(one) or ()
    portfolio = one.risk._state.positions.portfolio
    wrong = left | {"symbol": OTHER}
    first = RunOpening(
        portfolio.opening_cash(), tuple(portfolio.opening_lots()), {}, plans=(wrong,)
    )

    with pytest.raises(InvariantError, match="ETHUSDT, expected a held symbol"):
        Desk(one.profile, first=first)


# --- decisions to leave ---------------------------------------------------------------------------


def halted(left: str, **changes: Any) -> Desk:
    """Return a desk whose position waits for the end of a halt to be left for that reason."""
    policy = "close" if left == "left_trading" else "hold"
    one = holder(**{"risk__left_trading": policy, **TRAIL, **changes})
    one.instrument(status="BREAK")
    if left == "operator_exit":
        one.put("control", ExitPosition(who="anna", why="leave it", symbol=SYMBOL))
    one.tick("100", "100")
    one.beat()
    return one


@pytest.mark.row("F118", "B-17")
@pytest.mark.parametrize("left", ["left_trading", "operator_exit"])
def test_exit_that_waits_for_the_end_of_a_halt_is_made_by_the_next_run(left: str) -> None:
    """Over a run's end, a restart and a run that meets no touch, as if the run had gone on."""
    one = halted(left)
    (plan,) = carried(one) or ()
    other = following(one)
    other.instrument(status="BREAK")
    other.tick("100", "100")
    other.beat()
    third = following(other)
    third.restarted()

    assert plan["leaving"] == left
    assert carried(other) == (plan,)
    assert walk(third, "100") == [("EXIT", left)]
    walk(third, "100")
    assert carried(third) is None


@pytest.mark.parametrize("changes", [{}, KEYS])
def test_exit_that_waits_is_told_once_by_the_beat_behind_it(changes: dict[str, Any]) -> None:
    """The plan names it alone as moved; a halt before an operator's request gives way to that."""
    one = halted("left_trading", **changes)
    one.put("control", ExitPosition(who="anna", why="leave it", symbol=SYMBOL))
    one.beat()
    one.restarted()
    assert not one.beat()

    payloads = [event.payload for event in one.events("risk_actions")]
    plans = [said for said in payloads if isinstance(said, PositionPlan)]
    assert [(said.moved, said.leaving) for said in plans[1:]] == [
        (("leaving",), "left_trading"),
        (("leaving",), "operator_exit"),
    ]


def test_exit_by_a_policy_that_the_next_run_has_not_is_left_out() -> None:
    """The next profile holds what was halted; a request of the operator needs no key."""
    assert next_run(halted("left_trading"), ("100",), left_trading="hold") == []
    asked = halted("operator_exit")
    assert next_run(asked, ("100",), left_trading="hold") == [("EXIT", "operator_exit")]


def test_exit_that_waits_is_made_by_a_run_without_a_plan() -> None:
    """A profile without levels of its own leaves what the run before could not."""
    off = {"hard_stop_bps": None, "trail_bps": None, "trail_from_bps": None}

    assert next_run(halted("operator_exit"), ("100",), **off) == [("EXIT", "operator_exit")]


@pytest.mark.row("B-17")
def test_thesis_that_held_holds_in_the_next_run() -> None:
    """A bid below it is no exit before the longest horizon, nor is it asked for again."""
    one = held_behind(VOLATILE, **THESIS)
    assert at(one, USUAL // 2, "100.50") == []
    one.beat()
    other = following(one)
    bars(other, VOLATILE)
    begin_ts = opened_ts(one)
    other.ts = begin_ts + USUAL

    (plan,) = carried(one) or ()
    assert plan["has_thesis"] is True
    assert actions(other.tick("99", "99")) == []
    other.beat()
    assert (carried(other) or ())[0]["has_thesis"] is True
    other.ts = begin_ts + MOST
    assert actions(other.tick("99", "99")) == [("EXIT", "horizon_exit")]


def test_thesis_is_left_out_where_the_next_run_asks_for_none() -> None:
    """Without the key the horizon of the volatility holds."""
    one = held_behind(VOLATILE, **THESIS)
    assert at(one, USUAL // 2, "100.50") == []
    one.beat()
    other = following(one, horizon_thesis_bps=None)
    bars(other, VOLATILE)

    assert actions(other.tick("120", "120")) == [("EXIT", "horizon_exit")]


@pytest.mark.parametrize("qty", ["10", "10.0005"])
def test_plan_ends_with_its_position_though_a_sale_left_dust(qty: str) -> None:
    """A hard stop at 95 would sell at once the coins that a night without plans bought at 60."""
    lot = {"symbol": SYMBOL, "qty": qty, "price": "100", "ts": 1}
    prices = {"original_qty": qty, "entry_price": "100", "stop_hard": "95"}
    plan = {"symbol": SYMBOL, "qty": qty, "opened_ts": 1, "age_row": 0, **prices}
    first = replace(opening("9000", (lot,)), plans=(plan,))
    night = Desk(config(execution__fee_asset="base"), first=first)
    night.instrument()
    night.tick("120", "120")
    kept = carried(night)
    night.signal("SELL")
    night.tick("120", "120")
    night.tick("60", "60")
    night.buy()

    assert kept == (plan,)
    assert carried(night) is None
