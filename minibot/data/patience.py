"""Retries of requests: only for passing errors, a few times at most, and never during a ban."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from minibot.data.treatment import clock_text
from minibot.exchanges.base import (
    BANNED,
    LOOK,
    LOOK_AFTER_MS,
    RATE_LIMITED,
    SERVER,
    TIMEOUT,
    UNREACHABLE,
    RestError,
)
from minibot.kernel.errors import Refusal

T = TypeVar("T")

ATTEMPTS_MAX: Final = 5
BACKOFF_MS_MIN: Final = 1_000
BACKOFF_MS_MAX: Final = 30_000
# Weight is reset each minute: a request for much more silence has another reason.
RETRY_AFTER_MS_MAX: Final = 180_000
_PASSING: Final = frozenset({TIMEOUT, UNREACHABLE, SERVER, RATE_LIMITED})


class Clock(Protocol):
    """Clock of the machine, and waiting on it."""

    def now_ms(self) -> int:
        """Return Unix milliseconds."""

    def wait_ms(self, duration_ms: int) -> None:
        """Return after `duration_ms` milliseconds."""


class MachineClock:
    """The real clock."""

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def wait_ms(self, duration_ms: int) -> None:
        """Return after `duration_ms` milliseconds."""
        time.sleep(duration_ms / 1000)


@dataclass(slots=True)
class Patience:
    """Retries of a request until it is answered, within limits.

    Args:
        clock: For times and waits.
        print_line: Takes a message for the operator, before each wait.
        attempts_max: Most attempts for one request.
    """

    clock: Clock
    print_line: Callable[[str], None]
    attempts_max: int = ATTEMPTS_MAX

    def ask(self, request: Callable[[], T]) -> T:
        """Return the answer of a request.

        Raises:
            Refusal: A ban, or a request for too long a silence: the caller must send this host no
                more requests.
            RestError: An error that does not pass, or did not pass within the attempts. The silence
                that the host asked for last is kept before.
        """
        begun_ms = self.clock.now_ms()
        for attempt in range(1, self.attempts_max + 1):
            try:
                return request()
            except RestError as error:
                is_long = error.retry_after_ms > RETRY_AFTER_MS_MAX
                if error.kind == BANNED or (error.kind == RATE_LIMITED and is_long):
                    raise self._banned(error) from error
                is_last = attempt == self.attempts_max
                if error.kind not in _PASSING or (is_last and error.kind != RATE_LIMITED):
                    raise
                self._wait(error, attempt, self.clock.now_ms() - begun_ms, is_last)
                if is_last:
                    raise
        raise AssertionError("attempts_max is below one")

    def _wait(self, error: RestError, attempt: int, silent_ms: int, is_last: bool) -> None:
        wait_ms = min(BACKOFF_MS_MIN << (attempt - 1), BACKOFF_MS_MAX)
        if error.kind == RATE_LIMITED:
            wait_ms = max(wait_ms, error.retry_after_ms)
        is_long = error.kind in (TIMEOUT, UNREACHABLE) and silent_ms + wait_ms >= LOOK_AFTER_MS
        what = "given up, no further request for" if is_last else "retrying in"
        self.print_line(f"{error}; {what} {wait_ms / 1000:g} s" + f"; {LOOK}" * is_long)
        self.clock.wait_ms(wait_ms)

    def _banned(self, error: RestError) -> Refusal:
        until = error.until_ms or self.clock.now_ms() + error.retry_after_ms
        return Refusal(
            f"{error.detail}: the host refuses requests until "
            f"{clock_text(until // 1000 * 1000)} UTC.",
            "Run it again after that; what is stored is kept.",
        )
