"""Scenarios of campaigns: rows of an entry, of its worst loss, and of a de-risk."""

from __future__ import annotations

from typing import Final

from minibot.events.money import UNIT
from minibot.risk.campaign import Reserve
from tests.risk.row_scenarios import _scenarios, over
from tests.risk.row_world import NOW, STOP_BID, Change, put, step

_entry = _scenarios("campaign_rows", is_held=False)
_size = _scenarios("reserve_rows", is_held=False)
_loss = _scenarios("reserve_loss_rows", is_held=False)
_recovery = _scenarios("recovery_rows", is_held=True)


def reserve(most: int) -> Change:
    """Return a change to what may be lost, beside 7 at risk: bought at 100, stopped at 90."""
    return put(reserve=Reserve(7 * UNIT, 7 * UNIT + most, 100 * UNIT, 90 * UNIT, 0))


CAMPAIGNS: Final = (
    _entry(
        "ENTRIES",
        "campaign_full",
        ("campaign_entries 3 / 3", "campaign_entries 4 / 3"),
        step("campaign__entries", 2),
    ),
    _entry(
        "ENTRIES",
        "campaign_full",
        ("campaign_entries 4 / 4", "campaign_entries 4 / 3"),
        (put(campaign__entries=3, campaign__ref=None), put(campaign__entries=3)),
    ),
    _entry(
        "ENTRY_WAIT",
        "campaign_cooldown",
        ("campaign_wait_ms 8500 / 8500", "campaign_wait_ms 8499 / 8500"),
        step("campaign__entered_ts", NOW - 8_500),
    ),
    _entry(
        "ENTRY_WAIT",
        "campaign_cooldown",
        ("", "campaign_wait_ms 0 / 8500"),
        (
            put(campaign__entered_ts=NOW, campaign__ref=None),
            put(campaign__entered_ts=NOW),
        ),
    ),
    _entry(
        "AT_RISK",
        "campaign_reserve",
        (
            "campaign_at_risk 499.99999999 / 500.00000000",
            "campaign_at_risk 500.00000000 / 500.00000000",
        ),
        step("at_risk", 500 * UNIT - 1),
    ),
    _entry(
        "RECOVERY_PRICE",
        "recovery_hold",
        ("recovery_price 61.00000001 / 61.00000000", "recovery_price 61.00000000 / 61.00000000"),
        (
            put(held_bid=STOP_BID + 1, hold_level=STOP_BID),
            put(held_bid=STOP_BID, hold_level=STOP_BID),
        ),
    ),
    _size(
        "CAMPAIGN_NOTIONAL",
        "campaign_reserve",
        (
            "campaign_notional 1000.00000000 / 1000.00000000",
            "campaign_notional 1000.00000000 / 999.99999900",
        ),
        # Ten coins lose 100, and four smallest units are kept for rounding.
        (reserve(100 * UNIT + 4), reserve(100 * UNIT + 3)),
    ),
    _loss(
        "CAMPAIGN_LOSS",
        "campaign_reserve",
        (
            "campaign_loss_at_stop 107.00000004 / 107.00000004",
            "campaign_loss_at_stop 107.00000004 / 107.00000003",
        ),
        (reserve(100 * UNIT + 4), reserve(100 * UNIT + 3)),
    ),
    _recovery(
        "RECOVERY_QTY",
        "recovery_part",
        over("recovery_qty", "6.00000000", "6.00000001"),
        step("qty", 6 * UNIT),
    ),
)
