"""Prices and quantities of a venue as whole hundred-millionths, parsed fast and strictly.

Venues write decimals as strings; Binance with exactly eight places. Only `units_down` rounds: the
size of a book's level may be finer. An accepted text may stand in an event as it was written: a
text that the contracts refuse would end the role that writes it, so it is refused here, where it
costs only one bad frame.
"""

from __future__ import annotations

import re
from typing import Final

from minibot.events.decimals import parse_fixed
from minibot.events.money import PLACES

QUOTE_VOLUME_PLACES: Final = 2 * PLACES
"""A price times a quantity, exactly."""
# The contracts' decimal: no sign, no leading zeros, limited digits.
_PLAIN: Final = re.compile(r"(?:0|[1-9][0-9]{0,19})(?:\.[0-9]{1,18})?", re.ASCII)


def plain(text: str) -> str:
    """Return a decimal string that an event may carry as it is.

    Raises:
        ValueError: Another form.
        TypeError: Not a text at all: a venue that sends a number has changed its contract.
    """
    if type(text) is not str:
        raise TypeError(f"expected a decimal string, found {type(text).__name__}")
    if _PLAIN.fullmatch(text) is None:
        raise ValueError(f"{text[:50]!r}: expected a plain decimal without a sign")
    return text


def units(text: str) -> int:
    """Return a plain decimal in hundred-millionths.

    Raises:
        ValueError: No plain decimal, a sign, or more than eight significant places.
        TypeError: Not a text at all.
    """
    if plain(text)[-9:-8] == ".":
        return int(text[:-9] + text[-8:])
    return parse_fixed(text, PLACES)


def positive(text: str) -> int:
    """Return a price or a traded quantity in hundred-millionths; it has to be above zero.

    Raises:
        ValueError: No plain decimal, a sign, or zero.
        TypeError: Not a text at all.
    """
    value = units(text)
    if not value:
        raise ValueError(f"{text!r}: expected above zero")
    return value


def not_negative(text: str) -> int:
    """Return a displayed quantity in hundred-millionths; zero means an empty level.

    Raises:
        ValueError: No plain decimal, or a sign.
        TypeError: Not a text at all.
    """
    return units(text)


def units_down(text: str) -> int:
    """Return a displayed quantity in hundred-millionths, rounded down.

    Args:
        text: A plain decimal, already checked by `plain`.
    """
    if text[-9:-8] == ".":
        return int(text[:-9] + text[-8:])
    whole, _, fraction = text.partition(".")
    return int(whole + fraction[:PLACES].ljust(PLACES, "0"))


def decimal(value: int, places: int = PLACES) -> str:
    """Return an integer at 10**-places as a decimal string with at least eight places, exactly.

    Args:
        value: Zero or above.
        places: Eight or more.
    """
    whole, fraction = divmod(value, 10**places)
    text = f"{whole}.{fraction:0{places}d}"
    least = len(text) - max(0, places - PLACES)
    return text[:least] + text[least:].rstrip("0")
