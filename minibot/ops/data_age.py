"""Age of the market data as an operator is told it: it goes on while the market role is silent."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from minibot.events.model import STARTING

STALE_MARKET_MS: Final = 30_000
"""Age of data or of the last decision, market time, that is told of."""
SILENT_MS: Final = 5_000
"""Silence of the market role that is none, wall-clock time: looks take about a second."""


def silence_ms(clock_speed: str) -> int:
    """Return the market time after which a market role that said nothing counts as silent.

    It tells its health every 10 s of market time; a fast run passes that in no time, while its
    status and its queues are looked at about once a second.

    Args:
        clock_speed: Market time per wall-clock time, a decimal string.
    """
    return max(STALE_MARKET_MS, int(SILENT_MS * Decimal(clock_speed)))


def data_age_ms(
    told_age_ms: int | None, state: str, told_ms: int, now_ms: int, most_ms: int
) -> int:
    """Return the age of the market data, market ms.

    Of a market role that has fallen silent the age goes on from its last word. One that starts is
    silent while it takes its history; for how long it may, the launcher watches.

    Args:
        told_age_ms: Age in the market role's last `health` event; None where it told none.
        state: State of the role in that event.
        told_ms: Market time of that event, Unix ms.
        now_ms: Market time of now, Unix ms.
        most_ms: Silence that is none, see `silence_ms`.
    """
    silent_ms = now_ms - told_ms
    is_silent = silent_ms >= most_ms and state != STARTING
    return (told_age_ms or 0) + (silent_ms if is_silent else 0)
