"""One thread for one stream connection: connect, read, hand over, and nothing else.

Pings are answered inside `recv`, so neither a slow disk nor a slow loop ever costs a pong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from minibot.exchanges.base import Stream, StreamLost


class Opened(NamedTuple):
    """A connection stands."""

    connection: int


class Frame(NamedTuple):
    """One message, with machine time of its socket read."""

    connection: int
    recv_mono_ns: int
    data: bytes


class Lost(NamedTuple):
    """A connection is no more, or could not be made."""

    connection: int
    why: str


FromReader = Opened | Frame | Lost


class Reader:
    """Owns one connection; what it gets goes through `put`, from its own thread."""

    def __init__(self, number: int, stream: Stream, put: Callable[[FromReader], None]) -> None:
        self.number = number
        self._stream = stream
        self._put = put
        self._thread = threading.Thread(target=self._run, name=f"stream-{number}", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def _run(self) -> None:
        stream, number, put = self._stream, self.number, self._put
        try:
            stream.open()
            put(Opened(number))
            while True:
                put(Frame(number, *stream.recv()))
        except StreamLost as error:
            put(Lost(number, str(error)))
        finally:
            stream.close()

    def abort(self) -> None:
        """End the connection now; its thread ends by itself."""
        self._stream.abort()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(timeout_s)
