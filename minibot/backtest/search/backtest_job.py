"""Job: a backtest that can be sent to another process, as words, profile and changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from minibot.backtest.sources.source_words import LOGGED
from minibot.backtest.sources.span import ALL, Span
from minibot.data.treatment import Treatment
from minibot.events.model import JsonObject

if TYPE_CHECKING:
    from minibot.engine.decision_record import DecisionRecord
    from minibot.engine.market_source import MarketSource
    from minibot.engine.run_result import BacktestResult
    from minibot.runtime.configuration.config import Config


class Job(NamedTuple):
    """One backtest.

    Attributes:
        words: Source words, as given to `--source`.
        profile: The resolved profile.
        sets: Texts `section.key=value` on top of it.
        span: The part of the market that is traded.
        treatment: How defects in files of bars are treated.
        order: Event order of a recorded run: as recorded (`logged`), or `rule`.
        draws: Whether a page is drawn of the result.
    """

    words: tuple[str, ...]
    profile: JsonObject
    sets: tuple[str, ...] = ()
    span: Span = ALL
    treatment: Treatment | None = None
    order: str = LOGGED
    draws: bool = False

    def changed(self, *sets: str) -> Job:
        """Return the same job with further changes of the profile."""
        return self._replace(sets=(*self.sets, *sets))

    @property
    def config(self) -> Config:
        """Profile with its changes applied.

        Raises:
            ConfigError: The profile is invalid; without changes, only the schema judges it.
        """
        # Here and below: loaded only to run a job, so that a command starts without it.
        from minibot.runtime.configuration.config import config_with

        return config_with(self.profile, self.sets)

    def open(self) -> MarketSource:
        """Return the market of the job."""
        from minibot.backtest.sources.source_spec import open_market

        return open_market(self.words, self.config, self.span, self.treatment, self.order)


def run_job(job: Job, record: DecisionRecord | None = None) -> BacktestResult:
    """Return the result of `run_backtest` for a job."""
    from minibot.backtest.driver import run_backtest

    return run_backtest(job.open(), job.config, draws=job.draws, record=record)


def sound_market(job: Job) -> MarketSource:
    """Return the market of a job that `run_job` would take: its bars and feeds are all there.

    Raises:
        ConfigError: Its profile and its source do not fit, or the source's words are wrong.
        Refusal: The source cannot be used.
    """
    from minibot.backtest.driver import require_bars
    from minibot.backtest.sources.feeds import with_feeds
    from minibot.strategies.selection import choose

    market, config = job.open(), job.config
    require_bars(with_feeds(market, config), choose(config.raw).needs.intervals, config)
    return market
