"""Horizon of a position: it shrinks and grows with volatility, and lasts while a thesis holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from minibot.cores.core_profile import CoreProfile
from minibot.events.model import Event, PositionPlan
from minibot.risk.horizon import HorizonRules
from minibot.risk.plan_reports import PLAN_NAMES
from tests.risk.desk import START, SYMBOL, Desk, actions, check_of, config, of, opening
from tests.risk.test_carried_positions import carrier, plan

USUAL, LEAST, MOST = 60_000, 20_000, 200_000
KEYS: dict[str, Any] = {
    "risk__hard_stop_bps": "1000",
    "risk__horizon_ms": USUAL,
    "risk__horizon_ms_min": LEAST,
    "risk__horizon_ms_max": MOST,
    "risk__horizon_bars_short": 1,
    "risk__horizon_bars_long": 4,
}
THESIS: dict[str, Any] = KEYS | {"risk__horizon_thesis_bps": "50"}
# The newest return alone moved: sqrt((r * r) / (r * r / 4)) is two.
VOLATILE = ("100", "100", "100", "100", "101")
# Of the last four returns the oldest alone moved: the ratio is 0.
CALM = ("100", "101", "101", "101", "101")
UNKNOWN = ("100", "101", "100")


def holder(closes: Iterable[str], **changes: Any) -> Desk:
    """Return a desk that holds coins bought at 100 after these closes."""
    one = Desk(config(**changes)).ready()
    bars(one, closes)
    one.tick("100", "100")
    one.buy()
    assert one.risk.facts()["open_positions"]
    return one


def bars(one: Desk, closes: Iterable[str]) -> None:
    """Close a bar of a second for each close."""
    for close in closes:
        one.bar(close, close, close, close)


def opened_ts(one: Desk) -> int:
    """Return when the position was opened."""
    plan = one.risk._state.exits.of(SYMBOL).plan
    assert plan is not None
    return plan.opened_ts


def at(one: Desk, held_ms: int, bid: str = "100") -> list[tuple[str, str]]:
    """Show a bid when the position is as old as that, and return what risk did."""
    return actions(one.tick(bid, bid, after_ms=opened_ts(one) + held_ms - one.ts))


def test_ratio_of_a_symbol_without_bars_or_a_profile_without_a_horizon_is_unknown() -> None:
    """Then the horizon is the usual one, whatever other symbols do."""
    one, other = holder(VOLATILE, **KEYS), holder(VOLATILE)
    returns = one.risk._state.returns

    assert returns.horizon_ratio(SYMBOL) is not None
    assert returns.horizon_ratio("NEWUSDT") is None
    assert other.risk._state.returns.horizon_ratio(SYMBOL) is None
    assert one.risk._state.exits.of("NEWUSDT").horizon_ms == USUAL


def told(events: Iterable[Event]) -> list[PositionPlan]:
    """Return the plans that risk told."""
    return of(events, PositionPlan)


@pytest.mark.parametrize(
    ("ratio", "length"),
    [
        (None, 60_000),
        (10_000, 60_000),
        (20_000, 30_000),
        # 60,000 * 10,000 / 15,120 is 39,682.5...
        (15_120, 39_682),
        (5_000, 120_000),
        (30_000, 20_000),
        (30_001, LEAST),
        (3_000, MOST),
        (2_999, MOST),
        (0, MOST),
    ],
)
def test_horizon_equals_the_hand_computed_one_rounded_down(ratio: int | None, length: int) -> None:
    """The usual horizon divided by the ratio, within its bounds."""
    rules = HorizonRules(CoreProfile.of(config(**KEYS)).risk)

    assert rules.length(ratio) == length


@pytest.mark.row("B-17", "D-46b")
@pytest.mark.parametrize(
    ("closes", "length"),
    [(VOLATILE, USUAL // 2), (CALM, MOST), (UNKNOWN, USUAL)],
    ids=["volatile", "calm", "unknown"],
)
def test_position_is_left_at_the_horizon_of_its_symbol_s_volatility(
    closes: tuple[str, ...], length: int
) -> None:
    """Volatile and calm tapes have different horizons; not a millisecond before."""
    one = holder(closes, **KEYS)

    assert at(one, length - 1) == []
    assert at(one, length) == [("EXIT", "horizon_exit")]
    check = check_of(one.events("risk_actions")[-1], "horizon_ms")
    assert (check["value"], check["threshold"]) == (str(length), str(length))


@pytest.mark.row("D-46b")
def test_horizon_moves_with_each_bar_and_its_plan_says_why() -> None:
    """A volatile hour that calms down gives the position more time, also over a restart."""
    one = holder(VOLATILE, **KEYS)
    (first,) = told(one.events("risk_actions"))
    assert first.until_ts == opened_ts(one) + USUAL // 2
    assert not told(one.beat())

    # A second bar is missing behind the ticks: its returns begin anew, the horizon is the usual.
    bars(one, CALM)
    (moved,) = told(one.beat())
    assert moved.moved == ("horizon_volatility",)
    assert moved.until_ts == opened_ts(one) + MOST
    one.restarted()

    assert at(one, USUAL) == []
    assert at(one, MOST) == [("EXIT", "horizon_exit")]


def test_horizon_that_shrinks_below_the_time_held_ends_the_position() -> None:
    """Bars that turn volatile shorten the horizon of what is held: the next tick sells."""
    one = holder(CALM, **KEYS)
    assert at(one, USUAL) == []
    bars(one, VOLATILE)

    assert actions(one.tick("100", "100")) == [("EXIT", "horizon_exit")]


@pytest.mark.row("B-17", "D-46b")
@pytest.mark.parametrize(("bid", "said"), [("100.49", [("EXIT", "horizon_exit")]), ("100.50", [])])
def test_thesis_that_holds_at_the_horizon_lasts_to_the_longest_one(
    bid: str, said: list[tuple[str, str]]
) -> None:
    """Half a percent of gain is asked for at the first tick behind the horizon, and once."""
    one = holder(VOLATILE, **THESIS)
    assert at(one, USUAL // 2, bid) == said
    if said:
        return

    (moved,) = told(one.beat())
    assert moved.moved == ("horizon_thesis",)
    assert moved.until_ts == opened_ts(one) + MOST
    one.restarted()
    bars(one, VOLATILE)
    assert at(one, MOST - 1, "99") == []
    assert at(one, MOST, "120") == [("EXIT", "horizon_exit")]


def test_gain_before_the_horizon_is_no_thesis() -> None:
    """It counts where the price stands when the time is over."""
    one = holder(VOLATILE, **THESIS)
    one.restarted()  # The first tick behind it is judged, whatever its price.
    assert at(one, 10_000, "105") == []

    assert at(one, USUAL // 2, "100") == [("EXIT", "horizon_exit")]


def test_thesis_that_failed_at_the_horizon_is_not_judged_again() -> None:
    """A rise while the sale finds no bids is no longer hold: what is left is sold later."""
    one = holder(VOLATILE, **THESIS)
    opened = opened_ts(one)
    assert at(one, USUAL // 2, "100.49") == [("EXIT", "horizon_exit")]

    for _ in range(20):
        one.tick("101", "101", bid_qty="0", after_ms=1_000)
    (told_,) = [plan for plan in told(one.beat()) if plan.has_thesis is not None]
    assert (told_.has_thesis, told_.moved) == (False, ("horizon_thesis",))
    assert told_.until_ts == opened + USUAL // 2
    one.restarted()
    events = one.tick("101", "101", after_ms=30_000) + one.tick() + one.tick()
    assert actions(events) == [("EXIT", "horizon_exit")]
    assert not one.risk.facts()["open_positions"]


def test_next_position_has_a_thesis_of_its_own() -> None:
    """A thesis is forgotten with its position."""
    one = holder(VOLATILE, **THESIS)
    assert at(one, USUAL // 2, "101") == []
    one.signal("SELL")
    one.tick("100", "100")
    assert not one.risk.facts()["open_positions"]
    one.buy()

    assert at(one, USUAL // 2) == [("EXIT", "horizon_exit")]


def test_carried_position_is_as_old_as_it_is() -> None:
    """The horizon counts from the purchase, whichever run made it."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    one = Desk(config(**KEYS), first=opening("9000", (lot,)))
    one.instrument()

    assert actions(one.tick("100", "100")) == [("EXIT", "horizon_exit")]


