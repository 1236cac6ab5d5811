"""Amounts in risk and execution: integer counts of hundred-millionths.

Prices, quantities and money share the scale 10**-8, the finest step of the venue. So nothing that a
core keeps overnight (a lot, an open order, a stop) depends on an increment that the exchange may
change meanwhile; increments only decide to which multiples orders are rounded
(`accounting.order_rules`). Rounding happens here, by name and against the bot: payments up,
receipts down.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from minibot.events.decimals import (
    IS_INTERPRETED,
    POWERS,
    format_fixed,
    mul_div_down,
    mul_div_up,
    parse_fixed,
)

PLACES: Final = 8
UNIT: Final[int] = 10**PLACES
"""One whole coin, one whole unit of quote, or a price of one."""
ROUND_UP: Final[int] = UNIT - 1

RATE_PLACES: Final = 4
RATE_UNIT: Final[int] = 10**RATE_PLACES * 10_000
"""A rate of 100 %: fees and distances count ten-thousandths of a basis point."""


@lru_cache(maxsize=1 << 12)
def parse_amount(text: str) -> int:
    """Return a price, quantity or sum of money; refuses more than eight places.

    Raises:
        NumberError: No plain decimal, or more than eight significant places.
    """
    return parse_fixed(text, PLACES)


def amount_text(value: int, places: int = PLACES) -> str:
    """Return an amount with `places` places.

    The caller has rounded it to them: further places are dropped, rounded down, without an error.
    """
    return format_fixed(value // POWERS[PLACES - places], places)


def amount_json(value: int) -> int | str:
    """Return an amount as a value of canonical JSON, which `int` reads.

    It is text beyond 64 bits, which integers there do not exceed.
    """
    return value if -(1 << 63) <= value < 1 << 64 else str(value)


def parse_rate(bps: str) -> int:
    """Return a fee rate given in basis points, such as `"7.5"`, with four places at most."""
    return parse_fixed(bps, RATE_PLACES)


def cost_up(qty: int, price: int) -> int:
    """Return the cost of a purchase, rounded up."""
    if IS_INTERPRETED:  # Saves a call, which costs more than the product.
        return (qty * price + ROUND_UP) // UNIT
    return mul_div_up(qty, price, UNIT)


def proceeds_down(qty: int, price: int) -> int:
    """Return the proceeds of a sale, rounded down."""
    if IS_INTERPRETED:
        return qty * price // UNIT
    return mul_div_down(qty, price, UNIT)


def fee_up(notional: int, rate: int) -> int:
    """Return the fee on a notional, rounded up; a rate of zero costs nothing."""
    return mul_div_up(notional, rate, RATE_UNIT)


def notional_paid_by(cash: int, rate: int) -> int:
    """Return the largest notional that `cash` covers together with its fee; 0 for no cash."""
    return mul_div_down(cash, RATE_UNIT, RATE_UNIT + rate) if cash > 0 else 0


def qty_for(notional: int, price: int) -> int:
    """Return the largest quantity that costs at most `notional` at a price above zero."""
    return mul_div_down(notional, UNIT, price)
