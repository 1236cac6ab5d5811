"""Order rules of the venue, by which risk sizes orders and execution judges them.

The same filters are applied twice: risk rounds and refuses before an intent exists, and execution
refuses any order that breaks them nevertheless. All values are hundred-millionths (`events.money`);
`price_text` and `qty_text` write them with the places of their increment.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm
from typing import Final

from minibot.events.decimals import PLACES_MAX, Scale, parse_fixed
from minibot.events.model import BUY, Instrument
from minibot.events.money import PLACES, amount_text, cost_up, parse_amount, qty_for
from minibot.events.reasons import (
    ALGO_ORDERS_MAX,
    INVARIANT_BROKEN,
    MIN_NOTIONAL,
    NOTIONAL_MAX,
    ORDER_LISTS_MAX,
    ORDERS_MAX,
    POSITION_MAX,
    PRICE_BAND,
    PRICE_INVALID,
    PRICE_RANGE,
    QTY_INVALID,
    QTY_MAX,
    QTY_MIN,
    STEP_SIZE,
    TRAILING_DELTA,
)
from minibot.events.unit_sizes import BPS
from minibot.kernel.errors import InvariantError

TRADING: Final = "TRADING"
MARKET: Final = "MARKET"
LIMIT: Final = "LIMIT"
LIMIT_MAKER: Final = "LIMIT_MAKER"
STOP_LOSS: Final = "STOP_LOSS"
STOP_LOSS_LIMIT: Final = "STOP_LOSS_LIMIT"
OCO: Final = "OCO"

# The finest step of a venue without an increment: Binance counts in 10**-8.
OFF_INCREMENT: Final = "0.00000001"


@dataclass(frozen=True, slots=True)
class Band:
    """Range of multiples of the reference price that a limit price may take; None is off."""

    down: int | None
    up: int | None

    def holds(self, price: int, reference: int) -> bool:
        """Return whether the price lies within the band around the reference, bounds included."""
        unit = 10**PLACES
        if self.down is not None and price * unit < reference * self.down:
            return False
        return self.up is None or price * unit <= reference * self.up


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds on quantity and value of an order of one type; None or a minimum of 0 is off.

    Every quantity is a multiple of `qty_step`; all bounds are inclusive.
    """

    qty_step: int
    qty_min: int
    qty_max: int | None
    notional_min: int
    notional_max: int | None

    def qty_down(self, qty: int) -> int:
        """Return the largest multiple of the step up to `qty` and the maximum; 0 if none.

        It may be below the minimum: `qty_refusal` tells that.
        """
        step, most = self.qty_step, self.qty_max
        if most is not None and most < qty:
            qty = most
        return qty // step * step if qty > 0 else 0

    def sale_down(self, qty: int, price: int) -> int:
        """Return the largest quantity up to `qty` that no maximum forbids to sell in one order.

        Minima of quantity and value are not applied.

        Args:
            qty: The quantity wished.
            price: Price at which the value is judged, above zero.
        """
        most = self.notional_max
        if most is not None and cost_up(qty, price) > most:
            qty = qty_for(most, price)
        return self.qty_down(qty)

    @property
    def qty_least(self) -> int:
        """The least quantity of an order, whatever its value: a holding below it cannot be sold."""
        step = self.qty_step
        return max(-(-self.qty_min // step), 1) * step

    def qty_refusal(self, qty: int) -> str | None:
        """Return why a quantity may not be ordered, or None."""
        if qty <= 0:
            return QTY_INVALID
        if qty % self.qty_step:
            return STEP_SIZE
        if qty < self.qty_min:
            return QTY_MIN
        most = self.qty_max
        return QTY_MAX if most is not None and qty > most else None

    def value_refusal(self, notional: int) -> str | None:
        """Return why an order of this value may not be placed, or None."""
        if notional < self.notional_min:
            return MIN_NOTIONAL
        most = self.notional_max
        return NOTIONAL_MAX if most is not None and notional > most else None


@dataclass(frozen=True, slots=True)
class OrderRules:
    """The filters of one symbol; a rule that the venue gives as zero is off (None, or 0)."""

    symbol: str
    base_asset: str
    quote_asset: str
    status: str
    price_step: int
    price_places: int
    qty_step: int
    qty_places: int
    qty_min: int
    limit_bounds: Bounds
    market_bounds: Bounds
    buy_band: Band
    sell_band: Band
    price_min: int
    price_max: int | None
    position_max: int | None
    orders_max: int | None = None
    algo_orders_max: int | None = None
    order_lists_max: int | None = None
    trailing_min: int = 0
    trailing_max: int | None = None

    @classmethod
    def of(cls, instrument: Instrument) -> OrderRules:
        """Return the filters of an `instrument` event.

        Raises:
            NumberError: A value is not a plain decimal, an increment is negative, or a sum of money
                has more than eight places. Other negative values pass; the contract refuses them.
            InvariantError: An increment is finer than the scale of eight places.
        """
        price, qty = _scale(instrument.price_increment), _scale(instrument.qty_increment)
        price_step, qty_step = _step(instrument.symbol, price), _step(instrument.symbol, qty)
        qty_min = qty.parse_up(instrument.qty_min) * qty_step
        qty_max = _maximum(instrument.qty_max, qty, qty_step)
        market_qty_max = _maximum(instrument.market_qty_max, qty, qty_step)
        notional_min = parse_amount(instrument.notional_min)
        notional_max = parse_amount(instrument.notional_max or "0") or None
        # A market order has to meet the quantity rules of any order and its own; bounds of its own
        # on the value replace those of any order.
        market_step = parse_amount(instrument.market_qty_increment or "0")
        market_min, market_max = instrument.market_notional_min, notional_max
        if instrument.market_notional_max is not None:
            market_max = parse_amount(instrument.market_notional_max) or None
        if market_qty_max is None or (qty_max is not None and qty_max < market_qty_max):
            market_qty_max = qty_max
        return cls(
            symbol=instrument.symbol,
            base_asset=instrument.base_asset,
            quote_asset=instrument.quote_asset,
            status=instrument.status,
            price_step=price_step,
            price_places=price.places,
            qty_step=qty_step,
            qty_places=qty.places,
            qty_min=qty_min,
            limit_bounds=Bounds(qty_step, qty_min, qty_max, notional_min, notional_max),
            market_bounds=Bounds(
                qty_step=lcm(qty_step, market_step) if market_step else qty_step,
                qty_min=max(qty_min, parse_amount(instrument.market_qty_min or "0")),
                qty_max=market_qty_max,
                notional_min=notional_min if market_min is None else parse_amount(market_min),
                notional_max=market_max,
            ),
            buy_band=Band(
                _multiple(instrument.bid_percent_down), _multiple(instrument.bid_percent_up)
            ),
            sell_band=Band(
                _multiple(instrument.ask_percent_down), _multiple(instrument.ask_percent_up)
            ),
            price_min=parse_amount(instrument.price_min or "0"),
            price_max=parse_amount(instrument.price_max or "0") or None,
            position_max=parse_amount(instrument.position_max or "0") or None,
            orders_max=instrument.orders_max or None,
            algo_orders_max=instrument.algo_orders_max or None,
            order_lists_max=instrument.order_lists_max or None,
            trailing_min=instrument.trailing_sell_min or 0,
            trailing_max=instrument.trailing_sell_max or None,
        )

    @property
    def is_trading(self) -> bool:
        """True if the venue takes orders in this symbol."""
        return self.status == TRADING

    def price_text(self, price: int) -> str:
        """Return a price with the places of its increment, or with all eight if it is finer."""
        return _text(price, self.price_places)

    def qty_text(self, qty: int) -> str:
        """Return a quantity with the places of its increment, or with all eight if it is finer."""
        return _text(qty, self.qty_places)

    def position_refusal(self, qty: int, held: int) -> str | None:
        """Return why `qty` may not be bought on top of position and open purchases, or None."""
        if self.position_max is not None and held + qty > self.position_max:
            return POSITION_MAX
        return None

    def count_refusal(self, orders: int, algos: int, lists: int) -> str | None:
        """Return why orders, orders with a trigger and OCOs may not rest in such number, or None.

        The order about to be placed is counted in.
        """
        if self.orders_max is not None and orders > self.orders_max:
            return ORDERS_MAX
        if self.algo_orders_max is not None and algos > self.algo_orders_max:
            return ALGO_ORDERS_MAX
        if self.order_lists_max is not None and lists > self.order_lists_max:
            return ORDER_LISTS_MAX
        return None

    def trail_refusal(self, bps: int) -> str | None:
        """Return why the stop of a sale may not trail by this many basis points, or None."""
        most = self.trailing_max
        if not 0 < bps < BPS or bps < self.trailing_min or (most is not None and bps > most):
            return TRAILING_DELTA
        return None

    def trigger_refusal(self, price: int) -> str | None:
        """Return why no order may have this price as its trigger, or None."""
        if price <= 0:
            return PRICE_INVALID
        if price % self.price_step:
            return STEP_SIZE
        if price < self.price_min or (self.price_max is not None and price > self.price_max):
            return PRICE_RANGE
        return None

    def limit_refusal(self, side: str, limit: int, reference: int) -> str | None:
        """Return why a limit price may not be used while the market is at `reference`."""
        refusal = self.trigger_refusal(limit)
        if refusal is not None:
            return refusal
        band = self.buy_band if side == BUY else self.sell_band
        return None if band.holds(limit, reference) else PRICE_BAND


def mid_down(bid: int, ask: int) -> int:
    """Return the mean of bid and ask, rounded down: a long position is never overvalued."""
    return (bid + ask) // 2


def _is_off(text: str) -> bool:
    return parse_fixed(text, PLACES_MAX) == 0


def _scale(increment: str) -> Scale:
    return Scale.of(OFF_INCREMENT if _is_off(increment) else increment)


def _step(symbol: str, scale: Scale) -> int:
    if scale.places > PLACES:
        raise InvariantError(
            "events",
            INVARIANT_BROKEN,
            f"{symbol}: increment {scale.increment}, expected at most {PLACES} places",
        )
    return scale.step * int(10 ** (PLACES - scale.places))


def _text(value: int, places: int) -> str:
    # A number may be finer than the increment of a derived instrument: no digit is cut.
    return amount_text(value, PLACES if value % int(10 ** (PLACES - places)) else places)


def _maximum(text: str | None, scale: Scale, step: int) -> int | None:
    if text is None or _is_off(text):
        return None
    # A maximum below one increment gives 0: nothing may be ordered. None means no limit.
    return scale.parse_down(text) * step


def _multiple(text: str | None) -> int | None:
    return (parse_amount(text) or None) if text is not None else None
