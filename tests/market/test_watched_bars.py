"""Bars of watched symbols: what is requested, when, behind what, and written once; no socket."""

from __future__ import annotations

import pytest

from minibot.events.intervals import WarmupBars
from minibot.events.model import Bar, Universe
from minibot.exchanges.base import Candle, RestError
from minibot.exchanges.binance.limits import LIMITS
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.weight_budget import WeightBudget
from minibot.market.address import Address, NoMemory
from minibot.market.elapsed_clock import ElapsedClock
from minibot.market.feed import Feed
from minibot.market.feed_health import FeedHealth
from minibot.market.history import SETTLE_MS
from minibot.market.requests import Requests
from minibot.market.rest_scheduler import DEPTH, WATCHED, Answer, Job
from minibot.market.settings import watched_config
from minibot.market.skew import ClockSkew
from minibot.market.symbol import FeedConfig
from minibot.market.watched_bars import AT_ONCE, WatchedBars, WatchedConfig
from minibot.runtime.configuration.config import load_config
from tests.market.market_desk import link_limits
from tests.risk.desk import PROJECT

MINUTE = 60_000
START = 1_699_999_800_000  # A whole pace of five minutes.
TRADED = "BTCUSDT"


class Venue:
    """REST scheduler that keeps its jobs, a clock, and klines of every minute."""

    is_running = True

    def __init__(self) -> None:
        self.ms = START
        self.jobs: list[Job] = []
        self.asked: list[tuple[str, str, int]] = []
        self.budget = WeightBudget(50, LIMITS.weight_per_minute)
        self.newest_ms = 0
        self.settle_ms = 0

    def now_ms(self) -> int:
        return self.ms

    def at_machine_ns(self, moment_ns: int) -> int:
        return self.ms

    def machine_s(self, market_ms: int) -> float:
        return 0.0

    def send(self, job: Job) -> None:
        self.jobs.append(job)

    def candles(
        self, symbol: str, interval: str, *, start: int | None, end: int, limit: int
    ) -> list[Candle]:
        """Return the newest minutes up to `end`, and the one that is still open.

        A minute has all its trades, two, only `settle_ms` after its end.
        """
        self.asked.append((symbol, interval, limit))
        last = end // MINUTE * MINUTE
        opens = [last - place * MINUTE for place in reversed(range(limit))] + [last + MINUTE]
        return [
            Candle(ts, ts + MINUTE - 1, "1", "1", "1", "1", "1", "1", self.trades(ts), "1")
            for ts in opens
            if not self.newest_ms or ts <= self.newest_ms
        ]

    def trades(self, open_ts: int) -> int:
        return 1 + (self.ms >= open_ts + MINUTE + self.settle_ms)

    def answer(self, error: RestError | None = None) -> None:
        """Answer all jobs that were sent, and those that they lead to."""
        while self.jobs:
            job = self.jobs.pop(0)
            value = None if error else job.call(self)  # type: ignore[arg-type]
            job.done(Answer(job, value=value, error=error))


