"""Profile for backtests alone, which keeps a night from starting."""

from __future__ import annotations

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
