"""Depth requests: size, priority, and the effect of a changed clock; no socket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from minibot.events.unit_sizes import NS_PER_MS
from minibot.exchanges.base import MALFORMED, REFUSED, SERVER, Candle, Diff, RestError, Snapshot
from minibot.exchanges.binance.limits import LIMITS, depth_weight
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.weight_budget import WeightBudget
from minibot.market.address import Address, NoMemory
from minibot.market.bars import Hole
from minibot.market.elapsed_clock import ElapsedClock
from minibot.market.feed import DATA, INVALID, Feed, HoleWanted
from minibot.market.feed_health import FeedHealth
from minibot.market.history import SETTLE_MS
from minibot.market.requests import Requests, is_refusal
from minibot.market.rest_scheduler import DEPTH, PREFERRED_DEPTH, Answer, Job
from minibot.market.skew import ClockSkew
from minibot.market.symbol import FeedConfig
from tests.market.market_desk import link_limits
from tests.market.test_market_rest_scheduler import StepClock

SYMBOLS = tuple(f"C{number:03d}USDT" for number in range(100))


MINUTE = 60_000


class Tray:
    """REST scheduler that keeps its jobs."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.budget = WeightBudget(50, LIMITS.weight_per_minute)

    def send(self, job: Job) -> None:
        self.jobs.append(job)

    def await_silence(self) -> None:
        """Wait for nothing: no answer of these tests asks for silence."""


def requests_of(tray: Tray, **options: Any) -> Requests:
    """Return requests for a hundred symbols that write twenty levels a side."""
    clock = StepClock()
    feed = Feed(
        FeedConfig(SYMBOLS, ("1m",), 0, book_levels=options.pop("book_levels", 20)),
        0,
        BINANCE.dialect,
    )
    return Requests(
        tray,  # type: ignore[arg-type]
        LIMITS,
        feed,
        FeedHealth(link_limits(), 0),
        Address(NoMemory(), 0, BINANCE.streams.limits),
        clock,
        ElapsedClock(clock, lambda: 0),
        ClockSkew(5_000),
        lambda answer: None,
        **options,
    )


@pytest.mark.row("C-82")
@pytest.mark.parametrize(("asks", "is_quiet"), [("3", True), ("3.1", False)])
def test_quiet_market_of_a_venue_without_update_numbers_is_known_by_its_touch(
    asks: str, is_quiet: bool
) -> None:
    """Best levels say that nothing has happened where no number does."""
    tray, verdicts = Tray(), list[bool]()
    requests = requests_of(tray)
    keeper = requests.feed.symbols[SYMBOLS[0]].depth.keeper
    keeper.on_snapshot(Snapshot(0, [["2", "1"]], [["3", "1"], ["4", "1"]], True))
    keeper.on_diff(Diff(SYMBOLS[0], 1, 9, [["1", "5"]], []))  # Its own count, not the venue's.

    requests.check_quiet(SYMBOLS[:1], verdicts.append)
    (job,) = tray.jobs
    told = Snapshot(0, [["2", "1"], ["1", "5"]], [[asks, "1"], ["4", "1"]], True)
    job.done(Answer(job, value=told))

    assert verdicts == [is_quiet]


@pytest.mark.row("S-46")
@pytest.mark.parametrize(
    ("count", "used", "levels"),
    [
        (1, 0, LIMITS.levels_deep),
        (30, 0, LIMITS.levels_deep),  # 1,500 is half of what a minute allows.
        (31, 0, 100),
        (100, 0, 100),
        (1, 2_900, LIMITS.levels_deep),
        (1, 2_901, 100),
    ],
)
def test_books_are_deep_while_the_budget_is_and_shallow_then(
    count: int, used: int, levels: int
) -> None:
    """Books are requested deep while the budget lasts, and shallow then."""
    tray = Tray()
    tray.budget.used = used
    requests = requests_of(tray)
    requests.snapshots(SYMBOLS[:count])

    assert len(tray.jobs) == count
    assert {job.weight for job in tray.jobs} == {depth_weight(levels)}


@pytest.mark.parametrize(
    ("book_levels", "levels"), [(20, 100), (21, 500), (200, 1000), (999, 5000)]
)
def test_shallow_books_hold_what_is_written_five_times_over(book_levels: int, levels: int) -> None:
    """A shallow book holds five times the written levels, so that moves do not exhaust it."""
    requests = requests_of(Tray(), book_levels=book_levels)

    assert requests.levels(1_000) == levels


