"""Opening of a following run: used weeks, and what risk told last."""

from __future__ import annotations

import pytest

from minibot.accounting.bookings import DayTotals
from minibot.accounting.portfolio import Portfolio
from minibot.events.model import Event, JsonObject, RiskStanding, RunOpening
from minibot.events.money import UNIT
from minibot.watchdog.carried_memory import told_last
from minibot.watchdog.opening import budgets_used

DAY_MS = 86_400_000
MONDAY = 1_772_409_600_000
"""2026-03-02 00:00 UTC."""


def earlier(**bought: int) -> Portfolio:
    """Return a portfolio with the entries of days, counted from Monday as `d0`."""
    portfolio = Portfolio({"USDT": 1000 * UNIT}, ())
    for name, amount in bought.items():
        totals = portfolio.days[MONDAY // DAY_MS + int(name[1:])] = DayTotals()
        totals.entry_notional = amount * UNIT
    return portfolio


@pytest.mark.row("B-09")
def test_week_of_earlier_runs_ends_on_monday() -> None:
    """Days of one week add up with what runs before them used; a new week starts with nothing."""
    opening = RunOpening({}, (), {"week_notional": "5", "week_loss": "1"})
    portfolio = earlier(d5=100, d6=50)

    same = budgets_used("week", MONDAY, -6 * UNIT, opening, portfolio, MONDAY + 5 * DAY_MS)
    anew = budgets_used("week", MONDAY + 7 * DAY_MS, 0, opening, portfolio, MONDAY + 5 * DAY_MS)
    gain = budgets_used("week", MONDAY, 6 * UNIT, opening, portfolio, MONDAY + 5 * DAY_MS)

    assert same == {"week_notional": "155.00000000", "week_loss": "7.00000000"}
    assert anew == {"week_notional": "0.00000000", "week_loss": "0.00000000"}
    assert gain["week_loss"] == "0.00000000"


def test_last_told_mark_and_memory_are_carried() -> None:
    """Mark and tier are those told last, memory that of the last fill; else what the run got."""
    memory: JsonObject = {"trips": []}
    opening = RunOpening(
        {}, (), {}, account={"high_water_mark": "900", "tier": 1}, memory={"trips": [1]}
    )
    told = [
        Event(1, f"standing{n}", "risk_role", "run", "", standing, (f"cause{n}",))
        for n, standing in enumerate(
            (
                RiskStanding("ACTIVE", 0, "1000", "1000", "0", memory=memory),
                RiskStanding("REDUCING", 2, "900", "1100", "10"),
            )
        )
    ]

    assert told_last(opening, lambda *_: ()) == (opening.account, opening.memory, "")
    wanted = ({"high_water_mark": "1100", "tier": 2}, memory, "cause0")
    assert told_last(opening, lambda *_: told) == wanted
