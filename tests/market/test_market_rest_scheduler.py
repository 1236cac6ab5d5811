"""REST requests by rank, behind one budget, one silence and one breaker; no socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from minibot.exchanges.base import BANNED, RATE_LIMITED, REFUSED, SERVER, Rest, RestError, RestReply
from minibot.exchanges.binance.limits import LIMITS, PING
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.weight_budget import WeightBudget
from minibot.market.address import Address, NoMemory
from minibot.market.backoff import Backoff
from minibot.market.breaker import OUTCOME_MS, Breaker
from minibot.market.elapsed_clock import ElapsedClock
from minibot.market.feed import Feed
from minibot.market.feed_health import FeedHealth
from minibot.market.requests import Requests
from minibot.market.rest_scheduler import (
    DEPTH,
    DEPTH_SHARE_PERCENT,
    MEASUREMENT,
    NEEDED,
    PREFERRED_DEPTH,
    WATCHED,
    WATCHED_SHARE_PERCENT,
    Answer,
    Job,
    RestScheduler,
)
from minibot.market.shard_health import CLOSED, FAILURES_TO_OPEN, HALF_OPEN, OPEN
from minibot.market.skew import ClockSkew
from minibot.market.symbol import FeedConfig
from tests.market.market_desk import link_limits
from tests.waiting import wait_until


class StepClock:
    """Run clock that the test moves; the scheduler's waits end with it."""

    is_running = True

    def __init__(self) -> None:
        self.ms = 0

    def now_ms(self) -> int:
        return self.ms

    def at_machine_ns(self, moment_ns: int) -> int:
        return self.ms

    def machine_s(self, market_ms: int) -> float:
        return min(market_ms / 1000, 0.005)


class FakeRest:
    """Part of the REST client that the scheduler uses; requests wait while `gate` is closed."""

    def __init__(self, desk: Office) -> None:
        self.last = RestReply("", 0, None, 0)
        self.weight_limit: int | None = None
        self._desk = desk

    def ask(self, name: str) -> str:
        desk = self._desk
        desk.gate.wait(10)
        with desk.lock:
            desk.asked.append((name, desk.clock.ms))
            error = desk.errors.pop(name, desk.error)
        self.last = RestReply(PING, 200, desk.reported, 0)
        if error is not None:
            raise error
        return name

    def close(self) -> None:
        self._desk.gate.set()


class Office:
    """Scheduler with fake requests."""

    def __init__(self, *, threads: int = 1, share_percent: int = 50) -> None:
        self.clock = StepClock()
        self.lock = threading.Lock()
        self.gate = threading.Event()
        self.asked: list[tuple[str, int]] = []
        self.errors: dict[str, Exception] = {}
        self.error: RestError | None = None
        self.reported: int | None = None
        self.answers: list[Answer] = []
        rests: Any = [FakeRest(self) for _ in range(threads)]
        self.budget = WeightBudget(share_percent, 600)
        self.courier = RestScheduler(
            rests,
            self.budget,
            ElapsedClock(self.clock, lambda: 0),
            self.answers.append,
            Backoff(1, 1_000, 60_000),
        )

    def __enter__(self) -> Office:
        self.courier.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.courier.close(5)

    def send(self, name: str, rank: int, weight: int = 5) -> None:
        def call(rest: Rest) -> Any:
            return rest.ask(name)  # type: ignore[attr-defined]

        self.courier.send(Job(PING, weight, call, lambda answer: None, rank))

    def names(self) -> list[str]:
        with self.lock:
            return [name for name, _ in self.asked]

    def wait(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, what)


def error(kind: str, **fields: int) -> RestError:
    return RestError(kind, "of the test", **fields)


# --- order --------------------------------------------------------------------------------------


@pytest.mark.row("S-46")
def test_what_matters_most_goes_first_and_equals_in_order() -> None:
    """Measurements go first, then rules and klines, preferred books, other books, in order."""
    office = Office()
    with office:
        office.send("first", NEEDED)
        office.wait(lambda: office.courier.waiting == 0, "the first is under way")
        for name, rank in (("d1", DEPTH), ("d2", DEPTH), ("p", PREFERRED_DEPTH), ("k", NEEDED)):
            office.send(name, rank)
        office.send("ping", MEASUREMENT)
        office.gate.set()
        office.wait(lambda: len(office.answers) == 6, "all answers")

    assert office.names() == ["first", "ping", "k", "p", "d1", "d2"]