@pytest.mark.row("S-46")
def test_books_of_what_is_held_or_preferred_come_first() -> None:
    """Books of held and preferred symbols are requested first."""
    tray = Tray()
    requests = requests_of(
        tray, preferred={SYMBOLS[7]}, held=lambda: frozenset({SYMBOLS[99], "GONEUSDT"})
    )
    requests.snapshots(SYMBOLS)

    ranks = [job.rank for job in tray.jobs]
    assert [number for number, rank in enumerate(ranks) if rank == PREFERRED_DEPTH] == [7, 99]
    assert ranks.count(DEPTH) == 98


@pytest.mark.row("S-46")
@pytest.mark.parametrize("skew_ms", [-500, 0, 500])
def test_minute_of_weight_is_the_venues(skew_ms: int) -> None:
    """A used-up minute ends by the venue's clock, and its count is never that of the next one."""
    tray = Tray()
    requests = requests_of(tray)
    job = requests.time(lambda answer: None)
    job.done(Answer(job, value=requests.clock.now_ms() + skew_ms))
    budget, ends = tray.budget, MINUTE - skew_ms
    minute = budget.begin(ends - 100, 2_400)
    budget.answered(ends - 50, 2_400, 2_400, minute)

    assert budget.wait_ms(ends - 10, 5, share_percent=80) == 10
    assert budget.wait_ms(ends, 5, share_percent=80) == 0


class MachineClock(StepClock):
    """Run clock that began with the machine's and runs with it."""

    def at_machine_ns(self, moment_ns: int) -> int:
        return moment_ns // NS_PER_MS


def told_time(requests: Requests, exchange_ms: int, sent_ms: int, received_ms: int) -> None:
    """Give the answer of the exchange's time to a request of this round trip."""
    job = requests.time(lambda answer: None)
    job.done(
        Answer(
            job, value=exchange_ms, sent_ns=sent_ms * NS_PER_MS, received_ns=received_ms * NS_PER_MS
        )
    )


@pytest.mark.row("F77")
@pytest.mark.parametrize(("exchange_ms", "skew_ms"), [(0, 0), (4_000, 0), (4_001, 2_001)])
def test_slow_answer_moves_the_clock_only_by_more_than_it_may_be_wrong(
    exchange_ms: int, skew_ms: int
) -> None:
    """The exchange wrote its time anywhere in the round trip, so half of that proves nothing."""
    tray = Tray()
    requests = requests_of(tray)
    requests.clock = MachineClock()
    told_time(requests, 0, 0, 0)
    told_time(requests, exchange_ms, 0, 4_000)

    assert (requests.feed.skew_ms, tray.budget.skew_ms) == (skew_ms, skew_ms)


@pytest.mark.row("F77")
def test_time_that_a_slow_first_answer_told_is_asked_for_again() -> None:
    """A first time that may be wrong by more than a bar waits is measured until it is better."""
    tray = Tray()
    requests = requests_of(tray)
    requests.clock = MachineClock()
    told_time(requests, 0, 0, 1_002)
    requests._measurements = 1
    requests.measure()
    requests._is_measuring = False
    assert tray.jobs[-1].path == LIMITS.time[0]
    assert requests.feed.skew_ms == -501
    told_time(requests, 2_000, 2_000, 2_000)
    requests.measure()

    assert tray.jobs[-1].path == LIMITS.ping[0]
    assert requests.feed.skew_ms == 0


PAUSED_MS = 90_000


def trade_ahead(requests: Requests, ahead_ms: int) -> str:
    """Show a trade so far ahead of the run's clock; return the kind of its frame."""
    trade = b'{"e":"trade","E":1,"s":"C000USDT","t":1,"p":"100","q":"1","T":%d,"m":true}'
    return requests.feed.on_frame(trade % ahead_ms, 0, 0)


@pytest.mark.row("F77", "F81")
def test_clock_of_the_exchange_is_measured_anew_as_soon_as_a_pause_is_over() -> None:
    """Until it is known, trades may be ahead by the pause; an answer from before says nothing."""
    moments = [100]
    tray = Tray()
    requests = requests_of(tray)
    requests.pace = ElapsedClock(requests.clock, lambda: moments[0])
    requests.feed.on_connected(0)
    requests.skew.take(0)
    requests.measure()
    requests.measure()
    (before,) = tray.jobs

    assert trade_ahead(requests, 60_000 + PAUSED_MS) == INVALID
    moments[0] = 200
    requests.on_pause(PAUSED_MS)
    requests.measure()
    _, after = tray.jobs
    before.done(Answer(before, value=0, sent_ns=199, received_ns=201))
    assert (requests.skew.is_awaited, requests.feed.skew_ms) == (True, 0)
    assert trade_ahead(requests, 60_000 + PAUSED_MS) == DATA
    assert trade_ahead(requests, 60_001 + PAUSED_MS) == INVALID

    after.done(Answer(after, value=PAUSED_MS, sent_ns=200, received_ns=202))
    assert (requests.skew.is_awaited, requests.feed.skew_ms) == (False, PAUSED_MS)
    assert trade_ahead(requests, 60_000 + PAUSED_MS) == DATA
    assert trade_ahead(requests, 60_001 + PAUSED_MS) == INVALID


