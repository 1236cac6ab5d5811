"""Age of the market data as operators see it: it grows while the market role is silent."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from minibot.events.model import STARTING
from minibot.report.figures import clock

STALE_MARKET_MS: Final = 30_000
"""Least silence that counts, market ms: three times the market role's 10 s between two healths."""
SILENT_MS: Final = 5_000
"""Least silence that counts, wall-clock ms: a look at the role comes about once a second."""


def silence_ms(clock_speed: str) -> int:
    """Return the silence from which a role counts as silent and its data as old, market ms.

    It is `STALE_MARKET_MS`. Above speed 6 it is the market time of `SILENT_MS` on the wall clock,
    which is longer.

    Args:
        clock_speed: Market time per wall-clock time, a decimal string.
    """
    return max(STALE_MARKET_MS, int(SILENT_MS * Decimal(clock_speed)))


def data_age_ms(
    reported_age_ms: int | None, state: str, reported_ms: int, now_ms: int, most_ms: int
) -> int:
    """Return the age of the market data, market ms.

    It is the reported age. Once the market role is silent, the whole silence is added. A role in
    state STARTING never counts as silent: it loads its history, for a time that the launcher
    bounds.

    Args:
        reported_age_ms: Age in the market role's last `health` event; None, for none, counts as 0.
        state: State of the role in that event.
        reported_ms: Market time of that event, Unix ms.
        now_ms: Current market time, Unix ms.
        most_ms: Silence from which the role is silent, market ms; see `silence_ms`.
    """
    silent_ms = now_ms - reported_ms
    is_silent = silent_ms >= most_ms and state != STARTING
    return (reported_age_ms or 0) + (silent_ms if is_silent else 0)


def price_ms_of(status: Mapping[str, Any]) -> int | None:
    """Return the market time of a status's newest price, Unix ms; None before the first."""
    market = status["market"]
    # A launcher of an older release tells no `price_ms`.
    found: int | None = market.get("price_ms", market.get("market_ms"))
    return found


def silence_of(status: Mapping[str, Any]) -> list[str]:
    """Say since when a real market sends no price, and what to do; empty while it does."""
    host, price_ms = status.get("host"), price_ms_of(status)
    if price_ms is None or host is None or status["ended"] is not None:
        return []
    if status["now_ms"] - price_ms < STALE_MARKET_MS:
        return []
    return [
        f"no price from {host} since {clock(price_ms)}: check the network, a proxy, and whether "
        "the host is blocked where you are"
    ]
