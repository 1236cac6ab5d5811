"""Reader thread of one stream connection: connect, read, hand over, and nothing else.

Pings are answered inside `recv`, so neither a slow disk nor a slow loop ever delays a pong.
"""

from __future__ import annotations

import contextlib
import time
from typing import NamedTuple, Protocol

from minibot.exchanges.base import Stream, StreamLost
from minibot.kernel.threads import DaemonThread
from minibot.market.gathering import Gathering


class Opened(NamedTuple):
    """A connection was established."""

    connection: int


class Frames(NamedTuple):
    """Messages of one read of the socket, at least one, with its machine time."""

    connection: int
    recv_mono_ns: int
    messages: list[bytes]


class Lost(NamedTuple):
    """A connection was lost, or could not be established."""

    connection: int
    why: str


FromReader = Opened | Frames | Lost


class Put(Protocol):
    """Callable that takes the items of a reader."""

    def __call__(self, item: FromReader, messages: int = 1, /) -> None:
        """Take an item that holds `messages` messages; may block."""


class Reader:
    """Owner of one connection; its items go through `put`, from its own thread."""

    def __init__(self, number: int, stream: Stream, put: Put) -> None:
        self.number = number
        self._stream = stream
        self._put = put
        self._thread = DaemonThread(self._run, f"stream-{number}")

    def start(self) -> None:
        """Start connecting."""
        self._thread.start()

    def _run(self) -> None:
        stream, number, put = self._stream, self.number, self._put
        why, gathering = "its reader failed", Gathering()
        try:
            stream.open()
            put(Opened(number))
            while True:
                recv_mono_ns, messages = stream.recv_all()
                put(Frames(number, recv_mono_ns, messages), len(messages))
                pause_s = gathering.pause_s(recv_mono_ns, len(messages))
                if pause_s:
                    time.sleep(pause_s)
        except StreamLost as error:
            why = str(error)
        finally:
            stream.close()
            put(Lost(number, why))

    def send(self, text: str) -> None:
        """Send one control message, in a thread of its own: a full socket delays nothing else.

        The venue's answer, or the loss of the connection, tells whether it arrived.
        """
        DaemonThread(lambda: self._send(text), f"control-{self.number}").start()

    def _send(self, text: str) -> None:
        with contextlib.suppress(StreamLost):  # The reading thread has met, or will meet, the same.
            self._stream.send(text)

    def unread(self) -> int:
        """Return roughly how many received messages were not read yet."""
        return self._stream.unread()

    def abort(self) -> None:
        """End the connection now; its thread ends by itself."""
        self._stream.abort()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(timeout_s)
