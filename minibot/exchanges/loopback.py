"""Loopback: hosts whose data is never a venue's, and ports that only this machine reaches."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv6Address, ip_address
from typing import Final

LOOPBACK: Final = "127.0.0.1"


def is_loopback(host: str) -> bool:
    """Return whether the host of an address is this machine, in any spelling."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        try:
            # `127.1` and `0x7f000001` are valid addresses too when a connection is opened.
            address = ip_address(socket.inet_aton(name))
        except (OSError, ValueError):
            return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


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
