"""Portfolio profile: several pairs under every power of risk, by one command."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibot.cores.core_profile import CoreProfile
from minibot.runtime.configuration.config import load_config
from tests.runs import PROJECT, verb

PROFILE = PROJECT / "config" / "portfolio.v1.json"
WORDS = (
    *("backtest", "--config", str(PROFILE), "--fills", "touch"),
    *("--source", "klines:btcusdt-1m", "--source", "klines:ethusdt-1m"),
    *("--pairs", "BTC/USDT,ETH/USDT", "--timerange", "20250605-20250607", "--json"),
)


def test_portfolio_takes_the_best_of_a_universe_and_rests_its_exits() -> None:
    """The profile trades a universe, buys as many of its best as it has slots, and rests exits."""
    config = load_config(PROFILE)
    core = CoreProfile.of(config.raw)

    assert config.universe is not None
    assert config.universe.mode == "dynamic"
    assert core.scanner is not None
    assert core.strategy.rank_max == core.risk.positions_max < config.universe.traded_max
    assert core.risk.exits_at == "venue"


@pytest.mark.slow
def test_portfolio_holds_both_pairs_and_leaves_them_by_levels_that_move(tmp_path: Path) -> None:
    """Two days of two pairs: stops that moved, locks after losses, and no more than may be held."""
    done = verb(tmp_path, *WORDS)
    document = done.document

    assert done.code == 0
    assert {row["name"] for row in document["by_symbol"]} == {"BTCUSDT", "ETHUSDT"}
    assert {row["name"] for row in document["by_exit_reason"]} >= {"break_even", "trailing_stop"}
    assert document["refusals"]["BLOCK"].keys() >= {"cooldown_period", "losses_in_row"}
    assert document["stop"] is None
    # Two positions of at most 400 each, of an equity that has not fallen by a fifth.
    assert float(document["figures"]["exposure_max"]) <= 0.1
