"""Bar intervals by their names at the venue, and the alignment of bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from minibot.events.unit_sizes import DAY_MS, HOUR_MS, MINUTE_MS, NEVER, SECOND_MS, WEEK_MS

INTERVAL_MS: Final[dict[str, int]] = {
    "1s": SECOND_MS,
    **{f"{count}m": count * MINUTE_MS for count in (1, 3, 5, 15, 30)},
    **{f"{count}h": count * HOUR_MS for count in (1, 2, 4, 6, 8, 12)},
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": WEEK_MS,
}
"""Intervals of a fixed length, by name; case matters."""
MONTH: Final = "1M"
"""A calendar month has no fixed length, so the market builds no bars of it."""

REGIME_INTERVAL: Final = "4h"
"""Bars by which the scanner knows the regime of the market."""

WarmupBars: TypeAlias = int | Mapping[str, int]
"""Closed bars fetched at a start: as many of each interval, or a number by interval."""

# The Unix epoch was a Thursday; the venue's weeks begin on Monday.
_MONDAY_OFFSET_MS: Final = 4 * DAY_MS


def longest_first(intervals: Iterable[str]) -> tuple[str, ...]:
    """Return intervals, each once, in the order in which bars of one moment are delivered.

    A strategy that decides on the shorter bar has taken the longer one by then.
    """
    return tuple(sorted(dict.fromkeys(intervals), key=lambda name: -INTERVAL_MS.get(name, NEVER)))


def align(ts: int, interval_ms: int) -> int:
    """Return the open time of the bar that contains `ts`; Unix milliseconds."""
    offset = _MONDAY_OFFSET_MS if interval_ms == WEEK_MS else 0
    return ts - (ts - offset) % interval_ms


def warmup_of(warmup: WarmupBars, interval: str) -> int:
    """Return how many closed bars of an interval a start fetches, by `market.warmup_bars`.

    An interval that a table leaves out gets the largest number in the table.
    """
    if isinstance(warmup, int):
        return warmup
    found = warmup.get(interval)
    return max(warmup.values()) if found is None else found


def warmup_raised(warmup: WarmupBars, intervals: Iterable[str], least: int) -> WarmupBars:
    """Return a warm-up with at least `least` bars of each interval; the same one if it has them."""
    short = [interval for interval in intervals if warmup_of(warmup, interval) < least]
    if not short:
        return warmup
    return least if isinstance(warmup, int) else {**warmup, **dict.fromkeys(short, least)}
