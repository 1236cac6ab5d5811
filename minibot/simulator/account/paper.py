"""Paper account for foreign clients: balances, orders, and fills against the played book.

Never part of a run of minibot. Own orders have no market impact: the book goes on as recorded, and
a second market order meets the same quantities again. A resting order queues behind the quantity at
its price when it arrived; it is filled by trades through its price, by trades at it once the
quantity ahead is gone, and by a book that crosses it. Fees are taken from the asset that is
received. All amounts are exact: balances in units of 10**-16, fees cut to eight places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from minibot.events.money import UNIT
from minibot.exchanges.tapes.decimals import to_units
from minibot.exchanges.tapes.frames import BOOK_TICKER, DEPTH, TRADE, Frame
from minibot.simulator.account.paper_filters import lot_step
from minibot.simulator.server.parameters import ApiError
from minibot.simulator.venue.tickers import touch
from minibot.simulator.venue.venue import Venue

OPEN: Final = ("NEW", "PARTIALLY_FILLED")
RATE: Final = 100_000  # 0.1 % in units of 10**-8: fee rate of a new account, as maker and as taker.
_BOOK_LEVELS: Final = 5000


@dataclass(slots=True)
class AccountFill:
    """One trade of the account; quantity, price and fee in units of 10**-8."""

    identity: int
    order_id: int
    price: int
    qty: int
    fee: int
    fee_asset: str
    time_ms: int
    is_maker: bool


@dataclass(slots=True)
class AccountOrder:
    """An order and its current state; amounts in units of 10**-8, quote sums of 10**-16."""

    identity: int
    client_id: str
    symbol: str
    is_buy: bool
    kind: str
    lifetime: str
    price: int
    qty: int
    quote: int
    time_ms: int
    stp: str
    status: str = "NEW"
    executed: int = 0
    spent: int = 0
    locked: int = 0
    ahead: int = 0  # Quantity ahead of it at its price.
    updated_ms: int = 0
    expiry_reason: str | None = None
    fills: list[AccountFill] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Return whether it may still be filled."""
        return self.status in OPEN

    @property
    def left(self) -> int:
        """Return the quantity that is not filled."""
        return self.qty - self.executed


@dataclass(slots=True)
class AccountBalance:
    """Balance of one asset, in units of 10**-16."""

    free: int = 0
    locked: int = 0


