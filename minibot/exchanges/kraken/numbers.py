"""Numbers as Kraken writes them: JSON literals whose every zero counts for the checksum.

A float loses trailing zeros, so literals are kept as text. The venue may write tiny values with an
exponent (`1e-08`); those are written out, with as many places as the pair has where that is known.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn

from minibot.events.numbers import parse_fixed

# Twice as long as any price or quantity that was ever seen; a longer one is nonsense or a trap.
LITERAL_CHARS_MAX: Final = 40
# Beyond this an exponent would write out a text without end.
EXPONENT_MAX: Final = 20
# Prices of the smallest coins have ten places at this venue.
KEY_PLACES: Final = 12


class Places(NamedTuple):
    """Decimal places of a pair's prices and quantities, as the venue's instrument channel says."""

    price: int
    qty: int


class Literal(str):
    """The characters of a JSON number with a fraction or an exponent."""

    __slots__ = ()


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


_decode = json.JSONDecoder(parse_float=Literal, parse_constant=_refuse).decode


def read_json(data: bytes) -> Any:
    """Return the value of a JSON text; numbers with a fraction stay as they were written.

    Raises:
        ValueError, RecursionError: No JSON, or not UTF-8, or nested without end.
    """
    return _decode(data.decode())


def plain(number: object, places: int | None) -> str:
    """Return a JSON number as a plain decimal string, exactly.

    Args:
        number: A `Literal`, or an integer.
        places: Of the pair, for a literal with an exponent; None where they are not known.

    Raises:
        TypeError: Not a number.
        ValueError: Absurdly long or large.
    """
    if type(number) is int:
        number = Literal(number)
    if type(number) is not Literal:
        raise TypeError(f"expected a number, found {str(number)[:40]!r}")
    if len(number) > LITERAL_CHARS_MAX:
        raise ValueError(f"number of {len(number)} characters")
    return _written_out(number, places) if "e" in number.lower() else str(number)


def _written_out(number: str, places: int | None) -> str:
    try:
        value = Decimal(number)
    except InvalidOperation as error:
        raise ValueError(f"{number!r} is no number") from error
    if value and abs(value.adjusted()) > EXPONENT_MAX:
        raise ValueError(f"{number!r}: too large or too small")
    text = f"{value:f}"
    if places is None:
        return text
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(places, '0')}" if places else text


@lru_cache(maxsize=32_768)
def price_key(text: str) -> int:
    """Return a price at 10**-12; it has to be above zero.

    Raises:
        ValueError: No plain decimal, or not above zero.
    """
    value = parse_fixed(text, KEY_PLACES)
    if value <= 0:
        raise ValueError(f"price {text!r}: expected above zero")
    return value