class Watch:
    """Bars of watched symbols with everything around them."""

    def __init__(self, *watched: str, warmup: WarmupBars = 3, is_on: bool = True) -> None:
        self.venue = Venue()
        self.feed = Feed(FeedConfig((TRADED,), ("1m",), START), START, BINANCE.dialect)
        requests = Requests(
            self.venue,  # type: ignore[arg-type]
            LIMITS,
            self.feed,
            FeedHealth(link_limits(), 0),
            Address(NoMemory(), 0, BINANCE.streams.limits),
            self.venue,
            ElapsedClock(self.venue, lambda: 0),
            ClockSkew(5_000),
            lambda answer: None,
        )
        self.universe: Universe | None = None
        self.name(*watched)
        config = WatchedConfig(("1m",), 5 * MINUTE, warmup) if is_on else None
        self.bars = WatchedBars(config, self.feed, requests, lambda: self.universe, self.venue)

    def name(self, *watched: str) -> None:
        """Let the universe watch these symbols."""
        self.universe = Universe("dynamic", "USDT", (TRADED,), watched, (), (), {}, {}, 1)

    def at(self, minutes: float, *, error: RestError | None = None) -> list[tuple[str, int]]:
        """Move to a time after the first look; return symbol and open time of the bars written."""
        return self.at_ms(int(minutes * MINUTE) + SETTLE_MS, error=error)

    def at_ms(self, ms: int, *, error: RestError | None = None) -> list[tuple[str, int]]:
        """Move to a time after the start; return symbol and open time of the bars written."""
        self.venue.ms = START + ms
        self.bars.on_clock()
        while self.venue.jobs:
            self.venue.answer(error)
            self.bars.on_clock()
        said = [payload for payload, _ in self.feed.take() if isinstance(payload, Bar)]
        assert all(bar.is_history and bar.interval == "1m" and bar.trades == 2 for bar in said)
        return [(bar.symbol, (bar.open_ts - START) // MINUTE) for bar in said]


def test_new_symbol_has_its_warm_up_and_then_what_closed_at_each_pace() -> None:
    """Three closed minutes first; five minutes later the five since, each once; nothing between."""
    watch = Watch("ETHUSDT")

    assert watch.at(0) == [("ETHUSDT", place) for place in (-3, -2, -1)]
    assert watch.at(4.9) == []
    assert watch.at(5) == [("ETHUSDT", place) for place in range(5)]
    assert watch.at(5.5) == []
    assert watch.at(17) == [("ETHUSDT", place) for place in range(5, 17)]
    assert watch.venue.asked == [("ETHUSDT", "1m", limit) for limit in (3, 5, 12)]


def test_look_after_the_first_is_at_the_moment_of_a_scan() -> None:
    """A run that starts between two scans has the bars of both, not those of its own minutes."""
    watch = Watch("ETHUSDT")

    assert watch.at(2) == [("ETHUSDT", place) for place in (-1, 0, 1)]
    assert watch.at(5) == [("ETHUSDT", place) for place in (2, 3, 4)]
    assert watch.at(7) == []
    assert watch.at(10) == [("ETHUSDT", place) for place in range(5, 10)]


def test_bar_is_requested_only_once_its_kline_is_final() -> None:
    """A look shortly after a minute's end waits for that minute, by the exchange's clock."""
    watch = Watch("ETHUSDT")
    watch.venue.settle_ms = 400
    assert watch.at_ms(200) == watch.at_ms(SETTLE_MS - 1) == []
    assert watch.at_ms(SETTLE_MS) == [("ETHUSDT", place) for place in (-3, -2, -1)]
    watch.feed.skew_ms = -300
    watch.venue.settle_ms = 700  # By our clock.

    assert watch.at(5) == []
    assert watch.at_ms(5 * MINUTE + SETTLE_MS + 300) == [("ETHUSDT", place) for place in range(5)]


def test_warm_up_by_interval_counts_here_too() -> None:
    """A table of the warm-up gives the bars of the interval that is read."""
    assert len(Watch("ETHUSDT", warmup={"1m": 7, "4h": 1}).at(0)) == 7


def test_failed_or_late_answer_is_asked_for_again_at_the_next_pace() -> None:
    """An error, and klines that the venue's cache does not have yet, leave no hole behind."""
    watch = Watch("ETHUSDT")
    watch.at(0)
    failed = watch.at(5, error=RestError("unavailable", "x", status=503))
    watch.venue.newest_ms = START + 7 * MINUTE
    late = watch.at(10)
    watch.venue.newest_ms = 0

    assert failed == []
    assert late == [("ETHUSDT", place) for place in range(8)]
    assert watch.at(15) == [("ETHUSDT", place) for place in range(8, 15)]


def test_requests_go_a_few_at_a_time_and_behind_all_others() -> None:
    """Four of fifty symbols are under way; their rank lies below that of books."""
    names = [f"C{number:02d}USDT" for number in range(50)]
    watch = Watch(*names)
    watch.venue.ms = START + SETTLE_MS
    watch.bars.on_clock()

    assert len(watch.venue.jobs) == AT_ONCE
    assert {job.rank for job in watch.venue.jobs} == {WATCHED}
    assert WATCHED > DEPTH
    watch.bars.on_clock()
    assert len(watch.venue.jobs) == AT_ONCE
    assert {symbol for symbol, _ in watch.at(0)} == set(names)
    assert sorted(watch.venue.asked) == [(name, "1m", 3) for name in names]


def test_symbol_that_is_followed_is_left_to_its_streams() -> None:
    """A followed symbol is not asked for; an answer that comes too late is dropped."""
    watch = Watch("ETHUSDT", "SOLUSDT")
    watch.feed.follow("SOLUSDT", START)
    first = watch.at(0)
    watch.venue.ms = START + 5 * MINUTE + SETTLE_MS
    watch.bars.on_clock()
    watch.name("SOLUSDT")  # ETHUSDT is traded from now on, before its rules have come.
    dropped = watch.at(5)
    watch.name("ETHUSDT", "SOLUSDT")

    assert first == [("ETHUSDT", place) for place in (-3, -2, -1)]
    assert dropped == []
    assert watch.at(10) == [("ETHUSDT", place) for place in range(10)]


def test_symbol_that_comes_back_has_its_warm_up_again() -> None:
    """Missed bars come with a new warm-up: cores leave out what they know."""
    watch = Watch("ETHUSDT")
    watch.at(0)
    watch.name()
    away = watch.at(5)
    watch.name("ETHUSDT")

    assert away == []
    assert watch.at(100) == [("ETHUSDT", place) for place in (97, 98, 99)]


def test_request_from_before_a_symbol_left_is_no_warm_up_when_it_is_back() -> None:
    """An answer that a ban held up over the symbol's absence brings less than its warm-up."""
    watch = Watch("ETHUSDT", warmup=9)
    watch.at(0)
    for minutes, names in ((5, ["ETHUSDT"]), (10, []), (15, ["ETHUSDT"])):
        watch.name(*names)
        watch.venue.ms = START + minutes * MINUTE + SETTLE_MS
        watch.bars.on_clock()  # The request of the fifth minute waits.

    assert watch.at(16) == []
    assert watch.at(20) == [("ETHUSDT", place) for place in range(11, 20)]


def test_restarted_process_goes_on_behind_the_last_bar_written() -> None:
    """A process after another of the same run writes no bar a second time, and misses none."""
    watch = Watch("ETHUSDT")
    watch.bars.resume({("ETHUSDT", "1m"): START - 10 * MINUTE, (TRADED, "1m"): START})

    assert watch.at(0) == [("ETHUSDT", place) for place in range(-10, 0)]


def test_nothing_is_requested_without_the_key_or_a_universe() -> None:
    """A profile without `scanner.watched_bars`, and a run before its universe, request nothing."""
    off, early = Watch("ETHUSDT", is_on=False), Watch("ETHUSDT")
    early.universe = None

    assert (off.at(0), early.at(0)) == ([], [])
    assert off.venue.asked == early.venue.asked == []


DYNAMIC = (
    'universe={"mode": "dynamic", "bases": "all", "exclude": [], "quote_volume_min": "1", '
    '"traded_max": 2, "interval_market_ms": 60000}'
)


@pytest.mark.parametrize(
    ("section", "found"),
    [
        ('{"bar_interval": "1m", "watched_bars": true}', WatchedConfig(("1m",), 300_000, 60)),
        (
            '{"bar_interval": "1s", "watched_bars": true, "every_market_ms": 60000}',
            WatchedConfig(("1s",), 60_000, 60),
        ),
        ('{"bar_interval": "1m"}', None),
    ],
)
def test_profile_gives_the_bars_that_the_scanner_reads(
    section: str, found: WatchedConfig | None
) -> None:
    """The scanner's own bars at its own pace; bars that the profile does not build are left out."""
    config = load_config(PROJECT / "config" / "nore-demo.v1.json", [f"scanner={section}", DYNAMIC])
    longer = 'market.bar_intervals=["1s","1m","4h"]'
    with_regime = load_config(
        PROJECT / "config" / "nore-demo.v1.json", [f"scanner={section}", DYNAMIC, longer]
    )

    assert watched_config(config) == found
    if found is not None:
        wanted = WatchedConfig((*found.intervals, "4h"), found.every_ms, found.warmup)
        assert watched_config(with_regime) == wanted
