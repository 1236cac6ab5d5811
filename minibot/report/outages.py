"""Outages of a run: when market data was missing, from its `gap` events, each time counted once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import structs

from minibot.events.model import Book, Gap, Payload, Universe

BOOKS: Final = "depth"
"""Stream whose loss is a gap at once, and whose next book ends it."""


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


class GapLog:
    """Gaps of a run's market data, each with its own two times.

    A lost book is a gap twice: when the loss is known, and right before the book that ends it, up
    to that. Where none came, `end` adds the second, up to the end of the data. Other streams' gaps
    stand as written.
    """

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self._open: dict[str, Gap] = {}

    def take(self, payloads: Sequence[Payload]) -> None:
        """Take events of one type, in the order of their queue."""
        first = payloads[0]
        if isinstance(first, Gap):
            gaps = [payload for payload in payloads if isinstance(payload, Gap)]
            self.gaps += gaps
            self._open.update((gap.symbol, gap) for gap in gaps if gap.stream == BOOKS)
        elif self._open and isinstance(first, Book | Universe):
            for payload in payloads:
                self._close(payload)

    def _close(self, payload: Payload) -> None:
        """End the gap of a book that came, and of symbols that are not followed any more."""
        if isinstance(payload, Book):
            self._open.pop(payload.symbol, None)
        elif isinstance(payload, Universe):
            followed = {*payload.traded, *payload.kept}
            self._open = {name: gap for name, gap in self._open.items() if name in followed}

    def end(self, ts: int) -> None:
        """Let the gaps that lasted to the end end there, Unix ms."""
        self.gaps += [structs.replace(gap, to_ts=ts) for gap in self._open.values()]
        self._open.clear()


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