class PaperAccount:
    """Balances and orders; `on_change` gets every change as (order, fill or None)."""

    def __init__(self, venue: Venue, balances: Mapping[str, str] | None = None) -> None:
        """Begin with the given balances, or with 10,000 of every quote asset that is traded."""
        self._venue = venue
        assets = {info[key] for info in venue.infos.values() for key in ("baseAsset", "quoteAsset")}
        if balances is None:
            balances = {info["quoteAsset"]: "10000" for info in venue.infos.values()}
        self.balances = {name: AccountBalance() for name in sorted(assets | set(balances))}
        for name, amount in balances.items():
            self.balances[name].free = to_units(amount) * UNIT
        self.orders: dict[int, AccountOrder] = {}
        self.fills: list[AccountFill] = []
        self.updated_ms = venue.now_ms()
        self.on_change: Callable[[AccountOrder, AccountFill | None], None] = lambda order, fill: (
            None
        )
        self._resting: dict[str, list[AccountOrder]] = {}
        venue.on_taken = self._taken

    def assets(self, symbol: str) -> tuple[str, str]:
        """Return (base, quote) of a symbol."""
        info = self._venue.infos[symbol]
        return info["baseAsset"], info["quoteAsset"]

    def open_orders(self, symbol: str | None = None) -> list[AccountOrder]:
        """Return the open orders of a symbol or of all, oldest first."""
        chosen = self._resting if symbol is None else {symbol: self._resting.get(symbol, [])}
        return sorted((order for group in chosen.values() for order in group), key=_age)

    # --- placing ----------------------------------------------------------------------------

    def size(self, order: AccountOrder) -> None:
        """Give an order by quote amount the quantity, in whole steps, that the book has for it."""
        if not order.quote:
            return
        qty, quote_left = 0, order.quote
        for price, there in self._levels(order.symbol, asks=order.is_buy):
            part = min(there, quote_left // price)
            qty += part
            quote_left -= price * part
            if part < there:
                break
        order.qty = qty - qty % lot_step(self._venue.infos[order.symbol]["filters"])

    def place(self, order: AccountOrder) -> AccountOrder:
        """Accept an order that is sized, well-formed and within the filters.

        Raises:
            ApiError: -2010, the matching engine's refusal; -1112 where no book is known.
        """
        against = self._levels(order.symbol, asks=order.is_buy)
        if not against and not self._levels(order.symbol, asks=not order.is_buy):
            raise ApiError(-1112, "No orders on book for symbol.")
        if order.quote and not order.qty:
            text = "Order book liquidity is less than `LOT_SIZE` filter minimum quantity."
            raise ApiError(-2010, text)
        plan = self._plan(order, against)
        if order.kind == "LIMIT_MAKER" and plan:
            raise ApiError(-2010, "Order would immediately match and take.")
        self._reserve(order, plan)
        order.identity = len(self.orders) + 1
        order.updated_ms = order.time_ms
        self.orders[order.identity] = order
        self.on_change(order, None)
        for price, qty in plan:
            self._fill(order, price, qty, is_maker=False)
        self._rest_or_expire(order)
        return order

    def _plan(self, order: AccountOrder, against: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the order's immediate fills, as (price, quantity)."""
        left = order.qty
        plan: list[tuple[int, int]] = []
        for price, there in against:
            if order.price and (price > order.price if order.is_buy else price < order.price):
                break
            qty = min(there, left)
            if qty <= 0:
                break
            plan.append((price, qty))
            left -= qty
        return [] if order.lifetime == "FOK" and left else plan

    def _reserve(self, order: AccountOrder, plan: list[tuple[int, int]]) -> None:
        """Lock the funds that the order may need; refuse the whole order if they are missing."""
        base, quote = self.assets(order.symbol)
        balance = self.balances[quote if order.is_buy else base]
        if order.kind == "MARKET":
            taken = sum(price * qty for price, qty in plan)
            needed = taken if order.is_buy else order.qty * UNIT
        else:
            needed = order.price * order.qty if order.is_buy else order.qty * UNIT
        if needed > balance.free:
            raise ApiError(-2010, "Account has insufficient balance for requested action.")
        balance.free -= needed
        balance.locked += needed
        order.locked = needed

    def _rest_or_expire(self, order: AccountOrder) -> None:
        if not order.is_open:
            return
        if order.kind == "MARKET":
            self._end(order, "EXPIRED", "INSUFFICIENT_LIQUIDITY")
        elif order.lifetime == "IOC":
            self._end(order, "EXPIRED", "UNFILLED_IOC_QUANTITY_EXPIRED")
        elif order.lifetime == "FOK":
            self._end(order, "EXPIRED", "UNFILLED_FOK_ORDER_EXPIRED")
        else:
            order.ahead = self._standing(order)
            self._resting.setdefault(order.symbol, []).append(order)

    def cancel(self, order: AccountOrder) -> AccountOrder:
        """Cancel an open order.

        Raises:
            ApiError: The order is not open.
        """
        if not order.is_open:
            raise ApiError(-2011, "Unknown order sent.")
        self._end(order, "CANCELED", None)
        return order

    def _end(self, order: AccountOrder, status: str, reason: str | None) -> None:
        order.status, order.expiry_reason = status, reason
        order.updated_ms = self.updated_ms = self._venue.now_ms()
        base, quote = self.assets(order.symbol)
        balance = self.balances[quote if order.is_buy else base]
        balance.free += order.locked
        balance.locked -= order.locked
        order.locked = 0
        self._forget(order)
        self.on_change(order, None)

    def _forget(self, order: AccountOrder) -> None:
        group = self._resting.get(order.symbol, [])
        if order in group:
            group.remove(order)

    # --- filling ----------------------------------------------------------------------------

    def _fill(self, order: AccountOrder, price: int, qty: int, *, is_maker: bool) -> None:
        """Book a trade of the order, its fee included."""
        base, quote = self.assets(order.symbol)
        value = price * qty
        given, received = (value, qty * UNIT) if order.is_buy else (qty * UNIT, value)
        fee = received * RATE // UNIT // UNIT
        paid, got = (quote, base) if order.is_buy else (base, quote)
        self.balances[paid].locked -= given
        order.locked -= given
        self.balances[got].free += received - fee * UNIT
        order.executed += qty
        order.spent += value
        order.updated_ms = self.updated_ms = self._venue.now_ms()
        order.status = "PARTIALLY_FILLED" if order.left else "FILLED"
        if not order.left:
            # Filled at better prices than its own: the rest of the locked amount is released.
            self.balances[paid].locked -= order.locked
            self.balances[paid].free += order.locked
            order.locked = 0
            self._forget(order)
        fill = AccountFill(
            *(len(self.fills) + 1, order.identity, price, qty, fee, got),
            time_ms=order.updated_ms,
            is_maker=is_maker,
        )
        self.fills.append(fill)
        order.fills.append(fill)
        self.on_change(order, fill)

    def _taken(self, frame: Frame, data: dict[str, Any] | None) -> None:
        """Fill resting orders that the frame just played would fill."""
        resting = self._resting.get(frame.symbol)
        if not resting or self._venue.statuses[frame.symbol] != "TRADING":
            return
        if frame.kind == TRADE and data is not None:
            self._on_trade(resting, to_units(data["p"]), to_units(data["q"]), is_sell=data["m"])
        elif frame.kind in (DEPTH, BOOK_TICKER):
            self._on_book(frame.symbol, resting)

    def _on_trade(
        self, resting: list[AccountOrder], price: int, qty: int, *, is_sell: bool
    ) -> None:
        """Fill orders that this trade would have reached: best price first, then oldest."""
        chosen = [order for order in resting if order.is_buy is is_sell]
        for order in sorted(chosen, key=lambda o: (-o.price if o.is_buy else o.price, o.identity)):
            is_through = order.price > price if order.is_buy else order.price < price
            if not is_through and order.price != price:
                continue
            if not is_through:
                order.ahead = min(order.ahead, self._standing(order) + qty)
                met = max(0, qty - order.ahead)
                order.ahead = max(0, order.ahead - qty)
            else:
                met = qty
            met = min(met, order.left)
            if met:
                self._fill(order, order.price, met, is_maker=True)
                qty -= met
            if qty <= 0:
                return

    def _on_book(self, symbol: str, resting: list[AccountOrder]) -> None:
        """Fill orders that the book crosses, up to the quantity at the touch."""
        bid, bid_qty, ask, ask_qty = (to_units(text) for text in touch(self._venue, symbol))
        for order in list(resting):
            price, there = (ask, ask_qty) if order.is_buy else (bid, bid_qty)
            is_crossed = price <= order.price if order.is_buy else price >= order.price
            if price and is_crossed and there:
                self._fill(order, order.price, min(there, order.left), is_maker=True)

    # --- the book ---------------------------------------------------------------------------

    def _levels(self, symbol: str, *, asks: bool) -> list[tuple[int, int]]:
        """Return one side of the book, best first, as (price, quantity)."""
        levels = self._venue.depth(symbol, _BOOK_LEVELS)["asks" if asks else "bids"]
        return [(to_units(price), to_units(qty)) for price, qty in levels]

    def _standing(self, order: AccountOrder) -> int:
        """Return the book's quantity at the price of an order, on its own side."""
        side = self._levels(order.symbol, asks=not order.is_buy)
        return next((qty for price, qty in side if price == order.price), 0)


def _age(order: AccountOrder) -> int:
    return order.identity
