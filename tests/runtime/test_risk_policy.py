"""Risk policy: governed profiles stay within their bounds."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration import risk_policy
from minibot.runtime.configuration.config import load_config
from minibot.runtime.configuration.risk_policy import POLICY_PATH
from minibot.runtime.paths import PROJECT

NAMES = ("conservative", "balanced", "aggressive")
POLICY: Any = json.loads(POLICY_PATH.read_bytes())["profiles"]
CASES = [
    (name, key, *bound.popitem()) for name, keys in POLICY.items() for key, bound in keys.items()
]
# Modes that read a key which the profile's own does not, and a lower limit below it.
WITH = {
    "kelly_fraction_percent": (
        *("risk.sizing=kelly", "risk.kelly_window_market_ms=86400000", "risk.kelly_trades_min=5"),
        "risk.position_share_bps_min=1",
    ),
    "cluster_share_bps_max": ("risk.correlation_bars=96", "risk.cluster_correlation_min=0.7"),
}


def test_each_governed_profile_has_a_hard_stop() -> None:
    """A position whose bars are missing, and with them its stop in ATRs, is never without one."""
    loaded = [
        load_config(path)
        for path in sorted((PROJECT / "config").glob("*.v1.json"))
        if b'"policy_version"' in path.read_bytes() and path.name != "config.v1.schema.json"
    ]

    assert {config.risk.profile for config in loaded} == set(NAMES)
    assert all(config.risk.hard_stop_bps for config in loaded)


class Twice(dict[str, Any]):
    """Object whose JSON has each key twice."""

    def items(self) -> Any:
        """Return each item twice."""
        return [*super().items(), *super().items()]


def violations(name: str, *sets: str) -> tuple[str, ...]:
    """Return the violations of a shipped profile with some keys set."""
    try:
        load_config(PROJECT / "config" / f"{name}.v1.json", sets, {})
    except ConfigError as refusal:
        return refusal.violations
    return ()


def refused_by_policy(name: str, key: str, value: Fraction) -> bool:
    """Return whether the policy refuses a key's value, whatever other rules say."""
    text = f"{value.numerator}" if value.denominator == 1 else f"{float(value):.8f}"
    found = violations(name, *WITH.get(key, ()), f"risk.{key}={text}")
    return any(line.startswith(f"risk.{key} ") and POLICY_PATH.name in line for line in found)


@pytest.mark.row("D-07")
@pytest.mark.parametrize(("name", "key", "kind", "most"), CASES)
def test_key_at_its_bound_is_allowed_and_beyond_it_refused_also_by_set(
    name: str, key: str, kind: str, most: int
) -> None:
    """Each bound of each profile holds on both sides, by `--set` as by the file."""
    limit = Fraction(most) if kind == "most" else Fraction(10_000 * most, 10_000)
    beyond = limit + (1 if kind == "most" else Fraction(1, 100))

    assert not refused_by_policy(name, key, limit)
    assert refused_by_policy(name, key, beyond)


@pytest.mark.row("D-07")
@pytest.mark.parametrize("name", NAMES)
def test_shipped_governed_profile_is_valid_and_keeps_a_hard_stop(name: str) -> None:
    """A shipped profile lies within its bounds; without its hard stop, or renamed, it does not."""
    assert violations(name) == ()
    assert violations(name, "risk.stop_atr_mult=null", "risk.stop_bps=150") == ()
    for bad in ("risk.hard_stop_bps=null", "risk.profile=mine"):
        assert any(line.startswith(bad.partition("=")[0]) for line in violations(name, bad)), bad


def test_governed_profile_without_a_hard_stop_is_refused_and_its_other_stop_is_its_own(
    tmp_path: Path,
) -> None:
    """Only a profile from before the policy may lack the hard stop; the one in ATRs may be off."""
    found: dict[str | None, tuple[str, ...]] = {}
    for hard, stop in ((None, "2.0"), ("400", None)):
        risk: dict[str, Any] = {"profile": "aggressive", "policy_version": 1, "stop_atr_mult": stop}
        if hard:
            risk["hard_stop_bps"] = hard
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"extends": "nore.v1.json", "profile": "mine", "risk": risk}))
        try:
            load_config(path, (), {})
            found[hard] = ()
        except ConfigError as refusal:
            found[hard] = refusal.violations

    assert found["400"] == ()
    assert [line.partition(" ")[0] for line in found[None]] == ["risk.hard_stop_bps"]


@pytest.mark.row("D-03")
@pytest.mark.parametrize(
    "path", sorted((PROJECT / "config").glob("*.v1.json")), ids=lambda path: path.name
)
def test_no_shipped_profile_ends_a_position_by_its_age(path: Path) -> None:
    """A position may be held for as long as its levels hold; a time exit is the user's choice."""
    if json.loads(path.read_bytes()).get("schema") == "minibot.config":
        assert load_config(path, (), {}).risk.time_exit_ms is None


@pytest.mark.parametrize(
    ("schema", "profiles"),
    [
        ("minibot.risk_policy", None),
        ("minibot.risk_policy", {}),
        ("minibot.risk_policy", {"balanced": {"positions_max": {"most": "1"}}}),
        ("minibot.risk_policy", {"balanced": {"positions_max": {"least": 1}}}),
        ("minibot.risk_policy", {"balanced": {"positions_max": 1}}),
        ("other", {"balanced": {"positions_max": {"most": 9}}}),
        ("minibot.risk_policy", {"balanced": {"positions_mx": {"most": 9}}}),
        ("minibot.risk_policy", {"balanced": {"profile": {"most": 9}}}),
        ("minibot.risk_policy", {"balanced": Twice({"positions_max": {"most": 9}})}),
    ],
)
def test_damaged_policy_refuses_a_governed_profile(
    schema: str, profiles: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy that is none bounds nothing, so a governed profile is refused; others load."""
    path = tmp_path / "risk_policy.v1.json"
    path.write_text(json.dumps({"schema": schema, "v": 1, "profiles": profiles}), encoding="utf-8")
    monkeypatch.setattr(risk_policy, "POLICY_PATH", path)
    risk_policy.risk_policy.cache_clear()
    try:
        load_config(PROJECT / "config" / "nore.v1.json", [], {})
        with pytest.raises(ConfigError, match="not a risk policy"):
            load_config(PROJECT / "config" / "balanced.v1.json", [], {})
    finally:
        risk_policy.risk_policy.cache_clear()
