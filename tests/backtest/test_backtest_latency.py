"""Latency drawn from a table, in a market of bars."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibot.backtest.driver import run_backtest, run_cores
from minibot.backtest.sources.bars import BarSource, touch_model
from minibot.engine.lockstep import fresh_cores
from minibot.runtime.configuration.config import load_config
from tests.backtest.markets import MINUTE_MS, bar_profile, series, walk
from tests.engine.test_row_span import assert_same
from tests.risk.desk import PROJECT
from tools.drawn_backtests.ways import AsEvents


def test_bars_show_the_market_once_the_longest_way_has_passed() -> None:
    """A market of bars waits for the longest way, so that no order misses its tick."""
    words = ["execution.latency_drawn_market_ms=[20,900,250]"]
    plain = load_config(PROJECT / "config" / "nore-demo.v1.json")
    measured = load_config(PROJECT / "config" / "nore-demo.v1.json", words)

    assert touch_model(measured).latency_ms == 900
    assert touch_model(plain).latency_ms == plain.execution.latency_market_ms


BUYS = '''"""Long for every other bar."""

from minibot.strategies.protocol import Needs, Strategy, buy, sell


class Buys(Strategy):
    """Buys when flat, and sells when long."""

    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), trades=False)

    def on_bar(self, bar, view):
        return sell("a bar held") if view.is_long else buy("flat")
'''


@pytest.mark.parametrize("latency_ms", [3_750, 3_751, 4_900])
def test_order_of_every_latency_that_bars_allow_is_filled_when_it_arrives(
    latency_ms: int, tmp_path: Path
) -> None:
    """Up to an eighth of a bar an entry meets the open, and a stop the price that decided it."""
    (tmp_path / "buys.py").write_text(BUYS, encoding="utf-8")
    config = bar_profile(
        *("strategy.name=buys", f"strategy.folder={tmp_path}"),
        *('risk.stop_atr_mult="0.3"', 'risk.take_profit_atr_mult="0.3"'),
        f"execution.latency_market_ms={latency_ms}",
    )
    source = BarSource(series(walk(60)), config)

    rows = run_backtest(source, config)
    events = run_cores(AsEvents(source), config, fresh_cores(config.raw))

    fills = [(one.ts, one.payload.to_json()) for one in rows.of("fills")]
    bought = [ts for ts, fill in fills if fill["side"] == "BUY"]
    sent = {one.payload.to_json()["client_order_id"]: one.ts for one in rows.of("order_intents")}
    assert len(bought) > 10
    assert {ts % MINUTE_MS for ts in bought} == {latency_ms}
    assert {ts - sent[fill["client_order_id"]] for ts, fill in fills} == {latency_ms}
    assert {sent[fill["client_order_id"]] % MINUTE_MS for _, fill in fills} > {0}
    assert_same(rows, events)
