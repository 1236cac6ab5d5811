"""Audit of risk limits: every exceeded limit is found."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minibot.engine.role_replay import Recorded
from minibot.report.audit import limit_violations, unallowed_intents
from minibot.report.recount import Recount
from tests.runs import ShortRun


@pytest.fixture(scope="module")
def count(short_run: ShortRun) -> Recount:
    """Recount of the short run."""
    return Recount(Recorded.open(short_run.run_dir))


def violations(run_dir: Path, count: Recount, **limits: Any) -> list[str]:
    """Return the audit's findings if the run had had other limits."""
    recorded = Recorded.open(run_dir)
    config = copy.deepcopy(recorded.manifest.config)
    config["risk"].update(limits)
    recorded = replace(recorded, manifest=replace(recorded.manifest, config=config))
    return limit_violations(recorded, count.performance)


@pytest.mark.row("B-75")
def test_audit_of_a_night_within_its_limits_finds_nothing(
    short_run: ShortRun, count: Recount
) -> None:
    """A night within its limits has no finding."""
    assert violations(short_run.run_dir, count) == []
    assert unallowed_intents(Recorded.open(short_run.run_dir)) == []


@pytest.mark.row("B-75")
@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"orders_per_minute_hard": 1}, "orders within a minute"),
        ({"position_notional_max": "400"}, "position of"),
        ({"positions_max": 0}, "positions at fill"),
        ({"night_notional_hard": "900"}, "night_notional_hard"),
        ({"night_loss_hard": "0.5"}, "night_loss_hard"),
        ({"drawdown_bps_hard": 0}, "drawdown_bps_hard"),
    ],
)
def test_audit_names_each_limit_that_the_night_passed(
    limits: dict[str, Any], word: str, short_run: ShortRun, count: Recount
) -> None:
    """A night under tighter limits names each exceeded one."""
    found = violations(short_run.run_dir, count, **limits)

    assert any(word in sentence for sentence in found)
    assert all(word in sentence for sentence in found)
