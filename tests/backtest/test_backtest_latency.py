"""Latency drawn from a table, in a market of bars."""

from __future__ import annotations

from minibot.backtest.sources.bars import touch_model
from minibot.runtime.configuration.config import load_config
from tests.risk.desk import PROJECT


def test_bars_show_the_market_once_the_longest_way_has_passed() -> None:
    """A market of bars waits for the longest way, so that no order misses its tick."""
    words = ["execution.latency_drawn_market_ms=[20,900,250]"]
    plain = load_config(PROJECT / "config" / "nore-demo.v1.json")
    measured = load_config(PROJECT / "config" / "nore-demo.v1.json", words)

    assert touch_model(measured).latency_ms == 900
    assert touch_model(plain).latency_ms == plain.execution.latency_market_ms
