"""Stopped entries of a record: a halt that is over stops nothing, whatever the times say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from minibot.engine.recorded_run import Recorded
from minibot.engine.recorded_stops import entry_stops_of
from minibot.events.model import Ack, Event, Halt, Resume
from minibot.events.roles import Roles
from tests.risk.desk import RISK_INPUTS, Desk, actions, config, opening

WHY = ("operator", "a test")


class DeskRecord:
    """Record of a desk: its events by queue, and the order in which its risk took them."""

    def __init__(self, desk: Desk) -> None:
        self.roles = Roles.of_project()
        self._log = [(queue, event) for queue, event in desk.log]

    def events(self, queue: str) -> Iterator[tuple[int, Event]]:
        """Yield (seq, event) of a queue."""
        yield from enumerate((event for name, event in self._log if name == queue), 1)

    def order_log(self, role: object) -> Iterator[Ack]:
        """Yield a range for each input of risk."""
        seqs = dict.fromkeys(RISK_INPUTS, 0)
        for n, (queue, _) in enumerate((each for each in self._log if each[0] in RISK_INPUTS), 1):
            seqs[queue] += 1
            yield Ack("risk_role", queue, seqs[queue], seqs[queue], n, 0)


def recounted(desk: Desk) -> Any:
    """Return the stopped entries as the record of a desk tells them."""
    return entry_stops_of(cast(Recorded, DeskRecord(desk))).to_json()


@pytest.fixture
def desk() -> Desk:
    """A desk at a touch of 100 whose night may buy twice."""
    made = Desk(config(risk__night_notional_soft="2000"), first=opening("50000"))
    made.instrument()
    made.tick(bid="100", ask="100")
    return made


def test_halt_that_is_over_stops_no_entries(desk: Desk) -> None:
    """A resume of the same moment ends the notice, before any entry passes."""
    desk.put("control", Halt(*WHY))
    refused = desk.signal("BUY")
    halted = desk.risk.facts()["entry_stops"]
    during = recounted(desk)
    desk.put("control", Resume(*WHY))

    assert actions(refused) == [("BLOCK", "halted")]
    assert halted == during == {**halted, "reason_code": "halted", "refused": 1}
    assert desk.risk.facts()["entry_stops"] is None
    assert recounted(desk) is None
    assert actions(desk.signal("BUY"))[0] == ("ALLOW", "allowed")


def test_second_halt_counts_its_own_refusals(desk: Desk) -> None:
    """Refusals of an earlier halt are over: the notice begins anew."""
    desk.put("control", Halt(*WHY))
    desk.signal("BUY")
    desk.signal("BUY")
    desk.put("control", Resume(*WHY))
    desk.tick(after_ms=1000)
    desk.put("control", Halt(*WHY))
    again = desk.signal("BUY")

    stops = desk.risk.facts()["entry_stops"]
    assert stops == {"since_ts": again[0].ts, "reason_code": "halted", "refused": 1}
    assert recounted(desk) == stops


def test_budget_that_is_used_up_outlasts_a_resume(desk: Desk) -> None:
    """A resume ends the halt alone; what a budget refused, it would refuse again."""
    for _ in range(3):
        desk.tick(after_ms=1000)
        desk.signal("BUY")
        desk.tick()
    before = desk.risk.facts()["entry_stops"]
    desk.put("control", Halt(*WHY))
    desk.put("control", Resume(*WHY))

    assert before["reason_code"] == "night_notional"
    assert desk.risk.facts()["entry_stops"] == before
    assert recounted(desk) == before
