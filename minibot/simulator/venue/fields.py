"""Fields of recorded messages, checked before the venue's state takes them.

A message that a state cannot take has to be found before its first change.
"""

from __future__ import annotations

from typing import Any, Final

from minibot.events.field_types import MS_MAX, WHOLE_MAX
from minibot.events.parse_cache import ParseCache
from minibot.exchanges.units import not_negative, plain, positive

# Prices and quantities repeat: a cached one costs a quarter of a parsed one.
_TEXTS_MAX: Final = 1 << 13
PRICES: Final = ParseCache(positive, _TEXTS_MAX)
AMOUNTS: Final = ParseCache(not_negative, _TEXTS_MAX)
SHOWN: Final = ParseCache(lambda qty: 1 if plain(qty).strip("0.") else 0, _TEXTS_MAX)
"""By the quantity of a level, which may have more decimals than others: 0 where it is zero."""


def whole(value: Any) -> int:
    """Return an id or a count of the venue.

    Raises:
        TypeError: Not an integer from 0 to 2**53.
    """
    if type(value) is not int or not 0 <= value <= WHOLE_MAX:
        raise TypeError(f"expected an integer from 0 to 2**53, found {str(value)[:40]!r}")
    return value


def moment(value: Any) -> int:
    """Return a time of the venue in Unix milliseconds.

    Raises:
        TypeError: Not an integer from 0 to 2**53.
        ValueError: After the year 2286.
    """
    time_ms = whole(value)
    if time_ms > MS_MAX:
        raise ValueError(f"expected a time in milliseconds, found {time_ms}")
    return time_ms
