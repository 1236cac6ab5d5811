"""Portfolio profile: several pairs under every power of risk, by one command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs import PROJECT, verb

WORDS = (
    *("backtest", "--config", str(PROJECT / "config" / "portfolio.v1.json"), "--fills", "touch"),
    *("--source", "klines:btcusdt-1m", "--source", "klines:ethusdt-1m"),
    *("--pairs", "BTC/USDT,ETH/USDT", "--timerange", "20250605-20250607", "--json"),
)


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
