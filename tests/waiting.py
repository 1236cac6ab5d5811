"""Waiting for another thread or process: no fixed sleep, and a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

# Long enough that only a missing event fails a test, not a busy machine.
DEADLINE_S = 120.0
LOOK_EVERY_S = 0.01
# A look that takes long, such as one at all processes or over HTTP, is repeated the more rarely: it
# would take the core from what it waits for.
REST_PER_LOOK = 4

Found = TypeVar("Found")


def wait_until(
    condition: Callable[[], Found | None], what: str, deadline_s: float = DEADLINE_S
) -> Found:
    """Return the condition's first true value.

    Raises:
        AssertionError: The condition, named by `what`, did not come true in time.
    """
    end = time.monotonic() + deadline_s
    while True:
        began = time.monotonic()
        found = condition()
        if found:
            return found
        now = time.monotonic()
        if now > end:
            raise AssertionError(f"not within {deadline_s:.0f} s: {what}")
        time.sleep(max(LOOK_EVERY_S, REST_PER_LOOK * (now - began)))
