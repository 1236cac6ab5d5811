"""Scheduler of all REST requests of the process: worker threads behind one budget.

A slow or dead endpoint never delays the stream. Silence that the venue asked for (429, 418) holds
for every request: jobs wait here; measurements are dropped instead, because a late measurement
measures nothing. Jobs go by rank; depth never takes the whole budget, so that rules, klines and
measurements are not starved by a thousand books, and watched bars leave a part of it to books.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from minibot.exchanges.base import BANNED, RATE_LIMITED, REFUSED, UNREACHABLE, Rest, RestError
from minibot.exchanges.weight_budget import WeightBudget
from minibot.kernel.threads import DaemonThread
from minibot.market.backoff import Backoff
from minibot.market.breaker import Breaker
from minibot.market.elapsed_clock import ElapsedClock

# Waits are rechecked this often: the clock may start, or the role may end.
LOOK_AGAIN_S: Final = 1.0

# Ranks of jobs; the lower goes first.
MEASUREMENT: Final = 0
NEEDED: Final = 1
PREFERRED_DEPTH: Final = 2
DEPTH: Final = 3
WATCHED: Final = 4
# Share of the allowed weight for depth; the rest is for jobs that cannot wait.
DEPTH_SHARE_PERCENT: Final = 80
# The same for watched bars: what they leave is for books that are lost in the same minute.
WATCHED_SHARE_PERCENT: Final = 60
# Default waits of the breaker.
BREAKER_MS_MIN: Final = 500
BREAKER_MS_MAX: Final = 60_000


@dataclass(frozen=True, slots=True)
class Answer:
    """Outcome of a job: `value`, or `error`, or neither when it was skipped.

    `failure` is what ended a request otherwise, such as memory that is short: no error of the venue
    but one of this process, which `deliver` raises.

    `sent_ns` and `received_ns` are machine time around the request. `silent_ms` is how long this
    answer asks for silence; `silent_until_ms` is the latest end that any has asked for, 0 for none.
    """

    job: Job
    value: Any = None
    error: RestError | None = None
    failure: Exception | None = None
    is_skipped: bool = False
    sent_ns: int = 0
    received_ns: int = 0
    weight_used: int = 0
    silent_until_ms: int = 0
    silent_ms: int = 0

    def deliver(self) -> None:
        """Pass the answer to its job, in the loop of the role.

        Raises:
            Exception: The request failed by another error than the venue's.
        """
        if self.failure is not None:
            raise self.failure
        self.job.done(self)

    @property
    def took_us(self) -> int:
        """Return the round trip in microseconds of machine time."""
        return (self.received_ns - self.sent_ns) // 1000


@dataclass(frozen=True, slots=True)
class Job:
    """One request: its path, its weight, how to make it, and the callback for its answer.

    `done` runs in the loop of the role, never in a thread of the scheduler. A measurement is
    skipped rather than delayed.
    """

    path: str
    weight: int
    call: Callable[[Rest], Any]
    done: Callable[[Answer], None] = field(repr=False)
    rank: int = NEEDED

    @property
    def is_measurement(self) -> bool:
        """Return whether a late answer would be worthless."""
        return self.rank == MEASUREMENT


class RestScheduler:
    """Sender of jobs to the venue, by rank and then in order; answers go through `put`.

    Args:
        rests: One client for each request that may be under way at a time; each has its own thread.
        budget: Request weight of the address.
        pace: Clock for waits.
        put: Takes answers, from any thread.
        backoff: Draws the waits of the breaker.
    """

    def __init__(
        self,
        rests: Sequence[Rest],
        budget: WeightBudget,
        pace: ElapsedClock,
        put: Callable[[Answer], None],
        backoff: Backoff | None = None,
    ) -> None:
        self._rests = tuple(rests)
        self.budget = budget
        self.breaker = Breaker(backoff or Backoff(0, BREAKER_MS_MIN, BREAKER_MS_MAX))
        self._pace = pace
        self._put = put
        self._jobs: list[tuple[int, int, Job]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._is_ended = False
        self._threads = [
            DaemonThread(partial(self._run, rest), f"rest-{number}")
            for number, rest in enumerate(self._rests, 1)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def send(self, job: Job) -> None:
        """Queue a job; its answer comes through `put`."""
        with self._changed:
            heapq.heappush(self._jobs, (job.rank, next(self._numbers), job))
            self._changed.notify()

    @property
    def waiting(self) -> int:
        """Return the number of jobs that have not been started."""
        return len(self._jobs)

    def lack(self, job: Job) -> str:
        """Return why a job may not be sent now, by the budget; empty if it may."""
        with self._changed:
            return self.budget.lack(self._pace.now_ms(), job.weight, _share_percent(job.rank))

    def await_silence(self) -> None:
        """Wait for the end of a silence: in a job of several requests, before each further one.

        Raises:
            RestError: The role ends before.
        """
        with self._changed:
            while (wait_ms := self.budget.silent_until_ms - self._pace.now_ms()) > 0:
                if self._is_ended:
                    raise RestError(UNREACHABLE, "the role ends while the exchange wants silence")
                self._changed.wait(min(self._pace.machine_s(wait_ms), LOOK_AGAIN_S))

    def close(self, timeout_s: float) -> None:
        """End the requests in flight, drop what waits, and wait for the threads."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()
        for rest in self._rests:
            rest.close()
        for thread in self._threads:
            thread.join(timeout_s)

    # --- in the threads -----------------------------------------------------------------------

    def _run(self, rest: Rest) -> None:
        while (taken := self._next()) is not None:
            job, minute = taken
            if minute is None:
                self._put(Answer(job, is_skipped=True))
            else:
                self._put(self._carry(job, rest, minute))

    def _next(self) -> tuple[Job, int | None] | None:
        """Return the next job and the minute of its sending, None if skipped; None at the end."""
        with self._changed:
            while not self._is_ended:
                if not self._jobs:
                    self._changed.wait()
                    continue
                job, now_ms = self._jobs[0][2], self._pace.now_ms()
                wait_ms = self._wait_ms(job, now_ms)
                if wait_ms <= 0 or job.is_measurement:
                    heapq.heappop(self._jobs)
                    if wait_ms > 0:
                        return job, None
                    self.breaker.on_sent()
                    return job, self.budget.begin(now_ms, job.weight)
                self._changed.wait(min(self._pace.machine_s(wait_ms), LOOK_AGAIN_S))
            return None

    def _wait_ms(self, job: Job, now_ms: int) -> int:
        wait_ms = self.budget.wait_ms(now_ms, job.weight, _share_percent(job.rank))
        if job.is_measurement:
            return wait_ms
        return max(wait_ms, self.breaker.wait_ms(now_ms))

    def _carry(self, job: Job, rest: Rest, minute: int) -> Answer:
        value, error, failure = None, None, None
        sent_ns = self._pace.machine_ns()
        try:
            value = job.call(rest)
        except RestError as failed:
            error = failed
        except Exception as other:  # Raised here, it would end only this thread, unnoticed.
            failure = other
        received_ns = self._pace.machine_ns()
        with self._changed:
            silent_ms = self._settle(job, rest, error, minute)
            self._changed.notify_all()
            return Answer(
                job,
                value=value,
                error=error,
                failure=failure,
                sent_ns=sent_ns,
                received_ns=received_ns,
                weight_used=self.budget.used,
                silent_until_ms=self.budget.silent_until_ms,
                silent_ms=silent_ms,
            )

    def _settle(self, job: Job, rest: Rest, error: RestError | None, minute: int) -> int:
        """Apply the outcome to breaker and budget; return how long the venue wants silence."""
        budget, now_ms = self.budget, self._pace.now_ms()
        budget.answered(now_ms, job.weight, rest.last.weight_used, minute)
        if rest.weight_limit is not None:
            budget.limit_per_minute = rest.weight_limit
        if error is None:
            self.breaker.on_answer(now_ms, ok=True)
            return 0
        # A refused request was understood: the endpoint works.
        self.breaker.on_answer(now_ms, ok=error.kind in (REFUSED, RATE_LIMITED, BANNED))
        if error.kind not in (RATE_LIMITED, BANNED):
            return 0
        # Obeyed at once, before any other job is sent. The end is on the exchange's clock.
        silent_ms = max(error.retry_after_ms, error.until_ms - budget.skew_ms - now_ms)
        budget.silence(now_ms, silent_ms)
        return silent_ms


def _share_percent(rank: int) -> int:
    """Return how much of the allowed weight jobs of this rank and those before it may use."""
    if rank == WATCHED:
        return WATCHED_SHARE_PERCENT
    return DEPTH_SHARE_PERCENT if rank >= PREFERRED_DEPTH else 100
