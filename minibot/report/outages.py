"""Outages of a run: when market data was missing, from its `gap` events, each time counted once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from minibot.events.model import Gap


@dataclass(slots=True)
class Outage:
    """Time without market data of at least one symbol, Unix ms."""

    from_ts: int
    to_ts: int
    symbols: set[str] = field(default_factory=set)
    why: str = ""

    @property
    def length_ms(self) -> int:
        """Length of the outage, ms."""
        return self.to_ts - self.from_ts

    def within(self, from_ts: int, to_ts: int) -> int:
        """Return how many ms of a span it took."""
        return max(0, min(self.to_ts, to_ts) - max(self.from_ts, from_ts))


def outages_of(gaps: Iterable[Gap]) -> list[Outage]:
    """Return gaps as outages, oldest first; those that overlap or touch are one."""
    found: list[Outage] = []
    for gap in sorted(gaps, key=lambda each: (each.from_ts, each.to_ts)):
        if not found or gap.from_ts > found[-1].to_ts:
            found.append(Outage(gap.from_ts, gap.to_ts, why=gap.why))
        last = found[-1]
        last.to_ts = max(last.to_ts, gap.to_ts)
        last.symbols.add(gap.symbol)
    return found
