"""Ports of this machine alone: all that minibot itself ever listens on."""

from __future__ import annotations

import os
import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"


def bound(port: int) -> socket.socket:
    """Return a TCP socket that is bound to a port of this machine; 0 takes any free one.

    Raises:
        OSError: The port is taken, or reserved for an administrator.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((LOOPBACK, port))
    except OSError:
        found.close()
        raise
    return found


def is_free(port: int) -> bool:
    """Return whether a port of this machine can be listened on."""
    try:
        bound(port).close()
    except OSError:
        return False
    return True