@pytest.mark.parametrize(
    ("thesis", "bid", "said"),
    [
        ({}, "100", [("EXIT", "horizon_exit")]),
        ({}, "101", []),
        ({"has_thesis": True}, "100", []),
        ({"has_thesis": False}, "101", [("EXIT", "horizon_exit")]),
    ],
)
def test_thesis_of_a_carried_position_held_only_where_the_run_before_says_so(
    thesis: dict[str, Any], bid: str, said: list[tuple[str, str]]
) -> None:
    """Behind its horizon the answer of the run before holds; without one this run judges."""
    one = carrier(plan(stop_hard="90", **thesis) | {"opened_ts": START}, **THESIS)

    assert actions(one.tick(bid, bid, after_ms=START + USUAL - one.ts)) == said


def test_time_stop_stands_beside_the_horizon() -> None:
    """Whichever ends first."""
    one = holder(CALM, **KEYS | {"risk__time_exit_ms": 90_000})

    assert at(one, 89_999) == []
    assert at(one, 90_000) == [("EXIT", "time_exit")]


@pytest.mark.parametrize("value", [None, "absent"])
def test_without_the_key_nothing_ends_by_a_horizon(value: str | None) -> None:
    """Null and no key: neither decision nor state knows of it."""
    changes: dict[str, Any] = {"risk__hard_stop_bps": "1000"}
    if value is None:
        changes["risk__horizon_ms"] = changes["risk__horizon_thesis_bps"] = None
    one = holder(VOLATILE, **changes)

    assert at(one, 604_800_000) == []
    assert "horizon" not in str(one.risk.state()["exits"])


def test_bar_ends_the_quiet_range_of_a_position_with_a_horizon() -> None:
    """Each bar moves the horizon, so that no ticks behind it may be passed over."""
    one = holder(UNKNOWN, **KEYS)
    other = holder(UNKNOWN, risk__hard_stop_bps="1000")

    with_horizon = one.risk.quiet_range(SYMBOL, one.ts)
    without = other.risk.quiet_range(SYMBOL, other.ts)

    assert with_horizon is not None
    assert without is not None
    assert (with_horizon.is_lasting, without.is_lasting) == (False, True)


def test_plan_without_a_thesis_is_kept_as_before_theses_were_reported() -> None:
    """A snapshot from then has its levels and the horizon, and restores without a new report."""
    one = holder(CALM, **THESIS)

    kept = one.risk.state()["plans"][SYMBOL]

    assert len(kept) == len(PLAN_NAMES) + 1
