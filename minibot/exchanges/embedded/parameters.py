"""Query parameters of REST calls, checked the way the venue checks them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from minibot.exchanges.embedded.bars import INTERVALS

_SYMBOL: Final = re.compile(r"^[\w\-.]{1,20}$")
_MICROS_MIN: Final = 10**14  # A time in ms of this size would lie in the year 5138.


class ApiError(Exception):
    """An error answer of the venue: status, code and text.

    Args:
        code: The venue's negative error code.
        text: Its `msg`.
        status: HTTP status, 400 unless said otherwise.
    """

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status
        self.body = {"code": code, "msg": text}


def mandatory_missing(name: str) -> ApiError:
    """Return the venue's answer to a missing parameter."""
    text = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    return ApiError(-1102, text)


class Parameters:
    """The query of one request; every read checks what it reads."""

    def __init__(self, query: Iterable[tuple[str, str]], allowed: frozenset[str]) -> None:
        """Check the names.

        Raises:
            ApiError: A parameter is unknown, given twice, or empty.
        """
        pairs = list(query)
        self._values = dict(pairs)
        if len(pairs) > len(self._values):
            raise ApiError(-1101, "Duplicate values for a parameter detected.")
        unknown = self._values.keys() - allowed
        if unknown:
            read = len(self._values) - len(unknown)
            text = f"Not all sent parameters were read; read '{read}' parameter(s) but was sent "
            raise ApiError(-1104, f"{text}'{len(self._values)}'.")
        for name, value in self._values.items():
            if not value:
                raise ApiError(-1105, f"Parameter '{name}' was empty.")

    def get(self, name: str) -> str | None:
        """Return the text of a parameter, None if it was not sent."""
        return self._values.get(name)

    def symbol(self, known: Mapping[str, Any]) -> str:
        """Return the mandatory symbol, which must be a known one."""
        value = self._values.get("symbol")
        if value is None:
            raise mandatory_missing("symbol")
        return known_symbol(value, "symbol", known)

    def symbols(self, known: Mapping[str, Any]) -> list[str] | None:
        """Return the symbols of `symbol` or `symbols`; None if neither was sent."""
        if "symbol" in self._values and "symbols" in self._values:
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        if "symbol" in self._values:
            return [self.symbol(known)]
        text = self._values.get("symbols")
        if text is None:
            return None
        try:
            names = orjson.loads(text)
        except orjson.JSONDecodeError:
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            legal = r'^\["[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}\]$'
            raise ApiError(
                -1100, f"Illegal characters found in parameter 'symbols'; legal range is '{legal}'."
            )
        if len(set(names)) < len(names):
            raise ApiError(-1151, "Symbol is present multiple times in the list.")
        return [known_symbol(name, "symbols", known) for name in names]

    def integer(self, name: str, default: int | None = None) -> int | None:
        """Return a non-negative integer parameter, or the default."""
        value = self._values.get(name)
        if value is None:
            return default
        if not value.isdigit() or not value.isascii() or len(value) > 19:
            text = (
                f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
            )
            raise ApiError(-1100, text)
        return int(value)

    def time_ms(self, name: str) -> int | None:
        """Return a time parameter in ms; it may be given in microseconds."""
        value = self.integer(name)
        return value // 1000 if value is not None and value >= _MICROS_MIN else value

    def limit(self, default: int, maximum: int) -> int:
        """Return the limit: at least 1, larger ones are cut to the maximum."""
        value = self.integer("limit", default)
        if not value:
            raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(value, maximum)

    def interval(self) -> str:
        """Return the mandatory kline interval."""
        value = self._values.get("interval")
        if value is None:
            raise mandatory_missing("interval")
        if value not in INTERVALS:
            raise ApiError(-1120, "Invalid interval.")
        return value


def known_symbol(value: str, name: str, known: Mapping[str, Any]) -> str:
    """Return the symbol if it is well-formed and listed.

    Raises:
        ApiError: -1100 for illegal characters, -1121 for an unknown symbol.
    """
    if not _SYMBOL.match(value):
        text = f"Illegal characters found in parameter '{name}'; legal range is "
        raise ApiError(-1100, text + r"'^[\w\-._&&[^a-z]]{1,50}$'.")
    if value not in known:
        raise ApiError(-1121, "Invalid symbol.")
    return value
