"""Closed bars of watched symbols, by REST: the scanner ranks them, but no stream follows them.

At each moment of a scan, which waits some seconds for them, every bar that has closed since is
requested once it is final. These requests go a few at a time and after all others, so that rules,
holes and books of traded symbols never wait for them. A new symbol gets its warm-up first. The bars
are closed klines, written as `bar` events like those of a warm-up: a replay reads them from the
journal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from minibot.events.intervals import INTERVAL_MS, WarmupBars, align, warmup_of
from minibot.events.model import Universe
from minibot.market.elapsed_clock import MarketClock, next_due
from minibot.market.feed import Feed
from minibot.market.history import closed_candles, history_bar
from minibot.market.requests import Requests
from minibot.market.rest_scheduler import WATCHED, Answer

# Requests under way at a time; each is for one symbol and interval.
AT_ONCE: Final = 4

Lane = tuple[str, str]
"""A symbol and an interval."""


@dataclass(frozen=True, slots=True)
class WatchedConfig:
    """Values of the profile for the bars of watched symbols.

    Attributes:
        intervals: The lengths of bars to request.
        every_ms: Time between two scans, whose moments are whole multiples of it, ms.
        warmup: The closed bars of a symbol that is new.
    """

    intervals: tuple[str, ...]
    every_ms: int
    warmup: WarmupBars


class WatchedBars:
    """Bars of the watched symbols of a session; all of it runs in the session's loop.

    Args:
        config: The profile's values; None requests nothing.
        feed: Writes the bars, and knows which symbols are followed.
        requests: Makes and sends the requests.
        universe: Returns the universe as it was written last; None before the first.
        clock: The run's.
    """

    def __init__(
        self,
        config: WatchedConfig | None,
        feed: Feed,
        requests: Requests,
        universe: Callable[[], Universe | None],
        clock: MarketClock,
    ) -> None:
        self._config = config
        self._feed = feed
        self._requests = requests
        self._universe = universe
        self._clock = clock
        self._due: int | None = None
        # Exchange time up to which bars are written; what waits to be asked for, in order.
        self._ends: dict[Lane, int] = {}
        self._waiting: dict[Lane, None] = {}
        self._asked: set[Lane] = set()
        self.written = 0

    def resume(self, ends: Mapping[Lane, int]) -> None:
        """Go on after a former process of the same run, which wrote bars up to these times.

        A symbol and interval without a time gets its warm-up again.
        """
        self._ends.update(ends)

    def on_clock(self) -> None:
        """Look for closed bars when that is due, and send requests that may go."""
        config = self._config
        if config is None:
            return
        settled_ts = self._requests.settled_ts()
        if (self._due is None or settled_ts >= self._due) and self._is_settled(config):
            self._due = next_due(0, settled_ts, config.every_ms)
            self._look(config)
        self._send()

    def _is_settled(self, config: WatchedConfig) -> bool:
        """Return whether every bar that has ended is final, so that a look misses none."""
        exchange_ts, settled_ts = self._requests.exchange_ts(), self._requests.settled_ts()
        lengths = [INTERVAL_MS[interval] for interval in config.intervals]
        return all(align(exchange_ts, ms) == align(settled_ts, ms) for ms in lengths)

    def _look(self, config: WatchedConfig) -> None:
        lanes = [(name, interval) for name in self._names() for interval in config.intervals]
        # A symbol that left, or is followed now, starts afresh if it comes back.
        kept = set(lanes)
        self._ends = {lane: end for lane, end in self._ends.items() if lane in kept}
        self._waiting = dict.fromkeys(lane for lane in lanes if self._missing(lane))

    def _names(self) -> list[str]:
        """Return the watched symbols by name, without those that are followed on streams."""
        universe = self._universe()
        watched = () if universe is None else universe.watched
        return [name for name in sorted(watched) if name not in self._feed.symbols]

    def _missing(self, lane: Lane) -> int:
        """Return how many closed bars of a symbol and interval are not written."""
        config, end = self._config, self._ends.get(lane)
        if config is None:
            return 0
        if end is None:
            return warmup_of(config.warmup, lane[1])
        length_ms = INTERVAL_MS[lane[1]]
        return max(0, (align(self._requests.settled_ts(), length_ms) - end) // length_ms)

    def _send(self) -> None:
        while self._waiting and len(self._asked) < AT_ONCE:
            lane = next(iter(self._waiting))
            del self._waiting[lane]
            count = self._missing(lane)
            if not count or lane in self._asked:
                continue
            self._asked.add(lane)
            job = self._requests.history(*lane, count, partial(self._take, lane, count))
            self._requests.courier.send(replace(job, rank=WATCHED))

    def _take(self, lane: Lane, count: int, answer: Answer) -> None:
        """Write the bars of an answer; one without any is asked for again at the next scan.

        An answer of a symbol that is traded meanwhile is dropped: its own warm-up comes whole. So
        is one of fewer bars than the warm-up that a symbol needs which left since, and is back.
        """
        self._asked.discard(lane)
        symbol, interval = lane
        if answer.error is not None or answer.is_skipped or symbol not in self._names():
            return
        if lane not in self._ends and count < self._missing(lane):
            return
        now_ms, end = self._clock.now_ms(), self._ends.get(lane, 0)
        settled_ts = self._requests.settled_ts()
        for candle in closed_candles(
            list(answer.value), interval, settled_ts=settled_ts, count=count
        ):
            if candle.open_ts < end:
                continue
            self._feed.write(history_bar(symbol, interval, candle), now_ms)
            self._ends[lane] = candle.open_ts + INTERVAL_MS[interval]
            self.written += 1
