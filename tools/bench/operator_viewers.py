"""Viewers of a page: so many open streams, each read and thrown away, until standard input ends.

    python -m tools.bench.operator_viewers PORT TOKEN_FILE COUNT

They are no browsers: what a page costs in a browser is that machine's own.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from pathlib import Path
from typing import Final

from minibot.exchanges.loopback import LOOPBACK
from minibot.ops.web.app import API

CHUNK: Final = 1 << 16
OK: Final = b"HTTP/1.1 200"
ANSWER_S: Final = 60.0
AGAIN_S: Final = 0.2


def main() -> int:
    """Hold the streams open; print `ready` once every one was answered."""
    port, token = int(sys.argv[1]), Path(sys.argv[2]).read_text("ascii").strip()
    waiting = selectors.DefaultSelector()
    for _ in range(int(sys.argv[3])):
        waiting.register(opened(port, token), selectors.EVENT_READ)
    print("ready", flush=True)
    waiting.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if not isinstance(key.fileobj, socket.socket):
                return 0
            if not key.fileobj.recv(CHUNK):
                waiting.unregister(key.fileobj)  # The night has ended.


def opened(port: int, token: str) -> socket.socket:
    """Return an answered stream of a page.

    Raises:
        OSError: The page refused it, or did not answer.
    """
    head = f"GET {API}/stream HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nAuthorization: Bearer {token}"
    deadline = time.monotonic() + ANSWER_S
    while True:
        try:
            found = socket.create_connection((LOOPBACK, port), ANSWER_S)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(AGAIN_S)
    found.sendall(f"{head}\r\n\r\n".encode())
    answer = found.recv(CHUNK)
    if not answer.startswith(OK):
        raise OSError(f"the page answers {answer[:80]!r}")
    return found


if __name__ == "__main__":
    sys.exit(main())