@pytest.mark.row("F77")
def test_time_that_no_answer_told_is_asked_for_by_the_next_measurement() -> None:
    """While the clock is not known anew each measurement asks for the time."""
    tray = Tray()
    requests = requests_of(tray)
    requests.skew.take(0)
    requests.on_pause(PAUSED_MS)
    requests.on_pause(PAUSED_MS)
    for job in tray.jobs[1:]:
        job.done(Answer(job, error=RestError(SERVER, "no")))
    requests.measure()

    assert {job.path for job in tray.jobs} == {LIMITS.time[0]}
    assert requests.feed.paused_ms == 2 * PAUSED_MS


class Minutes:
    """REST client with a kline of each minute from `first` on, and the requests made of it."""

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.asked: list[tuple[int | None, int, int]] = []

    def candles(
        self, symbol: str, interval: str, *, start: int | None, end: int, limit: int
    ) -> list[Candle]:
        self.asked.append((start, end, limit))
        rows = range(max(start or 0, self.first), end + 1, MINUTE)
        kept = rows[-limit:] if start is None else rows[:limit]
        return [Candle(ts, ts + MINUTE - 1, "1", "1", "1", "1", "1", "1", 1, "1") for ts in kept]


@pytest.mark.parametrize(
    ("after_ms", "is_running", "minutes"),
    [(0, True, 1), (SETTLE_MS - 1, True, 1), (SETTLE_MS, True, 2), (0, False, 2)],
)
def test_history_ends_with_the_last_kline_that_cannot_change_any_more(
    after_ms: int, is_running: bool, minutes: int
) -> None:
    """A kline is final a moment after its end; while the clock stands nothing happens."""
    tray = Tray()
    requests = requests_of(tray)
    clock = StepClock()
    clock.ms, clock.is_running = 2 * MINUTE + after_ms, is_running
    requests.clock = clock
    job, rest = requests.history("C000USDT", "1m", 10, lambda answer: None), Minutes()
    job.call(rest)  # type: ignore[arg-type]

    assert rest.asked == [(None, minutes * MINUTE - 1, 10)]
    assert requests.settled_ts() // MINUTE == minutes


@pytest.mark.parametrize(
    ("first", "opened", "limits"),
    [(0, range(5, 12), [3, 3, 1]), (8, range(8, 12), [3, 3]), (12, (), [3])],
)
def test_history_longer_than_an_answer_is_asked_for_in_parts(
    first: int, opened: Sequence[int], limits: list[int]
) -> None:
    """A warm-up longer than an answer of the venue comes whole, or as far as its klines go."""
    requests, rest = requests_of(Tray()), Minutes(first * MINUTE)
    requests.limits = replace(LIMITS, candles_max=3)
    clock = StepClock()
    clock.ms, clock.is_running = 12 * MINUTE, False
    requests.clock = clock

    job = requests.history("C000USDT", "1m", 7, lambda answer: None)
    found = job.call(rest)  # type: ignore[arg-type]

    assert [candle.open_ts // MINUTE for candle in found] == [*opened]
    assert [limit for _, _, limit in rest.asked] == limits
    assert job.weight == 3 * LIMITS.candles.weight


def test_hole_longer_than_an_answer_is_asked_for_in_parts() -> None:
    """A hole longer than an answer of the venue is filled whole, part after part."""
    tray, rest = Tray(), Minutes()
    requests = requests_of(tray)
    requests.limits = replace(LIMITS, candles_max=3)

    requests.fill(HoleWanted("C000USDT", "1m", Hole(2 * MINUTE, 9 * MINUTE)))
    (job,) = tray.jobs
    found = job.call(rest)  # type: ignore[arg-type]

    assert [candle.open_ts // MINUTE for candle in found] == [2, 3, 4, 5, 6, 7, 8]
    assert [limit for _, _, limit in rest.asked] == [3, 3, 1]
    assert job.weight == 3 * LIMITS.candles.weight


@pytest.mark.parametrize(
    ("kind", "status", "refused"),
    [
        (REFUSED, 400, True),
        (REFUSED, 200, True),  # Rules that cannot be used, in an answer that came well.
        (MALFORMED, 200, False),
        (SERVER, 503, False),
        (SERVER, 403, False),
    ],
)
def test_refusal_is_told_by_its_kind(kind: str, status: int, refused: bool) -> None:
    """A refused request is not repeated, whatever the status of the answer that refuses it."""
    assert is_refusal(RestError(kind, "no", status=status)) is refused
