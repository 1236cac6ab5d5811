"""Shard of the recorder: symbols that share a connection, and how its successor takes over.

A planned successor opens while the active connection goes on. Its messages are held back; those of
the active connection are remembered. When the active one has ended, messages that only the
successor brought are written behind it, so that each message is on the tape once, in the order of
its stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from minibot.events.unit_sizes import NS_PER_MS
from minibot.exchanges.base import Stream
from minibot.market.backoff import Backoff
from minibot.market.reader import Reader


@dataclass(slots=True)
class Shard:
    """Active connection of the shard, and perhaps its successor; number 0 means none."""

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
    standby_opened_ns: int = 0
    is_standby_leaving: bool = False
    hand_over_ms: int | None = None
    _heard: set[bytes] = field(default_factory=set)
    _held: list[tuple[int, bytes]] = field(default_factory=list)

    def shift(self, step_ns: int) -> None:
        """Move all noted times by a step of the clock."""
        step_ms = step_ns // NS_PER_MS
        self.last_ns += step_ns
        self.renew_at_ms += step_ms
        if self.due_ms is not None:
            self.due_ms += step_ms
        if self.hand_over_ms is not None:
            self.hand_over_ms += step_ms
        self._held = [(at_ns + step_ns, data) for at_ns, data in self._held]

    def begin_renewal(self, reader: Reader, number: int) -> None:
        """Note a successor that is being opened."""
        self.standby, self.standby_number = reader, number

    def hear(self, data: bytes) -> None:
        """Remember a message of the active connection while there is a successor."""
        if self.standby is not None:
            self._heard.add(data)

    def hold(self, at_ns: int, data: bytes) -> None:
        """Hold back a message of the successor."""
        self._held.append((at_ns, data))

    def held(self) -> Iterator[tuple[int, bytes]]:
        """Yield the messages that only the successor has brought so far, once."""
        held, self._held = self._held, []
        for at_ns, data in held:
            if data not in self._heard:
                self.last_ns = max(self.last_ns, at_ns)
                yield at_ns, data

    def promote(self) -> None:
        """Make the successor the active connection."""
        self.reader, self.number = self.standby, self.standby_number
        self.is_open, self.is_given_up = self.hand_over_ms is not None, False
        self.forget_standby()

    def forget_standby(self) -> None:
        """Forget the successor and all held or remembered messages."""
        self.standby, self.standby_number, self.hand_over_ms = None, 0, None
        self.is_standby_leaving = False
        self._heard.clear()
        self._held.clear()
