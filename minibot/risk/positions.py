"""Positions, markets and working orders as risk knows them.

An order stays open here until its terminal result and all fills counted in that result have
arrived, whichever queue was read first. So nothing is sent twice while an answer is pending.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from minibot.accounting.lots import Holding
from minibot.accounting.order_rules import OrderRules, mid_down
from minibot.accounting.portfolio import Portfolio
from minibot.accounting.resting_orders import with_dust, with_resting
from minibot.cores.event_id import EventId, named
from minibot.cores.messages import CANCEL_REJECTED, TRIGGERED, FillMessage, ResultMessage
from minibot.cores.scaled_tick import ScaledTick
from minibot.events.model import BUY, SELL, Instrument, JsonObject
from minibot.events.money import amount_text, cost_up, fee_up, parse_amount, proceeds_down
from minibot.events.native import mypyc_attr
from minibot.events.reasons import INVARIANT_BROKEN, STOP_LOSS, TAKE_PROFIT
from minibot.kernel.errors import InvariantError
from minibot.risk.exits import SymbolExits

NO_PRICE: Final = -1
UNSEEN: Final = -1
"""Time of the last tick while there was none."""
LEVEL_REASONS: Final = (STOP_LOSS, TAKE_PROFIT)
"""The reason codes of stop and target of the entry."""
TERMINAL_RESULTS: Final = frozenset({"FILLED", "CANCELLED", "EXPIRED", "REJECTED"})


@final
class Market:
    """Market of a symbol: its last touch and price, and the position in it.

    Attributes:
        symbol: Its name.
        rules: The venue's latest rules for the symbol; None before the first.
        bid, ask: The last touch; 0 before a tick, and after a price mark.
        ts, seq: Time and line of the last tick; `ts` is `UNSEEN` before the first.
        is_fresh: True from a tick until the next gap or price mark.
        has_mid: Whether bid and ask are both there and not crossed.
        price: The last mid, or a newer price mark; `NO_PRICE` before the first.
        qty: Quantity held; 0 for dust.
        holding: The position with its lots and their cost; None for no position.
        value: Value of the position at `price`, or its cost while there is no price.
        is_unmarked: Whether a carried lot waits for its first mark.
        last: Price of the last trade if exits rest with the executor, else 0.
        exits: State of its exits; None before the first call of `RiskState.exits_of`.
    """

    __slots__ = (
        "ask",
        "bid",
        "exits",
        "has_mid",
        "holding",
        "is_fresh",
        "is_unmarked",
        "last",
        "price",
        "qty",
        "rules",
        "seq",
        "symbol",
        "ts",
        "value",
    )

    def __init__(self, symbol: str) -> None:
        """Start with nothing known."""
        self.symbol: str = symbol
        self.rules: OrderRules | None = None
        self.bid: int = 0
        self.ask: int = 0
        self.ts: int = UNSEEN
        self.seq: int = 0
        self.is_fresh: bool = False
        self.has_mid: bool = False
        self.price: int = NO_PRICE
        self.qty: int = 0
        self.holding: Holding | None = None
        self.value: int = 0
        self.is_unmarked: bool = False
        self.last: int = 0
        self.exits: SymbolExits | None = None


@mypyc_attr(acyclic=True)
@final
class WorkingOrder:
    """An order that was sent, until it has ended and all its fills are booked.

    Attributes:
        client: The client order id, chosen by risk.
        market: The market of the order.
        price: The ask of an entry, or the bid of a sale, when it was sent; of a quote, its own
            price. It values an open entry.
        order: The executor's id, once a result named it.
        booked: Quantity of the fills taken so far.
        final_filled: Filled quantity in its terminal result; None before that.
        pending: The quantity still to be booked: of `qty`, or of `final_filled` once it ended.
        stop, target: The triggers of an order that rests with the executor; None for off.
        limit: The limit of its stop; None for a sale at the market.
        reasons: The reason codes of stop and target.
        intent: The event that placed a resting order; None for other orders.
        is_replacing: Whether it is to replace a resting order, until the executor answers.
        is_triggered: Whether it rested and now sells, at the market or at its limit.
        trigger_reason: Reason code of the trigger of an order with a limit; empty before that.
        trigger_seq: Line after which the bid of a tick shows whether a gap jumped past the limit:
            that of the trigger's own tick too, if it is the last one read. `NEVER` for a target,
            whose quote no gap jumps past.
        is_unsold: Whether it left a quantity unsold, so that a sale at the market replaces it.
        is_part: Whether it is a partial sale, so that an exit that is due may be sold as well.
        atr: The ATR by which an entry was sized; None if it was not.
    """

    __slots__ = (
        "atr",
        "booked",
        "client",
        "final_filled",
        "intent",
        "is_part",
        "is_replacing",
        "is_triggered",
        "is_unsold",
        "limit",
        "market",
        "order",
        "pending",
        "price",
        "qty",
        "reasons",
        "side",
        "stop",
        "target",
        "trigger_reason",
        "trigger_seq",
    )

    def __init__(self, client: EventId, market: Market, side: str, qty: int, price: int) -> None:
        """Start as sent: no result, no fill."""
        self.client: EventId = client
        self.market: Market = market
        self.side: str = side
        self.qty: int = qty
        self.price: int = price
        self.pending: int = qty
        self.order: EventId | None = None
        self.booked: int = 0
        self.final_filled: int | None = None
        self.stop: int | None = None
        self.target: int | None = None
        self.reasons: tuple[str, str] = LEVEL_REASONS
        self.intent: EventId | None = None
        self.is_replacing: bool = False
        self.is_triggered: bool = False
        self.limit: int | None = None
        self.trigger_reason: str = ""
        self.trigger_seq: int = 0
        self.is_unsold: bool = False
        self.is_part: bool = False
        self.atr: int | None = None

    @property
    def rests(self) -> bool:
        """True while an order waits for its trigger; not while it is still replacing another."""
        has_trigger = self.stop is not None or self.target is not None
        return has_trigger and not self.is_triggered and not self.is_replacing

    @property
    def is_trigger_unknown(self) -> bool:
        """True for an order with a trigger until a result reports that it was triggered."""
        return (self.stop is not None or self.target is not None) and not self.is_triggered

    @property
    def has_quote(self) -> bool:
        """True for an OCO with a limit, whose target is a quote without a trigger."""
        return self.limit is not None and self.target is not None

    @property
    def gives_way(self) -> bool:
        """True for an order that a sale replaces: it rests, or left a quantity unsold."""
        return self.rests or self.is_unsold

    def matches(self, qty: int, stop: int | None, target: int | None, limit: int | None) -> bool:
        """Return whether the order has this open quantity, these triggers and this limit."""
        is_so = self.pending == qty and self.stop == stop and self.target == target
        return is_so and self.limit == limit


@final
class Positions:
    """Portfolio, markets and working orders of one run.

    Attributes:
        is_open: Whether `run_opening` was taken; before it the portfolio is empty.
        marks: Last prices of the run before, of carried symbols without a price in this run.
        moved: If the last price was the first of a carried symbol, the change of its position's
            value since the run before; else 0.
        market: The market found last, as inputs of one symbol often follow each other.
        held: The markets of open positions, by symbol.
        worth, cash, equity: Value of all positions; balance in the quote asset; both together.
        unpriced: Value that symbols without a price would add to equity at their `marks`; may be
            negative.
        orders: The orders sent and not settled, oldest first.
    """

    __slots__ = (
        "_instruments",
        "_leaves_dust",
        "_markets",
        "_quote_asset",
        "_taker_rate",
        "cash",
        "equity",
        "held",
        "is_open",
        "market",
        "marks",
        "moved",
        "orders",
        "portfolio",
        "unpriced",
        "worth",
    )

    def __init__(self, quote_asset: str, taker_rate: int, leaves_dust: bool = False) -> None:
        """Start before `run_opening`: nothing is known."""
        self._quote_asset: str = quote_asset
        self._taker_rate: int = taker_rate
        self._leaves_dust: bool = leaves_dust
        self.is_open: bool = False
        self.portfolio: Portfolio = Portfolio({}, ())
        self.held: dict[str, Market] = {}
        self.worth: int = 0
        self.cash: int = 0
        self.equity: int = 0
        self.marks: dict[str, int] = {}
        self.moved: int = 0
        self.unpriced: int = 0
        self._instruments: dict[str, Instrument] = {}
        self._markets: dict[str, Market] = {}
        self.market: Market = Market("")
        self.orders: list[WorkingOrder] = []

    def of(self, symbol: str) -> Market:
        """Return the market of a symbol, made at the first call."""
        market = self.market
        if symbol == market.symbol:
            return market
        found = self._markets.get(symbol)
        if found is None:
            found = self._markets[symbol] = Market(symbol)
        self.market = found
        return found

    # --- inputs -------------------------------------------------------------------------------

    def open(self, portfolio: Portfolio, marks: Mapping[str, str]) -> None:
        """Start the run with a portfolio; its lots wait for their first mark.

        Args:
            portfolio: The portfolio at the start of the run.
            marks: By symbol, the last price in the run before.

        Raises:
            InvariantError: The run is already open, or a mark has no lot or is not above zero.
        """
        if self.is_open:
            raise InvariantError("risk", INVARIANT_BROKEN, "run_opening: expected one, found two")
        for symbol in portfolio.symbols():
            self.of(symbol).is_unmarked = True
        self.marks = {symbol: parse_amount(price) for symbol, price in marks.items()}
        for symbol, price in self.marks.items():
            if price <= 0 or portfolio.holding(symbol) is None:
                detail = f"run_opening: mark {marks[symbol]} of {symbol}, expected a held symbol's"
                raise InvariantError("risk", INVARIANT_BROKEN, f"{detail} price, above 0")
        self._hold(portfolio)
        self._count_unpriced()

    def _hold(self, portfolio: Portfolio) -> None:
        """Set the portfolio and value all its holdings."""
        self.is_open = True
        self.portfolio = portfolio
        for symbol in portfolio.symbols():
            self._weigh(self.of(symbol))
        self.cash = portfolio.cash(self._quote_asset)
        self.equity = self.cash + self.worth

    def _weigh(self, market: Market) -> None:
        """Value a holding at the last price; the caller updates equity.

        Dust is no position and has no value, as it cannot be sold.
        """
        symbol, qty, value = market.symbol, 0, 0
        holding, least = self.portfolio.holding(symbol), self.dust_max(market) + 1
        if holding is not None:
            holding = None if holding.qty < least else _without_dust(holding, least)
        market.holding = holding
        if holding is None:
            self.held.pop(symbol, None)
        else:
            self.held[symbol] = market
            qty, price = holding.qty, market.price
            value = holding.cost if price == NO_PRICE else proceeds_down(qty, price)
        self.worth += value - market.value
        market.qty, market.value = qty, value

    def on_instrument(self, instrument: Instrument) -> int:
        """Take the rules of a symbol, new or changed.

        Returns:
            The change of equity if a holding becomes dust, or stops being dust, by the new rules.
        """
        self._instruments[instrument.symbol] = instrument
        market = self.of(instrument.symbol)
        market.rules = OrderRules.of(instrument)
        if not self._leaves_dust or self.portfolio.holding(instrument.symbol) is None:
            return 0
        before = market.value
        self._weigh(market)
        market.is_unmarked = market.holding is not None and market.price == NO_PRICE
        self.equity = self.cash + self.worth
        self._count_unpriced()
        return market.value - before

    def dust_max(self, market: Market) -> int:
        """Return the largest holding of a market that is dust; 0 if the profile has no dust."""
        rules = market.rules
        return rules.market_bounds.qty_least - 1 if self._leaves_dust and rules is not None else 0

    def on_gap(self, symbol: str) -> None:
        """Mark the last touch as stale; the position keeps its value."""
        self.of(symbol).is_fresh = False

    def on_tick(self, market: Market, tick: ScaledTick, seq: int) -> int | None:
        """Take a touch; if it is crossed or lacks a side, the price stays as it was.

        Returns:
            None if the price is unchanged or nothing is held. Else the value of the position less
            its cost at the first price of a carried lot, and 0 at every other price.
        """
        bid, ask = tick.bid, tick.ask
        market.ts = tick.ts
        market.seq = seq
        market.is_fresh = True
        if bid == market.bid and ask == market.ask:
            return None  # The mid is unchanged.
        market.bid = bid
        market.ask = ask
        if bid <= 0 or ask < bid:
            market.has_mid = False
            return None
        market.has_mid = True
        price = mid_down(bid, ask)
        if price == market.price:
            return None
        market.price = price
        return self._revalue(market) if market.qty else None

    def on_price(self, symbol: str, price: int) -> int | None:
        """Take a price mark, newer than the last touch; it only values the position.

        The touch is dropped, so that nothing is bought or sold before the next tick.

        Returns:
            The same as `on_tick`.
        """
        market = self.of(symbol)
        market.bid = market.ask = 0
        market.is_fresh = market.has_mid = False
        if price == market.price:
            return None
        market.price = price
        return self._revalue(market) if market.qty else None

    def _revalue(self, market: Market) -> int:
        """Value a position at a new price; return the same as `on_tick`."""
        value = proceeds_down(market.qty, market.price)
        gain = value - market.value
        market.value = value
        self.worth += gain
        self.equity += gain
        self.moved = 0
        if not market.is_unmarked:
            return 0
        market.is_unmarked = False
        carried = self.marks.pop(market.symbol, NO_PRICE)
        if carried != NO_PRICE:
            self.moved = value - proceeds_down(market.qty, carried)
            self._count_unpriced()
        return value - self.portfolio.position_cost(market.symbol)

    def _count_unpriced(self) -> None:
        """Update `unpriced`."""
        self.unpriced = 0
        for symbol, price in self.marks.items():
            market = self._markets.get(symbol)
            if market is not None and market.price == NO_PRICE:
                self.unpriced += proceeds_down(market.qty, price) - market.value

    def on_fill(self, fill: FillMessage) -> Market:
        """Book a fill and return its market.

        Raises:
            InvariantError: Risk did not send the order, the symbol or side differs, or the fill
                exceeds the quantity still to be booked.
        """
        client, qty = fill.client, fill.qty
        for order in self.orders:
            if order.client is client or order.client.is_same(client):
                break
        else:
            raise _unsent(fill)
        market, portfolio = order.market, self.portfolio
        if fill.symbol != market.symbol or fill.side != order.side or qty > order.pending:
            raise _unsent(fill)
        portfolio.book(fill, fill.ts)
        self._weigh(market)
        self.cash = portfolio.balances.get(self._quote_asset, 0)
        self.equity = self.cash + self.worth
        order.booked += qty
        order.pending -= qty
        if order.pending <= 0 and order.final_filled is not None:
            self.orders.remove(order)
        return market

    def on_result(self, order: WorkingOrder, result: ResultMessage) -> bool:
        """Take a result of an order that `find` returned; return whether it ends the order."""
        ref = result.order
        if result.result == CANCEL_REJECTED:
            return False  # It is about the cancel; the order has its own results.
        order.is_replacing = False
        if order.order is None:
            order.order = ref
        elif order.order is not ref and not order.order.is_same(ref):
            return False  # A repeated intent was refused under another order id.
        if result.result == TRIGGERED:
            order.is_triggered = True
        if result.result not in TERMINAL_RESULTS:
            return False
        order.final_filled = result.filled
        order.pending = result.filled - order.booked
        if order.pending <= 0:
            self.orders.remove(order)
        return True

    # --- queries ------------------------------------------------------------------------------

    def reserved(self, symbol: str | None = None) -> int:
        """Return the remaining cost of open entries, without fees, in one symbol or in all."""
        reserved = 0
        for order in self.orders:
            if symbol is None or order.market.symbol == symbol:
                reserved += self._entry_notional(order)
        return reserved

    def reserved_cash(self) -> int:
        """Return the remaining cost of open entries, with their fees."""
        reserved = 0
        for order in self.orders:
            notional = self._entry_notional(order)
            reserved += notional + fee_up(notional, self._taker_rate)
        return reserved

    def beside(self, symbol: str) -> set[str]:
        """Return the symbols that are held or being bought, without this one."""
        found = set(self.held)
        for order in self.orders:
            if order.side == BUY:
                found.add(order.market.symbol)
        found.discard(symbol)
        return found

    def count_beside(self, symbol: str) -> int:
        """Return how many symbols other than one are held or being bought.

        One that is worth less than the venue sells is not held: nothing ends such a position.
        """
        held = [
            name for name, market in self.held.items() if name != symbol and not is_scrap(market)
        ]
        if not self.orders:
            return len(held)
        found = {order.market.symbol for order in self.orders if order.side == BUY}
        found.update(held)
        found.discard(symbol)
        return len(found)

    def has_order(self, symbol: str, side: str | None = None) -> bool:
        """Return whether an order of the symbol, of one side or of any, is not settled.

        Orders that a sale replaces do not count: a resting order never, one that left a quantity
        unsold not if a side is given.
        """
        for order in self.orders:
            is_asked = order.market.symbol == symbol and (side is None or order.side == side)
            if is_asked and not order.rests and not (order.is_unsold and side is not None):
                return True
        return False

    def sells_only_parts(self, market: Market) -> bool:
        """Return whether all open sales of a market are partial ones."""
        for order in self.orders:
            is_sale = order.market is market and order.side == SELL
            if is_sale and not order.gives_way and not order.is_part:
                return False
        return True

    def find(self, client: EventId) -> WorkingOrder | None:
        """Return the order of a client order id; None once it is settled."""
        for order in self.orders:
            if order.client is client or order.client.is_same(client):
                return order
        return None

    def resting(self, market: Market) -> WorkingOrder | None:
        """Return the order that rests for a position; None while there is none.

        An order that is being replaced still rests; until the executor answers, `has_order` counts
        its replacement. An order that left a quantity unsold is returned too.
        """
        for order in self.orders:
            if order.market is market and order.gives_way:
                return order
        return None

    def triggered(self, market: Market) -> WorkingOrder | None:
        """Return the triggered limit order that has not sold all yet; None without one."""
        for order in self.orders:
            if order.market is market and order.trigger_reason and order.final_filled is None:
                return order if order.pending > 0 else None
        return None

    def entries(self, market: Market) -> list[WorkingOrder]:
        """Return the open entries of a market that may still buy."""
        return [
            order
            for order in self.orders
            if order.market is market and order.side == BUY and order.final_filled is None
        ]

    def atr_of_entries(self, market: Market) -> int | None:
        """Return the largest ATR by which an open entry of a market was sized; None for none."""
        found: int | None = None
        for order in self.entries(market):
            if order.atr is not None and (found is None or order.atr > found):
                found = order.atr
        return found

    def closes(self, market: Market, fill: FillMessage) -> bool:
        """Return whether a booked fill closed a market's position: all but dust is sold.

        While an open sale can still fill from what is left, the position is not closed, though the
        rest is small enough to be dust. A sale of more than that will be refused.
        """
        if fill.side != SELL or market.holding is not None:
            return False
        left = self.portfolio.position_qty(market.symbol)
        for order in self.orders:
            is_sale = order.market is market and order.side == SELL and not order.rests
            if is_sale and 0 < order.pending <= left:
                return False
        return True

    def qty_with_orders(self, market: Market) -> int:
        """Return the quantity held, with any dust, plus the open quantity of entries."""
        qty = self.portfolio.position_qty(market.symbol) if self._leaves_dust else market.qty
        for order in self.orders:
            if order.market is market and order.side == BUY:
                qty += order.pending
        return qty

    def free_qty(self, market: Market) -> int:
        """Return the position less the open quantity of sales; `gives_way` orders do not count."""
        free = market.qty
        for order in self.orders:
            if order.market is market and order.side == SELL and not order.gives_way:
                free -= order.pending
        return free

    def _entry_notional(self, order: WorkingOrder) -> int:
        return cost_up(order.pending, order.price) if order.side == BUY else 0

    def listed(self) -> list[dict[str, str]]:
        """Return the open positions, each with the order that rests for it."""
        listed = self.portfolio.open_positions()
        for place, position in enumerate(listed):
            market = self._markets.get(position["symbol"])
            if self._leaves_dust and market is not None and market.rules is not None:
                listed[place] = position = with_dust(position, market.rules)
            for order in self.orders:
                if order.rests and order.market.symbol == position["symbol"]:
                    qty, stop, target = order.pending, order.stop, order.target
                    listed[place] = with_resting(position, qty, stop, target)
        return listed

    # --- as text ------------------------------------------------------------------------------

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        return {
            "portfolio": self.portfolio.to_json() if self.is_open else None,
            "instruments": {name: item.to_json() for name, item in self._instruments.items()},
            "marks": {
                name: [
                    amount_text(market.bid),
                    amount_text(market.ask),
                    market.ts,
                    market.seq,
                    market.is_fresh,
                    *([amount_text(market.last)] if market.last else []),
                ]
                for name, market in self._markets.items()
                if market.ts != UNSEEN
            },
            "mids": {
                name: amount_text(market.price)
                for name, market in self._markets.items()
                if market.price != NO_PRICE
            },
            "unmarked": sorted(
                [name for name, market in self._markets.items() if market.is_unmarked]
            ),
            **(
                {"carried_marks": {name: amount_text(at) for name, at in self.marks.items()}}
                if self.marks
                else {}
            ),
            "orders": [
                [
                    order.client.text,
                    order.market.symbol,
                    order.side,
                    amount_text(order.qty),
                    amount_text(order.price),
                    "" if order.order is None else order.order.text,
                    amount_text(order.booked),
                    None if order.final_filled is None else amount_text(order.final_filled),
                    *_rest_state(order),
                ]
                for order in self.orders
            ],
        }

    @staticmethod
    def from_state(
        quote_asset: str, taker_rate: int, leaves_dust: bool, state: Mapping[str, Any]
    ) -> Positions:
        """Return the positions of `state`."""
        positions = Positions(quote_asset, taker_rate, leaves_dust)
        for name, text in state["mids"].items():
            positions.of(name).price = parse_amount(text)
        for name in state["unmarked"]:
            positions.of(name).is_unmarked = True
        for name, text in state.get("carried_marks", {}).items():
            positions.marks[name] = parse_amount(text)
        if state["portfolio"] is not None:
            positions._hold(Portfolio.from_json(state["portfolio"]))
        for data in state["instruments"].values():
            positions.on_instrument(Instrument(**data))
        for name, mark in state["marks"].items():
            market, (bid, ask, ts, seq, is_fresh) = positions.of(name), mark[:5]
            market.last = parse_amount(mark[5]) if mark[5:] else 0
            market.bid, market.ask = parse_amount(bid), parse_amount(ask)
            market.ts, market.seq, market.is_fresh = ts, seq, is_fresh
            market.has_mid = 0 < market.bid <= market.ask
        for row in state["orders"]:
            client_order_id, symbol, side, qty, price, order_id, booked, ended = row[:8]
            client, market = named(client_order_id), positions.of(symbol)
            order = WorkingOrder(client, market, side, parse_amount(qty), parse_amount(price))
            order.order = named(order_id) if order_id else None
            order.booked = parse_amount(booked)
            order.final_filled = None if ended is None else parse_amount(ended)
            most = order.qty if order.final_filled is None else order.final_filled
            order.pending = most - order.booked
            if row[8:]:
                _restore_rest(order, row[8])
            positions.orders.append(order)
        positions._count_unpriced()
        return positions


def is_scrap(market: Market) -> bool:
    """Return whether a position is worth less than the venue's least order at the market."""
    rules = market.rules
    return rules is not None and market.value < rules.market_bounds.notional_min


