"""Public REST requests of Binance Spot.

Source: rest-api.md and errors.md of the venue's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import orjson

from minibot.events.model import Instrument
from minibot.events.unit_sizes import MINUTE_MS
from minibot.exchanges.base import (
    BANNED,
    MALFORMED,
    RATE_LIMITED,
    REDIRECT,
    REFUSED,
    SERVER,
    Candle,
    FrameInvalid,
    RestError,
    Snapshot,
)
from minibot.exchanges.binance.filters import joined_rules, parse_instruments, weight_limit
from minibot.exchanges.binance.limits import (
    BAN_MS_MIN,
    DAY_TICKERS,
    DEPTH,
    EXCHANGE_INFO,
    HOSTS,
    KLINES,
    LIMITS,
    PING,
    TIME,
)
from minibot.exchanges.binance.listings import parse_day_volumes, parse_listings
from minibot.exchanges.binance.messages import parse_candles, parse_snapshot
from minibot.exchanges.public_http import ANSWER_BYTES_MAX, PublicHttp, decoded
from minibot.exchanges.venue_facts import Listings

# exchangeInfo of all symbols is the largest answer there is, about 20 MB; ours name their symbols.
WHOLE_ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
RETRY_AFTER_S_MAX: Final = 7 * 86_400

T = TypeVar("T")

_BANNED_UNTIL = re.compile(r"banned until (\d{13})")


class BinanceRest(PublicHttp):
    """The requests of `exchanges.base.Rest`; arguments as in `exchanges.base.NewRest`."""

    HOSTS = HOSTS
    WEIGHT_HEADERS = ("x-mbx-used-weight-1m", "x-mbx-used-weight")

    def bytes_max(self, path: str, params: Mapping[str, Any]) -> int:
        """Return how long the answer to a request may be."""
        is_whole = path == EXCHANGE_INFO and "symbols" not in params
        return WHOLE_ANSWER_BYTES_MAX if is_whole else ANSWER_BYTES_MAX

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
        body = self._rules(symbols)
        self.weight_limit = weight_limit(body)
        return self._parsed(EXCHANGE_INFO, lambda: parse_instruments(body, symbols), REFUSED)

    def _rules(self, symbols: Sequence[str]) -> Any:
        names = orjson.dumps(list(symbols)).decode()
        return self.get(EXCHANGE_INFO, {"symbols": names, "showPermissionSets": "true"})

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
        body = self.get(KLINES, _klines(symbol, interval, start, end, limit))
        return self._parsed(KLINES, lambda: parse_candles(body))

    def snapshot(self, symbol: str, limit: int) -> Snapshot:
        """Return the book with at most `limit` levels a side."""
        body = self.get(DEPTH, {"symbol": symbol, "limit": limit})
        return self._parsed(DEPTH, lambda: parse_snapshot(body, limit))

    # --- in the venue's own words -------------------------------------------------------------

    def rules_text(self, symbols: Sequence[str]) -> bytes:
        """Return the exchangeInfo of the given symbols, of many as one of all answers."""
        size = LIMITS.instruments_max
        parts = [self._rules(symbols[at : at + size]) for at in range(0, len(symbols), size)]
        return self._parsed(EXCHANGE_INFO, lambda: orjson.dumps(joined_rules(parts)))

    def snapshot_body(self, symbol: str, limit: int) -> dict[str, Any]:
        """Return a book as the venue sends it."""
        body = self.get(DEPTH, {"symbol": symbol, "limit": limit})
        if not isinstance(body, dict) or "lastUpdateId" not in body:
            raise RestError(MALFORMED, f"{DEPTH}: no lastUpdateId", status=self.last.status)
        return body

    def candle_rows(
        self, symbol: str, interval: str, *, start: int, end: int, limit: int
    ) -> list[list[Any]]:
        """Return klines as the venue sends them, after a look at each."""
        body = self.get(KLINES, _klines(symbol, interval, start, end, limit))
        self._parsed(KLINES, lambda: parse_candles(body))
        rows: list[list[Any]] = body
        return rows

    def _parsed(self, path: str, parse: Callable[[], T], kind: str = MALFORMED) -> T:
        try:
            return parse()
        except (FrameInvalid, RecursionError) as error:  # The latter by a deep value as text.
            raise RestError(kind, f"{path}: {error}", status=self.last.status) from error

    # --- one request --------------------------------------------------------------------------

    def get(self, path: str, params: Mapping[str, Any]) -> Any:
        """Return the decoded JSON of one GET request.

        Raises:
            RunStop: REAL_ORDER_ATTEMPT; the path is not public market data.
            RestError: No usable answer.
        """
        return judge(path, *self.answer(path, params))


def _klines(symbol: str, interval: str, start: int | None, end: int, limit: int) -> dict[str, Any]:
    params = {"symbol": symbol, "interval": interval, "endTime": end, "limit": limit}
    return params if start is None else {**params, "startTime": start}


def judge(path: str, status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """Return the decoded body of a good answer.

    Raises:
        RestError: Any other answer, with the silence that the venue wants.
    """
    if status == 200:
        return decoded(path, status, headers, content)
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


def error_of(content: bytes) -> tuple[int, str]:
    """Return code and message of an error body; (0, description) when it is not JSON."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return 0, f"{len(content)} bytes that are not JSON"
    if not isinstance(body, dict):
        return 0, "no error object"
    code = body.get("code")
    message = body.get("msg")
    return code if type(code) is int else 0, message[:200] if isinstance(message, str) else ""


def retry_after_ms(status: int, headers: Mapping[str, str]) -> int:
    """Return how long the venue wants silence; 0 if its header says so.

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
