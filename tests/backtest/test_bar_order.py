"""Bars that close at one moment come longest first, whatever plays the market."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from minibot.backtest.driver import run_cores
from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.source_spec import open_market
from minibot.engine.lockstep import fresh_cores
from minibot.engine.market_source import MarketSource
from minibot.events.intervals import INTERVAL_MS
from minibot.runtime.configuration.config import Config
from minibot.strategies.core import StrategyCore
from minibot.strategies.trial import Trial
from tests.backtest.markets import bar_profile, series, walk
from tests.engine.test_row_span import made, word_of
from tools.drawn_backtests.ways import AsEvents

pytestmark = pytest.mark.campaign

NOTES: Final = """
from minibot.strategies.protocol import Needs, Strategy


class Notes(Strategy):
    def __init__(self, settings):
        self.told = []

    @staticmethod
    def needs(settings):
        return Needs(intervals=("SHORT", "LONG"), history=2, trades=False)

    def on_bar(self, bar, view):
        if bar.is_live:
            self.told.append((bar.open_ts, bar.interval))
        return None
"""
Told = list[tuple[int, str]]


def told(source: MarketSource, config: Config) -> Told:
    """Return open time and interval of live bars in the order of their telling."""
    cores: dict[str, Any] = fresh_cores(config.raw)
    run_cores(source, config, cores)
    core = cores["strategy_role"]
    assert isinstance(core, StrategyCore)
    found: Told = core._find(source.symbols[0]).strategy.told  # type: ignore[attr-defined]
    return found


def assert_longest_first(bars: Told) -> None:
    """Assert that bars come by their ends, of one end the longest first, and that some share it."""
    ends = [(open_ts + INTERVAL_MS[interval], -INTERVAL_MS[interval]) for open_ts, interval in bars]
    assert ends == sorted(ends)
    assert len({end for end, _ in ends}) < len(ends)


@pytest.mark.parametrize("listed", [("1m", "15m", "1h"), ("1h", "15m", "1m")])
def test_bars_of_one_moment_come_longest_first(listed: tuple[str, ...], tmp_path: Path) -> None:
    """The order of the profile's intervals changes nothing; a trial tells what a backtest does."""
    path = tmp_path / "notes.py"
    path.write_text(NOTES.replace("SHORT", "1m").replace("LONG", "15m"))
    built = ",".join(f'"{name}"' for name in listed)
    sets = ("strategy.name=notes", f"strategy.folder={tmp_path}")
    config = bar_profile(*sets, f"market.bar_intervals=[{built}]")
    source = BarSource(series(walk(120)), config)
    trial = Trial(path)

    rows, events = told(source, config), told(AsEvents(source), config)
    for _ in range(120):
        trial.declared_bars(100.0)

    assert_longest_first(rows)
    assert rows == events
    assert_longest_first(trial._core._find("BTCUSDT").strategy.told)  # type: ignore[attr-defined]


def test_bars_of_ticks_come_longest_first(tmp_path: Path) -> None:
    """Bars that the market builds of trades close in the same order."""
    (tmp_path / "notes.py").write_text(NOTES.replace("SHORT", "1s").replace("LONG", "1m"))
    built = 'market.bar_intervals=["1s","1m"]'
    config = bar_profile(
        *("strategy.name=notes", f"strategy.folder={tmp_path}", built),
        *("strategy.bar_interval=1s", "strategy.trend_interval=1m"),
    )
    source = open_market([word_of(tmp_path / "ticks", made(1))], config)

    rows, events = told(source, config), told(AsEvents(source), config)

    assert_longest_first(rows)
    assert rows == events


@pytest.mark.parametrize("is_made_of_trades", [True, False])
def test_interval_that_is_needed_twice_has_each_bar_once(
    tmp_path: Path, is_made_of_trades: bool
) -> None:
    """`(settings.interval, "1m")` on minutes names one interval twice."""
    text = NOTES.replace("SHORT", "1m").replace("LONG", "1m").replace("history=2", "history=0")
    (tmp_path / "notes.py").write_text(text)
    config = bar_profile(
        *("strategy.name=notes", f"strategy.folder={tmp_path}"),
        f"strategy.bars_from_ticks={str(is_made_of_trades).lower()}",
    )

    bars = told(BarSource(series(walk(30)), config), config)

    assert len(set(bars)) == len(bars) >= 29
