"""Start of the market role: reach the venue, learn the rules, load history, subscribe.

In this order: ping, time, rules of the symbols (or listings and volumes, from which a dynamic
universe chooses them), closed klines of every interval, streams, depth. A simulated clock stands
still meanwhile, so every limit here is machine time.

A refusal of the venue, such as of an unknown symbol, ends the run at once. After a restart, symbols
that are no longer listed are left out instead, as long as any is left; an interval whose klines are
refused has no history. Other failures are retried with backoff until the time for starting is over;
a book that is missing then, or after five seconds, is requested again later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NoReturn

from minibot.accounting.order_rules import TRADING
from minibot.events.intervals import INTERVAL_MS, warmup_of
from minibot.events.model import Instrument
from minibot.events.names import MARKET_ROLE
from minibot.events.reasons import (
    CONFIG_INVALID,
    EXCHANGE_BANNED,
    EXCHANGE_UNREACHABLE,
    RATE_LIMITED,
)
from minibot.events.unit_sizes import NS_PER_MS, NS_PER_S
from minibot.kernel.errors import FeedLost, RunStop
from minibot.market.backoff import Backoff, Wait
from minibot.market.history import closed_candles
from minibot.market.notices import BANNED, BARS_MISSING, REST_RETRY, SYMBOL_DELISTED
from minibot.market.requests import is_refusal
from minibot.market.rest_scheduler import Answer, Job
from minibot.market.session import Session
from minibot.market.universe import static_universe

# The launcher gives a role 60 s to start; the rest is for reporting why it failed.
OPENING_S_MAX: Final = 45.0
DEPTH_S_MAX: Final = 5.0
PUMP_S: Final = 0.1
RESTRICTED: Final = 451
HISTORY_AT_ONCE: Final = 8


class Opening:
    """Runs a session up to the point where it is ready."""

    def __init__(self, session: Session, *, is_restart: bool = False) -> None:
        self._session = session
        self._is_restart = is_restart
        self._deadline_ns = self._in(OPENING_S_MAX)
        self._still_ms = session.world.still_ms()
        limits = session.config.link
        self._backoff = Backoff(limits.seed, limits.backoff_min_ms, limits.backoff_max_ms)
        self._last_error = "no answer"

    def _in(self, seconds: float) -> int:
        return self._session.world.machine_ns() + int(seconds * NS_PER_S)

    def run(self) -> int | None:
        """Open the session; return an exit code when the role has to end before it is ready.

        Raises:
            FeedLost: EXCHANGE_UNREACHABLE, no start in time or a refused location;
                EXCHANGE_BANNED, a ban or silence outlasts the time for starting.
            RunStop: CONFIG_INVALID, a symbol is refused or not open for trading, or none passes;
                CLOCK_JUMP, the clocks are an hour apart.
        """
        session = self._session
        session.health()
        session.courier.start()
        try:
            self._heed_silence()
            self._reach()
            self._choose()
            self._take_history()
            self._subscribe()
            self._take_depth()
        except _Ended as ended:
            return ended.code
        session.write()
        session.world.ready()
        return None

    # --- steps --------------------------------------------------------------------------------

    def _heed_silence(self) -> None:
        """Report a silence that the venue asked of an earlier process; requests wait for its end.

        Raises:
            FeedLost: EXCHANGE_BANNED; it lasts longer than a start may take, be it a ban or not.
        """
        session, address = self._session, self._session.address
        now_ms = session.pace.now_ms()
        left_ms = address.silent_until_ms - now_ms
        if left_ms <= 0:
            return
        what = "banned" if address.is_banned else "told to send no requests"
        detail = f"this address was {what} until {address.silent_until_ms}, {left_ms} ms from now"
        kind = BANNED if address.is_banned else RATE_LIMITED
        session.feed.board.add(now_ms, kind, detail, until_ms=address.silent_until_ms)
        if session.pace.machine_s(left_ms) > OPENING_S_MAX:
            session.write()
            raise _banned(detail)
        self._last_error = detail

    def _heed_ban(self) -> None:
        """End a start that a ban outlasts, before it waits for an answer in vain.

        Raises:
            FeedLost: EXCHANGE_BANNED.
        """
        session, address = self._session, self._session.address
        left_ms = address.silent_until_ms - session.pace.now_ms()
        if address.is_banned and session.pace.machine_s(left_ms) > OPENING_S_MAX:
            detail = (
                f"this address is banned until {address.silent_until_ms}, {left_ms} ms from now"
            )
            raise _banned(detail)

    def _reach(self) -> None:
        requests = self._session.requests
        for make in (requests.ping, requests.time):
            requests.on_measured(self._ask(make))
        # One answer may be wrong or slow; a second one stops the run, or is better.
        if requests.skew.is_far or requests.is_time_unsure:
            requests.on_measured(self._ask(requests.time))

    def _choose(self) -> None:
        """Determine the followed symbols and their rules, by the profile or the venue's answers."""
        upkeep = self._session.upkeep
        config = upkeep.config
        if config is None or not config.is_dynamic:
            self._learn_rules()
            if config is not None:
                upkeep.open(static_universe(config), None)
                self._session.write()
            return
        listings = self._ask(upkeep.listings).value
        resolution = upkeep.resolution(listings, self._ask(upkeep.volumes).value)
        if not resolution.traded:
            left_out = ", ".join(
                f"{len(names)} {why}" for why, names in resolution.excluded.items()
            )
            raise RunStop(
                MARKET_ROLE,
                CONFIG_INVALID,
                f"no symbol of the universe passes: {left_out or 'nothing is listed'}; "
                "see the section universe",
            )
        upkeep.open(resolution, listings)
        self._session.write()

    def _learn_rules(self) -> None:
        session = self._session
        answer = self._ask(session.requests.instruments, may_refuse=self._is_restart)
        instruments = answer.value if answer.error is None else self._still_listed(answer)
        closed = [i for i in instruments if i.status != TRADING]
        if closed and not self._is_restart:
            statuses = ", ".join(f"{i.symbol} is {i.status}" for i in closed)
            raise RunStop(MARKET_ROLE, CONFIG_INVALID, f"not open for trading: {statuses}")
        session.feed.on_instruments(instruments, session.clock.now_ms())
        session.write()

    def _still_listed(self, refused: Answer) -> list[Instrument]:
        """Return the rules of the symbols that are listed now; the others are no longer followed.

        One name that was delisted while a former process ran makes the venue refuse them all. It
        is reported as delisted, with the last rules that the former process wrote.
        """
        session = self._session
        listings = self._ask(session.upkeep.listings).value
        listed = listings.by_symbol
        found = {name: listed[name].instrument for name in session.feed.symbols if name in listed}
        instruments = [instrument for instrument in found.values() if instrument is not None]
        if not instruments:
            self._refuse(refused)
        left = [name for name in session.feed.symbols if found.get(name) is None]
        session.upkeep.take_rules(listings, left)
        for name in left:
            if session.feed.rules.of(name) is not None:
                continue
            detail = f"{name}: no longer listed, or with unknown rules; no longer followed"
            session.feed.board.add(session.clock.now_ms(), SYMBOL_DELISTED, detail)
        session.unfollow(left)
        return instruments

    def _take_history(self) -> None:
        session = self._session
        wanted = [
            (symbol, interval, self._bars_wanted(symbol, interval))
            for symbol in session.feed.symbols
            for interval in session.config.feed.intervals
        ]
        # Several requests at a time, written in the order of the requests.
        for start in range(0, len(wanted), HISTORY_AT_ONCE):
            some = wanted[start : start + HISTORY_AT_ONCE]
            for (symbol, interval, bars), answer in zip(some, self._ask_all(some), strict=True):
                self._take_bars(symbol, interval, bars, answer)
            session.write()

    def _ask_all(self, wanted: list[tuple[str, str, int]]) -> list[Answer]:
        """Return the answers for some klines, in order; a failed request is retried alone."""
        answers: dict[int, Answer] = {}
        history = self._session.requests.history
        jobs = [partial(history, symbol, interval, bars) for symbol, interval, bars in wanted]
        sent = [job(partial(answers.__setitem__, number)) for number, job in enumerate(jobs)]
        for each in sent:
            self._session.courier.send(each)
        while len(answers) < len(jobs):
            self._heed_ban()
            self._pump(self._lack(sent[0]))
        for number, job in enumerate(jobs):
            if self._is_to_be_asked_again(answers[number]):
                answers[number] = self._ask(job, may_refuse=True)
        return [answers[number] for number in range(len(jobs))]

    def _is_to_be_asked_again(self, answer: Answer) -> bool:
        if answer.error is None:
            return answer.is_skipped
        return not is_refusal(answer.error) or _status(answer) == RESTRICTED

    def _bars_wanted(self, symbol: str, interval: str) -> int:
        """Return how many bars to request: the warm-up, or those a former process left open."""
        session = self._session
        end = session.feed.symbols[symbol].lanes[interval].history_end
        warmup = warmup_of(session.config.warmup_bars, interval)
        if end is None:
            return warmup
        return max(warmup, (session.requests.settled_ts() - end) // INTERVAL_MS[interval] + 1)

    def _take_bars(self, symbol: str, interval: str, bars: int, answer: Answer) -> None:
        """Take the newest closed klines; none if the venue does not have the interval."""
        session = self._session
        candles = [] if answer.error is not None else list(answer.value)
        now_ms = session.clock.now_ms()
        settled_ts = session.requests.settled_ts()
        closed = closed_candles(candles, interval, settled_ts=settled_ts, count=bars)
        count = session.feed.on_history(symbol, interval, closed, now_ms)
        if count < bars and not self._is_restart:
            detail = f"{symbol} {interval}: {count} of {bars} bars of history"
            session.feed.board.add(now_ms, BARS_MISSING, detail)

    def _subscribe(self) -> None:
        session = self._session
        if session.clock.is_running:  # A market whose clock stands has had no trade yet.
            for feed in session.feed.symbols.values():
                feed.start_partial()
        session.connections.follow_symbols(session.feed.symbols, session.pace.now_ms())
        session.upkeep.watch()
        while not session.connections.is_complete:
            self._pump("no stream connection that carries all streams")

    def _take_depth(self) -> None:
        """Wait for the requested books while there is time for the start.

        A book is requested once its stream is open, which may be during `_subscribe`. One that has
        not come by then, or is not available, is requested again later.
        """
        session = self._session
        requests = session.requests
        requests.snapshots(session.feed.snapshots_wanted(session.clock.now_ms()))
        deadline_ns = min(self._in(DEPTH_S_MAX), self._deadline_ns)
        while requests.snapshots_under_way and session.world.machine_ns() < deadline_ns:
            self._heed_end()
            session.pump(PUMP_S)

    # --- one request --------------------------------------------------------------------------

    def _ask(
        self, make: Callable[[Callable[[Answer], None]], Job], *, may_refuse: bool = False
    ) -> Answer:
        """Return the answer of a job, retried until it succeeds or the time is over."""
        while True:
            answers: list[Answer] = []
            job = make(answers.append)
            self._session.courier.send(job)
            while not answers:
                self._heed_ban()
                self._pump(self._lack(job))
            answer = answers[0]
            if answer.error is None and not answer.is_skipped:
                return answer
            if answer.is_skipped:
                self._last_error = self._lack(job)
            if answer.error is not None:
                self._last_error = str(answer.error)
                if is_refusal(answer.error):
                    if may_refuse and _status(answer) != RESTRICTED:
                        return answer
                    self._refuse(answer)
            self._wait(self._backoff.next())

    def _lack(self, job: Job) -> str:
        """Return the reason why a job is unanswered: the budget, or else the last error."""
        return self._session.courier.lack(job) or self._last_error

    def _refuse(self, answer: Answer) -> NoReturn:
        session = self._session
        if _status(answer) == RESTRICTED:
            raise FeedLost(
                MARKET_ROLE,
                EXCHANGE_UNREACHABLE,
                f"the exchange refuses this location: {answer.error}; "
                f"use its public data hosts, see {session.venue.name}.rest_url",
            )
        symbols = ", ".join(session.config.feed.symbols)
        raise RunStop(
            MARKET_ROLE, CONFIG_INVALID, f"the exchange refuses {symbols}: {answer.error}"
        )

    def _wait(self, wait: Wait) -> None:
        detail = (
            f"{self._last_error}; attempt {wait.attempt + 1} after {wait.wait_ms} ms "
            f"(drawn {wait.wait_ms} of {wait.ceiling_ms} ms)"
        )
        self._session.feed.board.add(self._session.pace.now_ms(), REST_RETRY, detail)
        until_ns = self._in(wait.wait_ms / 1000)
        while self._session.world.machine_ns() < until_ns:
            self._pump(self._last_error)

    def _pump(self, lack: str) -> None:
        """Run the session's loop once; raise when asked to end, or when the time is over."""
        session = self._session
        self._heed_end()
        paused_ns = (session.world.still_ms() - self._still_ms) * NS_PER_MS
        if session.world.machine_ns() - paused_ns > self._deadline_ns:
            raise FeedLost(
                MARKET_ROLE,
                EXCHANGE_UNREACHABLE,
                f"not ready after {OPENING_S_MAX:.0f} s: {lack}",
            )
        session.pump(PUMP_S)

    def _heed_end(self) -> None:
        """Raise when the role is asked to end."""
        code = self._session.world.end_code()
        if code is not None:
            raise _Ended(code)


def _banned(detail: str) -> FeedLost:
    return FeedLost(
        MARKET_ROLE,
        EXCHANGE_BANNED,
        f"{detail}; a start may take {OPENING_S_MAX:.0f} s. Start again when it is over",
    )


class _Ended(Exception):
    """The role was asked to end before it was ready."""

    def __init__(self, code: int) -> None:
        super().__init__(f"ended with {code}")
        self.code = code


def _status(answer: Answer) -> int:
    return answer.error.status if answer.error is not None else 0
