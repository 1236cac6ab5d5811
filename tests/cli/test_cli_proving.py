"""Verdicts on a finished run, as a trader reads them when a proof fails."""

from __future__ import annotations

import json
from typing import Any

import pytest

from minibot.cli.support.proving import verdict_of

GOOD: dict[str, Any] = {
    "identical": True,
    "digest": "ab" * 32,
    "roles": [{"outputs": {"fills": 2}}],
    "difference": None,
    "broken": None,
    "ledger": {"difference": None},
    "figures": {"differing": {}},
}
BROKEN = {"role": "risk_role", "reason_code": "QUEUE_CORRUPT", "detail": "fills, line 3"}


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ({"broken": BROKEN, "digest": None}, "broken off: risk_role: QUEUE_CORRUPT: fills, line 3"),
        ({"ledger": {"difference": "hourly_state 1 lots"}}, "ledger: hourly_state 1 lots"),
        (
            {"figures": {"differing": {"pnl": {"replay": "1", "recorded": "2"}}}},
            "pnl: replay '1', recorded '2'",
        ),
        ({"difference": {"lines": ["first difference: fills:1"]}}, "first difference: fills:1"),
    ],
)
def test_replay_that_is_not_identical_says_why_in_the_summary_of_the_night(
    fault: dict[str, Any], line: str
) -> None:
    """A replay with differences says in the night's summary where to look."""
    text = json.dumps({**GOOD, **fault, "identical": False})

    verdict = verdict_of("replay", 1, text, "")

    assert not verdict.passed
    said_first = "NOT PROVEN to the end" if "broken" in fault else "DIFFERENT"
    assert verdict.text.startswith(f"{said_first}, 2 decision events")
    assert ("digest" in verdict.text) == ("broken" not in fault)
    assert verdict.lines == (line,)


def test_replay_that_is_identical_has_nothing_to_explain() -> None:
    """An identical replay is one line."""
    verdict = verdict_of("replay", 0, json.dumps(GOOD), "")

    assert verdict.passed
    assert verdict.lines == ()
