"""Feeds of a profile among a market's events: the same values at the same market time as at night.

A recorded run brings the values that its night wrote, and its files are not read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.portfolio import Merged
from minibot.backtest.sources.recorded_run import RunSource
from minibot.backtest.sources.span import Part
from minibot.engine.market_source import NOBODY, MarketSource, Root, Watch
from minibot.events.model import FeedValue
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import Config
from minibot.runtime.configuration.feed_files import FeedLine, feed_lines, lines_from


class Fed:
    """Market with feeds: a value comes before the first event at its time or later.

    Of the values before the origin only each feed's newest comes.

    Attributes:
        source: The market.
        until_ts: Time, Unix ms, up to which values still come after the last market event. None,
            the default: no value comes after that event.
    """

    def __init__(self, source: MarketSource, lines: Sequence[FeedLine]) -> None:
        self.name = source.name
        self.symbols = source.symbols
        self.origin_ms = source.origin_ms
        self.end_ms = source.end_ms
        self.interval_ms = source.interval_ms
        counts = {line.name: 0 for line in lines}
        for line in lines:
            counts[line.name] += 1
        counted = ", ".join(f"{name} ({count} values)" for name, count in counts.items())
        self.assumptions = (
            *source.assumptions,
            f"Values from outside the market are known at their own time: {counted}.",
        )
        self.source = source
        self.until_ts: int | None = None
        self._lines = lines

    def closes(self, until_ts: int) -> dict[str, tuple[int, int]]:
        """Return first and last close of the symbols that come as bars, up to a time."""
        source = self.source
        return source.closes(until_ts) if isinstance(source, BarSource | Merged) else {}

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield the market's events and the values by time; see `until_ts` for those at its end."""
        waiting = deque(lines_from(self._lines, self.origin_ms))
        last = self.origin_ms
        for root in self.source.roots(watch):
            while waiting and waiting[0].ts <= root.ts:
                line = waiting.popleft()
                last = max(last, line.ts)
                yield Root(FeedValue(line.name, line.value, line.ts), last)
            last = max(last, root.ts)
            yield root
        while waiting and self.until_ts is not None and waiting[0].ts <= self.until_ts:
            line = waiting.popleft()
            last = max(last, line.ts)
            yield Root(FeedValue(line.name, line.value, line.ts), last)


def with_feeds(source: MarketSource, config: Config) -> MarketSource:
    """Return a market with the feeds of a profile; the market itself if none has to be added.

    Raises:
        ConfigError: A file is refused, or a recorded run lacks a feed of the profile.
    """
    feeds = config.market.feeds or {}
    if not feeds:
        return source
    runs = list(_runs_in(source))
    for run in runs:
        known = run.recorded.manifest.config["market"].get("feeds") or {}
        if missing := sorted(feeds.keys() - known.keys()):
            raise ConfigError(
                f"{run.name}: its night had no feed {', '.join(missing)}.",
                ["allowed: feeds that the run recorded, as their values are on record"],
            )
    return source if runs else Fed(source, lines_of(config))


def lines_of(config: Config) -> list[FeedLine]:
    """Return the values of a profile's feeds by time; none without feeds.

    Raises:
        ConfigError: A file is refused.
    """
    try:
        return feed_lines(config.market.feeds or {})
    except (OSError, ValueError) as error:
        raise ConfigError("market.feeds: a file cannot be used.", [str(error)]) from error


def _runs_in(source: MarketSource) -> Iterator[RunSource]:
    if isinstance(source, RunSource):
        yield source
    elif isinstance(source, Part):
        yield from _runs_in(source.source)
