"""Garbage collector while a process keeps most of what it makes, as in a backtest."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# Young objects, among which a cycle is found soon; and how many such rounds an older one waits.
YOUNG: Final = 50_000
ROUNDS: Final = 1_000


@contextmanager
def spared_collector(*, is_last: bool = False) -> Iterator[None]:
    """Look for cycles among young objects alone, and seldom.

    A backtest makes hundreds of thousands of decisions without a cycle, and keeps them. Looked
    through again and again, as by default, they cost a third of its time.

    Args:
        is_last: Whether the process ends soon after. What was made is then not looked through at
            the end, which takes half a second for a year of one-minute bars.
    """
    before = gc.get_threshold()
    gc.set_threshold(YOUNG, ROUNDS, ROUNDS)
    try:
        yield
    finally:
        # Both steps together make all objects old ones without a look at them, and would thaw what
        # the process has frozen.
        if is_last and not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        gc.set_threshold(*before)
