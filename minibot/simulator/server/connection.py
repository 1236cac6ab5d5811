"""Stream connection: its subscriptions, its unsent frames, pings and limits.

Frames are queued and written together once per turn of the player. The server never waits for a
slow client: a client with too many unread bytes is disconnected, as at the venue.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Final

import orjson

from minibot.simulator.server import wire
from minibot.simulator.server.control import Subscriptions, answer
from minibot.simulator.server.limits import RateWindow

MESSAGES_PER_S_MAX: Final = 5
PING_INTERVAL_MS: Final = 20_000
PONG_TIMEOUT_MS: Final = 60_000
# At 60 times the speed a minute is one second, which a busy machine may keep a client waiting.
PONG_TIMEOUT_MACHINE_MS_MIN: Final = 5_000
LIFE_MS_MAX: Final = 24 * 3_600_000

# Three times the demo tape; a client this far behind does not catch up.
UNREAD_BYTES_MAX: Final = 32 << 20
CLOSE_BYTES_MAX: Final = 1 << 16


def _never() -> bool:
    return False


class Connection:
    """A connected client; while `is_held` returns true, only a close sends what is queued."""

    def __init__(
        self,
        transport: asyncio.Transport,
        held: Subscriptions,
        *,
        micros: bool,
        pace_ms: int,
        speed: Fraction,
        is_held: Callable[[], bool] = _never,
    ) -> None:
        self.held = held
        self.in_micros = micros
        self.sent = 0
        self.messages = 0
        self.is_open = True
        self._transport = transport
        self._is_held = is_held
        self._queued: list[bytes] = []
        self._rate = RateWindow(MESSAGES_PER_S_MAX, 1000)
        self._opened_ms = pace_ms
        self._pinged_ms = pace_ms
        self._unanswered: dict[bytes, int] = {}  # Payload of a ping: when it was sent.
        self._pong_timeout_ms = max(PONG_TIMEOUT_MS, int(PONG_TIMEOUT_MACHINE_MS_MIN * speed))
        # This class enforces the bound; the transport must not pause writing by itself.
        transport.set_write_buffer_limits(high=2 * UNREAD_BYTES_MAX)

    def queue(self, framed: bytes) -> None:
        """Queue one WebSocket frame."""
        self._queued.append(framed)
        self.sent += 1

    def flush(self) -> bool:
        """Write the queued frames unless they are held.

        Returns:
            False if the client was too slow and was disconnected.
        """
        return self._is_held() or self._write()

    def _write(self) -> bool:
        if not self._queued:
            return True
        queued, self._queued = self._queued, []
        if not self.is_open or self._transport.is_closing():
            return True
        if self._transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            self.reset()
            return False
        self._transport.write(b"".join(queued))
        return True

    def count_message(self, pace_ms: int) -> bool:
        """Count an incoming message; return False if the client sends too many."""
        self.messages += 1
        return self._rate.add(pace_ms)

    def control(self, text: str | bytes, shape: str) -> None:
        """Answer one control message, before any data that follows from it.

        Args:
            text: The message.
            shape: Form of errors, one of `control.SHAPES`.
        """
        self.queue(wire.frame(wire.TEXT, orjson.dumps(answer(self.held, text, shape))))
        self.flush()

    def answer_ping(self, payload: bytes) -> None:
        """Answer a client's ping with a copy of its payload."""
        self._queued.append(wire.frame(wire.PONG, payload))
        self.flush()

    def is_answer(self, payload: bytes) -> bool:
        """Take a pong; only a copy of a ping's payload keeps the connection alive.

        Such an answer does not count as a message here. The venue counts it, but it pings once in
        20 s; at high speed a client that was busy answers several pings in one millisecond.
        """
        if payload not in self._unanswered:
            return False
        for older in list(self._unanswered):
            del self._unanswered[older]
            if older == payload:
                break  # It answers the pings before it too.
        return True

    def ping_if_due(self, pace_ms: int, now_ms: int) -> bool:
        """Send a ping when it is due; return False if the last ones were not answered."""
        waiting_since_ms = next(iter(self._unanswered.values()), pace_ms)
        if pace_ms - waiting_since_ms >= self._pong_timeout_ms:
            return False
        if pace_ms - self._pinged_ms >= PING_INTERVAL_MS:
            self._pinged_ms = pace_ms
            payload = f"{now_ms}-{pace_ms}".encode()
            self._unanswered[payload] = pace_ms
            self._queued.append(wire.frame(wire.PING, payload))
        return True

    def is_too_old(self, pace_ms: int) -> bool:
        """Return whether the connection is 24 hours old."""
        return pace_ms - self._opened_ms >= LIFE_MS_MAX

    def close(self, code: int, reason: str) -> None:
        """Send a close frame after the queued frames and end the connection."""
        if self.is_open:
            self._queued.append(wire.close_frame(code, reason))
            self._write()
            self.is_open = False
            if self._transport.get_write_buffer_size() > CLOSE_BYTES_MAX:
                self.reset()  # The client does not read; a close would never end.
            else:
                self._transport.close()

    def write_raw(self, parts: Iterable[bytes]) -> None:
        """Queue bytes as they are and write them unless frames are held, for faults."""
        self._queued.extend(parts)
        self.flush()

    def reset(self) -> None:
        """Cut the connection with a TCP reset, without a close frame."""
        self.is_open = False
        self._queued = []
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:  # Closed by the loop after a hang-up.
            # Linger of zero seconds makes the kernel send RST in place of FIN.
            linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()
