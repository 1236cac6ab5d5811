"""Loosening of limits: the looser side of each key, and staged settings that may loosen none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import load_config
from minibot.runtime.configuration.config_schema import SCHEMA_PATH
from minibot.runtime.configuration.loosening import EXEMPTIONS, FLOORS, NO_LIMITS, is_looser
from minibot.runtime.paths import PROJECT

GOVERNED = PROJECT / "config" / "conservative.v1.json"


@pytest.mark.parametrize(
    ("key", "own", "tighter", "looser"),
    [
        ("risk.night_notional_hard", "2000", "1999.99", "2000.01"),
        ("risk.orders_per_minute_hard", 20, 19, "21"),
        ("risk.depth_min", "60", "60.5", 59),
        ("risk.time_exit_ms", 60_000, 59_999, None),
        ("risk.horizon_thesis_bps", "60", None, "59"),
        ("risk.kelly_fraction_percent", 20, 19, None),
        ("portfolio.cash", "10000", "9999", "10000.01"),
    ],
)
def test_limit_is_looser_on_one_side_of_its_own_value(
    key: str, own: Any, tighter: Any, looser: Any
) -> None:
    """A value as large as the profile's own, also written otherwise, is not looser."""
    assert not is_looser(key, own, own)
    assert not is_looser(key, own, f"{own}.0")
    assert not is_looser(key, own, tighter)
    assert is_looser(key, own, looser)


@pytest.mark.parametrize(
    ("key", "value", "is_refused"),
    [
        ("risk.time_exit_ms", 60_000, False),
        ("risk.protections", [{"method": "CooldownPeriod"}], False),
        ("risk.limit_entries_max", 2, True),
        ("risk.sizing", "share", True),
        ("risk.kelly_fraction_percent", 25, False),
        ("risk.kelly_fraction_percent", "26", True),
    ],
)
def test_limit_that_the_profile_lacks_is_looser_only_where_it_allows_something(
    key: str, value: Any, is_refused: bool
) -> None:
    """One more limit is no loosening, one more exemption is; Kelly's part has a limit anyway."""
    assert is_looser(key, None, value) is is_refused


@pytest.mark.parametrize(
    ("key", "own", "value", "is_refused"),
    [
        ("risk.left_trading", "hold", "close", True),
        ("risk.entry_regimes", ["mixed"], ["mixed"], False),
        ("risk.entry_regimes", ["mixed"], ["trending"], True),
        ("risk.take_profit_bps", "60", "900", False),
        ("strategy.score_min", 60, 0, False),
        ("execution.latency_market_ms", 50, 900, False),
        ("portfolio.at_end", "close", "carry", False),
    ],
)
def test_value_without_an_order_is_looser_and_a_key_that_limits_nothing_never(
    key: str, own: Any, value: Any, is_refused: bool
) -> None:
    """One of two words may risk more than the other; gains and signals are no limits."""
    assert is_looser(key, own, value) is is_refused


def test_each_least_value_of_the_risk_section_has_its_looser_side() -> None:
    """A new key `_min` has to say which way it is looser: most of them by a smaller value."""
    schema = json.loads(SCHEMA_PATH.read_bytes())["properties"]["risk"]["properties"]

    least = {key for key in schema if key.endswith("_min")}

    # A larger least entry, a longer shortest horizon and fewer symbols in a cluster risk more.
    ceilings = {"cluster_correlation_min", "horizon_ms_min", "position_share_bps_min"}
    assert least - FLOORS == ceilings
    assert set(schema) >= FLOORS | EXEMPTIONS | NO_LIMITS


def test_staged_value_looser_than_the_files_is_refused_unless_a_stronger_layer_replaces_it() -> (
    None
):
    """A start judges staged settings as well: the file may have become stricter since."""
    staged = {"risk.tick_age_ms_max": 9_999, "risk.signal_age_ms_max": 1}

    with pytest.raises(ConfigError) as refused:
        load_config(GOVERNED, staged=staged)
    config = load_config(GOVERNED, ["risk.tick_age_ms_max=9999"], staged=staged)

    (violation,) = refused.value.violations
    assert violation.startswith("risk.tick_age_ms_max = 9999 (minibot settings): allowed while")
    assert (config.risk.tick_age_ms_max, config.risk.signal_age_ms_max) == (9_999, 1)
