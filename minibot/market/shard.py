"""Symbols that share a connection of the recorder, and how one connection follows another.

A planned successor is opened beside the connection that counts. What it brings is held back; what
the other one still brings is remembered. When that one has ended, what only the successor had is
written behind it, so that each message is on the tape once, in the order of its stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from minibot.exchanges.base import Stream
from minibot.market.backoff import Backoff
from minibot.market.reader import Reader


@dataclass(slots=True)
class Shard:
    """One connection that counts, and perhaps its successor; numbers are 0 where there is none."""

    symbols: tuple[str, ...]
    open_stream: Callable[[], Stream]
    reader: Reader | None = None
    number: int = 0
    is_open: bool = False
    is_given_up: bool = False
    due_ms: int | None = 0
    renew_at_ms: int = 0
    last_ns: int = 0
    lost_why: str = ""
    backoff: Backoff = field(default_factory=lambda: Backoff(0, 0, 0))
    standby: Reader | None = None
    standby_number: int = 0
    hand_over_ms: int | None = None
    _heard: set[bytes] = field(default_factory=set)
    _held: list[tuple[int, bytes]] = field(default_factory=list)

    def begin_renewal(self, reader: Reader, number: int) -> None:
        """A successor is being opened."""
        self.standby, self.standby_number = reader, number

    def hear(self, data: bytes) -> None:
        """Remember what the connection that counts has brought, while a successor is there."""
        if self.standby is not None:
            self._heard.add(data)

    def hold(self, at_ns: int, data: bytes) -> None:
        """Keep what the successor has brought."""
        self._held.append((at_ns, data))

    def held(self) -> Iterator[tuple[int, bytes]]:
        """Yield what the successor alone has brought so far, once."""
        held, self._held = self._held, []
        for at_ns, data in held:
            if data not in self._heard:
                self.last_ns = max(self.last_ns, at_ns)
                yield at_ns, data

    def promote(self) -> None:
        """The successor is the connection that counts."""
        self.reader, self.number = self.standby, self.standby_number
        self.is_open, self.is_given_up = self.hand_over_ms is not None, False
        self.forget_standby()

    def forget_standby(self) -> None:
        """There is no successor any more."""
        self.standby, self.standby_number, self.hand_over_ms = None, 0, None
        self._heard.clear()
        self._held.clear()
