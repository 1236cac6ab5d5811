"""Waiting for what another thread or process does: no fixed sleep, and an end to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

# Only what never happens takes so long: a busy machine fails no test.
DEADLINE_S = 120.0
LOOK_EVERY_S = 0.01

Found = TypeVar("Found")


def wait_until(
    condition: Callable[[], Found | None], what: str, deadline_s: float = DEADLINE_S
) -> Found:
    """Return what the condition gives as soon as it is true.

    Raises:
        AssertionError: It was not in time; named by `what`.
    """
    end = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:.0f} s: {what}")
        time.sleep(LOOK_EVERY_S)
