"""One stream connection over websocket-client, bounded in time and size.

`recv` blocks in the reader's own thread and answers pings there, so a slow consumer never costs a
pong. The connection closes itself on whatever RFC 6455 forbids a server (masked frames, reserved
bits, wrong opcodes) and on a frame over its limit before it is read. Compression is never offered,
so a small frame can not swell. Text is checked for UTF-8 by the JSON parser.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from requests import adapters
from websocket import ABNF, WebSocket, WebSocketException
from websocket._abnf import frame_buffer

from minibot.exchanges.base import StreamLost
from minibot.exchanges.deadline import ADDRESSES_TRIED, connected
from minibot.exchanges.unread_bytes import unread_bytes
from minibot.kernel.threads import call_after

# The longest real frame seen is 60 kB; a diff of 5000 levels a side would be about 400 kB.
FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
CONTROL_BYTES_MAX: Final = 125  # RFC 6455, 5.5.
BUFFER_BYTES: Final = 64 * 1024
PLAIN_TEXT: Final = 0x81  # The last frame of a text message, no reserved bits (RFC 6455, 5.2).
PLAIN: Final = bytes([PLAIN_TEXT])
LENGTH_FOLLOWS: Final = 126
CLOSE_CODES: Final = {1001: "going away", 1008: "policy", 1006: "no close frame"}


class _BoundedFrames(frame_buffer):
    """Frames of a server, refused when they break the protocol or the size limit."""

    message_bytes = 0

    def recv_header(self) -> None:
        super().recv_header()
        header = self.header
        if header is not None and header[self._HEADER_MASK_INDEX]:
            raise WebSocketException("masked frame from a server")

    def recv_length(self) -> None:
        super().recv_length()
        if self.header is None or self.length is None:
            return
        is_last, opcode = self.header[0], self.header[4]
        if opcode < ABNF.OPCODE_CLOSE:  # Control frames may stand between fragments.
            self.message_bytes += self.length
            if self.message_bytes > FRAME_BYTES_MAX:
                raise WebSocketException(f"message of more than {FRAME_BYTES_MAX} bytes")
            if is_last:
                self.message_bytes = 0
        elif self.length > CONTROL_BYTES_MAX:
            raise WebSocketException(f"control frame of {self.length} bytes")


class _BufferedSocket:
    """Reads a socket in large pieces, and finds plain messages in them.

    websocket-client asks for two to four bytes at a time and takes some fifty microseconds for a
    frame. Nearly all frames of a venue are the plainest there are, so these are taken here.

    Attributes:
        read_ns: Machine time right after the last read of the socket.
        message_bytes: How long a message is, over all that came so far.
    """

    def __init__(self, sock: socket.socket, machine_ns: Callable[[], int]) -> None:
        self._sock = sock
        self._machine_ns = machine_ns
        # One place for all reads: a block for each, cut to what came, would leave holes in memory.
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._rest = b""
        self._at = 0
        self._bytes = self._messages = 0
        self.read_ns = 0

    @property
    def message_bytes(self) -> int:
        return self._bytes // max(1, self._messages) or BUFFER_BYTES

    def recv(self, size: int) -> bytes:
        """Return at least one and at most `size` bytes, or none at the end."""
        if self._at >= len(self._rest):
            self._fill()
        at = self._at
        end = self._at = min(at + size, len(self._rest))
        return self._rest[at:end]

    def _fill(self) -> bool:
        """Read more after the unread rest; False at the end."""
        size = self._sock.recv_into(self._buffer)
        self.read_ns = self._machine_ns()
        self._rest, self._at = self._rest[self._at :] + self._buffer[:size], 0
        return size > 0

    def text_messages(self) -> list[bytes]:
        """Return all messages that are here, if they are whole, short and unmasked text frames.

        Waits for the first of them. Of everything else no byte is taken and nothing is returned; it
        is for websocket-client to judge. May only be called between messages.
        """
        while True:
            messages = self._whole_messages()
            if messages or not self._may_become_one() or not self._fill():
                return messages

    def _whole_messages(self) -> list[bytes]:
        rest, at, left = self._rest, self._at, len(self._rest)
        messages: list[bytes] = []
        while at + 2 <= left and rest[at] == PLAIN_TEXT:
            size, start = rest[at + 1], at + 2
            if size == LENGTH_FOLLOWS:
                size = (rest[start] << 8) + rest[start + 1] if start + 2 <= left else left
                start += 2
            elif size > LENGTH_FOLLOWS:
                break  # Longer than 64 kB, or masked.
            if start + size > left:
                break
            at = start + size
            messages.append(rest[start:at])
        self._bytes += at - self._at
        self._messages += len(messages)
        self._at = at
        return messages

    def _may_become_one(self) -> bool:
        """Return whether more bytes may make the rest here a message of that kind."""
        left = self._rest[self._at : self._at + 2]
        return left in (b"", PLAIN) or (left[0] == PLAIN_TEXT and left[1] <= LENGTH_FOLLOWS)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class WebSocketStream:
    """One connection of `exchanges.base.Stream`.

    Args:
        url: Address, complete with path and query, which name the streams.
        connect_timeout_s: Machine seconds for connecting, handshakes included; one address of the
            host gets a third of them.
        machine_ns: Machine time, stamped on each frame right after the read of the socket that
            completed it.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float,
        machine_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.url = url
        self._connect_timeout_s = connect_timeout_s
        self._machine_ns = machine_ns
        self._websocket = WebSocket(enable_multithread=True, skip_utf8_validation=True)
        self._websocket.frame_buffer = _BoundedFrames(self._websocket._recv, True)
        self._sockets: list[socket.socket] = []
        self._buffer: _BufferedSocket | None = None
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._aborted = False
        self._closing = threading.Lock()

    def open(self) -> None:
        """Connect and shake hands, all within the time limit; once, as nothing is opened again.

        Only the lookup of the name, and an attempt to connect that has begun, may take longer
        (`deadline`); the connection is given up then.

        Raises:
            StreamLost: Not connected in time, refused, redirected, or not trusted (TLS).
        """
        try:
            with call_after(self._connect_timeout_s, self._shut_down):
                sock = self._connected()
                self._buffer = _BufferedSocket(sock, self._machine_ns)
                self._websocket.connect(  # type: ignore[no-untyped-call]  # not typed there
                    self.url,
                    socket=self._buffer,
                    timeout=self._connect_timeout_s,
                    redirect_limit=0,
                    suppress_origin=True,
                )
                sock.settimeout(None)
        except (WebSocketException, OSError, ValueError) as error:
            self._shut_down()
            why = f"{self._host}: not connected: {error or type(error).__name__}"
            raise StreamLost(why[:300]) from error
        if self._aborted:
            self._shut_down()
            raise StreamLost(f"{self._host}: not connected in time")

    @property
    def _host(self) -> str:
        return urlsplit(self.url).netloc

    def _connected(self) -> socket.socket:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        is_secure = parts.scheme == "wss"
        port = parts.port or (443 if is_secure else 80)
        timeout_s = self._connect_timeout_s / ADDRESSES_TRIED
        sock = connected(host, port, timeout_s, lambda: self._aborted)
        sock.settimeout(self._connect_timeout_s)
        self._keep(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if not is_secure:
            return sock
        context = ssl.create_default_context()
        # Some systems have no list of issuers, as with Python of python.org on macOS: that of our
        # requests goes for streams too.
        context.load_verify_locations(adapters.DEFAULT_CA_BUNDLE_PATH)
        secure = context.wrap_socket(sock, server_hostname=host)
        self._keep(secure)
        return secure

    def _keep(self, sock: socket.socket) -> None:
        self._sockets.append(sock)
        if self._aborted:  # While the name was resolved, or TLS replaced the socket.
            self._shut_down()

    def recv(self) -> tuple[int, bytes]:
        """Return machine time of the socket read and one message; pings are answered on the way.

        Raises:
            StreamLost: Closed by the server, by `abort`, or for breaking the protocol.
        """
        if not self._waiting:
            read_ns, messages = self.recv_all()
            self._waiting.extend((read_ns, message) for message in messages)
        return self._waiting.popleft()

    def recv_all(self) -> tuple[int, list[bytes]]:
        """Return the next message, with all others that came whole by the same read.

        Raises:
            StreamLost: Closed by the server, by `abort`, or for breaking the protocol.
        """
        buffer = self._buffer
        if buffer is None:
            raise StreamLost("not connected")
        try:
            messages = buffer.text_messages()
            if messages:
                return buffer.read_ns, messages
            opcode, data = self._websocket.recv_data()
        except (WebSocketException, OSError, ValueError) as error:
            self._shut_down()
            why = f"{self._host}: connection lost: {error or type(error).__name__}"
            raise StreamLost(why[:300]) from error
        if opcode == ABNF.OPCODE_TEXT:
            return buffer.read_ns, [bytes(data)]
        self._shut_down()
        if opcode == ABNF.OPCODE_CLOSE:
            raise StreamLost(f"closed by the server: {_close_text(bytes(data))}")
        raise StreamLost(f"unexpected opcode {opcode}")

    def unread(self) -> int:
        """Return about how many messages wait in the system's buffer; from any thread."""
        buffer = self._buffer
        if buffer is None:
            return 0
        with self._closing:  # A closed descriptor may be another file's already.
            return unread_bytes(self._sockets[-1]) // buffer.message_bytes

    def send(self, text: str) -> None:
        """Send one text message, from any thread; blocks while the socket is full.

        Raises:
            StreamLost: The connection is no more.
        """
        try:
            self._websocket.send(text)
        except (WebSocketException, OSError, ValueError) as error:
            raise StreamLost(f"not sent: {error or type(error).__name__}"[:300]) from error

    def abort(self) -> None:
        """End the connection now, from any thread; a blocked `recv` or `open` ends with it."""
        self._aborted = True
        self._shut_down()

    def _shut_down(self) -> None:
        self._aborted = True
        for sock in self._sockets:
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                continue  # Never connected, or gone already.

    def close(self) -> None:
        """Give the descriptor back; for the reading thread, once it has left `recv`."""
        self._shut_down()
        with self._closing:
            for sock in self._sockets:
                sock.close()


def _close_text(payload: bytes) -> str:
    if len(payload) < 2:
        return "no code"
    code = int.from_bytes(payload[:2], "big")
    reason = payload[2:122].decode("utf-8", "replace")
    return f"{code} {reason or CLOSE_CODES.get(code, '')}".strip()
