"""Campaigns: entries that share one worst loss, partial exits, re-entries and the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from minibot.events.ids import derive_id
from minibot.events.model import Event, PositionPlan, RecoveryIntent, RiskAction
from minibot.risk.campaign_steps import CAMPAIGN_ROLE
from tests.risk.desk import (
    SYMBOL,
    Desk,
    actions,
    check_of,
    config,
    fills,
    intents,
    of,
    opening,
)
from tests.risk.test_left_trading import universe

CAMPAIGN: dict[str, Any] = {
    "risk__exit_policy": "campaign",
    "risk__hard_stop_bps": "1000",
    "risk__campaign_entries_max": 2,
    "risk__campaign_loss_max": "210",
}
RUNGS: dict[str, Any] = {"risk__ladder_1_bps": "200", "risk__ladder_2_bps": "600"}


def desk(**changes: Any) -> Desk:
    """Return a desk with a touch of 100 / 100."""
    one = Desk(config(**CAMPAIGN | changes))
    one.ready()
    one.tick("100", "100", trade="100")
    return one


def to(one: Desk, *bids: str) -> list[tuple[str, str]]:
    """Show each bid for two ticks, and return what risk did."""
    events: list[Event] = []
    for bid in bids:
        for _ in range(2):
            events += one.tick(bid, bid, trade=bid)
    return actions(events)


def traded(one: Desk) -> list[tuple[str, str, str]]:
    """Return side, quantity and price of all fills."""
    return [(fill.side, fill.qty, fill.price) for fill in fills(one.events("fills"))]


def plans(events: Iterable[Event]) -> list[PositionPlan]:
    """Return the plans that risk told."""
    return of(events, PositionPlan)


def steps(events: Iterable[Event]) -> list[str]:
    """Return choices of recovery intents and reasons of actions, in their order."""
    answers = []
    for event in events:
        if isinstance(event.payload, RecoveryIntent):
            answers.append(event.payload.choice)
        elif isinstance(event.payload, RiskAction):
            answers.append(event.payload.reason_code)
    return answers


@pytest.mark.row("D-04")
def test_dip_and_recovery_is_one_campaign_of_partial_exit_reentry_and_final_exit() -> None:
    """Ten at 100, five sold at 102, a re-entry at 95, all sold at the target.

    The worst loss is 210 for two entries, so the first may lose 105: ten coins lose 100. Sold
    five at 102, five are held at cost 1000 - 510 = 490; at the stop of 90 they bring 450, which
    loses 40. A coin bought at 95 loses 5 there: 33 coins would be 165, and the order of 1000 quote
    buys 10.526.
    """
    one = desk(**RUNGS, risk__take_profit_bps="500")
    assert actions(one.buy())[0] == ("ALLOW", "allowed")
    assert to(one, "101.99") == []
    assert to(one, "102") == [("EXIT", "ladder_target")]
    assert to(one, "97") == []
    one.tick("95", "95")
    again = one.buy()
    assert actions(again)[0] == ("ALLOW", "allowed")
    assert check_of(again[0], "campaign_at_risk")["value"] == "40.00000000"
    assert check_of(again[0], "campaign_entries")["value"] == "2"
    shown = {check["name"] for check in again[0].to_json()["payload"]["checks"]}
    assert "campaign_wait_ms" not in shown  # The profile does not have it.
    assert to(one, "110") == [("EXIT", "take_profit")]

    assert traded(one) == [
        ("BUY", "10.000", "100.00"),
        ("SELL", "5.000", "102.00"),
        ("BUY", "10.526", "95.00"),
        ("SELL", "15.526", "110.00"),
    ]
    ids = {action.campaign_id for action in of(one.events("risk_actions"), RiskAction)}
    ids |= {plan.campaign_id for plan in plans(one.events("risk_actions"))}
    ids |= {intent.campaign_id for intent in intents(one.events("order_intents"))}
    first = next(each for each in one.events("risk_actions") if each.type == "risk_action")
    assert ids == {first.id}
    assert one.risk.facts()["open_positions"] == []


@pytest.mark.row("D-04")
def test_next_campaign_has_an_id_and_entries_of_its_own() -> None:
    """After the final exit an entry begins anew."""
    one = desk(risk__take_profit_bps="500", risk__campaign_entries_max=1)
    one.buy()
    assert to(one, "110") == [("EXIT", "take_profit")]
    events = one.buy()

    assert actions(events)[0] == ("ALLOW", "allowed")
    allowed = [
        (each.id, each.payload.campaign_id)
        for each in one.events("risk_actions")
        if isinstance(each.payload, RiskAction) and each.payload.action == "ALLOW"
    ]
    assert [campaign for _, campaign in allowed] == [own for own, _ in allowed]


@pytest.mark.row("D-47")
def test_deeply_adverse_tape_holds_then_reduces_then_leaves() -> None:
    """Three percent holds, five sells half, seven sells all; each is told once, before its sale."""
    rows = [["300", "hold"], ["500", "de-risk"], ["700", "exit"]]
    one = desk(risk__recovery=rows, risk__recovery_part_percent=50)
    one.buy()
    seen: list[Event] = []
    for bid in ("97.01", "97", "97", "96", "98", "97", "95.01", "95", "95", "94", "93.01", "93"):
        seen += one.tick(bid, bid)
    seen += one.tick("93", "93")

    answers = of(seen, RecoveryIntent)
    assert [(each.choice, each.row, each.loss_bps) for each in answers] == [
        ("hold", 1, "300.0000"),
        ("de-risk", 2, "500.0000"),
        ("exit", 3, "700.0000"),
    ]
    assert steps(seen) == ["hold", "de-risk", "recovery_part", "exit", "recovery_exit"]
    assert traded(one) == [
        ("BUY", "10.000", "100.00"),
        ("SELL", "5.000", "95.00"),
        ("SELL", "5.000", "93.00"),
    ]


def test_carried_position_begins_its_campaign_with_the_opening() -> None:
    """It does so before the venue's rules come, and its id follows from the opening."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    one = Desk(config(**CAMPAIGN), first=opening("9000", (lot,)))
    (first,) = one.events("control")
    campaign = one.risk._state.exits.of(SYMBOL).campaign

    assert campaign is not None
    assert campaign.is_open
    assert campaign.ref is not None
    assert campaign.ref.text == derive_id(first.run_id, CAMPAIGN_ROLE, first.id, 0)


def test_universe_is_taken_by_a_profile_with_campaigns() -> None:
    """Universes have no symbol, so they are of no campaign."""
    one = desk()

    assert one.put("market_ticks", universe(SYMBOL)) == []
    assert actions(one.signal("BUY")) == [("ALLOW", "allowed")]
