"""Total time limit for HTTP requests, which timeouts per read cannot give.

A server that sends one byte a second, in headers or body, never trips a socket's own timeout. So
one timer per request shuts the socket down when the time is over, which ends any read. It cannot
end the lookup of a host's name: that takes as long as the system lets it, and its time counts. Nor
can it end an attempt to connect: the one that has begun is the last, and ends by its own timeout.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, zip_longest
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from minibot.kernel.threads import call_after

# A host has several addresses, and the first may be one that drops everything: each gets this part
# of the time, so that another is tried within it.
ADDRESSES_TRIED: Final = 3


def connected(
    host: str, port: int, timeout_s: float | None, is_over: Callable[[], bool]
) -> socket.socket:
    """Return a connection to the first address of a host that takes one, IPv6 and IPv4 by turns.

    Behind many a router IPv6 leads nowhere, and a host may have eight such addresses before its
    first of the other kind.

    Args:
        host: Name or address.
        port: Of the host.
        timeout_s: Machine seconds for one address.
        is_over: Whether no further address is to be tried: a host may have a dozen.

    Raises:
        OSError: The name is unknown, or no address took the connection; the last one's error.
    """
    found = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
    first = [each for each in found if each[0] == found[0][0]]
    other = [each for each in found if each[0] != found[0][0]]
    failed = OSError(f"{host}: no address")
    for each in filter(None, chain.from_iterable(zip_longest(first, other))):
        try:
            return _connected_to(each[:3], each[4], timeout_s)
        except OSError as error:
            failed = error
        if is_over():
            break
    raise failed


def _connected_to(
    kind: tuple[int, int, int], address: Any, timeout_s: float | None
) -> socket.socket:
    sock = socket.socket(*kind)
    try:
        sock.settimeout(timeout_s)
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        sock.close()
        raise
    return sock


class Deadline:
    """Timer that shuts down the sockets in use when the time of the current request is over."""

    def __init__(self) -> None:
        self.expired = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Limit the block to `seconds` of machine time."""
        self.expired = False
        with call_after(seconds, self.expire):
            yield

    def watch(self, sock: socket.socket) -> None:
        """Watch a socket that the current request may wait on; shut it down if time is up."""
        with self._lock:
            self._sockets = [known for known in self._sockets if known.fileno() >= 0]
            if sock not in self._sockets:
                self._sockets.append(sock)
            if self.expired:  # While the name was resolved, or TLS replaced the socket.
                self._shut_down()

    def expire(self) -> None:
        """Shut down all sockets in use, from any thread."""
        self.expired = True
        with self._lock:
            self._shut_down()

    def _shut_down(self) -> None:
        for sock in self._sockets:
            try:
                # The plain class's method: `SSLSocket.shutdown` would drop the TLS object that the
                # reading thread is using.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                continue  # Closed already: no thread reads it.


def _opened(connection: HTTPConnection, deadline: Deadline) -> socket.socket:
    """Return the watched socket of a connection; what fails is an error of the library's own."""
    timeout_s = connection.timeout
    try:
        host, port = connection.host, connection.port or 0
        sock = connected(host, port, timeout_s, lambda: deadline.expired)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, f"not within {timeout_s} s") from error
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error
    deadline.watch(sock)
    return sock


def _connection_classes(deadline: Deadline) -> dict[str, type[Any]]:
    class WatchedHTTP(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _opened(self, deadline)

    class WatchedHTTPS(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _opened(self, deadline)

        def connect(self) -> None:
            super().connect()
            # TLS wrapping moved the descriptor to a new object.
            if self.sock is not None:
                deadline.watch(self.sock)

    class WatchedHTTPPool(HTTPConnectionPool):
        ConnectionCls = WatchedHTTP

    class WatchedHTTPSPool(HTTPSConnectionPool):
        ConnectionCls = WatchedHTTPS

    return {"http": WatchedHTTPPool, "https": WatchedHTTPSPool}


class DeadlineAdapter(HTTPAdapter):
    """Transport of `requests` whose sockets a `Deadline` can shut down; it never retries."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool with connections that the deadline watches."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _connection_classes(self._deadline)


def new_session(deadline: Deadline, headers: Mapping[str, str]) -> requests.Session:
    """Return a session that reads no proxy, cookie or credential of the environment."""
    session = requests.Session()
    session.trust_env = False
    session.headers = CaseInsensitiveDict(headers)
    adapter = DeadlineAdapter(deadline)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session
