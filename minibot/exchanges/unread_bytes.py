"""Unread bytes of a connection: received by the operating system, not yet by its reader.

A reader that gets too little CPU time leaves messages in the buffer of the socket, where they are
no less late than in a queue of ours.
"""

from __future__ import annotations

import socket
import sys
from typing import Final

if sys.platform == "win32":
    import ctypes

    _FIONREAD: Final = 0x4004667F
    _ioctlsocket: Final = ctypes.WinDLL("ws2_32").ioctlsocket
    _ioctlsocket.argtypes = (ctypes.c_size_t, ctypes.c_ulong, ctypes.POINTER(ctypes.c_ulong))
    _ioctlsocket.restype = ctypes.c_int
else:
    import fcntl
    import termios


def unread_bytes(sock: socket.socket) -> int:
    """Return how many bytes wait in the system's buffer of a socket, encrypted ones with TLS.

    Returns 0 for a socket that is closed, or where the system does not tell.
    """
    try:
        return _unread(sock.fileno())
    except (OSError, ValueError):
        return 0


if sys.platform == "win32":

    def _unread(descriptor: int) -> int:
        count = ctypes.c_ulong(0)
        is_refused = _ioctlsocket(descriptor, _FIONREAD, ctypes.byref(count))
        return 0 if is_refused else count.value

else:

    def _unread(descriptor: int) -> int:
        answer = fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
        return int.from_bytes(answer, sys.byteorder)
