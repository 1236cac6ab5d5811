"""`minibot doctor` about a profile that would not buy, or whose exits would not act."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minibot.cli.support.entry_checks import (
    ENTRIES,
    EXITS,
    entry_checks,
    market_check,
)
from minibot.runtime.configuration.config import Config, load_config
from minibot.watchdog.preflight import WARN
from tests.instruments import instrument
from tests.runs import PROJECT, verb

BENCHMARK = ("risk.benchmark_correlation_max=0.5", "risk.correlation_bars=59")
REGIMES = (
    *('scanner={"bar_interval": "1m"}', 'market.bar_intervals=["1m", "1h", "4h"]'),
    'risk.entry_regimes=["trending"]',
)
AT_VENUE = ("risk.exits_at=venue", "execution.maker_fee_bps=1")
QUOTED = (
    *("risk.entry=maker", "risk.maker_requotes=1"),
    "risk.maker_patience_market_ms=1000",
)
TARGET = ("risk.take_profit_atr_mult=null", "risk.hard_stop_bps=500")


def profile(*sets: str, name: str = "nore") -> Config:
    """Return a shipped profile with changes."""
    return load_config(PROJECT / "config" / f"{name}.v1.json", sets)


def warned(config: Config) -> list[str]:
    """Return the names of the checks that warn."""
    return [each.name for each in entry_checks(config) if each.level == WARN]


@pytest.mark.parametrize(
    "name",
    [
        *("nore", "nore-demo", "nore-smoke", "paper"),
        *("portfolio", "conservative", "balanced", "aggressive"),
    ],
)
def test_no_shipped_profile_is_warned_of(name: str) -> None:
    """Every profile that minibot brings can buy, and all of its exits can act."""
    assert warned(profile(name=name)) == []


def test_amount_of_an_own_file_that_sizes_no_entry_is_warned_of(tmp_path: Path) -> None:
    """A share sizes the entries, so the amount beside it does not; alone it does."""
    path = tmp_path / "mine.json"
    risk = {"order_notional": "100"}
    answers = []
    for mode in ({"sizing": "share"}, {}):
        own = {"extends": "nore.v1.json", "profile": "mine", "risk": risk | mode}
        path.write_text(json.dumps(own))
        answers.append(
            [each.found for each in entry_checks(load_config(path)) if each.level == WARN]
        )

    assert answers == [["sized by risk.sizing share: risk.order_notional (100) has no effect"], []]


@pytest.mark.parametrize(
    ("good", "bad", "names"),
    [
        # A start fetches sixty bars; a correlation of n returns needs n + 1.
        (("strategy.ema_slow=60",), ("strategy.ema_slow=61",), [ENTRIES]),
        (("strategy.rsi_period=59",), ("strategy.rsi_period=60",), [ENTRIES]),
        # Stop and target of any strategy wait for the ATR.
        (
            ("strategy.name=ema_cross", "strategy.atr_period=60"),
            ("strategy.name=ema_cross", "strategy.atr_period=61"),
            [ENTRIES],
        ),
        (
            ("risk.correlation_bars=59", "risk.correlation_max=0.5"),
            ("risk.correlation_bars=60", "risk.correlation_max=0.5"),
            [ENTRIES],
        ),
        (
            (*BENCHMARK, "risk.benchmark_symbol=BTCUSDT"),
            (*BENCHMARK, "risk.benchmark_symbol=ETHUSDT"),
            [ENTRIES],
        ),
        (
            (*TARGET, "risk.take_profit_bps=50", "risk.break_even_bps=49"),
            (*TARGET, "risk.take_profit_bps=50", "risk.break_even_bps=50"),
            [EXITS],
        ),
        (
            (*TARGET, "risk.take_profit_bps=20.0001"),
            (*TARGET, "risk.take_profit_bps=20"),
            [EXITS],
        ),
        # At the venue, a target is sold at the market unless its stop has a limit.
        (
            (*TARGET, *AT_VENUE, "risk.take_profit_bps=20.0001"),
            (*TARGET, *AT_VENUE, "risk.take_profit_bps=20"),
            [EXITS],
        ),
        (
            (*TARGET, *AT_VENUE, "risk.stop_limit_bps=5", "risk.take_profit_bps=11.0001"),
            (*TARGET, *AT_VENUE, "risk.stop_limit_bps=5", "risk.take_profit_bps=11"),
            [EXITS],
        ),
        (("portfolio.close_market_ms=1000",), ("portfolio.close_market_ms=999",), [EXITS]),
        (
            ("portfolio.close_market_ms=0", "portfolio.at_end=carry"),
            ("portfolio.close_market_ms=4000", "execution.latency_market_ms=4000"),
            [EXITS],
        ),
        (("risk.signal_age_ms_max=100",), ("risk.signal_age_ms_max=99",), [ENTRIES]),
        (("strategy.score_min=100",), ("strategy.score_min=101",), [ENTRIES]),
        (("strategy.confidence_min=99",), ("strategy.confidence_min=100",), [ENTRIES]),
        (("risk.confidence_min=99",), ("risk.confidence_min=100",), [ENTRIES]),
        (
            (*REGIMES, 'market.warmup_bars={"1m": 60, "4h": 43}'),
            (*REGIMES, 'market.warmup_bars={"1m": 60, "4h": 42}'),
            [ENTRIES],
        ),
        # Entries are made at a spread of up to eight basis points.
        (
            ("risk.stop_atr_mult=null", "risk.stop_bps=8.1"),
            ("risk.stop_atr_mult=null", "risk.stop_bps=8"),
            [EXITS],
        ),
        # A quote at the bid that is not taken is bought below every spread.
        (
            ("risk.stop_atr_mult=null", "risk.stop_bps=8", *QUOTED, "risk.maker_end=give_up"),
            ("risk.stop_atr_mult=null", "risk.stop_bps=8", *QUOTED, "risk.maker_end=take"),
            [EXITS],
        ),
    ],
)
def test_profile_that_would_not_act_is_warned_of_on_one_side_of_the_line(
    good: tuple[str, ...], bad: tuple[str, ...], names: list[str]
) -> None:
    """Bars that no start fetches, a benchmark that nobody follows, gains behind the target."""
    assert warned(profile(*good)) == []
    assert warned(profile(*bad)) == names


def test_bars_for_longer_than_the_run_are_said_to_end_its_entries() -> None:
    """A wait within the run is told in minutes, a longer one as the whole run."""
    short, whole = (
        next(entry_checks(profile(f"strategy.ema_slow={bars}"))).found for bars in (90, 480)
    )

    assert "the first 30 min" in short
    assert "this whole run" in whole


@pytest.mark.parametrize(("cash", "is_warned"), [("25", False), ("24.99", True)])
def test_account_whose_entries_stay_under_the_least_order_is_warned_of(
    cash: str, is_warned: bool
) -> None:
    """A fifth of the cash, which the night may expose, against a least order of five."""
    found = market_check(profile(f"portfolio.cash={cash}"), [instrument(notional_min="5")])

    assert (found.level == WARN) is is_warned


@pytest.mark.parametrize(("status", "is_warned"), [("TRADING", False), ("BREAK", True)])
def test_symbol_that_is_not_traded_now_is_warned_of(status: str, is_warned: bool) -> None:
    """A market that the venue has halted or taken away buys nothing in this night."""
    found = market_check(profile(), [instrument(status=status)])

    assert (found.level == WARN) is is_warned


@pytest.mark.process
def test_night_says_before_it_starts_that_it_will_not_buy(tmp_path: Path) -> None:
    """A night that nobody asked doctor about names key and remedy; here it then finds no source."""
    profile_file = str(PROJECT / "config" / "nore-demo.v1.json")
    sets = ("strategy.score_min=110", "embedded.source=tape:none")
    words = [word for text in sets for word in ("--set", text)]

    done = verb(tmp_path / "var", "night", "--config", profile_file, *words)

    assert done.code != 0
    assert "warning: entries: none: strategy.score_min (110) is above" in done.err
