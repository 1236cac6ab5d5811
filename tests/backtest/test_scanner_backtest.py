"""Backtests with a scanner: the same decisions, and the same scans in every order of symbols."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs import PROJECT, verb

WORDS = (
    *("backtest", "--config", str(PROJECT / "config" / "nore.v1.json"), "--fills", "touch"),
    *("--timerange", "20250605-20250606", "--json"),
)
BTC, ETH = "klines:btcusdt-1m", "klines:ethusdt-1m"


@pytest.mark.slow
@pytest.mark.row("B-07")
@pytest.mark.parametrize("sources", [(BTC,), (BTC, ETH)])
def test_scanner_tells_scans_and_changes_no_decision_of_a_strategy_that_reads_none(
    sources: tuple[str, ...], tmp_path: Path
) -> None:
    """Rows of bars and single events alike: signals and equity are those without the scanner."""
    words = [*WORDS, *(word for source in sources for word in ("--source", source))]

    plain = verb(tmp_path, *words).document
    ranked = verb(tmp_path, *words, "--set", 'scanner={"bar_interval":"1m"}').document

    assert ranked["digest"] != plain["digest"]
    for key in ("signals", "inputs", "figures", "by_symbol"):
        assert ranked[key] == plain[key]


def test_scanner_whose_bars_the_file_cannot_make_is_refused(tmp_path: Path) -> None:
    """Bars of a second cannot be made of minutes: nothing would ever have a rank."""
    sets = ('market.bar_intervals=["1s","1m","1h"]', 'scanner={"bar_interval":"1s"}')
    words = [*WORDS, "--source", BTC, *(word for each in sets for word in ("--set", each))]

    done = verb(tmp_path, *words)

    assert done.code == 4
    assert "scanner.bar_interval: it needs bars of 1s" in done.out + done.err
