"""Lineage of orders: an allowing risk_action before each, in a run and in forged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.replay.forged import edited
from tests.runs import ShortRun, raw_events, verb

ALLOWING = {"ALLOW", "REDUCE", "EXIT"}


@pytest.mark.row("N-04")
def test_every_intent_of_a_night_names_an_allowing_action_that_stands_before_it(
    short_run: ShortRun,
) -> None:
    """Every intent names an earlier allowing action, by raw lines and by `verify --lineage`."""
    actions = {event["id"]: event for event in raw_events(short_run.run_dir, "risk_actions")}
    # A cancel of what an entry still buys may stand among them on a slow machine.
    queue = raw_events(short_run.run_dir, "order_intents")
    intents = [event for event in queue if event["type"] == "order_intent"]

    assert intents
    for intent in intents:
        (action,) = [actions[i] for i in intent["payload"]["cause_ids"] if i in actions]
        assert action["payload"]["action"] in ALLOWING
        assert action["source"] == intent["source"] == "risk_role"
        if intent["payload"]["purpose"] == "ENTRY":
            assert action["payload"]["signal_id"] in intent["payload"]["cause_ids"]
    assert verb(short_run.var, "verify", "--lineage").code == 0


def blocked(event: dict[str, Any]) -> None:
    """Return the action as a refusal."""
    event["payload"]["action"] = "BLOCK"
    event["payload"]["reason_code"] = "halted"


def orphaned(event: dict[str, Any]) -> None:
    """Return the intent with a cause that does not exist."""
    event["payload"]["cause_ids"] = ["00000000-0000-4000-8000-000000000001"]


def larger(event: dict[str, Any]) -> None:
    """Return a fill larger than its order."""
    event["payload"]["qty"] = "99.00000"


@pytest.mark.row("N-04")
@pytest.mark.parametrize(
    ("queue", "forge", "word"),
    [
        ("risk_actions", blocked, "an allowing risk_action"),
        ("order_intents", orphaned, "an allowing risk_action"),
        ("fills", larger, "at most"),
    ],
)
def test_lineage_of_a_forged_night_fails_although_every_hash_holds(
    queue: str, forge: Any, word: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """A forged night with all hashes in order fails its lineage."""
    first = next(
        seq
        for seq, event in enumerate(raw_events(short_run.run_dir, queue), 1)
        if event["payload"].get("action", "ALLOW") in ALLOWING
    )
    copied = edited(short_run, tmp_path, queue, first, forge)

    done = verb(tmp_path, "verify", str(copied), "--lineage")

    assert done.code == 1
    assert word in done.out
