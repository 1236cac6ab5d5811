"""Sound lines with impossible events, as a role of a finished night meets them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from minibot.kernel import canonical
from tests.kernel.independent import published
from tests.kernel.role_again import Again, Json
from tests.kernel.test_faults_roles import (
    EXECUTION,
    assert_stopped,
    forget_outputs,
    outputs,
)
from tests.runs import ShortRun

pytestmark = [pytest.mark.row("I1", "I2", "I4", "I5"), pytest.mark.campaign]
MINUTE_MS = 60_000
# Further back than any night with its history.
DAYS_MS = 30 * 24 * 60 * MINUTE_MS
QUEUE = "order_intents"
TERMINAL = ("FILLED", "CANCELLED", "EXPIRED", "REJECTED")


@pytest.fixture
def again(tmp_path: Path, short_run: ShortRun) -> Again:
    """Copy of a finished night."""
    return Again(tmp_path / "again", short_run)


def another(again: Again, change: Callable[[Json], None]) -> Json:
    """Return the last intent again, under its own new id."""
    event: Json = canonical.decode(again.lines(QUEUE)[-1])
    event["id"] = event["id"][:-4] + ("0000" if event["id"][-4:] != "0000" else "0001")
    change(event)
    return event


@pytest.mark.row("F83")
@pytest.mark.fault(
    "F83", by="an intent with a ts a month ahead, a month back", ends="STOP(SCHEMA_INVALID)"
)
@pytest.mark.parametrize("shift_ms", [DAYS_MS, -DAYS_MS])
def test_event_with_a_time_that_no_process_of_the_run_had_stops(
    again: Again, shift_ms: int
) -> None:
    """An event a month ahead stops the role, because market time would follow it."""
    before = outputs(again)

    def shift(event: Json) -> None:
        event["ts"] += shift_ms

    again.say(QUEUE, [another(again, shift)])
    done = again.start(EXECUTION)

    assert_stopped(again, done, "SCHEMA_INVALID")
    assert "ahead" in done.err if shift_ms > 0 else "behind" in done.err
    assert outputs(again) == before


@pytest.mark.row("F83")
@pytest.mark.fault(
    "F83", by="the same, with the input log asked what was taken", ends="STOP(SCHEMA_INVALID)"
)
def test_event_of_an_impossible_time_is_not_logged_as_taken(again: Again) -> None:
    """An event with an impossible time is not logged as input, so a replay skips it too."""
    acks = again.queues / QUEUE
    before = [canonical.decode(json)["payload"] for json in published(acks, "acks")]

    def shift(event: Json) -> None:
        event["ts"] += DAYS_MS

    again.say(QUEUE, [another(again, shift)])
    done = again.start(EXECUTION)

    assert_stopped(again, done, "SCHEMA_INVALID")
    taken = max(ack["to_seq"] for ack in before if ack["queue"] == QUEUE)
    after = [canonical.decode(json)["payload"] for json in published(acks, "acks")]
    assert max(ack["to_seq"] for ack in after if ack["queue"] == QUEUE) == taken


@pytest.mark.row("F98")
@pytest.mark.fault(
    "F98", by="the intents of an earlier run appended to this one's", ends="STOP(RUN_ID_MISMATCH)"
)
def test_lines_of_an_earlier_run_are_not_executed(again: Again) -> None:
    """Sound lines of an earlier run are not executed."""
    before = outputs(again)
    earlier = [
        canonical.decode(json) | {"run_id": "20200101_000000"} for json in again.lines(QUEUE)
    ]
    again.say(QUEUE, earlier)
    done = again.start(EXECUTION)

    assert_stopped(again, done, "RUN_ID_MISMATCH")
    assert outputs(again) == before


@pytest.mark.row("F75")
@pytest.mark.fault(
    "F75",
    by="execution killed with intents taken and no result written",
    ends="each intent ends in exactly one terminal result",
)
@pytest.mark.parametrize(("fills", "results"), [(0, 0), (2, 4), (5, 11)])
def test_intents_pending_at_a_kill_end_once_each(again: Again, fills: int, results: int) -> None:
    """Each intent pending at a kill has one terminal result, and each fill exists once."""
    asked = [canonical.decode(json) for json in again.lines(QUEUE)]
    intents = [event["payload"] for event in asked if event["type"] == "order_intent"]
    forget_outputs(again, fills, results)
    done = again.start(EXECUTION)

    assert done.code == 0, done.err
    payloads = (canonical.decode(json)["payload"] for json in again.lines("order_results"))
    ended = [found["client_order_id"] for found in payloads if found["result"] in TERMINAL]
    assert sorted(ended) == sorted(intent["client_order_id"] for intent in intents)
    for queue in ("order_results", "fills"):
        ids = [canonical.decode(json)["id"] for json in again.lines(queue)]
        assert len(set(ids)) == len(ids)
