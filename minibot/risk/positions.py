"""What risk knows of the world: portfolio, marks, rules, and the orders it sent and not yet booked.

An order stays open here until its terminal result and all fills that result speaks of have been
taken, whichever queue was read first. So nothing is sent twice while an answer is on its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from minibot.events.exact_tick import ExactTick
from minibot.events.messages import FillMessage, ResultMessage
from minibot.events.model import BUY, SELL, Instrument, JsonObject
from minibot.events.money import amount_text, cost_up, fee_up, parse_amount, proceeds_down
from minibot.events.native import mypyc_attr
from minibot.events.order_rules import OrderRules, mid_down
from minibot.events.portfolio import Portfolio
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.events.reference import Ref, named
from minibot.kernel.errors import InvariantError

TERMINAL_RESULTS: Final = frozenset({"FILLED", "CANCELLED", "EXPIRED", "REJECTED"})


@final
class Mark:
    """The last touch of a symbol.

    Attributes:
        bid, ask: Zero before there is one.
        ts, seq: Of its tick.
        is_fresh: Ends with a gap and returns with the next tick.
        has_mid: Whether both sides are there and not crossed.
    """

    __slots__ = ("ask", "bid", "has_mid", "is_fresh", "seq", "ts")

    def __init__(self, bid: int, ask: int, ts: int, seq: int, is_fresh: bool) -> None:
        self.bid: int = bid
        self.ask: int = ask
        self.ts: int = ts
        self.seq: int = seq
        self.is_fresh: bool = is_fresh
        self.has_mid: bool = 0 < bid <= ask


@mypyc_attr(acyclic=True)
@final
class SentOrder:
    """An intent that was written, and what is known of its order.

    Attributes:
        order: That of the executor, once a result told it.
        booked: How much of it was filled.
        final_filled: How much its terminal result says was filled; None before that.
        pending: How much may still be booked. It is settled once it has ended and that is nothing.
    """

    client: Ref
    symbol: str
    side: str
    qty: int
    price: int
    pending: int
    order: Ref | None = None
    booked: int = 0
    final_filled: int | None = None


def sent_order(client: Ref, symbol: str, side: str, qty: int, price: int) -> SentOrder:
    """Return an order as it is sent."""
    order = SentOrder()
    order.client = client
    order.symbol = symbol
    order.side = side
    order.qty = order.pending = qty
    order.price = price
    return order


@final
class Positions:
    """Portfolio, marks, rules and sent orders of one run.

    Attributes:
        is_open: Whether `run_opening` was taken; before it the portfolio is empty.
        mids: Last prices by symbol: mids, or what was newer than those.
        qtys: How much is held, by symbol of the open positions.
        values: What each open position is worth at its last price, at its cost without one.
        worth, cash, equity: Of all open positions; in the quote asset; both together.
        unmarked: Symbols of which a carried lot waits for its first mark.
        orders: Sent and not settled, oldest first.
    """

    def __init__(self, quote_asset: str, taker_rate: int) -> None:
        """Start before `run_opening`: nothing is known."""
        self._quote_asset: str = quote_asset
        self._taker_rate: int = taker_rate
        self.is_open: bool = False
        self.portfolio: Portfolio = Portfolio({}, ())
        self.qtys: dict[str, int] = {}
        self.values: dict[str, int] = {}
        self.worth: int = 0
        self.cash: int = 0
        self.equity: int = 0
        self._instruments: dict[str, Instrument] = {}
        self.rules: dict[str, OrderRules] = {}
        self.marks: dict[str, Mark] = {}
        self.mids: dict[str, int] = {}
        # Ticks of one symbol come in rows: the last mark found is most often the next one.
        self._symbol: str = ""
        self._mark: Mark | None = None
        self.unmarked: set[str] = set()
        self.orders: list[SentOrder] = []

    # --- what comes in ------------------------------------------------------------------------

    def open(self, portfolio: Portfolio) -> None:
        """Start the run with a portfolio; its lots wait for their first mark."""
        self.unmarked = set(portfolio.symbols())
        self._hold(portfolio)

    def _hold(self, portfolio: Portfolio) -> None:
        """Take over a portfolio and value all that it holds."""
        self.is_open = True
        self.portfolio = portfolio
        self.qtys = {}
        self.values = {}
        self.worth = 0
        for symbol in portfolio.symbols():
            self._weigh(symbol)
        self.cash = portfolio.cash(self._quote_asset)
        self.equity = self.cash + self.worth

    def _weigh(self, symbol: str) -> None:
        """Value what is held of a symbol anew; the caller knows what that does to equity."""
        worth = self.worth - self.values.get(symbol, 0)
        qty = self.portfolio.position_qty(symbol)
        if qty:
            price = self.mids.get(symbol)
            if price is None:
                value = self.portfolio.position_cost(symbol)
            else:
                value = proceeds_down(qty, price)
            self.qtys[symbol], self.values[symbol] = qty, value
            self.worth = worth + value
        else:
            self.qtys.pop(symbol, None)
            self.values.pop(symbol, None)
            self.worth = worth

    def on_instrument(self, instrument: Instrument) -> None:
        """Take the rules of a symbol, new or changed."""
        self._instruments[instrument.symbol] = instrument
        self.rules[instrument.symbol] = OrderRules.of(instrument)

    def on_gap(self, symbol: str) -> None:
        """Trust the last touch no longer; the position keeps its mark."""
        mark = self.marks.get(symbol)
        if mark is not None:
            mark.is_fresh = False

    def on_tick(self, tick: ExactTick, seq: int) -> int | None:
        """Take a touch.

        Returns:
            None when equity is as before; else by how much the first mark of a carried lot
            differs from its cost, which is 0 for every later mark.
        """
        symbol, bid, ask = tick.symbol, tick.bid, tick.ask
        mark = self._mark
        if mark is None or symbol != self._symbol:
            mark = self._find(symbol)
        mark.ts = tick.ts
        mark.seq = seq
        mark.is_fresh = True
        if bid == mark.bid and ask == mark.ask:
            return None  # The mid is that of the last touch, or there was none and is none.
        mark.bid = bid
        mark.ask = ask
        mark.has_mid = 0 < bid <= ask
        if not mark.has_mid:
            return None
        price = mid_down(bid, ask)
        if price == self.mids.get(symbol):
            return None
        self.mids[symbol] = price
        qty = self.qtys.get(symbol)
        return None if qty is None else self._revalue(symbol, qty, price)

    def on_price(self, symbol: str, price: int) -> int | None:
        """Take a price that is newer than the last touch: it values the position, no more.

        Nothing is decided on that touch any more; the next tick brings another one.

        Returns:
            As `on_tick`.
        """
        mark = self.marks.get(symbol)
        if mark is not None:
            mark.bid = mark.ask = 0
            mark.is_fresh = mark.has_mid = False
        if price == self.mids.get(symbol):
            return None
        self.mids[symbol] = price
        qty = self.qtys.get(symbol)
        return None if qty is None else self._revalue(symbol, qty, price)

    def _revalue(self, symbol: str, qty: int, price: int) -> int:
        """Value what is held at a new price; return what `on_tick` does."""
        value = proceeds_down(qty, price)
        gain = value - self.values[symbol]
        self.values[symbol] = value
        self.worth += gain
        self.equity += gain
        if symbol not in self.unmarked:
            return 0
        self.unmarked.discard(symbol)
        return value - self.portfolio.position_cost(symbol)

    def _find(self, symbol: str) -> Mark:
        mark = self.marks.get(symbol)
        if mark is None:
            mark = self.marks[symbol] = Mark(0, 0, 0, 0, False)
        self._symbol = symbol
        self._mark = mark
        return mark

    def on_fill(self, fill: FillMessage) -> SentOrder:
        """Book a fill and return its order.

        Raises:
            InvariantError: Risk sent no such order, or it is filled beyond its quantity.
        """
        client, qty = fill.client, fill.qty
        for order in self.orders:
            if order.client is client or order.client.is_same(client):
                break
        else:
            raise _unsent(fill)
        if fill.side != order.side or qty > order.pending:
            raise _unsent(fill)
        self.portfolio.book(fill, fill.ts)
        self._weigh(fill.symbol)
        self.cash = self.portfolio.cash(self._quote_asset)
        self.equity = self.cash + self.worth
        order.booked += qty
        order.pending -= qty
        if order.pending <= 0 and order.final_filled is not None:
            self.orders.remove(order)
        return order

    def on_result(self, result: ResultMessage) -> SentOrder | None:
        """Take a result; return its order when this result ends it, else None."""
        client, ref = result.client, result.order
        for order in self.orders:
            if order.client is client or order.client.is_same(client):
                break
        else:
            return None
        if order.order is None:
            order.order = ref
        elif order.order is not ref and not order.order.is_same(ref):
            return None  # A doubled intent was refused under an order id of its own.
        if result.result not in TERMINAL_RESULTS:
            return None
        order.final_filled = result.filled
        order.pending = result.filled - order.booked
        if order.pending <= 0:
            self.orders.remove(order)
        return order

    # --- what is known ------------------------------------------------------------------------

    def reserved(self, symbol: str | None = None) -> int:
        """Return what open entries may still cost, without fees, in one symbol or in all."""
        reserved = 0
        for order in self.orders:
            if symbol is None or order.symbol == symbol:
                reserved += self._entry_notional(order)
        return reserved

    def reserved_cash(self) -> int:
        """Return what open entries may still cost, with their fees."""
        reserved = 0
        for order in self.orders:
            notional = self._entry_notional(order)
            reserved += notional + fee_up(notional, self._taker_rate)
        return reserved

    def count_with(self, symbol: str) -> int:
        """Return how many symbols are held or being bought once this one is too."""
        held = self.values
        if not self.orders:
            return len(held) + (symbol not in held)
        bought = [order.symbol for order in self.orders if order.side == BUY]
        return len(held) + len({name for name in [*bought, symbol] if name not in held})

    def has_order(self, symbol: str, side: str | None = None) -> bool:
        """Return whether an order of the symbol, of one side or of any, is not settled."""
        for order in self.orders:
            if order.symbol == symbol and (side is None or order.side == side):
                return True
        return False

    def qty_with_orders(self, symbol: str) -> int:
        """Return the position plus what open entries may still buy."""
        qty = self.qtys.get(symbol, 0)
        for order in self.orders:
            if order.symbol == symbol and order.side == BUY:
                qty += order.pending
        return qty

    def free_qty(self, symbol: str) -> int:
        """Return the position less what open exits may sell."""
        free = self.qtys.get(symbol, 0)
        for order in self.orders:
            if order.symbol == symbol and order.side == SELL:
                free -= order.pending
        return free

    def _entry_notional(self, order: SentOrder) -> int:
        return cost_up(order.pending, order.price) if order.side == BUY else 0

    # --- as text ------------------------------------------------------------------------------

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        return {
            "portfolio": self.portfolio.to_json() if self.is_open else None,
            "instruments": {name: item.to_json() for name, item in self._instruments.items()},
            "marks": {
                name: [
                    amount_text(mark.bid),
                    amount_text(mark.ask),
                    mark.ts,
                    mark.seq,
                    mark.is_fresh,
                ]
                for name, mark in self.marks.items()
            },
            "mids": {name: amount_text(mid) for name, mid in self.mids.items()},
            "unmarked": sorted(self.unmarked),
            "orders": [
                [
                    order.client.text,
                    order.symbol,
                    order.side,
                    amount_text(order.qty),
                    amount_text(order.price),
                    "" if order.order is None else order.order.text,
                    amount_text(order.booked),
                    None if order.final_filled is None else amount_text(order.final_filled),
                ]
                for order in self.orders
            ],
        }

    @staticmethod
    def from_state(quote_asset: str, taker_rate: int, state: Mapping[str, Any]) -> Positions:
        """Return the positions of `state`."""
        positions = Positions(quote_asset, taker_rate)
        positions.mids = {name: parse_amount(text) for name, text in state["mids"].items()}
        positions.unmarked = set(state["unmarked"])
        if state["portfolio"] is not None:
            positions._hold(Portfolio.from_json(state["portfolio"]))
        for data in state["instruments"].values():
            positions.on_instrument(Instrument(**data))
        for name, (bid, ask, ts, seq, is_fresh) in state["marks"].items():
            positions.marks[name] = Mark(parse_amount(bid), parse_amount(ask), ts, seq, is_fresh)
        for client_order_id, symbol, side, qty, price, order_id, booked, ended in state["orders"]:
            order = sent_order(
                named(client_order_id), symbol, side, parse_amount(qty), parse_amount(price)
            )
            order.order = named(order_id) if order_id else None
            order.booked = parse_amount(booked)
            order.final_filled = None if ended is None else parse_amount(ended)
            most = order.qty if order.final_filled is None else order.final_filled
            order.pending = most - order.booked
            positions.orders.append(order)
        return positions


def _unsent(fill: FillMessage) -> InvariantError:
    return InvariantError(
        "risk",
        INVARIANT_BROKEN,
        f"fill of {fill.side} {amount_text(fill.qty)} {fill.symbol} for order"
        f" {fill.client.text}, which risk did not send or which has no such quantity open",
    )
