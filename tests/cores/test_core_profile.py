"""Typed sections of a profile: built from the resolved JSON, also of an older run."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import FrozenInstanceError, asdict, fields
from typing import Any

import pytest

from minibot.cores.core_profile import CoreProfile, ExecutionSection, RiskSection
from minibot.cores.profile_keys import is_optional
from minibot.runtime.configuration.config import is_same_profile, load_config
from minibot.runtime.paths import PROJECT

RAW = load_config(PROJECT / "config" / "nore.v1.json").raw
# Keys added after the first runs, and the behaviour of those runs without them.
MEANT: dict[str, dict[str, Any]] = {
    "strategy": {"folder": "strategies", "parameters": {}},
    "risk": {"left_trading": "hold", "left_universe": "hold"},
    "execution": {"fill_model": "touch", "left_trading": "hold"},
    "binance": {"streams_per_connection_max": 800},
    "watchdog": {"pause_max_ms": 60_000},
}


def absent(name: str, section: type) -> dict[str, None]:
    """Return the optional keys that the profile of real nights leaves out of a section."""
    return {
        key.name: None for key in fields(section) if is_optional(key) and key.name not in RAW[name]
    }


def test_sections_hold_what_the_profile_says() -> None:
    """Sections hold the profile's values, decimals as text; a missing one is None."""
    profile = asdict(CoreProfile.of(RAW))

    assert profile["strategy"] == RAW["strategy"] | {"source": None, "rank_max": None}
    for name, section in (("risk", RiskSection), ("execution", ExecutionSection)):
        assert profile[name] == RAW[name] | absent(name, section)
    assert profile["portfolio"] == RAW["portfolio"]
    assert set(profile["backtest"].values()) == {None}


def test_sections_of_an_older_run_mean_what_it_did() -> None:
    """Sections of an older run give its old behaviour, so that its manifest replays unchanged."""
    older, as_meant = deepcopy(RAW), deepcopy(RAW)
    for name, keys in MEANT.items():
        as_meant[name] |= keys
        for key in keys:
            del older[name][key]

    assert CoreProfile.of(older) == CoreProfile.of(as_meant)
    assert is_same_profile(older, as_meant)
    assert not is_same_profile(older, RAW)


def test_section_of_an_own_strategy_holds_its_file() -> None:
    """A section of a user's strategy holds its file; one of an older build names no API."""
    source = {"path": "strategies/mine.py", "sha256": "0" * 64, "text": "x = 1"}
    raw = {**RAW, "strategy": RAW["strategy"] | {"source": source}}

    found = CoreProfile.of(raw).strategy.source

    assert found is not None
    assert asdict(found) == source | {"api": None}


def test_sections_are_frozen() -> None:
    """Sections are frozen, so that no core changes its limits."""
    risk = CoreProfile.of(RAW).risk

    with pytest.raises(FrozenInstanceError):
        risk.positions_max = 5  # type: ignore[misc]
