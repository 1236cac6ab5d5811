"""Public archive of Binance (data.binance.vision): download of its files.

Each file has its sha256 next to it as `.CHECKSUM`. Bodies come whole or not at all: limited in time
and size, checked against their length, and a redirect is followed only to a host on the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Final, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from minibot.exchanges.base import (
    MALFORMED,
    REDIRECT,
    TIMEOUT,
    UNREACHABLE,
    RestError,
)
from minibot.exchanges.binance.rest import judge
from minibot.exchanges.deadline import Deadline, new_session
from minibot.exchanges.loopback import is_loopback
from minibot.exchanges.public_http import CHUNK_BYTES, root_cause

CHECKSUM: Final = ".CHECKSUM"
# A month of seconds is about 150 MB packed.
BODY_BYTES_MAX: Final = 512 * 1024 * 1024
# A checksum is one line of 64 digits and a name; error answers are as short.
CHECKSUM_BYTES_MAX: Final = 1024
REDIRECTS_MAX: Final = 3

Kept = TypeVar("Kept")

_CHECKSUM_LINE: Final = re.compile(r"([0-9a-fA-F]{64}) [ *](\S+)\s*")


class ArchiveHost:
    """Client for the files of the archive, for one thread at a time.

    Args:
        base_url: Scheme, host and port, such as `https://data.binance.vision`.
        hosts: Hosts (with their port, where one is named) to which a redirect may lead.
        connect_timeout_s: Machine seconds for one address of the host.
        total_timeout_s: Machine seconds for a whole file.

    Attributes:
        is_loopback: Whether the host is this machine, so that its data are no venue's.
    """

    def __init__(
        self,
        base_url: str,
        *,
        hosts: Collection[str],
        connect_timeout_s: float,
        total_timeout_s: float,
    ) -> None:
        parts = urlsplit(base_url)
        is_more = parts.username or parts.path.strip("/") or parts.query or parts.fragment
        if parts.scheme not in ("http", "https") or not parts.hostname or is_more:
            raise ValueError(f"archive address {base_url!r}: expected http(s)://host[:port]")
        self._base = f"{parts.scheme}://{parts.netloc}/"
        self.is_loopback = is_loopback(parts.hostname)
        self._scheme = parts.scheme
        self._hosts = frozenset(hosts) | {parts.netloc}
        self._timeouts = (connect_timeout_s, total_timeout_s)
        self._deadline = Deadline()
        self._session = new_session(self._deadline, {"Accept-Encoding": "identity"})

    def close(self) -> None:
        """End a request in flight and close all connections; a later one connects again."""
        self._deadline.expire()
        self._session.close()

    def fetch(
        self,
        path: str,
        keep: Callable[[Iterator[bytes]], Kept],
        *,
        bytes_max: int = BODY_BYTES_MAX,
    ) -> Kept | None:
        """Pass the body of a file on as it comes, so that no file has to fit into memory.

        Args:
            path: Below the host.
            keep: Takes the pieces of the body. Its result counts only once this returns: a body may
                turn out cut short in the pieces, or after the last one. Its errors reach the
                caller; but an OSError or ValueError of its own is taken for one of the host.
            bytes_max: A longer body is refused while it comes.

        Returns:
            The result of `keep`; None if the archive has no such file.

        Raises:
            RestError: No whole body: timeout, cut short, too long, a redirect elsewhere, or the
                host's error.
        """
        try:
            with self._deadline.within(self._timeouts[1]):
                kept = self._follow(path, keep, bytes_max)
            if self._deadline.expired:
                raise TimeoutError
        except (requests.RequestException, HTTPError, OSError) as error:
            raise self._no_answer(path, error) from error
        except ValueError as error:  # A redirect to an invalid address.
            raise RestError(MALFORMED, f"{path}: {root_cause(error)}") from error
        return kept

    def checksum(self, path: str) -> str | None:
        """Return the sha256 that the archive publishes for a file; None if it publishes none.

        Raises:
            RestError: No answer, or one that is no checksum of that file.
        """
        content = self.fetch(path + CHECKSUM, b"".join, bytes_max=CHECKSUM_BYTES_MAX)
        if content is None:
            return None
        match = _CHECKSUM_LINE.fullmatch(content.decode("ascii", "replace"))
        if match is None or match.group(2) != path.rpartition("/")[2]:
            raise RestError(
                MALFORMED, f"{path}{CHECKSUM}: no sha256 of that file: {content[:80]!r}"
            )
        return match.group(1).lower()

    def _follow(
        self, path: str, keep: Callable[[Iterator[bytes]], Kept], bytes_max: int
    ) -> Kept | None:
        url = self._base + path
        for _ in range(REDIRECTS_MAX + 1):
            with self._session.get(
                url, timeout=self._timeouts, allow_redirects=False, stream=True
            ) as response:
                self._session.cookies.clear()
                status, headers = response.status_code, response.headers
                if status == 404:
                    return None
                if status == 200:
                    return keep(_bounded(response, url, bytes_max))
                if not 300 <= status < 400:
                    judge(path, status, headers, _beginning(response))
            url = urljoin(url, headers.get("location", ""))
            parts = urlsplit(url)
            if parts.netloc not in self._hosts or parts.scheme != self._scheme:
                where = f"{parts.scheme}://{parts.netloc}"[:100]
                raise RestError(
                    REDIRECT, f"{path}: HTTP {status} to {where!r}, not on the list of hosts"
                )
        raise RestError(REDIRECT, f"{path}: more than {REDIRECTS_MAX} redirects")

    def _no_answer(self, path: str, error: Exception) -> RestError:
        where = self._base.partition("//")[2] + path
        if self._deadline.expired or isinstance(error, requests.Timeout | TimeoutError):
            is_open = self._deadline.expired or not isinstance(error, requests.ConnectTimeout)
            what = "not whole" if is_open else "not connected"
            return RestError(TIMEOUT, f"{where}: {what} within {self._timeouts[is_open]:g} s")
        return RestError(UNREACHABLE, f"{where}: {root_cause(error)}")


def _beginning(response: requests.Response) -> bytes:
    """Return the first bytes of an answer with an error, however long a page it is."""
    body = b""
    for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
        body += chunk
        if len(body) >= CHUNK_BYTES:
            break
    return body


def _bounded(response: requests.Response, url: str, bytes_max: int) -> Iterator[bytes]:
    """Yield the pieces of a body.

    Raises:
        RestError: It is longer than allowed; at most `bytes_max` bytes were passed on.
    """
    size = 0
    for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
        size += len(chunk)
        if size > bytes_max:
            raise RestError(MALFORMED, f"{url}: more than {bytes_max} bytes")
        yield chunk
