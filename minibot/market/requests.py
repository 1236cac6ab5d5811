"""REST jobs of the market role, and the handling of their answers.

Jobs made here: measurements (ping, sometimes the time), rules, klines of history and holes, and
books. Listings and volumes of a universe are requested by `market.reference_refresh`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from minibot.events.intervals import INTERVAL_MS, align
from minibot.events.model import Instrument
from minibot.events.reasons import RATE_LIMITED as RATE_LIMITED_NOTICE
from minibot.exchanges.base import (
    BANNED,
    RATE_LIMITED,
    REFUSED,
    Book,
    Candle,
    Rest,
    RestError,
    Snapshot,
)
from minibot.exchanges.venue_facts import Limits
from minibot.market.address import Address
from minibot.market.elapsed_clock import ElapsedClock, MarketClock
from minibot.market.feed import Feed, HoleWanted
from minibot.market.feed_health import FeedHealth
from minibot.market.history import SETTLE_MS
from minibot.market.notices import (
    BANNED as BANNED_NOTICE,
)
from minibot.market.notices import (
    CLOCK_SKEW,
    REST_ERRORS,
    REST_RECOVERED,
)
from minibot.market.rest_scheduler import (
    DEPTH,
    MEASUREMENT,
    PREFERRED_DEPTH,
    Answer,
    Job,
    RestScheduler,
)
from minibot.market.skew import ClockSkew

# One measurement in this many requests the time: clocks drift slowly.
TIME_EVERY: Final = 6
# A `book` event's levels have to stay inside the snapshot while the market moves.
EDGE_MARGIN: Final = 5
# The update id alone is wanted, at the lowest weight.
TOUCH_LEVELS: Final = 5
MINUTE: Final = "1m"


@dataclass(slots=True)
class Requests:
    """Maker of REST jobs, and receiver of their answers in the loop of the role.

    Books of `preferred` symbols are requested first: those named in the profile, and all held ones.
    """

    courier: RestScheduler
    limits: Limits
    feed: Feed
    link: FeedHealth
    address: Address
    clock: MarketClock
    pace: ElapsedClock
    skew: ClockSkew
    on_measured: Callable[[Answer], None]
    preferred: set[str] = field(default_factory=set)
    held: Callable[[], frozenset[str]] = frozenset
    errors_in_row: int = 0
    weight_used: int = 0
    throttled: int = 0
    snapshots_under_way: int = 0
    _measurements: int = 0
    _is_measuring: bool = False
    _resumed_ns: int = 0

    # --- what every answer tells --------------------------------------------------------------

    def note(self, answer: Answer, now_ms: int) -> None:
        """Note an answer's status, weight and request for silence.

        A run waits for the end of a 429, however long it lasts. A start ends where a ban, or the
        429 of an earlier process, outlasts the time for starting.

        Raises:
            FeedLost: EXCHANGE_BANNED; the ban, a 418, is too long.
        """
        self.weight_used = answer.weight_used or self.weight_used
        error, board = answer.error, self.feed.board
        if error is None:
            if self.errors_in_row and not answer.is_skipped:
                board.add(now_ms, REST_RECOVERED, f"after {self.errors_in_row} errors")
                self.errors_in_row = 0
            return
        self.errors_in_row += 1
        self.throttled += is_throttle(error)
        if error.kind == RATE_LIMITED:
            board.add(now_ms, RATE_LIMITED_NOTICE, str(error), until_ms=answer.silent_until_ms)
            self.address.on_silence(answer.silent_until_ms, is_ban=False)
        elif error.kind == BANNED:
            board.add(now_ms, BANNED_NOTICE, str(error), until_ms=answer.silent_until_ms)
            self.address.on_silence(answer.silent_until_ms, is_ban=True)
            self.link.on_banned(answer.silent_ms, str(error))
        else:
            board.add(now_ms, REST_ERRORS, f"{self.errors_in_row} in a row: {error}")

    # --- measurements -------------------------------------------------------------------------

    def measure(self) -> None:
        """Measure the round trip; no effect while a measurement is under way."""
        if self._is_measuring:
            return
        self._is_measuring = True
        skew = self.skew
        is_wanted = skew.is_awaited or skew.is_far or self.is_time_unsure
        ask_time = is_wanted or self._measurements % TIME_EVERY == 0
        self._measurements += 1
        self.courier.send(self.time(self._measured) if ask_time else self.ping(self._measured))

    @property
    def is_time_unsure(self) -> bool:
        """Return whether the exchange's clock may be wrong by more than a bar waits for trades."""
        return self.skew.unsure_ms > self.feed.config.grace_ms

    def on_pause(self, paused_ms: int) -> None:
        """Measure the exchange's clock again: the run's may have stood still with this process.

        Until it is known, a trade may be ahead by the pause.
        """
        self.skew.expect_jump()
        self.feed.paused_ms += paused_ms
        self._resumed_ns = self.pace.machine_ns()
        self._is_measuring = False  # An answer from before the pause tells nothing.
        self.measure()

    def _measured(self, answer: Answer) -> None:
        self._is_measuring = False
        if answer.is_skipped:
            return
        self.on_measured(answer)

    def ping(self, done: Callable[[Answer], None]) -> Job:
        """Return the job that measures the round trip."""
        return Job(*self.limits.ping, lambda rest: rest.ping(), done, MEASUREMENT)

    def time(self, done: Callable[[Answer], None]) -> Job:
        """Return the job that measures how far the exchange's clock is ahead of the run's."""

        def take(answer: Answer) -> None:
            if answer.error is None and not answer.is_skipped:
                self._take_time(answer)
            done(answer)

        return Job(*self.limits.time, lambda rest: rest.server_time(), take, MEASUREMENT)

    def _take_time(self, answer: Answer) -> None:
        if answer.sent_ns < self._resumed_ns:
            return
        at_machine_ns = self.clock.at_machine_ns
        middle_ms = at_machine_ns((answer.sent_ns + answer.received_ns) // 2)
        took_ms = at_machine_ns(answer.received_ns) - at_machine_ns(answer.sent_ns)
        incident = self.skew.take(answer.value - middle_ms, unsure_ms=(took_ms + 1) // 2)
        if incident:
            self.feed.board.add(self.clock.now_ms(), CLOCK_SKEW, incident)
        self.feed.skew_ms = self.courier.budget.skew_ms = self.skew.ms
        if not self.skew.is_awaited:
            self.feed.paused_ms = 0

    # --- rules, klines, depth -----------------------------------------------------------------

    def instruments(self, done: Callable[[Answer], None]) -> Job:
        """Return the job that requests the rules of all followed symbols."""
        return self.instruments_of(tuple(self.feed.symbols), done)

    def instruments_of(self, symbols: Sequence[str], done: Callable[[Answer], None]) -> Job:
        """Return the job that asks for the rules of the given symbols, some at a time."""
        parts = [
            symbols[start : start + self.limits.instruments_max]
            for start in range(0, len(symbols), self.limits.instruments_max)
        ]

        def call(rest: Rest) -> list[Instrument]:
            found: list[Instrument] = []
            for number, part in enumerate(parts):
                if number:
                    self.courier.await_silence()
                found += rest.instruments(part)
            return found

        path, weight = self.limits.instruments
        return Job(path, weight * len(parts), call, done)

    def exchange_ts(self) -> int:
        """Return the time of the exchange's clock, Unix ms."""
        return self.clock.now_ms() + self.feed.skew_ms

    def settled_ts(self) -> int:
        """Return the exchange time up to which klines are final, Unix ms.

        A market whose clock stands has nothing that could still change.
        """
        return self.exchange_ts() - (SETTLE_MS if self.clock.is_running else 0)

    def history(self, symbol: str, interval: str, bars: int, done: Callable[[Answer], None]) -> Job:
        """Return the job that asks for the newest final klines, an answer's worth at a time."""
        end, most = align(self.settled_ts(), INTERVAL_MS[interval]) - 1, self.limits.candles_max

        def call(rest: Rest) -> list[Candle]:
            found: list[Candle] = []
            until, limit = end, min(bars, most)
            while limit > 0:
                if found:
                    self.courier.await_silence()
                part = rest.candles(symbol, interval, start=None, end=until, limit=limit)
                found = part + found
                if len(part) < limit:
                    break
                until, limit = part[0].open_ts - 1, min(bars - len(found), most)
            return found

        path, weight = self.limits.candles
        return Job(path, weight * -(-bars // most), call, done)

    def ask_trades(self, symbol: str, done: Callable[[Answer], None]) -> None:
        """Request the newest closed minute of a symbol, to see whether it traded."""
        job = self.history(symbol, MINUTE, 1, done)
        self.courier.send(job)

    def fill(self, wanted: HoleWanted) -> None:
        """Request the klines of a hole, an answer's worth at a time."""
        hole, most = wanted.hole, self.limits.candles_max
        length = INTERVAL_MS[wanted.interval]
        starts = range(hole.from_ts, hole.to_ts, most * length)

        def call(rest: Rest) -> list[Candle]:
            found: list[Candle] = []
            for start in starts:
                end = min(start + most * length, hole.to_ts)
                limit = (end - start) // length
                if start > hole.from_ts:
                    self.courier.await_silence()
                found += rest.candles(
                    wanted.symbol, wanted.interval, start=start, end=end - 1, limit=limit
                )
            return found

        def done(answer: Answer) -> None:
            candles = answer.value if answer.error is None else None
            self.feed.on_candles(wanted, candles, self.clock.now_ms())

        path, weight = self.limits.candles
        self.courier.send(Job(path, weight * len(starts), call, done))

    def levels(self, count: int) -> int:
        """Return the depth to request for `count` snapshots at once.

        Deep snapshots stay usable for longer while a market moves, but a hundred of them would use
        up the budget of minutes. So they have `levels_deep` levels while all snapshots under way
        fit into half of this minute's remaining weight, and otherwise the first depth that holds
        `EDGE_MARGIN` times the levels of a `book` event. A book that nears its edge is refreshed
        later, on its own.
        """
        deep = self.limits.levels_deep
        weight = (self.snapshots_under_way + count) * self.limits.snapshot(deep).weight
        left = self.courier.budget.left(self.pace.now_ms())
        if 2 * weight <= left:
            return deep
        needed = EDGE_MARGIN * self.feed.config.book_levels
        tiers = self.limits.snapshot_levels
        return next((tier for tier in tiers if needed <= tier), tiers[-1])

    def snapshots(self, symbols: Sequence[str]) -> None:
        """Request the depth of symbols; `snapshots_under_way` counts each until its answer."""
        if not symbols:
            return
        levels, first = self.levels(len(symbols)), self.preferred | self.held()
        for symbol in symbols:
            rank = PREFERRED_DEPTH if symbol in first else DEPTH
            self._snapshot(symbol, levels, rank)

    def _snapshot(self, symbol: str, levels: int, rank: int) -> None:
        self.snapshots_under_way += 1

        def take(answer: Answer) -> None:
            self.snapshots_under_way -= 1
            now_ms = self.clock.now_ms()
            if symbol not in self.feed.symbols:
                return  # It was unfollowed meanwhile.
            if answer.error is None:
                self.feed.on_snapshot(symbol, answer.value, now_ms)
            else:
                self.feed.on_snapshot_failed(symbol, now_ms, str(answer.error))

        self.courier.send(
            Job(
                *self.limits.snapshot(levels),
                lambda rest: rest.snapshot(symbol, levels),
                take,
                rank,
            )
        )

    def check_quiet(self, symbols: Sequence[str], done: Callable[[bool], None]) -> None:
        """Find out whether streams are silent because the market is quiet.

        `done` gets True when the venue's book of every symbol has the same update id as ours, or
        the same best levels where it has none, so that nothing was missed. In any doubt it gets
        False.
        """
        feeds = self.feed.symbols
        books = {name: feeds[name].depth.keeper.book for name in symbols if name in feeds}
        verdicts: list[bool] = []

        def take(answer: Answer, book: Book) -> None:
            snapshot = answer.value
            verdicts.append(isinstance(snapshot, Snapshot) and _is_as_of(snapshot, book))
            if len(verdicts) == len(books):
                done(all(verdicts))

        known = {name: book for name, book in books.items() if book is not None}
        if not known or len(known) < len(symbols):
            done(False)
            return
        for name, book in known.items():
            self.courier.send(self._touch(name, partial(take, book=book)))

    def _touch(self, symbol: str, done: Callable[[Answer], None]) -> Job:
        return Job(
            *self.limits.snapshot(TOUCH_LEVELS),
            lambda rest: rest.snapshot(symbol, TOUCH_LEVELS),
            done,
            MEASUREMENT,
        )

    def send_wanted(self, now_ms: int) -> None:
        """Request every snapshot and kline that the feed wants now."""
        self.snapshots(self.feed.snapshots_wanted(now_ms))
        for wanted in self.feed.holes_wanted(now_ms):
            self.fill(wanted)


def _is_as_of(snapshot: Snapshot, book: Book) -> bool:
    """Return whether a book of few levels is the one that is kept."""
    if snapshot.last_update_id:
        return snapshot.last_update_id == book.book_id
    sides = ((snapshot.bids, book.bids), (snapshot.asks, book.asks))
    return all(
        rows[:TOUCH_LEVELS] == [[*level] for level in kept.top(TOUCH_LEVELS)]
        for rows, kept in sides
    )


def is_refusal(error: RestError | None) -> bool:
    """Return whether the venue understood the request and refused it: a retry is useless."""
    return error is not None and error.kind == REFUSED


def is_throttle(error: RestError | None) -> bool:
    """Return whether the venue wants silence for a while: it works."""
    return error is not None and error.kind in (RATE_LIMITED, BANNED)
