"""A backtest as something that can be sent to another process: words, profile, changes."""

from __future__ import annotations

from typing import NamedTuple

from minibot.backtest.driver import run_backtest
from minibot.backtest.sources.recorded_run import LOGGED
from minibot.backtest.sources.source_spec import open_market
from minibot.backtest.sources.span import ALL, Span
from minibot.data.treatment import Treatment
from minibot.engine.market_source import MarketSource
from minibot.engine.run_result import BacktestResult
from minibot.events.model import JsonObject
from minibot.runtime.configuration.config import Config, config_with


class Job(NamedTuple):
    """One backtest.

    Attributes:
        words: Of `--source`.
        profile: The resolved profile.
        sets: Texts `section.key=value` on top of it.
        span: The part of the market that is traded.
        treatment: What to do with what is wrong with files of bars.
        order: Of a recorded run: its night's, or `rule`.
    """

    words: tuple[str, ...]
    profile: JsonObject
    sets: tuple[str, ...] = ()
    span: Span = ALL
    treatment: Treatment | None = None
    order: str = LOGGED

    def changed(self, *sets: str) -> Job:
        """Return the same with further changes of the profile."""
        return self._replace(sets=(*self.sets, *sets))

    @property
    def config(self) -> Config:
        """The profile with its changes.

        Raises:
            ConfigError: The changes make no valid profile.
        """
        return config_with(self.profile, self.sets)

    def open(self) -> MarketSource:
        """Return its market."""
        return open_market(self.words, self.config, self.span, self.treatment, self.order)


def run_job(job: Job) -> BacktestResult:
    """Return what `run_backtest` gives for a job."""
    return run_backtest(job.open(), job.config)
