"""Carried campaigns: the next run goes on with entries, worst loss and rows of the last."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.model import RunOpening
from minibot.watchdog.carried_plans import carried_plans
from tests.risk.desk import OTHER, SYMBOL, Desk, actions, instrument, opening
from tests.risk.test_campaign import desk, steps
from tests.risk.test_campaign_recovery import holder, plans, walk
from tests.risk.test_carried_positions import OTHER_LOT, plan


def following(one: Desk, first: RunOpening | None = None, **changes: Any) -> Desk:
    """Return the desk of a run that carries the position on, a minute later."""
    portfolio = one.risk._state.positions.portfolio
    carried = carried_plans(first or opening(), lambda queue, _: one.events(queue))
    told = RunOpening(portfolio.opening_cash(), tuple(portfolio.opening_lots()), {}, plans=carried)
    profile = {**one.profile, "risk": {**one.profile["risk"], **changes}}
    other = Desk(profile, first=told)
    other.ts = one.ts + 60_000
    other.instrument()
    other.bar("100", "100", "100", "100")
    return other


@pytest.mark.row("D-04", "D-47")
def test_campaign_goes_on_in_the_next_run() -> None:
    """Id, entries, worst loss and rows told go on; a profile that allows more changes nothing."""
    one = holder()
    walk(one, "97", "98")
    one.buy()
    one.tick("98", "98")
    one.beat()
    first = plans(one.events("risk_actions"))[-1]
    assert first.campaign is not None
    assert first.campaign["entries"] == 2

    other = following(one, campaign_entries_max=9, campaign_loss_max="9000")
    assert steps(walk(other, "98", "95.5")) == []
    assert steps(other.signal("BUY")) == ["campaign_full"]
    other.beat()
    second = plans(other.events("risk_actions"))[-1]
    assert (second.campaign_id, second.campaign) == (first.campaign_id, first.campaign)
    assert other.execution.open_positions()[0]["campaign_id"] == first.campaign_id
    third = following(other)
    assert third.events("control")[0].payload == following(other).events("control")[0].payload
    assert steps(walk(third, "93")) == ["de-risk", "recovery_part"]


def test_position_without_a_campaign_keeps_no_other_from_its_own() -> None:
    """Two positions are carried: one that an older run bought has none, the other has its own."""
    one = holder()
    one.beat()
    carried = following(one).events("control")[0].payload
    assert isinstance(carried, RunOpening)
    assert carried.plans is not None
    (own,) = carried.plans
    other = plan(OTHER)
    first = RunOpening(carried.cash, (OTHER_LOT, *carried.lots), {}, plans=(other, own))

    both = Desk(one.profile, first=first)
    both.ts = one.ts + 60_000
    for symbol in (OTHER, SYMBOL):
        both.instrument(symbol)
        both.tick("100", "100", symbol=symbol)
    both.beat()

    fields = {each.symbol: each.campaign_id for each in plans(both.events("risk_actions"))}
    assert fields[SYMBOL] == own["campaign"]["id"]
    assert fields[OTHER] != fields[SYMBOL]


def test_fill_that_ended_the_run_is_of_its_campaign_in_the_next() -> None:
    """Four coins were told, six more with the STOP: ten lose at the next run's stop, with fees."""
    one = desk(
        risk__campaign_loss_max="300",
        risk__night_loss_soft="0.80",
        risk__night_loss_hard="0.90",
        execution__taker_fee_bps="10",
    )
    one.signal("BUY")
    one.tick("100", "100", ask_qty="4")
    assert actions(one.tick("100", "100", ask_qty="6"))[-1][0] == "STOP"
    last = plans(one.events("risk_actions"))[-1]
    assert last.campaign is not None
    assert last.campaign["qty"] == "4.00000000"

    other = following(one)
    walk(other, "100")
    other.beat()
    campaign = plans(other.events("risk_actions"))[-1].campaign
    assert campaign is not None
    assert campaign["qty"] == "10.00000000"
    # Bought at 100 and sold at 90, each for a fee of 10 bps.
    assert (campaign["spent"], campaign["at_risk"]) == ("1001.00000000", "101.90000000")


def test_next_run_leaves_what_the_last_one_wanted_to_leave() -> None:
    """A row to leave that was told before the end is sold with the next run's first tick."""
    one = holder(risk__left_trading="hold")
    one.put("market_ticks", instrument(status="HALT"))
    assert steps(walk(one, "93"))[:1] == ["exit"]
    one.beat()

    assert steps(walk(following(one), "99")) == ["recovery_exit"]
