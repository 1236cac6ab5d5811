"""Asking a host again: only for what may pass, at most a few times, and never during a ban."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from minibot.data.treatment import clock_text
from minibot.exchanges.base import (
    BANNED,
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
# Weight is counted anew each minute: whoever asks for much more silence means something else.
RETRY_AFTER_MS_MAX: Final = 180_000
_PASSING: Final = frozenset({TIMEOUT, UNREACHABLE, SERVER, RATE_LIMITED})


class Clock(Protocol):
    """The machine's clock, and waiting on it."""

    def now_ms(self) -> int:
        """Return Unix milliseconds."""

    def wait_ms(self, duration_ms: int) -> None:
        """Return after so many milliseconds."""


class MachineClock:
    """The real clock."""

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def wait_ms(self, duration_ms: int) -> None:
        """Return after so many milliseconds."""
        time.sleep(duration_ms / 1000)


@dataclass(slots=True)
class Patience:
    """Makes a request until it is answered, within bounds.

    Args:
        clock: Tells and waits.
        tell: Takes a sentence for a person, before each wait.
        attempts_max: How often one request is made at most.
    """

    clock: Clock
    tell: Callable[[str], None]
    attempts_max: int = ATTEMPTS_MAX

    def ask(self, request: Callable[[], T]) -> T:
        """Return the answer of a request.

        Raises:
            Refusal: A ban, or too long a silence is asked for: nothing more is asked of this host.
            RestError: Nothing that may pass, or it did not pass within the attempts.
        """
        for attempt in range(1, self.attempts_max + 1):
            try:
                return request()
            except RestError as error:
                if error.kind == BANNED:
                    raise self._banned(error) from error
                if error.kind not in _PASSING or attempt == self.attempts_max:
                    raise
                self._wait(error, attempt)
        raise AssertionError("attempts_max is below one")

    def _wait(self, error: RestError, attempt: int) -> None:
        wait_ms = min(BACKOFF_MS_MIN << (attempt - 1), BACKOFF_MS_MAX)
        if error.kind == RATE_LIMITED:
            if error.retry_after_ms > RETRY_AFTER_MS_MAX:
                raise self._banned(error) from error
            wait_ms = max(wait_ms, error.retry_after_ms)
        self.tell(f"{error}; retrying in {wait_ms / 1000:g} s")
        self.clock.wait_ms(wait_ms)

    def _banned(self, error: RestError) -> Refusal:
        until = error.until_ms or self.clock.now_ms() + error.retry_after_ms
        return Refusal(
            f"{error.detail}: the host wants silence until {clock_text(until // 1000 * 1000)} UTC.",
            "Call again after that; what is stored stays.",
        )
