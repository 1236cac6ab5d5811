"""Pace of the machine beside the reference machine, in the head of every bench."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.bench import pace
from tools.bench.backtest_peers import SCRIPTS


def test_pace_is_the_median_share_of_each_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three runs of the floor give one share, once before the measures and once after."""
    figures = iter([1_090_000, 2_180_000, 4_360_000, 4_360_000, 4_360_000, 8_720_000])
    monkeypatch.setattr(pace, "SCRIPTS", tmp_path)
    monkeypatch.setattr(pace, "TICKS", 10)
    monkeypatch.setattr(pace, "run_script", lambda *_: {"ev_per_s": next(figures)})
    (tmp_path / pace.FLOOR[0]).touch()
    speed = pace.Pace(tmp_path / "pace")

    speed.measure()
    speed.measure()

    assert speed.shares == [0.5, 1.0]
    assert speed.told.startswith("0.5, then 1 of the reference machine's (floor_py.py objects")


def test_pace_is_unknown_where_the_script_is_missing_or_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bench goes on without a pace, and its head says why there is none."""

    def slow(*_: object) -> dict[str, object]:
        raise subprocess.TimeoutExpired("floor_py.py", pace.RUN_S_MAX)

    monkeypatch.setattr(pace, "SCRIPTS", tmp_path)
    monkeypatch.setattr(pace, "TICKS", 10)
    missing = pace.Pace(tmp_path / "pace")
    missing.measure()
    monkeypatch.setattr(pace, "run_script", slow)
    (tmp_path / pace.FLOOR[0]).touch()
    failed = pace.Pace(tmp_path / "pace")
    failed.measure()

    assert missing.told == "unknown: no floor_py.py in ../shared/bench"
    assert failed.told.startswith("unknown: ")
    assert "timed out" in failed.told


@pytest.mark.process
def test_pace_of_this_machine_comes_from_the_reference_script(tmp_path: Path) -> None:
    """The script of the reference machine runs over the same ticks and prints its figure."""
    if not (SCRIPTS / pace.FLOOR[0]).is_file():
        pytest.skip("the reference scripts (../shared/bench) are not here")
    speed = pace.Pace(tmp_path)
    speed.measure()

    assert speed.missing == ""
    assert speed.shares[0] > 0
