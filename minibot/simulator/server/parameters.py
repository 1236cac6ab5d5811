"""Query parameters of REST calls, checked the way the venue checks them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import Any, Final

import orjson

from minibot.events.money import PLACES
from minibot.events.unit_sizes import HOUR_MS
from minibot.exchanges.tapes.decimals import to_units
from minibot.exchanges.tapes.kline_bars import INTERVALS

_SYMBOL_RANGE: Final = r"^[\w\-._&&[^a-z]]{1,50}$"
_SYMBOLS_RANGE: Final = r'^\["[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}\]$'
# The venue writes its ranges as Java does; this is the same without lower-case Latin letters.
_LETTER: Final = r"(?:(?![a-z])[\w\-.])"
_SYMBOL: Final = re.compile(rf"^{_LETTER}{{1,50}}\Z")
# No space after a comma: the venue refuses a list with one too.
_SYMBOLS: Final = re.compile(rf'^\["{_LETTER}{{1,50}}"(?:,"{_LETTER}{{1,50}}")*\]\Z')
_DECIMAL: Final = re.compile(r"^([0-9]{1,20})(\.[0-9]{1,20})?\Z")
_TIME_ZONE: Final = re.compile(r"^([+-]?)(\d{1,2})(?::(\d{2}))?\Z", re.ASCII)
MICROS_MIN: Final = 10**14  # A time in ms of this size would lie in the year 5138.
_INT_MAX: Final = 2**31 - 1
_LONG_MAX: Final = 2**63 - 1
STATUSES_ASKED: Final = ("TRADING", "HALT", "BREAK")
"""Values of `symbolStatus`; a symbol may be in others."""


class ApiError(Exception):
    """An error answer of the venue: status, code and text.

    Args:
        code: The venue's negative error code.
        text: Its `msg`.
        status: HTTP status, 400 by default.
    """

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status

    @property
    def body(self) -> dict[str, Any]:
        """Return the body of the answer."""
        return {"code": self.code, "msg": self.text}


def mandatory_missing(name: str) -> ApiError:
    """Return the venue's answer to a missing parameter."""
    text = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    return ApiError(-1102, text)


def either_missing(first: str, second: str) -> ApiError:
    """Return the venue's answer where one of two parameters must be sent and none was."""
    text = f"Param '{first}' or '{second}' must be sent, but both were empty/null!"
    return ApiError(-1102, text)


def illegal_characters(name: str, legal: str) -> ApiError:
    """Return the venue's answer to a parameter of another form than the legal one."""
    text = f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    return ApiError(-1100, text)


def not_valid(name: str) -> ApiError:
    """Return the venue's answer to a well-formed parameter with a value that it does not accept."""
    return ApiError(-1130, f"Data sent for parameter '{name}' is not valid.")


def bad_combination() -> ApiError:
    """Return the venue's answer to parameters that exclude one another."""
    return ApiError(-1128, "Combination of optional parameters invalid.")


