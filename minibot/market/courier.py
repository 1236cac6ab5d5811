"""One thread for all REST requests of the process, behind one budget.

A slow or dead endpoint never delays the stream. Silence that the venue asked for (429, 418) holds
for every request: whatever waits, waits here; measurements are dropped instead, because a late
measurement measures nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final

from minibot.exchanges.base import BANNED, RATE_LIMITED, RestError
from minibot.exchanges.binance.limits import WeightBudget
from minibot.exchanges.binance.rest import BinanceRest
from minibot.kernel.errors import RunStop
from minibot.market.pace import Pace

# A wait is looked at again this often: the clock may start, or the role may end.
LOOK_AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a job: `value`, or `error`, or neither when it was skipped.

    `sent_ns` and `received_ns` are machine time around the request; `silent_until_ms` is set when
    the venue asked for silence.
    """

    job: Job
    value: Any = None
    error: RestError | RunStop | None = None
    is_skipped: bool = False
    sent_ns: int = 0
    received_ns: int = 0
    weight_used: int = 0
    silent_until_ms: int = 0
    silent_ms: int = 0

    @property
    def took_us(self) -> int:
        """Round trip in microseconds of machine time."""
        return (self.received_ns - self.sent_ns) // 1000


@dataclass(frozen=True, slots=True)
class Job:
    """One request: its path, its weight, how to make it, and who takes the answer.

    `done` runs in the loop of the role, never in the courier's thread. A measurement is skipped
    rather than delayed.
    """

    path: str
    weight: int
    call: Callable[[BinanceRest], Any]
    done: Callable[[Answer], None] = field(repr=False)
    is_measurement: bool = False


class Courier:
    """Carries jobs to the venue one after the other and leaves answers through `put`."""

    def __init__(
        self,
        rest: BinanceRest,
        budget: WeightBudget,
        pace: Pace,
        put: Callable[[Answer], None],
    ) -> None:
        self._rest = rest
        self.budget = budget
        self._pace = pace
        self._put = put
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def send(self, job: Job) -> None:
        """Leave a job; its answer comes through `put`."""
        self._jobs.put(job)

    def close(self, timeout_s: float) -> None:
        """End the request in flight, drop what waits, and wait for the thread."""
        self._ended.set()
        self._jobs.put(None)
        self._rest.close()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._ended.is_set():
            job = self._jobs.get()
            if job is None:
                return
            answer = self._answer(job)
            if answer is not None:
                self._put(answer)

    def _answer(self, job: Job) -> Answer | None:
        while (wait_ms := self.budget.wait_ms(self._pace.now_ms(), job.weight)) > 0:
            if job.is_measurement:
                return Answer(job, is_skipped=True)
            if self._ended.wait(min(self._pace.machine_s(wait_ms), LOOK_AGAIN_S)):
                return None
        return self._carry(job)

    def _carry(self, job: Job) -> Answer:
        budget, now_ms = self.budget, self._pace.now_ms()
        budget.sent(now_ms, job.weight)
        value, error = None, None
        sent_ns = self._pace.machine_ns()
        try:
            value = job.call(self._rest)
        except (RestError, RunStop) as failure:
            error = failure
        received_ns = self._pace.machine_ns()
        now_ms = self._pace.now_ms()
        if self._rest.last.weight_used is not None:
            budget.reported(now_ms, self._rest.last.weight_used)
        if self._rest.weight_limit is not None:
            budget.limit_per_minute = self._rest.weight_limit
        silent_ms = self._silence(error, now_ms) if isinstance(error, RestError) else 0
        return Answer(
            job,
            value=value,
            error=error,
            sent_ns=sent_ns,
            received_ns=received_ns,
            weight_used=budget.used,
            silent_until_ms=budget.silent_until_ms,
            silent_ms=silent_ms,
        )

    def _silence(self, error: RestError, now_ms: int) -> int:
        """Obey 429 and 418 at once, before any other job can go; return for how long."""
        if error.kind not in (RATE_LIMITED, BANNED):
            return 0
        wait_ms = max(error.retry_after_ms, error.until_ms - now_ms)
        self.budget.silence(now_ms, wait_ms, is_ban=error.kind == BANNED)
        return wait_ms
