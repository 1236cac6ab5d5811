"""Stopped entries: counted while a run lives and from its record, and said in one line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minibot.accounting.entry_stops import EntryStops
from minibot.cli.support.standing import Standing, standing_rows
from minibot.events.model import Event, RiskAction
from minibot.report.entry_notices import entry_notice
from minibot.risk.core import core_from_state
from tests.risk.desk import Desk, config, opening

BUDGET: dict[str, Any] = {"risk__night_notional_soft": "2000"}


def desk(**changes: Any) -> Desk:
    """A desk at a touch of 100 whose night may buy twice."""
    made = Desk(config(**BUDGET, **changes), first=opening("50000"))
    made.instrument()
    made.tick(bid="100", ask="100")
    return made


def recounted(made: Desk) -> EntryStops:
    """The same from the verdicts on record."""
    stops = EntryStops()
    for _, event in made.log:
        if isinstance(event.payload, RiskAction):
            stops.on_action(event.payload, event.ts)
    return stops


def ask(made: Desk) -> list[Event]:
    """A second passes and the strategy wants to buy; what follows is filled."""
    made.tick(after_ms=1000)
    events = made.signal("BUY")
    made.tick()
    return events


def test_used_up_budget_is_told_from_its_first_refusal_on() -> None:
    """Entries that pass say nothing; refusals are counted, in the run and from its record."""
    made = desk()
    quiet = [made.risk.facts()["entry_stops"] for _ in range(2) if ask(made)]
    first = ask(made)[0].ts
    for _ in range(1233):
        made.signal("BUY")

    stops = made.risk.facts()["entry_stops"]
    assert quiet == [None, None]
    assert stops == {"since_ts": first, "reason_code": "night_notional", "refused": 1234}
    assert recounted(made).to_json() == stops
    assert entry_notice(stops) == "no entries since 22:13:23: night_notional used up; 1,234 refused"


def test_exit_is_no_entry_and_a_passing_reason_stops_nothing() -> None:
    """A sale is allowed all along; a stale signal says nothing of the next one."""
    made = desk()
    ask(made)
    made.signal("BUY", age_ms=10_000)
    assert made.risk.facts()["entry_stops"] is None
    ask(made)
    ask(made)
    made.tick(after_ms=1000)
    made.signal("SELL")
    made.tick()

    stops = made.risk.facts()["entry_stops"]
    assert stops["refused"] == 1
    assert recounted(made).to_json() == stops


def test_entry_that_passes_again_ends_the_notice() -> None:
    """A pace lets entries through with time; what was refused before is over."""
    made = Desk(
        config(**BUDGET, risk__night_notional_pace=50) | {"duration_ms": 20_000},
        first=opening("50000"),
    )
    made.instrument()
    made.tick(bid="100", ask="100")
    ask(made)
    ask(made)
    waiting = made.risk.facts()["entry_stops"]
    made.tick(after_ms=20_000)
    ask(made)

    assert waiting["reason_code"] == "night_notional_pace"
    assert "ahead of its pace; 1 refused" in entry_notice(waiting)
    assert made.risk.facts()["entry_stops"] is None
    assert recounted(made).to_json() is None
    assert entry_notice(None) == ""


def test_stopped_entries_are_the_same_after_a_restart() -> None:
    """A role that comes back goes on counting."""
    made = desk()
    for _ in range(3):
        ask(made)
    before = made.risk.facts()["entry_stops"]
    made.risk = core_from_state(made.profile, made.risk.state())

    assert made.risk.facts()["entry_stops"] == before
    ask(made)
    assert made.risk.facts()["entry_stops"] == before | {"refused": 2}


def test_status_of_a_run_says_what_stops_its_entries() -> None:
    """A night in the background tells it as its table does; nothing is said while entries pass."""
    stops = {"since_ts": 1_700_000_003_000, "reason_code": "night_loss", "refused": 2}
    standing = Standing(
        run_id="20231114_221320",
        filled_ts=None,
        decision=None,
        positions=[],
        prices={},
        realised_pnl="0",
        fees="0",
        fills=0,
        halted=None,
        locks={},
        entry_stops=stops,
    )
    rows = {row.label: row.text for row in standing_rows(standing, "USDT")}
    quiet = {row.label for row in standing_rows(replace(standing, entry_stops=None), "USDT")}

    assert rows["entries"] == "no entries since 22:13:23: night_loss used up; 2 refused"
    assert "entries" not in quiet
