"""Ways of running one backtest: a source as events, and a result with the cores' last states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minibot.backtest.driver import run_cores
from minibot.engine.lockstep import fresh_cores
from minibot.engine.market_source import NOBODY, MarketSource, Root, Watch
from minibot.engine.run_result import BacktestResult
from minibot.runtime.configuration.config import Config


class AsEvents:
    """Source that gives its ticks as events, whatever else it could do."""

    def __init__(self, source: MarketSource) -> None:
        """Take the source."""
        self.name, self.symbols = source.name, source.symbols
        self.origin_ms, self.end_ms = source.origin_ms, source.end_ms
        self.interval_ms, self.assumptions = source.interval_ms, source.assumptions
        self._source = source

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield the source's events."""
        return self._source.roots(watch)


def walked(config: Config, source: MarketSource) -> tuple[BacktestResult, dict[str, Any]]:
    """Return the result of a backtest and the last state of each core."""
    cores = fresh_cores(config.raw)
    result = run_cores(source, config, cores)
    states = {name: core.state() for name, core in cores.items()}
    for view in states["strategy_role"]["symbols"].values():
        del view["now"]  # Set anew whenever a strategy is shown anything.
    return result, states
