"""Numbers as Kraken writes them: JSON literals in which every zero counts for the checksum.

A float loses trailing zeros, so literals are kept as text. The venue may write tiny values with an
exponent (`1e-08`); those are written out, with the pair's number of places where it is known. As
for every venue, `units.plain` decides which decimals may be used.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn

from minibot.events.decimals import parse_fixed
from minibot.exchanges.units import plain

# Twice as long as any price or quantity ever seen; a longer one is nonsense or an attack.
LITERAL_CHARS_MAX: Final = 40
# An exponent with more digits would expand to an endless text, even for a zero.
_SCIENTIFIC: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]{1,2}", re.ASCII)
# Prices of the smallest coins have ten places at this venue.
KEY_PLACES: Final = 12


class Places(NamedTuple):
    """Decimal places of a pair's prices and quantities, from the venue's instrument channel."""

    price: int
    qty: int


class Literal(str):
    """The characters of a JSON number with a fraction or an exponent."""

    __slots__ = ()


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")


_decode = json.JSONDecoder(parse_float=Literal, parse_constant=_refuse).decode


def read_json(data: bytes) -> Any:
    """Return the value of a JSON text; numbers with a fraction keep their characters.

    Raises:
        ValueError, RecursionError: Not JSON, or not UTF-8, or nested too deeply.
    """
    return _decode(data.decode())


def digits(number: object, places: int | None) -> str:
    """Return the text of a JSON number without an exponent, exactly.

    Args:
        number: A `Literal`, or an integer.
        places: Places of the pair, for a literal with an exponent; None where they are not known.

    Raises:
        TypeError: Not a number.
        ValueError: Absurdly long; or, of a number with an exponent, a minus before the number or
            more than two digits of exponent. The exponent's own sign is fine.
    """
    if type(number) is int:
        number = Literal(number)
    if type(number) is not Literal:
        raise TypeError(f"expected a number, found {str(number)[:40]!r}")
    if len(number) > LITERAL_CHARS_MAX:
        raise ValueError(f"number of {len(number)} characters")
    return _written_out(number, places) if "e" in number.lower() else str(number)


def _written_out(number: str, places: int | None) -> str:
    if _SCIENTIFIC.fullmatch(number) is None:
        raise ValueError(f"{number!r}: expected no sign and an exponent of at most two digits")
    text = f"{Decimal(number):f}"
    if places is None:
        return text
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(places, '0')}" if places else text


@lru_cache(maxsize=32_768)
def price_key(text: str) -> int:
    """Return a price in units of 10**-12; it has to be above zero.

    Raises:
        ValueError: No plain decimal, more than twelve significant places, or not above zero.
        TypeError: Not a text at all.
    """
    value = parse_fixed(plain(text), KEY_PLACES)
    if value <= 0:
        raise ValueError(f"price {text!r}: expected above zero")
    return value
