"""Portfolio in exact integers: cash by asset, lots first in first out, realised P&L and fees.

A portfolio is a projection: `run_opening` plus the fills in their order rebuild it to the same
bytes. Risk, execution, report and the next run's opening each build their own from the same events.
Amounts are hundred-millionths (`events.money`); docs/accounting.md has the rules.

Invariants, checked at every fill: no cash below zero, no position below zero, the entries of a
fill add up to zero. Fills are numbered as they come; the caller passes each once and in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minibot.accounting.bookings import Booking, DayTotals
from minibot.accounting.lots import Holding, Lot, Trade, lot_of
from minibot.cores.messages import FillMessage, is_base_fee
from minibot.events.decimals import mul_div_down
from minibot.events.model import BUY, SELL, Fill, JsonObject, RunOpening
from minibot.events.money import amount_text, cost_up, parse_amount, proceeds_down
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.events.unit_sizes import DAY_MS
from minibot.kernel.errors import InvariantError


class Portfolio:
    """Cash, lots and totals of one run; see the module for its invariants.

    Attributes:
        balances: The cash of each asset; not to be changed from outside.
        fills: Number of fills booked.
        bought: Cost of all purchases without fees, over all days.
        days: The totals of each UTC day, counted from 1970-01-01.
    """

    __slots__ = (
        *("_booking", "_cash", "_day", "_day_n", "_fee_asset", "_held", "_holding"),
        *("_pays_in_base", "_quote_asset", "_symbol", "balances", "bought", "days", "fills"),
    )

    def __init__(self, cash: Mapping[str, int], lots: Iterable[Lot]) -> None:
        """Open with cash, and with lots that the caller has sorted, oldest first.

        Raises:
            InvariantError: Cash is below zero, or quantity or price of a lot is not above it.
        """
        self.balances: dict[str, int] = dict(cash)
        self._held: dict[str, Holding] = {}  # By symbol, without empty ones.
        self.fills: int = 0
        self.days: dict[int, DayTotals] = {}
        # Fills of one symbol come in runs, so these cache its holding, and the asset that pays for
        # it with its cash, by the asset of the fee.
        self._symbol: str = ""
        self._fee_asset: str = ""
        self._holding: Holding = Holding()
        self._quote_asset: str = ""
        self._cash: int = 0
        self._pays_in_base: bool = False
        # Fills of one day come in runs: the day booked last.
        self._day_n: int = -1
        self._day: DayTotals = DayTotals()
        self._booking: Booking = Booking(0, 0, "", "", 0, 0, 0, 0)
        self.bought: int = 0
        for asset, amount in self.balances.items():
            if amount < 0:
                raise _broken(f"opening cash {asset} {amount_text(amount)}, expected zero or more")
        for lot in lots:
            if lot.qty <= 0 or lot.price <= 0:
                raise _broken(f"opening lot of {lot.symbol}: expected quantity and price above 0")
            held = self._held.setdefault(lot.symbol, Holding())
            held.lots.append(lot)
            held.qty += lot.qty
            held.cost += lot.cost

    @classmethod
    def from_opening(cls, opening: RunOpening) -> Portfolio:
        """Return the portfolio with which a run starts."""
        cash = {asset: parse_amount(text) for asset, text in opening.cash.items()}
        return cls(cash, [Lot.from_json(lot) for lot in opening.lots])

    # --- reading ------------------------------------------------------------------------------

    def cash(self, asset: str) -> int:
        """Return the cash in an asset."""
        return self.balances.get(asset, 0)

    @property
    def realised_pnl(self) -> int:
        """Return the realised P&L of all closed trades, before fees."""
        return sum([day.realised_pnl for day in self.days.values()])

    @property
    def fees(self) -> int:
        """Return the fees of all fills."""
        return sum([day.fees for day in self.days.values()])

    def symbols(self) -> list[str]:
        """Return the symbols with an open position, sorted."""
        return sorted(self._held)

    def lots(self, symbol: str) -> tuple[Lot, ...]:
        """Return the open lots of a symbol, oldest first."""
        held = self._held.get(symbol)
        return () if held is None else tuple(held.lots)

    def has_lots(self, symbol: str) -> bool:
        """Return whether a symbol is held."""
        return symbol in self._held

    def holding(self, symbol: str) -> Holding | None:
        """Return the holding of a symbol, not to be changed by the caller; None when flat."""
        return self._held.get(symbol)

    def position_qty(self, symbol: str) -> int:
        """Return the quantity held, never negative."""
        held = self._held.get(symbol)
        return 0 if held is None else held.qty

    def position_cost(self, symbol: str) -> int:
        """Return the cost of the open position, without fees."""
        held = self._held.get(symbol)
        return 0 if held is None else held.cost

    def entry_price_avg(self, symbol: str) -> int:
        """Return the average price of the open position, rounded up; 0 when flat."""
        held = self._held.get(symbol)
        return 0 if held is None else held.price_avg()

    def exposure(self, marks: dict[str, int]) -> int:
        """Return the value of all open positions at the marks; at its cost where there is none."""
        worth = 0
        if self._held:
            for symbol, held in self._held.items():
                mark_price = marks.get(symbol)
                if mark_price is None:
                    worth += held.cost
                else:
                    worth += proceeds_down(held.qty, mark_price)
        return worth

    def equity(self, asset: str, marks: dict[str, int]) -> int:
        """Return cash in the quote asset plus all open positions, valued as in `exposure`."""
        cash = self.balances.get(asset, 0)
        return cash + self.exposure(marks) if self._held else cash

    def day(self, day: int) -> DayTotals:
        """Return the totals of a UTC day, counted from 1970-01-01."""
        if day == self._day_n:
            return self._day
        return self.days.get(day, DayTotals())

    def open_positions(self) -> list[dict[str, str]]:
        """Return the open positions as `{symbol, qty, entry_price_avg}`, by symbol."""
        return [
            {
                "symbol": symbol,
                "qty": amount_text(self.position_qty(symbol)),
                "entry_price_avg": amount_text(self.entry_price_avg(symbol)),
            }
            for symbol in self.symbols()
        ]

    def opening_lots(self) -> list[JsonObject]:
        """Return the lots for the `run_opening` of a following run, oldest first."""
        lots = [lot for symbol in self.symbols() for lot in self._held[symbol].lots]
        return [
            {
                "symbol": lot.symbol,
                "qty": amount_text(lot.qty),
                "price": amount_text(lot.price),
                "cost": amount_text(lot.cost),
                "ts": lot.ts,
            }
            for lot in sorted(lots, key=_age)
        ]

    def opening_cash(self) -> dict[str, str]:
        """Return the cash for the `run_opening` of a following run."""
        return {asset: amount_text(amount) for asset, amount in sorted(self.balances.items())}

    # --- the one way to change it -------------------------------------------------------------

    def apply(self, fill: Fill, ts: int) -> Booking:
        """Book one fill and return its booking.

        Args:
            fill: The fill. Its fee is in the quote asset, by which the quote asset is known: any
                third asset would be taken for it. The fee of a purchase may also be in the base
                asset: it then reduces the lot, and its value at the price of the fill goes to
                `fees` instead of the lot's cost.
            ts: The fill event's `ts`.

        Raises:
            InvariantError: The fill would leave cash or position below zero, or is not a valid
                fill; nothing is changed then.
        """
        trades: list[Trade] = []
        return self.book(FillMessage.read(fill), ts, trades).kept(trades)

    def book(self, fill: FillMessage, ts: int, trades: list[Trade] | None = None) -> Booking:
        """Book a fill given in numbers; see `apply`.

        The booking is valid until the next call, even if that is refused. The trades that a sale
        closes are added to `trades`, if given.
        """
        n = self.fills + 1
        qty, price, fee = fill.qty, fill.price, fill.fee
        if qty <= 0 or price <= 0 or fee < 0:
            text = f"qty {qty}, price {price}, fee {fee} hundred-millionths"
            raise _broken(f"fill {n}: {text}")
        symbol = fill.symbol
        if symbol != self._symbol or fill.fee_asset != self._fee_asset:
            self._turn_to(fill)
        held = self._holding
        is_buy = fill.side == BUY
        if is_buy:
            position = cost_up(qty, price)
            if self._pays_in_base:
                if fee >= qty:
                    took = f"a fee of {amount_text(fee)} takes all of {amount_text(qty)}"
                    raise _broken(f"fill {n}: {took}")
                qty -= fee
                fee = cost_up(fee, price)
                position -= fee
            moved = -position - fee
        elif fill.side == SELL:
            if self._pays_in_base:
                raise _broken(f"{symbol}: a sale brings no {fill.fee_asset} to take a fee from")
            left = held.qty - qty
            if left < 0:
                raise _broken(f"{symbol}: sold {amount_text(qty)}, held {amount_text(held.qty)}")
            proceeds = proceeds_down(qty, price)
            moved = proceeds - fee
        else:
            raise _broken(f"fill {n}: side {fill.side!r}")
        cash = self._cash + moved
        if cash < 0:
            raise _broken(f"fill {n}: cash {self._quote_asset} would be {amount_text(cash)}")
        self._cash = self.balances[self._quote_asset] = cash
        self.fills = n
        if ts // DAY_MS != self._day_n:
            self._turn_to_day(ts // DAY_MS)
        day = self._day
        if is_buy:
            pnl = 0
            if not held.qty:
                self._held[symbol] = held
            held.lots.append(lot_of(symbol, qty, price, position, ts, n, fill.order))
            held.qty += qty
            self.bought += position
            day.entry_notional += position
        else:
            if left or trades is not None:
                cost = self._close(fill, ts, proceeds, trades)
            else:  # The gain of each lot is not needed.
                cost = held.cost
                held.lots.clear()
            held.qty = left
            if not left:
                del self._held[symbol]
            position = -cost
            pnl = cost - proceeds
            day.realised_pnl -= pnl
        held.cost += position
        day.fees += fee
        if moved + position + pnl + fee != 0:
            raise _broken(f"fill {n}: its entries do not add up to zero")
        booking = self._booking
        booking.fill_n = n
        booking.ts = ts
        booking.cash = moved
        booking.position = position
        booking.pnl = pnl
        booking.fee = fee
        return booking

    def _close(self, fill: FillMessage, ts: int, proceeds: int, trades: list[Trade] | None) -> int:
        """Take the sold quantity from the oldest lots, and return its cost.

        A remainder that does not divide evenly stays with the rest of the lot.
        """
        lots, left = self._holding.lots, fill.qty
        brought, cost = proceeds, 0
        while left:
            lot = lots[0]
            taken, part, share = lot.qty, lot.cost, brought
            if left < taken:
                part = mul_div_down(part, left, taken)
                lots[0] = lot.less(left, part)
                taken = left
            else:
                if taken < left:
                    share = mul_div_down(brought, taken, left)
                del lots[0]
            if trades is not None:
                trades.append(Trade(lot, taken, part, share, ts, self.fills, fill.order))
            left, brought, cost = left - taken, brought - share, cost + part
        return cost

    def _turn_to(self, fill: FillMessage) -> None:
        """Select the holding and cash for fills of another symbol or with another fee asset."""
        symbol = self._symbol = fill.symbol
        self._fee_asset = fill.fee_asset
        held = self._held.get(symbol)
        self._holding = Holding() if held is None else held
        self._quote_asset, self._pays_in_base = fill.quote_asset, fill.pays_in_base
        self._cash = self.balances.get(self._quote_asset, 0)
        self._booking.symbol, self._booking.asset = symbol, self._quote_asset

    def _turn_to_day(self, day: int) -> None:
        """Select the totals of another day than that of the last fill."""
        self._day_n, self._day = day, self.days.setdefault(day, DayTotals())

    # --- as text ------------------------------------------------------------------------------

    def to_json(self) -> JsonObject:
        """Return the whole portfolio as canonical JSON values; equal portfolios, equal bytes."""
        return {
            "cash": self.opening_cash(),
            "lots": {
                symbol: [lot.to_json() for lot in self._held[symbol].lots]
                for symbol in self.symbols()
            },
            "fills": self.fills,
            "realised_pnl": amount_text(self.realised_pnl),
            "fees": amount_text(self.fees),
            "days": {
                str(day): {
                    "entry_notional": amount_text(totals.entry_notional),
                    "realised_pnl": amount_text(totals.realised_pnl),
                    "fees": amount_text(totals.fees),
                }
                for day, totals in sorted(self.days.items())
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Portfolio:
        """Return the portfolio of `to_json`."""
        lots = [
            Lot.from_json(lot) for symbol in sorted(data["lots"]) for lot in data["lots"][symbol]
        ]
        portfolio = cls({asset: parse_amount(text) for asset, text in data["cash"].items()}, lots)
        portfolio.fills = data["fills"]
        portfolio.days = {
            int(day): DayTotals(**{name: parse_amount(text) for name, text in totals.items()})
            for day, totals in data["days"].items()
        }
        portfolio.bought = sum(day.entry_notional for day in portfolio.days.values())
        return portfolio


def pays_in_base(fill: Fill) -> bool:
    """Return whether a fill's fee was taken in the asset that its symbol trades, not in quote."""
    return is_base_fee(fill.symbol, fill.fee_asset)


def _age(lot: Lot) -> tuple[int, int, str]:
    return lot.ts, lot.fill_n, lot.symbol


def _broken(detail: str) -> InvariantError:
    return InvariantError("portfolio", INVARIANT_BROKEN, detail)
