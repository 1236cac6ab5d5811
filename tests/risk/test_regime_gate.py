"""Regimes as a gate: entries only in those that the profile names, exits in all."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.model import Event, MarketRegime
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import load_config
from tests.risk.desk import PROJECT, Desk, actions, check_of, config

ONLY: dict[str, Any] = {"risk__entry_regimes": ["trending", "mixed"], "risk__signal_exit": True}
DEMO = PROJECT / "config" / "nore-demo.v1.json"


def desk(**changes: Any) -> Desk:
    """Return a desk that enters in two regimes, at a first touch."""
    return Desk(config(**ONLY | changes)).ready()


def tell(one: Desk, name: str) -> list[Event]:
    """Tell the regime, as strategy does with its scans."""
    told = MarketRegime(
        name=name,
        since_ts=one.ts,
        momentum=40,
        technical=20,
        volume=20,
        quality=20,
        symbols=8,
        missing=0,
    )
    return one.put("signals", told, tick_seq=one.seqs["market_ticks"])


@pytest.mark.parametrize(
    ("regimes", "said", "text"),
    [
        ((), ("BLOCK", "regime_excluded"), "none / trending, mixed"),
        (("choppy",), ("BLOCK", "regime_excluded"), "choppy / trending, mixed"),
        (("trending", "highvol"), ("BLOCK", "regime_excluded"), "highvol / trending, mixed"),
        (("choppy", "trending"), ("ALLOW", "allowed"), "trending / trending"),
        (("mixed",), ("ALLOW", "allowed"), "mixed / mixed"),
    ],
)
def test_entry_is_allowed_in_the_regimes_of_the_profile_alone(
    regimes: tuple[str, ...], said: tuple[str, str], text: str
) -> None:
    """The regime that was told last decides, and before the first one nothing enters."""
    one = desk()
    for name in regimes:
        assert tell(one, name) == []

    answer = one.signal("BUY")

    assert actions(answer) == [said]
    check = check_of(answer[0], "market_regime")
    assert f"{check['value']} / {check['threshold']}" == text


def test_position_is_left_in_any_regime() -> None:
    """A regime in which nothing enters keeps nobody in a position."""
    one = desk()
    tell(one, "trending")
    one.buy()
    tell(one, "highvol")

    assert actions(one.signal("SELL")) == [("EXIT", "signal_exit")]


def test_restart_keeps_the_regime_and_without_the_key_there_is_none() -> None:
    """A restarted core blocks and allows as before; a profile without the key has no such check."""
    one, plain = desk(), Desk(config()).ready()
    tell(one, "trending")
    one.restarted()
    tell(plain, "highvol")

    allowed = plain.signal("BUY")

    assert actions(one.signal("BUY")) == [("ALLOW", "allowed")]
    assert actions(allowed) == [("ALLOW", "allowed")]
    names = {check["name"] for check in allowed[0].to_json()["payload"]["checks"]}
    assert "market_regime" not in names
    assert "regime" not in plain.risk.state()


def test_profile_without_a_scanner_is_refused() -> None:
    """Without a scanner there is no regime, so that nothing would ever enter."""
    with pytest.raises(ConfigError) as refused:
        load_config(DEMO, sets=['risk.entry_regimes=["trending"]'])

    (violation,) = refused.value.violations
    assert violation.startswith("risk.entry_regimes")
    assert "only with the section scanner" in violation
