"""Decimal strings of the venue as integers in units of 10**-8, and back.

Binance writes spot prices and quantities with eight places; sums of products need sixteen and are
cut, never rounded up, on output. Nothing here is a float.
"""

from __future__ import annotations

from minibot.events.money import PLACES, UNIT


def to_units(text: str) -> int:
    """Return a non-negative decimal string in units of 10**-8.

    The form is the caller's to judge: a sign, a blank or `_` may pass, and an empty text is 0.

    Raises:
        ValueError: Finer than eight places, or of characters that `int` refuses.
    """
    if text[-9:-8] == ".":
        return int(text[:-9] + text[-8:])
    whole, _, places = text.partition(".")
    if len(places) > PLACES:
        if places[PLACES:].strip("0"):
            raise ValueError(f"{text}: finer than {PLACES} places")
        places = places[:PLACES]
    return int(whole + places.ljust(PLACES, "0"))


def to_text(units: int) -> str:
    """Return units of 10**-8, zero or above, with eight places, as the venue writes them."""
    return f"{units // UNIT}.{units % UNIT:08d}"


def product_text(units: int) -> str:
    """Return units of 10**-16, a sum of price times quantity, cut to eight places."""
    return to_text(units // UNIT)
