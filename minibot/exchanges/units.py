"""Prices and quantities of a venue as whole hundred-millionths, read fast and strictly.

Venues write decimals as strings; Binance with exactly eight places. The fast path takes that form,
everything else goes the careful way through `events.numbers`. Nothing is rounded, ever.
"""

from __future__ import annotations

from typing import Final

from minibot.events.numbers import parse_fixed

PLACES: Final = 8
QUOTE_VOLUME_PLACES: Final = 2 * PLACES
"""A price times a quantity, exactly."""
TEXT_MAX: Final = 40


def units(text: str) -> int:
    """Return a plain decimal in hundred-millionths.

    Raises:
        ValueError: No plain decimal, or more than eight significant places.
        TypeError: Not a text at all: a venue that sends a number has changed its contract.
    """
    if type(text) is not str:
        raise TypeError(f"expected a decimal string, found {type(text).__name__}")
    if text[-9:-8] == "." and 9 < len(text) <= TEXT_MAX:
        digits = text[:-9] + text[-8:]
        if digits.isdigit() and digits.isascii():
            return int(digits)
    return parse_fixed(text, PLACES)


def positive(text: str) -> int:
    """Return a price or a traded quantity in hundred-millionths; it has to be above zero.

    Raises:
        ValueError: No plain decimal, or zero, or negative.
        TypeError: Not a text at all.
    """
    value = units(text)
    if value <= 0:
        raise ValueError(f"{text!r}: expected above zero")
    return value


def not_negative(text: str) -> int:
    """Return a displayed quantity in hundred-millionths; zero means nothing there.

    Raises:
        ValueError: No plain decimal, or negative.
        TypeError: Not a text at all.
    """
    value = units(text)
    if value < 0:
        raise ValueError(f"{text!r}: expected zero or more")
    return value


def decimal(value: int, places: int = PLACES) -> str:
    """Return an integer at 10**-places as a decimal string with at least eight places, exactly."""
    whole, fraction = divmod(value, 10**places)
    text = f"{whole}.{fraction:0{places}d}"
    surplus = places - PLACES
    while surplus > 0 and text[-1] == "0":
        text, surplus = text[:-1], surplus - 1
    return text
