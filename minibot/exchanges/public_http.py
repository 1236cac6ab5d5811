"""Public requests of a venue over HTTP: bounded in time and size, read-only, without a key.

Every request names a path that the venue's `Hosts` allow, on the one configured host; anything else
stops the run. The session follows no redirect, reads no proxy, cookie or credential of the
environment, and asks for no compression, so that an answer can not swell. What is not JSON of the
expected status is a `RestError`, never a guess.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import requests
from urllib3.exceptions import HTTPError

from minibot.exchanges.base import MALFORMED, TIMEOUT, UNREACHABLE, RestError, RestReply
from minibot.exchanges.deadline import ADDRESSES_TRIED, Deadline, new_session
from minibot.exchanges.loopback import is_loopback
from minibot.exchanges.venue_facts import Hosts

ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}


class PublicHttp:
    """Requests to one host, for one thread at a time; a venue's `Rest` is made of it.

    Args:
        base_url: Scheme, host and port, such as `https://data-api.binance.vision`.
        connect_timeout_s: Machine seconds for one address, a third of the total at most.
        total_timeout_s: Machine seconds for a whole request with its answer.
        machine_ns: Machine time, for the measured round trip.

    Attributes:
        host: Host and port, as messages name it.
        last: Facts of the last answer.
        weight_limit: See `exchanges.base.Rest`.
        is_loopback: The host is this machine, so what it serves is not a venue's data.
    """

    HOSTS: Hosts
    """Paths that may be requested; a venue's class names them."""

    WEIGHT_HEADERS: Sequence[str] = ()
    """Headers of an answer that may tell the weight used, lower case; the first counts."""

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout_s: float,
        total_timeout_s: float,
        machine_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError(f"REST address {base_url!r}: expected http(s)://host[:port]")
        self._base = f"{parts.scheme}://{parts.netloc}"
        self.host = parts.netloc
        self.is_loopback = is_loopback(parts.hostname)
        self._timeouts = (
            min(connect_timeout_s, total_timeout_s / ADDRESSES_TRIED),
            total_timeout_s,
        )
        self._machine_ns = machine_ns
        self._deadline = Deadline()
        self._session = new_session(self._deadline, HEADERS)
        self.last = RestReply("", 0, None, 0)
        self.weight_limit: int | None = None

    def close(self) -> None:
        """End a request in flight and close all connections; callable from any thread."""
        self._deadline.expire()
        self._session.close()

    def bytes_max(self, path: str, params: Mapping[str, Any]) -> int:
        """Return how long the answer to a request may be."""
        return ANSWER_BYTES_MAX

    def answer(self, path: str, params: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of one GET request, whatever they are.

        Raises:
            RunStop: REAL_ORDER_ATTEMPT; the path is not public market data.
            RestError: No whole answer.
        """
        self.HOSTS.check(path)
        started = self._machine_ns()
        self.last = RestReply(path, 0, None, 0)
        self.weight_limit = None  # Another client may have been told of a newer one.
        try:
            with self._deadline.within(self._timeouts[1]):
                status, headers, content = self._exchange(path, params)
            if self._deadline.expired:
                # Headers that end with the connection look complete to the HTTP library.
                raise TimeoutError
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            took = (self._machine_ns() - started) // 1000
            self.last = RestReply(path, 0, None, took)
            raise self._no_answer(path, error) from error
        took = (self._machine_ns() - started) // 1000
        self.last = RestReply(path, status, self.weight_used(headers), took)
        return status, headers, content

    def _exchange(
        self, path: str, params: Mapping[str, Any]
    ) -> tuple[int, Mapping[str, str], bytes]:
        with self._session.get(
            self._base + path,
            params=dict(params),
            timeout=self._timeouts,
            allow_redirects=False,
            stream=True,
        ) as response:
            content = bytearray()
            bytes_max = self.bytes_max(path, params)
            # The raw body: `iter_content` would inflate it, although no compression was requested.
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                content += chunk
                if len(content) > bytes_max:
                    raise ValueError(f"answer of more than {bytes_max} bytes")
            self._session.cookies.clear()
            return response.status_code, response.headers, bytes(content)

    def _no_answer(self, path: str, error: Exception) -> RestError:
        if self._deadline.expired or isinstance(error, requests.Timeout | TimeoutError):
            is_open = self._deadline.expired or not isinstance(error, requests.ConnectTimeout)
            what = "no whole answer" if is_open else "not connected"
            within_s = self._timeouts[is_open]
            return RestError(TIMEOUT, f"{self.host}{path}: {what} within {within_s:.3g} s")
        if isinstance(error, requests.ConnectionError | HTTPError | OSError):
            return RestError(UNREACHABLE, f"{self.host}{path}: {root_cause(error)}")
        return RestError(MALFORMED, f"{self.host}{path}: {root_cause(error)}")

    def weight_used(self, headers: Mapping[str, str]) -> int | None:
        """Return the weight of this minute in an answer, None if it has none."""
        for name in self.WEIGHT_HEADERS:
            text = headers.get(name, "")
            if text.isascii() and text.isdigit() and len(text) < 10:
                return int(text)
        return None


def root_cause(error: BaseException) -> str:
    """Return the words of the innermost error; the outer ones are the libraries' own layers."""
    while True:
        inner = error.__cause__ or error.__context__
        if inner is None:
            return str(error) or type(error).__name__
        error = inner


def decoded(path: str, status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """Return the body of an answer whose status has been judged as good.

    Raises:
        RestError: MALFORMED; it is not plain JSON, or compressed.
    """
    if headers.get("content-encoding", "identity") != "identity":
        raise RestError(MALFORMED, f"{path}: compressed answer, not asked for", status=status)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json":
        raise RestError(MALFORMED, f"{path}: content type {kind!r}", status=status)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RestError(MALFORMED, f"{path}: not JSON: {error}", status=status) from error