class Parameters:
    """Query of one request; every method checks the value that it reads."""

    def __init__(self, query: Iterable[tuple[str, str]], allowed: frozenset[str]) -> None:
        """Check the names.

        Raises:
            ApiError: A parameter is unknown, given twice, or empty.
        """
        pairs = list(query)
        self._values = dict(pairs)
        if len(pairs) > len(self._values):
            raise ApiError(-1101, "Duplicate values for a parameter detected.")
        if pairs and not allowed:
            text = f"Too many parameters; expected '0' and received '{len(pairs)}'."
            raise ApiError(-1101, text)
        unknown = self._values.keys() - allowed
        if unknown:
            read = len(self._values) - len(unknown)
            text = f"Not all sent parameters were read; read '{read}' parameter(s) but was sent "
            raise ApiError(-1104, f"{text}'{len(self._values)}'.")
        for name, value in self._values.items():
            if not value:
                raise ApiError(-1105, f"Parameter '{name}' was empty.")

    def get(self, name: str) -> str | None:
        """Return the text of a parameter; None if it was not sent."""
        return self._values.get(name)

    def text(self, name: str) -> str:
        """Return the text of a mandatory parameter."""
        value = self._values.get(name)
        if value is None:
            raise mandatory_missing(name)
        return value

    def has(self, *names: str) -> bool:
        """Return whether any of these was sent."""
        return any(name in self._values for name in names)

    def count(self, name: str) -> int:
        """Return the number of values in a list parameter; 0 if it was not sent."""
        return self._values[name].count('","') + 1 if name in self._values else 0

    def symbol(self, known: Container[str]) -> str:
        """Return the mandatory symbol, which must be a known one."""
        return known_symbol(self.text("symbol"), known)

    def symbols(self, known: Container[str]) -> list[str] | None:
        """Return the symbols of `symbol` or `symbols`; None if neither was sent."""
        if "symbol" in self._values and "symbols" in self._values:
            raise bad_combination()
        if "symbol" in self._values:
            return [self.symbol(known)]
        text = self._values.get("symbols")
        if text is None:
            return None
        if _SYMBOLS.match(text) is None:
            raise illegal_characters("symbols", _SYMBOLS_RANGE)
        names: list[str] = orjson.loads(text)
        if len(set(names)) < len(names):
            raise ApiError(-1151, "Symbol is present multiple times in the list.")
        return [known_symbol(name, known) for name in names]

    def status(self) -> str | None:
        """Return the requested `symbolStatus`; None if it was not sent."""
        value = self._values.get("symbolStatus")
        if value is not None and value not in STATUSES_ASKED:
            raise ApiError(-1122, "Invalid symbolStatus.")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a parameter that is `true` or `false`."""
        value = self._values.get(name)
        if value is None:
            return default
        if value.lower() not in ("true", "false"):
            raise illegal_characters(name, "^(true|false)$")
        return value.lower() == "true"

    def integer(
        self, name: str, default: int | None = None, maximum: int = _LONG_MAX
    ) -> int | None:
        """Return a non-negative integer parameter, or the default."""
        value = self._values.get(name)
        if value is None:
            return default
        if not value.isdigit() or not value.isascii() or len(value) > 20:
            raise illegal_characters(name, "^[0-9]{1,20}$")
        if int(value) > maximum:
            raise ApiError(-1108, f"Parameter '{name}' overflowed.")
        return int(value)

    def units(self, name: str) -> int | None:
        """Return a decimal parameter in units of 10**-8; None if it was not sent."""
        value = self._values.get(name)
        if value is None:
            return None
        match = _DECIMAL.match(value)
        if match is None:
            raise illegal_characters(name, r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
        if len((match.group(2) or ".").rstrip("0")) - 1 > PLACES:
            raise ApiError(-1111, f"Parameter '{name}' has too much precision.")
        return to_units(value)

    def time_ms(self, name: str) -> int | None:
        """Return a time parameter in ms; it may be given in microseconds."""
        value = self.integer(name)
        return value // 1000 if value is not None and value >= MICROS_MIN else value

    def limit(self, default: int, maximum: int) -> int:
        """Return the limit: at least 1, larger ones are cut to the maximum."""
        value = self.integer("limit", default, _INT_MAX)
        if not value:
            raise not_valid("limit")
        return min(value, maximum)

    def interval(self) -> str:
        """Return the mandatory kline interval."""
        value = self.text("interval")
        if value not in INTERVALS:
            raise ApiError(-1120, "Invalid interval.")
        return value

    def time_zone_ms(self) -> int:
        """Return how far `timeZone` (hours, or hours and minutes) is ahead of UTC, in ms."""
        text = self._values.get("timeZone", "0")
        # A plus sign that was not encoded arrives as a space.
        match = _TIME_ZONE.match(text.strip())
        if match is None:
            raise not_valid("timeZone")
        sign, hours, minutes = match.groups()
        offset_ms = int(hours) * HOUR_MS + int(minutes or 0) * 60_000
        offset_ms = -offset_ms if sign == "-" else offset_ms
        if int(minutes or 0) > 59 or not -12 * HOUR_MS <= offset_ms <= 14 * HOUR_MS:
            raise not_valid("timeZone")
        return offset_ms


def known_symbol(value: str, known: Container[str]) -> str:
    """Return the symbol if it is well-formed and listed.

    Raises:
        ApiError: -1100 for illegal characters, -1121 for an unknown symbol.
    """
    if _SYMBOL.match(value) is None:
        raise illegal_characters("symbol", _SYMBOL_RANGE)
    if value not in known:
        raise ApiError(-1121, "Invalid symbol.")
    return value
