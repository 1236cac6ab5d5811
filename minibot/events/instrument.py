"""The rules of a symbol as scaled integers, and money from quantity and price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from minibot.events.decimals import (
    POWERS,
    QUOTE_PLACES,
    NumberError,
    Scale,
    parse_fixed,
    parse_quote,
)
from minibot.events.model import Instrument

# The finest step of a venue without an increment: Binance counts in 10**-8.
OFF_INCREMENT: Final = "0.00000001"


@dataclass(frozen=True, slots=True)
class InstrumentRules:
    """The rules of one symbol, which `accounting.order_rules` turns into amounts of `events.money`.

    Quantities are in `qty_increment`s, prices in `price_increment`s, money in scaled quote. A rule
    that the venue gives as zero is off: an off maximum is None, an off minimum 0, an off increment
    a scale of eight places with its `_is_off` flag set.
    """

    symbol: str
    base_asset: str
    quote_asset: str
    status: str
    price_increment: Scale
    price_increment_is_off: bool
    qty_increment: Scale
    qty_increment_is_off: bool
    qty_min: int
    qty_max: int | None
    market_qty_max: int | None
    notional_min: int
    notional_max: int | None
    origin: str

    @classmethod
    def of(cls, instrument: Instrument) -> InstrumentRules:
        """Return the rules of an `instrument` event.

        Raises:
            NumberError: A value is no plain decimal, an increment is negative, or a notional has
                more than eight places. Other negative values pass; the contract refuses them.
        """
        price, price_off = _scale(instrument.price_increment)
        qty, qty_off = _scale(instrument.qty_increment)
        return cls(
            symbol=instrument.symbol,
            base_asset=instrument.base_asset,
            quote_asset=instrument.quote_asset,
            status=instrument.status,
            price_increment=price,
            price_increment_is_off=price_off,
            qty_increment=qty,
            qty_increment_is_off=qty_off,
            qty_min=qty.parse_up(instrument.qty_min),
            qty_max=_maximum(qty, instrument.qty_max),
            market_qty_max=_maximum(qty, instrument.market_qty_max),
            notional_min=parse_quote(instrument.notional_min),
            notional_max=parse_quote(instrument.notional_max or "0") or None,
            origin=instrument.origin,
        )

    def price_units(self, text: str) -> int:
        """Return a price in `price_increment`s; refuses what would round."""
        return self.price_increment.parse(text)

    def qty_units(self, text: str) -> int:
        """Return a quantity in `qty_increment`s; refuses what would round."""
        return self.qty_increment.parse(text)

    def price_text(self, units: int) -> str:
        """Return a price as a decimal string with the places of its increment."""
        return self.price_increment.format(units)

    def qty_text(self, units: int) -> str:
        """Return a quantity as a decimal string with the places of its increment."""
        return self.qty_increment.format(units)

    def notional(self, qty_units: int, price_units: int) -> int:
        """Return quantity times price as scaled quote, exactly.

        Raises:
            NumberError: The product has more than eight places.
        """
        value, divisor = self._product(qty_units, price_units)
        quotient, rest = divmod(value, divisor)
        if rest:
            raise NumberError(f"{self.symbol}: notional has more than {QUOTE_PLACES} places")
        return quotient

    def _product(self, qty_units: int, price_units: int) -> tuple[int, int]:
        """Return the product and what it has to be divided by to become scaled quote."""
        value = qty_units * self.qty_increment.step * price_units * self.price_increment.step
        surplus = self.qty_increment.places + self.price_increment.places - QUOTE_PLACES
        if surplus <= 0:
            return value * POWERS[-surplus], 1
        return value, POWERS[surplus]


def _scale(increment: str) -> tuple[Scale, bool]:
    is_off = parse_fixed(increment, 18) == 0
    return Scale.of(OFF_INCREMENT if is_off else increment), is_off


def _maximum(scale: Scale, text: str | None) -> int | None:
    if text is None or parse_fixed(text, 18) == 0:
        return None
    # A maximum below one increment gives 0: nothing may be ordered. None means no limit.
    return scale.parse_down(text)
