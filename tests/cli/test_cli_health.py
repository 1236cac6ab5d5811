"""Health of what runs: one line, and an exit code that says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minibot.cli.health import troubles_of
from minibot.events.names import HEALTH
from minibot.events.roles import Roles
from minibot.runtime.manifest import Manifest
from tests.runs import ShortRun, verb

ROLES = Roles.of_project().writers(HEALTH)


def heard(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a heartbeat of each role, changed for some."""
    return [{"role": role, "state": "READY", "age_s": 1, **changes.get(role, {})} for role in ROLES]


@pytest.fixture(scope="module")
def manifest(short_run: ShortRun) -> Manifest:
    """Manifest of a short run."""
    return Manifest.load(short_run.run_dir)


@pytest.mark.row("C-119")
def test_nothing_that_runs_is_no_health(tmp_path: Path) -> None:
    """Without a run the line says so, and the exit code is that of status."""
    said = verb(tmp_path, "health")

    assert (said.code, said.out) == (3, "FAIL  nothing runs\n")
    assert verb(tmp_path, "status").code == 3


@pytest.mark.row("C-119")
def test_standing_flag_is_the_reason(stopped_run: ShortRun) -> None:
    """STOP.flag counts before everything else, with its reason code and its run."""
    said = verb(stopped_run.var, "health", "--detail")

    first = said.out.splitlines()[0]
    assert said.code == 10
    assert first.startswith(f"FAIL  STOP.flag stands: RISK_LIMIT in {stopped_run.run_id}; ")


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        (heard(), ""),
        (heard()[1:], f"not heard of yet: {ROLES[0]}"),
        (heard(risk_role={"age_s": 31}), "risk_role has said nothing for 31 s (limit 30 s)"),
        (heard(risk_role={"age_s": 30}), ""),
        (
            heard(market_role={"state": "DEGRADED", "detail": "BTCUSDT is stale"}),
            "market_role is DEGRADED: BTCUSDT is stale",
        ),
        (heard(strategy_role={"state": "STARTING"}), "strategy_role is starting"),
        (heard(ai_role={"state": "DEGRADED", "detail": "off"}), ""),
    ],
)
def test_each_trouble_has_its_sentence(
    manifest: Manifest, roles: list[dict[str, Any]], reason: str
) -> None:
    """Roles not heard, silent, degraded or starting are told; an AI that nobody asks for is not."""
    assert troubles_of(manifest, roles, 30) == ([reason] if reason else [])
