"""Benchmark of the first hour: what is judged, and what is said where nothing can be measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.bench import first_hour
from tools.bench.first_hour import Hour, Plan, size_mb, u1, u5
from tools.first_hour.looking import Looked
from tools.first_hour.session import DEMO, Done, Step, Wish
from tools.first_hour.session import steps as hour_steps
from tools.first_hour.terminal import Ended


def done(beginning: str, *missing: str) -> Done:
    """Return a step that took two seconds."""
    step = Step("start", "", Wish(beginning), beginning)
    return Done(step, Ended(0, 2.0, 1.0, "", ""), {}, missing)


def plan(*steps: Done, looked: Looked | None = None, trouble: str = "") -> Plan:
    """Return a plan whose session has been played."""
    made = Plan(repeats=1)
    made.__dict__["hour"] = Hour(steps, None, looked, trouble)
    return made


def test_set_up_and_demo_are_judged_by_the_clock_with_cpu_beside() -> None:
    """U1 is the sum of clone and first command; other steps do not count."""
    (measure,) = u1(plan(done("git clone"), done(DEMO), done("minibot")))

    assert (measure.value, measure.verdict) == (4.0, "goal met")
    assert measure.samples["all, CPU s"] == [2.0]


def test_step_whose_promise_was_not_kept_is_no_figure() -> None:
    """A demo that ended without its proof is not a quick one."""
    (measure,) = u1(plan(done("git clone"), done(DEMO, "verify clean")))

    assert (measure.value, measure.verdict) == (None, "not measured")
    assert any("verify clean" in note for note in measure.notes)


def test_without_a_terminal_the_measure_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No tmux: nothing is played, and the report names it."""
    monkeypatch.setattr(first_hour, "found_tmux", lambda: None)

    (measure,) = u1(Plan(repeats=1))

    assert measure.verdict == "not measured"
    assert any("tmux" in note for note in measure.notes)


@pytest.mark.parametrize(
    ("narrowest", "verdict"), [(360, "goal met"), (380, "must met"), (400, "NOT MET")]
)
def test_width_is_judged_by_the_page_that_needs_most(narrowest: int, verdict: str) -> None:
    """U5 is met where no page scrolls sideways at 390 px."""
    (measure,) = u5(plan(looked=Looked(narrowest, {})))

    assert measure.verdict == verdict


def test_pages_that_nobody_could_look_at_are_not_measured() -> None:
    """No Chromium: the report names it, and no width is made up."""
    (measure,) = u5(plan(trouble=first_hour.NO_CHROMIUM))

    assert measure.value is None
    assert any("Chromium" in note for note in measure.notes)


def test_size_counts_what_a_folder_takes_on_the_disk(tmp_path: Path) -> None:
    """Nested files count once each."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "data").write_bytes(b"x" * 2_000_000)

    assert size_mb(tmp_path) == pytest.approx(2.0, abs=0.1)


def test_every_measure_of_the_hour_has_its_steps() -> None:
    """The session has the steps by which U1 and U4 are found."""
    beginnings = [step.wish.beginning for step in hour_steps()]

    assert beginnings[:2] == ["git clone", DEMO]
