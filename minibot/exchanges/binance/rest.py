"""Public REST requests of Binance Spot: limited in time and size, read-only, without a key.

Every request names a path of `limits.PATHS` on the one configured host; anything else stops the
run. The session follows no redirect, reads no proxy, cookie or credential of the environment, and
accepts no compression, so that an answer cannot swell. An answer that is not JSON of the expected
status is a `RestError`, never a guess. Source: rest-api.md and errors.md of the venue's
documentation.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import orjson
import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError

from minibot.events.model import Instrument
from minibot.events.reasons import REAL_ORDER_ATTEMPT
from minibot.exchanges.base import (
    BANNED,
    MALFORMED,
    RATE_LIMITED,
    REDIRECT,
    REFUSED,
    SERVER,
    TIMEOUT,
    UNREACHABLE,
    Candle,
    FrameInvalid,
    RestError,
    Snapshot,
)
from minibot.exchanges.binance.deadline import Deadline, DeadlineAdapter
from minibot.exchanges.binance.filters import parse_instruments, weight_limit
from minibot.exchanges.binance.limits import (
    BAN_MS_MIN,
    DAY_TICKERS,
    DEPTH,
    EXCHANGE_INFO,
    KLINES,
    MINUTE_MS,
    PATHS,
    PING,
    TIME,
)
from minibot.exchanges.binance.listings import Listings, parse_day_volumes, parse_listings
from minibot.exchanges.binance.messages import parse_candles, parse_snapshot
from minibot.exchanges.loopback import is_loopback
from minibot.kernel.errors import RunStop

# exchangeInfo of all symbols is the largest answer there is, about 20 MB; ours name their symbols.
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
WHOLE_ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}
WEIGHT_HEADERS: Final = ("x-mbx-used-weight-1m", "x-mbx-used-weight")
RETRY_AFTER_S_MAX: Final = 7 * 86_400

T = TypeVar("T")

_BANNED_UNTIL = re.compile(r"banned until (\d{13})")


class Reply(NamedTuple):
    """The last answer: HTTP status (0 for none), weight used if given, and time taken."""

    path: str
    status: int
    weight_used: int | None
    took_us: int


class BinanceRest:
    """Read-only client with the requests of `exchanges.base.PublicData`, for one thread at a time.

    Args:
        base_url: Scheme, host and port, such as `https://data-api.binance.vision`.
        connect_timeout_s: Machine seconds for one connection attempt.
        total_timeout_s: Machine seconds for a whole request with its answer.
        machine_ns: Machine time, for the measured round trip.

    Attributes:
        is_loopback: Whether the host is this machine, so that its data are no venue's.
    """

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
        self.is_loopback = is_loopback(parts.hostname)
        self._timeouts = (connect_timeout_s, total_timeout_s)
        self._machine_ns = machine_ns
        self._deadline = Deadline()
        self._session = self._new_session()
        self.last = Reply("", 0, None, 0)
        self.weight_limit: int | None = None

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.headers = CaseInsensitiveDict(HEADERS)
        adapter = DeadlineAdapter(self._deadline)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    def close(self) -> None:
        """End a request in flight and close all connections; callable from any thread."""
        self._deadline.expire()
        self._session.close()

    # --- requests -----------------------------------------------------------------------------

    def ping(self) -> None:
        """Request nothing, to measure the round trip."""
        self.get(PING, {})

    def server_time(self) -> int:
        """Return the venue's clock in Unix milliseconds."""
        body = self.get(TIME, {})
        server_time = body.get("serverTime") if isinstance(body, dict) else None
        if type(server_time) is not int or server_time <= 0:
            raise RestError(MALFORMED, f"{TIME}: no serverTime", status=self.last.status)
        return server_time

    def instruments(self, symbols: Sequence[str]) -> list[Instrument]:
        """Return the rules of the given symbols; a name unknown to the venue is REFUSED."""
        names = orjson.dumps(list(symbols)).decode()
        body = self.get(EXCHANGE_INFO, {"symbols": names, "showPermissionSets": "true"})
        self.weight_limit = weight_limit(body)
        return self._parsed(EXCHANGE_INFO, lambda: parse_instruments(body, symbols), REFUSED)

    def listings(self, quote_asset: str | None = None) -> Listings:
        """Return all listings of the venue, or those of one quote asset.

        The answer holds everything: about 5 MB without the sets of permissions.
        """
        body = self.get(EXCHANGE_INFO, {"showPermissionSets": "false"})
        self.weight_limit = weight_limit(body)
        return self._parsed(EXCHANGE_INFO, lambda: parse_listings(body, quote_asset))

    def day_volumes(self) -> dict[str, str]:
        """Return the 24-hour quote volume of every symbol."""
        body = self.get(DAY_TICKERS, {"type": "MINI"})
        return self._parsed(DAY_TICKERS, lambda: parse_day_volumes(body))

    def candles(
        self, symbol: str, interval: str, *, start: int | None, end: int, limit: int
    ) -> list[Candle]:
        """Return klines that open within start..end, oldest first; the newest without `start`."""
        params: dict[str, Any] = {
            "symbol": symbol,
            "interval": interval,
            "endTime": end,
            "limit": limit,
        }
        if start is not None:
            params["startTime"] = start
        body = self.get(KLINES, params)
        return self._parsed(KLINES, lambda: parse_candles(body))

    def snapshot(self, symbol: str, limit: int) -> Snapshot:
        """Return the book with at most `limit` levels a side."""
        body = self.get(DEPTH, {"symbol": symbol, "limit": limit})
        return self._parsed(DEPTH, lambda: parse_snapshot(body, limit))

    def _parsed(self, path: str, parse: Callable[[], T], kind: str = MALFORMED) -> T:
        try:
            return parse()
        except FrameInvalid as error:
            raise RestError(kind, f"{path}: {error}", status=self.last.status) from error

    # --- one request --------------------------------------------------------------------------

    def get(self, path: str, params: Mapping[str, Any]) -> Any:
        """Return the decoded JSON of one GET request.

        Raises:
            RunStop: REAL_ORDER_ATTEMPT; the path is not public market data.
            RestError: No usable answer.
        """
        return judge(path, *self.answer(path, params))

    def answer(self, path: str, params: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of one GET request, whatever the status.

        Raises:
            RunStop: REAL_ORDER_ATTEMPT; the path is not public market data.
            RestError: No whole answer.
        """
        if path not in PATHS:
            raise RunStop(
                "exchanges.binance", REAL_ORDER_ATTEMPT, f"request to {path[:200]!r} refused"
            )
        started = self._machine_ns()
        self.last = Reply(path, 0, None, 0)
        try:
            with self._deadline.within(self._timeouts[1]):
                status, headers, content = self._exchange(path, params)
            if self._deadline.expired:
                # Headers that break off with the connection look complete to the HTTP library.
                raise TimeoutError
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            took = (self._machine_ns() - started) // 1000
            self.last = Reply(path, 0, None, took)
            raise self._no_answer(path, error) from error
        took = (self._machine_ns() - started) // 1000
        self.last = Reply(path, status, _weight_used(headers), took)
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
            is_whole = path == EXCHANGE_INFO and "symbols" not in params
            bytes_max = WHOLE_ANSWER_BYTES_MAX if is_whole else ANSWER_BYTES_MAX
            # The raw body: `iter_content` would decompress a body that was to come uncompressed.
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                content += chunk
                if len(content) > bytes_max:
                    raise ValueError(f"answer of more than {bytes_max} bytes")
            self._session.cookies.clear()
            return response.status_code, response.headers, bytes(content)

    def _no_answer(self, path: str, error: Exception) -> RestError:
        if self._deadline.expired or isinstance(error, requests.Timeout | TimeoutError):
            return RestError(TIMEOUT, f"{path}: no whole answer within {self._timeouts[1]} s")
        if isinstance(error, requests.ConnectionError | HTTPError | OSError):
            return RestError(UNREACHABLE, f"{path}: {root_cause(error)}")
        return RestError(MALFORMED, f"{path}: {root_cause(error)}")


def root_cause(error: BaseException) -> str:
    """Return the text of the innermost error; the outer ones are layers of the libraries."""
    while True:
        inner = error.__cause__ or error.__context__
        if inner is None:
            return str(error) or type(error).__name__
        error = inner


def judge(path: str, status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """Return the decoded body of a good answer.

    Raises:
        RestError: Any other answer, with the silence that the venue asked for.
    """
    if status == 200:
        return _decoded(path, status, headers, content)
    code, message = error_of(content)
    if status in (429, 418):
        raise RestError(
            RATE_LIMITED if status == 429 else BANNED,
            f"{path}: HTTP {status}: {message}",
            status=status,
            code=code,
            retry_after_ms=retry_after_ms(status, headers),
            until_ms=banned_until_ms(message),
        )
    if 300 <= status < 400:
        raise RestError(REDIRECT, f"{path}: HTTP {status}, not followed", status=status)
    kind = SERVER if status >= 500 or (status == 403 and not code) else REFUSED
    raise RestError(kind, f"{path}: HTTP {status}: {message}", status=status, code=code)


def _decoded(path: str, status: int, headers: Mapping[str, str], content: bytes) -> Any:
    if headers.get("content-encoding", "identity") != "identity":
        raise RestError(MALFORMED, f"{path}: compressed answer, not asked for", status=status)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json":
        raise RestError(MALFORMED, f"{path}: content type {kind!r}", status=status)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RestError(MALFORMED, f"{path}: not JSON: {error}", status=status) from error


def error_of(content: bytes) -> tuple[int, str]:
    """Return code and message of an error body; (0, description) when it is not JSON."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return 0, f"{len(content)} bytes that are not JSON"
    if not isinstance(body, dict):
        return 0, "no error object"
    code = body.get("code")
    return code if type(code) is int else 0, str(body.get("msg", ""))[:200]


def retry_after_ms(status: int, headers: Mapping[str, str]) -> int:
    """Return how long the venue wants silence.

    Without a readable header: a minute after 429, when weight is reset at the latest, and the
    shortest documented ban after 418.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 12:
        return min(int(text), RETRY_AFTER_S_MAX) * 1000
    return MINUTE_MS if status == 429 else BAN_MS_MIN


def banned_until_ms(message: str) -> int:
    """Return the end of a ban, Unix milliseconds, from the text of a 418; 0 if not given."""
    found = _BANNED_UNTIL.search(message)
    return int(found.group(1)) if found else 0


def _weight_used(headers: Mapping[str, str]) -> int | None:
    for name in WEIGHT_HEADERS:
        text = headers.get(name, "")
        if text.isascii() and text.isdigit() and len(text) < 10:
            return int(text)
    return None
