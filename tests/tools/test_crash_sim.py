"""tools.crash_sim: its last line and its exit code agree."""

from __future__ import annotations

import pytest

from tools.crash_sim import __main__ as crash_sim
from tools.crash_sim.campaign import Result
from tools.crash_sim.images import PROCESS
from tools.crash_sim.plan import Program
from tools.crash_sim.recipe import recipe_of
from tools.crash_sim.tally import Finding, Place

PROGRAM = Program("eager", "xfs", 512, 1 << 20, (["append", "inbox", 1, 0],))
PLACE = Place(3, PROCESS)


def test_campaign_without_findings_counts_on_its_last_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The last line counts judged and distinct states."""
    assert crash_sim.main(["--states", "500", "--seed", "5", "--jobs", "1"]) == 0

    words = capsys.readouterr().out.splitlines()[-1].replace(",", "").split()
    assert words[::2] == ["states", "distinct", "findings", "seed"]
    states, distinct, findings, seed = map(int, words[1::2])
    assert states >= 500
    assert 0 < distinct < states
    assert (findings, seed) == (0, 5)


def test_campaign_with_a_finding_prints_its_recipe_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A campaign with a finding prints its recipe and fails."""
    found = Result(10, 5, 3, 1, {"eager": 10}, [(PROGRAM, "1:0", Finding("I1: lost", PLACE))])
    monkeypatch.setattr(crash_sim, "run_campaign", lambda *_: found)

    assert crash_sim.main(["--no-shrink"]) == 1

    out = capsys.readouterr().out
    assert f"--replay '{recipe_of(PROGRAM, PLACE)}'" in out
    assert out.splitlines()[-1] == "states 10, distinct 5, findings 1, seed 1"


def test_replay_judges_one_state(capsys: pytest.CaptureFixture[str]) -> None:
    """A recipe of a repaired fault says so."""
    assert crash_sim.main(["--replay", recipe_of(PROGRAM, PLACE)]) == 0
    assert "nothing is wrong" in capsys.readouterr().out


def test_replay_of_something_else_cannot_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A text that is no recipe exits 2 with a message."""
    assert crash_sim.main(["--replay", "{}"]) == 2
    assert "no recipe" in capsys.readouterr().err
