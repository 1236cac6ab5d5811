"""Interface from the market role's session to its process: a clock, queues, and when to end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from minibot.events.model import Payload
from minibot.market.elapsed_clock import MarketClock
from minibot.market.notices import Notice


class World(Protocol):
    """Process of a session, as the session sees it."""

    @property
    def clock(self) -> MarketClock:
        """Return the run's clock."""

    def machine_ns(self) -> int:
        """Return machine time in nanoseconds."""

    def write(self, payloads: list[tuple[Payload, int]]) -> None:
        """Append root events with their times to `market_ticks`; durable on return."""

    def incident(self, notice: Notice) -> None:
        """Append one incident."""

    def health(self, state: str, fields: Mapping[str, Any]) -> None:
        """Append one health event."""

    def ready(self) -> None:
        """Report that history and subscriptions are complete."""

    def turn(self, waiting: int) -> None:
        """Count a turn of the loop, with the number of waiting messages."""

    def still_ms(self) -> int:
        """Return the total time in machine milliseconds that this process stood still."""

    def end_code(self) -> int | None:
        """Return the exit code when the role has to end now, else None."""
