"""Streams of one connection, and the control messages that subscribe to them.

The first streams stand in the connection's address; the rest is requested in batches. One message
is under way at a time. The next one waits for the answer and for its turn, so that many changes at
once stay below the venue's limit of messages. Pure: times come in as values, messages go out as
text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from minibot.exchanges.base import Streams
from minibot.exchanges.venue_facts import SUBSCRIBE, UNSUBSCRIBE, Reply
from minibot.market.sharding import Groups

# The venue answers in milliseconds; without an answer the state of the connection is unknown.
ANSWER_MS_MAX: Final = 10_000


class _Message(NamedTuple):
    id: int
    method: str
    groups: Groups


class Subscriptions:
    """Groups of one connection.

    Args:
        groups: Groups that the connection is to carry.
        named: Those of them that its address names.
        streams: Of the venue: its control messages, and how often they may go.
    """

    def __init__(
        self, groups: Mapping[str, Sequence[str]], named: Iterable[str], streams: Streams
    ) -> None:
        self._control, self._limits = streams.control, streams.limits
        self._wanted: Groups = {name: tuple(streams) for name, streams in groups.items()}
        self._held: Groups = {name: self._wanted[name] for name in named}
        self._again: dict[str, None] = {}
        self._under_way: _Message | None = None
        self._sent_ms = -self._limits.message_interval_ms
        self._count = 0
        self.errors = 0

    @property
    def held(self) -> tuple[str, ...]:
        """Return the names of the groups that the venue sends on this connection."""
        return tuple(self._held)

    @property
    def is_complete(self) -> bool:
        """Return True when the connection carries exactly the groups that it should."""
        return self._under_way is None and not self._again and self._held == self._wanted

    def is_sent(self, name: str) -> bool:
        """Return whether the venue sends a group, and no message asks it to stop."""
        message = self._under_way
        is_ending = message is not None and name in message.groups
        return name in self._held and name not in self._again and not is_ending

    # --- wishes -------------------------------------------------------------------------------

    def want(self, groups: Mapping[str, Sequence[str]]) -> None:
        """Carry these groups too."""
        self._wanted.update({name: tuple(streams) for name, streams in groups.items()})

    def drop(self, names: Iterable[str]) -> None:
        """Stop carrying these groups."""
        for name in names:
            self._wanted.pop(name, None)
            self._again.pop(name, None)

    def renew(self, names: Iterable[str]) -> None:
        """Subscribe again to these groups: the venue should send them, but does not."""
        self._again.update(dict.fromkeys(name for name in names if name in self._held))

    # --- messages -----------------------------------------------------------------------------

    def due_ms(self) -> int | None:
        """Return the time from which the next message may be sent, ms; None without one."""
        if self._under_way is not None or self.is_complete:
            return None
        return self._sent_ms + self._limits.message_interval_ms

    def message(self, now_ms: int) -> str | None:
        """Return the control message to send now, if there is one; it counts as sent."""
        due_ms = self.due_ms()
        if due_ms is None or now_ms < due_ms:
            return None
        leaving = [
            name
            for name, streams in self._held.items()
            if name in self._again or self._wanted.get(name) != streams
        ]
        if leaving:
            return self._send(UNSUBSCRIBE, leaving, self._held, now_ms)
        coming = [name for name in self._wanted if name not in self._held]
        return self._send(SUBSCRIBE, coming, self._wanted, now_ms)

    def _send(self, method: str, names: Sequence[str], of: Groups, now_ms: int) -> str:
        batch: Groups = {}
        params: list[str] = []
        for name in names:
            if params and len(params) + len(of[name]) > self._limits.batch_streams_max:
                break
            batch[name] = of[name]
            params += of[name]
        self._count += 1
        self._sent_ms = now_ms
        self._under_way = _Message(self._count, method, batch)
        return self._control(method, params, self._count)

    def on_reply(self, reply: Reply) -> tuple[str, tuple[str, ...]]:
        """Take an answer; return the method and groups that it settled, ("", ()) for none.

        A refused message settles nothing: its request is sent again.
        """
        message = self._under_way
        if message is None or (reply.id is not None and reply.id != message.id):
            return "", ()
        self._under_way = None
        if reply.error:
            self.errors += 1
            return "", ()
        for name, streams in message.groups.items():
            self._again.pop(name, None)
            if message.method == UNSUBSCRIBE:
                self._held.pop(name, None)
            else:  # Also of a group that was dropped meanwhile: it is unsubscribed next.
                self._held[name] = streams
        return message.method, tuple(message.groups)

    def is_overdue(self, now_ms: int) -> bool:
        """Return whether an answer is overdue."""
        return self._under_way is not None and now_ms - self._sent_ms >= ANSWER_MS_MAX
