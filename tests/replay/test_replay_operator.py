"""Answers to an operator's order: their place beside events that go back to ticks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from minibot.engine.joint_replay import run_together
from minibot.engine.role_replay import Recorded
from minibot.kernel.files import read_hashed
from minibot.replay.diff import recorded_side, span_of
from minibot.runtime.request_file import leave_request
from tests.runs import (
    PROJECT,
    clean_environ,
    night_argv,
    raw_events,
    shared_by_workers,
    verb,
)
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.process


def _night_with_a_wish(var: Path) -> None:
    """Play a night without entries, in which an operator wants to leave a symbol."""
    sets = {"duration_ms": "25200000", "strategy.score_min": "100", "ai.enabled": "false"}
    night = subprocess.Popen(
        [sys.executable, "-m", *night_argv(var, sets, "--quiet", "--no-proof")],
        cwd=PROJECT,
        env=clean_environ(),
        stdin=subprocess.DEVNULL,
    )
    try:
        # The request has to come to risk after a signal, so one in the queue is not enough.
        cursor = var / "queues/signals/cursor.json"
        wait_until(
            lambda: cursor.exists() and read_hashed(cursor)["seq"], "a signal that risk has read"
        )
        run_id = next((var / "runs").iterdir()).name
        leave_request(
            var / "requests", run_id, "exit_position", who="anna", why="enough", symbol="BTCUSDT"
        )
        answers = var / "queues/risk_actions/inbox.jsonl"
        wait_until(lambda: answers.exists() and answers.stat().st_size, "an answer of risk")
        assert verb(var, "stop", "--reason", "enough").code == 0
        assert night.wait(DEADLINE_S) == 0
    finally:
        if night.poll() is None:
            night.kill()
            night.wait()


@pytest.fixture(scope="module")
def wished(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Recorded night with an operator's request."""
    var = shared_by_workers(tmp_path_factory, "wished", _night_with_a_wish)
    return Recorded.open(next((var / "runs").iterdir()))


def test_answer_to_an_operator_names_no_tick(wished: Recorded) -> None:
    """An answer to an operator names no tick and comes after the first signal."""
    (answer,) = raw_events(wished.run_dir, "risk_actions")

    assert answer["payload"]["reason_code"] == "no_position"
    assert "tick_seq" not in answer["payload"]
    assert answer["ts"] > raw_events(wished.run_dir, "signals")[0]["ts"]


def test_answer_to_an_operator_stands_where_risk_had_come_to(wished: Recorded) -> None:
    """Parity puts an operator's answer where risk processed it, not first of all."""
    made = run_together(wished).made

    assert [one.queue for one in made].count("risk_actions") == 1
    assert made[0].queue == "signals"


@pytest.mark.row("D-24")
def test_answer_to_an_operator_that_comes_first_in_its_queue_is_not_said_before_all(
    wished: Recorded,
) -> None:
    """Diff orders an operator's answer by time, although it names no tick."""
    side, _ = recorded_side(wished, *span_of(wished), lambda done, whole: None)

    times = [said.event.ts for said in side.derived]
    assert times == sorted(times)
