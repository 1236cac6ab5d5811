"""What the market role's session needs of its process: a clock, queues, and when to end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from minibot.events.model import Payload
from minibot.market.elapsed_clock import MarketClock
from minibot.market.notices import Notice


class World(Protocol):
    """What the session needs of its process."""

    @property
    def clock(self) -> MarketClock:
        """The run's clock."""

    def machine_ns(self) -> int:
        """Return machine time in nanoseconds."""

    def write(self, payloads: list[tuple[Payload, int]]) -> None:
        """Append root events with their times to `market_ticks`; durable on return."""

    def incident(self, notice: Notice) -> None:
        """Append one incident."""

    def health(self, state: str, fields: Mapping[str, Any]) -> None:
        """Append one health event."""

    def ready(self) -> None:
        """History and subscriptions stand."""

    def turn(self, waiting: int) -> None:
        """The loop has turned once more, and so many items wait."""

    def still_ms(self) -> int:
        """Return for how many machine milliseconds this process has stood still in all."""

    def end_code(self) -> int | None:
        """Return the exit code when the role has to end now, else None."""
