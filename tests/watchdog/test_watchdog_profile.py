"""Profile for backtests alone, and a `var` that no night can write, keep a night from starting."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import Var
from minibot.watchdog.preflight import preflight

pytestmark = pytest.mark.process

SMOKE = "config/nore-smoke.v1.json"


@pytest.mark.parametrize(
    ("sets", "passed"),
    [
        ((), True),
        (("backtest.night_ms=60000",), False),
        (('market.bar_intervals=["1s","1m","1w"]',), True),
        (('market.bar_intervals=["1s","1m","1M"]',), False),
    ],
    ids=["plain", "nights", "weeks", "months"],
)
def test_profile_for_backtests_alone_is_no_nights(
    var_dir: Path, sets: tuple[str, ...], passed: bool
) -> None:
    """A profile with a backtest section, or with bars of a month, is refused for a night."""
    results = preflight(load_config(SMOKE, sets), Var(var_dir))

    assert [result.passed for result in results if result.name == "profile"] == [passed]
    assert passed or not results[-1].passed


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege on Windows")
@pytest.mark.parametrize("name", ["runs", "metrics", "requests"])
def test_link_below_var_is_refused_before_the_night(
    tmp_path: Path, var_dir: Path, name: str
) -> None:
    """A folder that leads to another disk is named at the start, not by a STOP hours later."""
    (tmp_path / "elsewhere").mkdir()
    var_dir.mkdir(exist_ok=True)
    (var_dir / name).symlink_to(tmp_path / "elsewhere")

    last = preflight(load_config(SMOKE), Var(var_dir))[-1]

    assert (last.name, last.passed) == ("var", False)
    assert f"{var_dir / name}: not a folder of its own" in last.found
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege on Windows")
def test_var_that_is_a_link_is_refused_by_doctor_with_the_folder_to_name(tmp_path: Path) -> None:
    """A start would refuse it only once its preflight had passed, and could not record that."""
    (tmp_path / "big disk").mkdir()
    (tmp_path / "var").symlink_to(tmp_path / "big disk")

    last = preflight(load_config(SMOKE), Var(tmp_path / "var"))[-1]

    assert (last.name, last.passed) == ("var", False)
    assert last.remedy.endswith(f"--var '{tmp_path / 'big disk'}'")
    assert list((tmp_path / "big disk").iterdir()) == []