@pytest.mark.row("S-46", "F105")
def test_depth_leaves_a_part_of_the_budget_to_what_cannot_wait() -> None:
    """A hundred books leave this minute's budget for klines and pings."""
    office = Office()
    office.gate.set()
    with office:
        for number in range(100):
            office.send(f"d{number}", DEPTH)
        allowed = 600 * 50 // 100 * DEPTH_SHARE_PERCENT // 100
        office.wait(lambda: len(office.answers) == allowed // 5, "books of the first minute")
        office.send("k", NEEDED)
        office.send("ping", MEASUREMENT, 1)
        # An answer is put a moment after its name was asked for.
        office.wait(lambda: len(office.answers) >= allowed // 5 + 2, "k and ping")
        assert {"k", "ping"} <= set(office.names())
        assert len(office.answers) == allowed // 5 + 2
        office.clock.ms = 60_000
        office.wait(lambda: len(office.answers) == 2 * (allowed // 5) + 2, "those of the second")

    assert {ms for name, ms in office.asked if name == "d99"} <= {60_000}


def test_watched_bars_leave_a_part_of_the_budget_to_books() -> None:
    """Bars of hundreds of watched symbols let a lost book come back in the same minute."""
    office = Office()
    office.gate.set()
    with office:
        for number in range(100):
            office.send(f"w{number}", WATCHED)
        most = 600 * 50 // 100 * WATCHED_SHARE_PERCENT // 100 // 5
        office.wait(lambda: len(office.answers) >= most, "bars of the first minute")
        office.send("book", PREFERRED_DEPTH)
        office.wait(lambda: "book" in office.names(), "the book")
        office.clock.ms = 60_000
        office.wait(lambda: len(office.answers) == 2 * most + 1, "bars of the second minute")

    assert [name for name, ms in office.asked if ms == 0] == [
        *(f"w{number}" for number in range(most)),
        "book",
    ]


def test_weight_of_requests_under_way_is_added_to_what_the_venue_reports() -> None:
    """Weight of four requests under way is added to the venue's reported count."""
    budget = WeightBudget(50, 600)
    for _ in range(4):
        minute = budget.begin(0, 50)
    budget.answered(0, 50, 50, minute)

    assert budget.used == 200
    assert budget.wait_ms(0, 101) == 60_000
    for used in (100, 150, 200):
        budget.answered(0, 50, used, minute)
    assert budget.used == 200
    assert budget.left(0) == 100


# --- silence ------------------------------------------------------------------------------------


@pytest.mark.row("S-46", "F105", "F106")
@pytest.mark.parametrize("kind", [RATE_LIMITED, BANNED])
def test_silence_holds_for_every_thread_to_the_millisecond(kind: str) -> None:
    """One answer silences all threads to the millisecond; measurements are skipped."""
    office = Office(threads=4)
    office.errors["a"] = error(kind, retry_after_ms=30_000)
    office.gate.set()
    with office:
        office.send("a", NEEDED)
        office.wait(lambda: len(office.answers) == 1, "the answer that silences")
        for number in range(8):
            office.send(f"d{number}", DEPTH)
        office.send("ping", MEASUREMENT)
        office.wait(lambda: any(a.is_skipped for a in office.answers), "the skipped ping")
        office.clock.ms = 29_999
        office.send("again", MEASUREMENT)
        office.wait(lambda: sum(a.is_skipped for a in office.answers) == 2, "skipped again")
        assert office.names() == ["a"]
        office.clock.ms = 30_000
        office.wait(lambda: len(office.answers) == 11, "all others")

    assert office.answers[0].silent_until_ms == 30_000
    assert {ms for name, ms in office.asked if name != "a"} == {30_000}


@pytest.mark.row("S-46", "F105")
def test_silence_holds_between_the_requests_of_one_job_too() -> None:
    """A job of several requests makes the next one only after the silence of another's answer."""
    office, silent = Office(threads=2), threading.Event()
    office.errors["b"] = error(RATE_LIMITED, retry_after_ms=30_000)
    requests = Requests(
        office.courier,
        replace(LIMITS, instruments_max=1),
        Feed(FeedConfig(("A", "B"), ("1m",), 0), 0, BINANCE.dialect),
        FeedHealth(link_limits(), 0),
        Address(NoMemory(), 0, BINANCE.streams.limits),
        office.clock,
        ElapsedClock(office.clock, lambda: 0),
        ClockSkew(5_000),
        lambda answer: None,
    )

    class OneByOne:
        def instruments(self, symbols: Sequence[str]) -> list[str]:
            with office.lock:
                office.asked.append((symbols[0], office.clock.ms))
            silent.wait(10)
            return [*symbols]

    job = requests.instruments(lambda answer: None)
    with office:
        office.courier.send(replace(job, call=lambda _: job.call(cast(Rest, OneByOne()))))
        office.wait(lambda: office.names() == ["A"], "the first request")
        office.gate.set()
        office.send("b", NEEDED)
        office.wait(lambda: office.budget.silent_until_ms == 30_000, "the silence")
        silent.set()
        office.clock.ms = 29_999
        office.send("ping", MEASUREMENT)
        office.wait(lambda: any(a.is_skipped for a in office.answers), "the skipped ping")
        assert office.names() == ["A", "b"]
        office.clock.ms = 30_000
        office.wait(lambda: len(office.answers) == 3, "the rest of the job")

    assert office.asked[-1] == ("B", 30_000)
    assert office.answers[-1].value == ["A", "B"]


@pytest.mark.row("F106")
@pytest.mark.parametrize("skew_ms", [-300, 0, 300])
def test_ban_lasts_as_long_as_the_exchanges_clock_says(skew_ms: int) -> None:
    """A ban's end is a time of the exchange, whose clock may be ahead of the run's or behind it."""
    office = Office()
    office.clock.ms = 1_000_000
    office.budget.skew_ms = skew_ms
    office.errors["a"] = error(BANNED, until_ms=1_120_000 + skew_ms)
    office.gate.set()
    with office:
        office.send("a", NEEDED)
        office.wait(lambda: len(office.answers) == 1, "the ban")

    assert office.answers[0].silent_ms == 120_000
    assert office.answers[0].silent_until_ms == 1_120_000


# --- breaker ------------------------------------------------------------------------------------


@pytest.mark.row("C-101", "S-23", "F107")
def test_failing_endpoint_is_left_alone_and_asked_by_one_request() -> None:
    """A failing endpoint gets no request until one trial decides for the rest."""
    office = Office()
    office.error = error(SERVER, status=503)
    office.gate.set()
    with office:
        for number in range(20):
            office.send(f"d{number}", DEPTH)
        office.wait(lambda: len(office.answers) == FAILURES_TO_OPEN, "three failures")
        office.wait(lambda: office.courier.breaker.state == OPEN, "open")
        asked = len(office.asked)
        office.clock.ms = 1_001  # The first wait is drawn from 0..1000 ms.
        office.wait(lambda: len(office.asked) == asked + 1, "the one that decides")
        office.wait(lambda: office.courier.breaker.state == OPEN, "open again")
        with office.lock:
            office.error = None
        office.clock.ms = 4_000
        office.wait(lambda: len(office.answers) == 20, "all others after a success")

    assert office.courier.breaker.state == CLOSED


@pytest.mark.row("C-101")
def test_measurement_that_succeeds_closes_the_breaker() -> None:
    """A successful measurement closes the breaker, as measurements always go."""
    office = Office()
    office.errors = {f"d{n}": error(SERVER, status=500) for n in range(3)}
    office.gate.set()
    with office:
        for number in range(3):
            office.send(f"d{number}", DEPTH)
        office.wait(lambda: office.courier.breaker.state == OPEN, "open")
        office.send("ping", MEASUREMENT)
        office.wait(lambda: office.courier.breaker.state == CLOSED, "closed")
        office.wait(lambda: len(office.answers) == 4, "four answers")

    assert [answer.is_skipped for answer in office.answers] == [False] * 4


def test_refusal_is_an_answer() -> None:
    """A refusal is an answer, so it does not open the breaker."""
    breaker = Breaker(Backoff(1, 1_000, 60_000))
    office = Office()
    office.error = error(REFUSED, status=400, code=-1121)
    office.gate.set()
    with office:
        for number in range(10):
            office.send(f"d{number}", DEPTH)
        office.wait(lambda: len(office.answers) == 10, "ten refusals")

    assert office.courier.breaker.state == breaker.state == CLOSED


def test_request_that_fails_by_itself_is_raised_in_the_loop_and_ends_no_thread() -> None:
    """An error that is not the venue's reaches the loop; silence would pass for health."""
    office = Office()
    office.errors["a"] = RuntimeError("thread timer could not start")
    office.gate.set()
    office.send("a", NEEDED)
    office.send("b", NEEDED)

    with office:
        office.wait(lambda: len(office.answers) == 2, "both answers")
    failed, fine = office.answers

    assert fine.value == "b"
    with pytest.raises(RuntimeError, match="timer"):
        failed.deliver()


@pytest.mark.row("C-101", "B-54")
def test_waits_of_the_breaker_grow_and_one_request_decides() -> None:
    """The breaker's waits grow, one request decides, and a success resets it."""
    backoff, same = Backoff(7, 1_000, 60_000), Backoff(7, 1_000, 60_000)
    breaker = Breaker(backoff)
    waits = []
    now = 0
    for _ in range(FAILURES_TO_OPEN):
        breaker.on_sent()
        breaker.on_answer(now, ok=False)
    for _ in range(5):
        assert breaker.state == OPEN
        waits.append(breaker.wait_ms(now))
        now += waits[-1]
        breaker.on_sent()
        assert breaker.state == HALF_OPEN
        # Those that wait are woken by the outcome, so they need not look each millisecond.
        assert breaker.wait_ms(now) == OUTCOME_MS
        breaker.on_answer(now, ok=False)
    breaker.on_answer(now, ok=True)

    assert breaker.wait_ms(now) == 0
    assert waits == [same.next().wait_ms for _ in waits]
    assert (breaker.failures, backoff.next().ceiling_ms) == (0, 1_000)