def _without_dust(holding: Holding, least: int) -> Holding:
    """Set how many of the oldest lots together are dust: the position begins after them.

    Args:
        holding: A holding of at least `least`.
        least: The smallest quantity that is not dust.
    """
    count, qty = 0, holding.lots[0].qty
    while qty < least:
        count += 1
        qty += holding.lots[count].qty
    holding.dust_lots = count
    return holding


def _rest_state(order: WorkingOrder) -> tuple[JsonObject, ...]:
    """Return the state that only some orders have: of a part, a size by ATR, or a trigger."""
    if order.is_part:
        return ({"is_part": True},)
    if order.atr is not None:
        return ({"atr": amount_text(order.atr)},)
    if order.stop is None and order.target is None and not order.is_replacing:
        return ()
    return (
        {
            "stop": None if order.stop is None else amount_text(order.stop),
            "target": None if order.target is None else amount_text(order.target),
            "intent": None if order.intent is None else order.intent.text,
            "is_replacing": order.is_replacing,
            "is_triggered": order.is_triggered,
            **({} if order.limit is None else {"limit": amount_text(order.limit)}),
            **(
                {"left": [order.trigger_reason, order.trigger_seq, order.is_unsold]}
                if order.trigger_reason
                else {}
            ),
            **({} if order.reasons == LEVEL_REASONS else {"reasons": list(order.reasons)}),
        },
    )


def _restore_rest(order: WorkingOrder, data: Mapping[str, Any]) -> None:
    """Take over what `_rest_state` returned."""
    order.is_part = data.get("is_part", False)
    if "atr" in data:
        order.atr = parse_amount(data["atr"])
    if "stop" not in data:
        return
    order.stop = None if data["stop"] is None else parse_amount(data["stop"])
    order.target = None if data["target"] is None else parse_amount(data["target"])
    order.intent = None if data["intent"] is None else named(data["intent"])
    order.is_replacing = data["is_replacing"]
    order.is_triggered = data["is_triggered"]
    order.limit = None if data.get("limit") is None else parse_amount(data["limit"])
    order.trigger_reason, order.trigger_seq, order.is_unsold = data.get("left", ("", 0, False))
    stop_why, target_why = data.get("reasons", LEVEL_REASONS)
    order.reasons = stop_why, target_why


def _unsent(fill: FillMessage) -> InvariantError:
    return InvariantError(
        "risk",
        INVARIANT_BROKEN,
        f"fill of {fill.side} {amount_text(fill.qty)} {fill.symbol} for order"
        f" {fill.client.text}, which risk did not send or which has no such quantity open",
    )
