"""Portfolio of sources as one market: merged by time, one clock, ties in the order given.

Rules at its origin come before all other events there, as in a night, so that a strategy knows
every symbol from the first bar of history on.

Beats of several sources at the same time become one: the beat of the first of these sources, in the
order given, with new data ages for its symbols. All other symbols keep the ages of their previous
beat, even if their own source beats at that time too.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from minibot.backtest.sources.bars import BarSource
from minibot.engine.market_source import NOBODY, MarketSource, Root, Watch
from minibot.events.model import Beat, Instrument
from minibot.kernel.errors import ConfigError


class Merged:
    """A portfolio of sources: from the earliest origin to the latest end, if all ends are known.

    Raises:
        ConfigError: Two sources have the same symbol.
    """

    def __init__(self, sources: Sequence[MarketSource]) -> None:
        self.sources = tuple(sources)
        symbols = [symbol for source in sources for symbol in source.symbols]
        twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
        if twice:
            raise ConfigError(
                f"--source: {', '.join(twice)} comes from two sources.",
                ["allowed: each symbol once; join files of one symbol with `minibot data convert`"],
            )
        self.name = ", ".join(source.name for source in sources)
        self.symbols = tuple(symbols)
        self.origin_ms = min(source.origin_ms for source in sources)
        ends = [source.end_ms for source in sources]
        self.end_ms = None if None in ends else max(end for end in ends if end is not None)
        self.interval_ms = min(source.interval_ms for source in sources)
        self.assumptions = tuple(text for source in sources for text in source.assumptions)

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield the events of all sources in order of time."""
        ages: dict[str, int] = {}
        beat_ts = -1
        streams = (source.roots(watch) for source in self.sources)
        for root in heapq.merge(*streams, key=self._place):
            payload = root.payload
            if not isinstance(payload, Beat):
                yield root
                continue
            ages.update(payload.data_age_ms)
            if root.ts > beat_ts:
                beat_ts = root.ts
                yield Root(Beat((root.ts - self.origin_ms) // 1000, dict(ages)), root.ts)

    def closes(self, until_ts: int) -> dict[str, tuple[int, int]]:
        """Return first and last close of the symbols that come as bars (`BarSource.closes`)."""
        return {
            symbol: closes
            for source in self.sources
            if isinstance(source, BarSource)
            for symbol, closes in source.closes(until_ts).items()
        }

    def _place(self, root: Root) -> tuple[int, bool]:
        return root.ts, root.ts == self.origin_ms and is_behind_rules(root)


def is_behind_rules(root: Root) -> bool:
    """Return whether an event waits for the rules of all symbols if it comes at the same time."""
    return not isinstance(root.payload, Instrument)
