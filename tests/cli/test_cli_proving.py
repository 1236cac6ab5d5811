"""Verdicts on a finished run, as a trader reads them when a proof fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from minibot.cli.support.proving import Proving, verdict_of
from tests.runs import ShortRun

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


@pytest.mark.parametrize(
    ("complaint", "text", "lines"),
    [
        (
            "replaying 20261130_072607: 1 s\nreplaying 20261130_072607: 99 %, 2 s\nrefused: a.\n",
            "refused: a.",
            (),
        ),
        ("refused: 2 faults.\n  a\n  b\n", "refused: 2 faults.", ("  a", "  b")),
        ('Traceback (most recent call last):\n  File "x"\nKeyError: 1\n', "KeyError: 1", ()),
        ("", "exit 2", ()),
    ],
    ids=["progress", "faults", "traceback", "silent"],
)
def test_check_that_broke_off_says_why_in_lines_of_their_own(
    complaint: str, text: str, lines: tuple[str, ...]
) -> None:
    """The summary shows why a check has no verdict, without its progress."""
    verdict = verdict_of("replay", 2, "", complaint)

    assert (verdict.passed, verdict.text, verdict.lines) == (False, text, lines)


@pytest.mark.process
@pytest.mark.parametrize("lost", ["manifest.json", "queues"])
def test_run_that_lost_a_part_is_not_proven_and_its_night_ends_all_the_same(
    tmp_path: Path, short_run: ShortRun, lost: str
) -> None:
    """A night that STOPPED for it still gives its reason, and exits with 10."""
    run_dir = tmp_path / short_run.run_dir.name
    shutil.copytree(short_run.run_dir, run_dir, ignore=shutil.ignore_patterns(lost))

    verify, replay = Proving(run_dir).verdicts()

    assert (verify.passed, replay.passed) == (False, False)
    assert verify.text.endswith("findings")
    assert replay.text.startswith("NOT PROVEN, ")
    assert lost in replay.text


@pytest.mark.process
@pytest.mark.row("N-124")
def test_folder_with_an_umlaut_is_named_by_the_proof_of_a_machine_with_an_old_code_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that speaks in Windows' code page is understood: the night ends with its reason."""
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")

    verify, replay = Proving(tmp_path / "J\u00fcrgen").verdicts()

    assert (verify.passed, replay.passed) == (False, False)
    assert "J\u00fcrgen" in verify.text
