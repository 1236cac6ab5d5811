"""What is held and owed, exactly: cash by asset, lots first in first out, gains and fees.

A portfolio is a projection: `run_opening` plus the fills in their order give it again, to the same
bytes. Risk and execution each keep their own from the same events, and so do report and the next
run's opening. Amounts are hundred-millionths (`events.money`); docs/accounting.md has the rules.

Invariants, checked at every fill: no cash below zero, no position below zero, the entries of a
fill add up to zero, fills are applied once and in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from minibot.events.bookings import CASH as CASH
from minibot.events.bookings import FEES as FEES
from minibot.events.bookings import POSITION as POSITION
from minibot.events.bookings import REALISED_PNL as REALISED_PNL
from minibot.events.bookings import Booking as Booking
from minibot.events.bookings import DayTotals
from minibot.events.lots import Lot, Trade
from minibot.events.messages import FillMessage
from minibot.events.model import BUY, SELL, Fill, JsonObject, RunOpening
from minibot.events.money import UNIT, amount_text, cost_up, parse_amount, proceeds_down
from minibot.events.numbers import mul_div_down, mul_div_up
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.kernel.errors import InvariantError

DAY_MS: Final = 86_400_000


class Portfolio:
    """Cash, lots and totals of one run; see the module for its invariants."""

    def __init__(self, cash: Mapping[str, int], lots: Iterable[Lot]) -> None:
        """Open with cash and lots, oldest first; raises `InvariantError` for less than nothing."""
        self._cash: dict[str, int] = dict(cash)
        self._lots: dict[str, list[Lot]] = {}
        self.fills: int = 0
        self.realised_pnl: int = 0
        self.fees: int = 0
        self.days: dict[int, DayTotals] = {}
        # Fills of one day come in rows: the day booked last.
        self._day_n: int = -1
        self._day: DayTotals = DayTotals()
        # What all entries cost, of all days.
        self.bought: int = 0
        for asset, amount in self._cash.items():
            if amount < 0:
                raise _broken(f"opening cash {asset} {amount_text(amount)}, expected zero or more")
        for lot in lots:
            if lot.qty <= 0 or lot.price <= 0:
                raise _broken(f"opening lot of {lot.symbol}: expected quantity and price above 0")
            self._lots.setdefault(lot.symbol, []).append(lot)

    @classmethod
    def from_opening(cls, opening: RunOpening) -> Portfolio:
        """Return the portfolio with which a run starts."""
        cash = {asset: parse_amount(text) for asset, text in opening.cash.items()}
        return cls(cash, [Lot.from_json(lot) for lot in opening.lots])

    # --- reading ------------------------------------------------------------------------------

    def cash(self, asset: str) -> int:
        """Return the cash in an asset."""
        return self._cash.get(asset, 0)

    def symbols(self) -> list[str]:
        """Return the symbols with an open position, sorted."""
        return sorted(self._lots)

    def count_held(self) -> int:
        """Return how many symbols have an open position."""
        return len(self._lots)

    def balances(self) -> dict[str, int]:
        """Return the cash of each asset; to be read, not to be changed."""
        return self._cash

    def lots(self, symbol: str) -> tuple[Lot, ...]:
        """Return the open lots of a symbol, oldest first."""
        return tuple(self._lots.get(symbol, ()))

    def has_lots(self, symbol: str) -> bool:
        """Return whether anything of a symbol is held."""
        return symbol in self._lots

    def count_lots(self, symbol: str) -> int:
        """Return how many lots of a symbol are open."""
        lots = self._lots.get(symbol)
        return 0 if lots is None else len(lots)

    def opened_ts(self, symbol: str) -> int:
        """Return when the oldest lot of a symbol was bought; 0 when flat."""
        lots = self._lots.get(symbol)
        return 0 if lots is None else lots[0].ts

    def position_qty(self, symbol: str) -> int:
        """Return the quantity held, never negative."""
        lots = self._lots.get(symbol)
        if lots is None:
            return 0
        qty = 0
        for lot in lots:
            qty += lot.qty
        return qty

    def position_cost(self, symbol: str) -> int:
        """Return what the open position cost, without fees."""
        lots = self._lots.get(symbol)
        if lots is None:
            return 0
        cost = 0
        for lot in lots:
            cost += lot.cost
        return cost

    def entry_price_avg(self, symbol: str) -> int:
        """Return the average price of what is open, rounded up; 0 when flat."""
        qty = self.position_qty(symbol)
        return mul_div_up(self.position_cost(symbol), UNIT, qty) if qty else 0

    def position_value(self, symbol: str, mark_price: int | None) -> int:
        """Return what the position is worth at the mark, rounded down; at cost without a mark."""
        if mark_price is None:
            return self.position_cost(symbol)
        return proceeds_down(self.position_qty(symbol), mark_price)

    def exposure(self, marks: dict[str, int]) -> int:
        """Return what all open positions are worth at the marks."""
        worth = 0
        if self._lots:
            for symbol in self._lots:
                worth += self.position_value(symbol, marks.get(symbol))
        return worth

    def equity(self, asset: str, marks: dict[str, int]) -> int:
        """Return cash in the quote asset plus what is open at the marks."""
        return self.cash(asset) + self.exposure(marks)

    def day(self, day: int) -> DayTotals:
        """Return the totals of a UTC day, counted from 1970-01-01."""
        if day == self._day_n:
            return self._day
        return self.days.get(day, DayTotals())

    def open_positions(self) -> list[dict[str, str]]:
        """Return what is open as `{symbol, qty, entry_price_avg}`, by symbol."""
        return [
            {
                "symbol": symbol,
                "qty": amount_text(self.position_qty(symbol)),
                "entry_price_avg": amount_text(self.entry_price_avg(symbol)),
            }
            for symbol in self.symbols()
        ]

    def opening_lots(self) -> list[JsonObject]:
        """Return the lots as a following run's `run_opening` carries them, oldest first."""
        lots = [lot for symbol in self.symbols() for lot in self._lots[symbol]]
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
        """Return the cash as a following run's `run_opening` carries it."""
        return {asset: amount_text(amount) for asset, amount in sorted(self._cash.items())}

    # --- the one way to change it -------------------------------------------------------------

    def apply(self, fill: Fill, ts: int) -> Booking:
        """Book one fill and return what it did.

        Args:
            fill: The fill; its fee is in the quote asset, which is how the quote asset is known.
                A purchase may also pay in the base asset: the fee then lessens the lot, and its
                value at the price of the fill stands in `fees` instead of in the lot's cost.
            ts: The fill event's `ts`.

        Raises:
            InvariantError: It would leave cash or position below zero, or is no fill at all;
                nothing is changed then.
        """
        return self.book(FillMessage.read(fill), ts)

    def book(self, fill: FillMessage, ts: int) -> Booking:
        """Do what `apply` does, with a fill in numbers."""
        if fill.qty <= 0 or fill.price <= 0 or fill.fee < 0:
            said = f"qty {fill.qty}, price {fill.price}, fee {fill.fee} hundred-millionths"
            raise _broken(f"fill {self.fills + 1}: {said}")
        if fill.side == BUY:
            booking = self._buy(fill, ts)
        elif fill.side == SELL:
            booking = self._sell(fill, ts)
        else:
            raise _broken(f"fill {self.fills + 1}: side {fill.side!r}")
        if not booking.is_balanced:
            raise _broken(f"fill {self.fills}: its entries do not add up to zero")
        return booking

    def _buy(self, fill: FillMessage, ts: int) -> Booking:
        qty, price, fee = fill.qty, fill.price, fill.fee
        paid = cost_up(qty, price)
        cost = paid
        if fill.pays_in_base:
            if fee >= qty:
                took = f"a fee of {amount_text(fee)} takes all of {amount_text(qty)}"
                raise _broken(f"fill {self.fills + 1}: {took}")
            qty -= fee
            fee = cost_up(fee, price)
            cost = paid - fee
        else:
            paid += fee
        asset = fill.quote_asset
        self._pay(asset, -paid)
        self.fills += 1
        symbol = fill.symbol
        lot = Lot(symbol, qty, price, cost, ts, self.fills, fill.order)
        lots = self._lots.get(symbol)
        if lots is None:
            self._lots[symbol] = [lot]
        else:
            lots.append(lot)
        self._total(ts, cost, 0, fee)
        return Booking(self.fills, ts, symbol, asset, -paid, cost, 0, fee)

    def _sell(self, fill: FillMessage, ts: int) -> Booking:
        symbol, qty, fee = fill.symbol, fill.qty, fill.fee
        held = self.position_qty(symbol)
        if fill.pays_in_base:
            raise _broken(f"{symbol}: a sale brings no {fill.fee_asset} to take a fee from")
        if qty > held:
            raise _broken(f"{symbol}: sold {amount_text(qty)}, held {amount_text(held)}")
        proceeds = proceeds_down(qty, fill.price)
        asset = fill.fee_asset
        self._pay(asset, proceeds - fee)
        self.fills += 1
        trades = self._close(fill, qty, proceeds, ts)
        cost = 0
        for trade in trades:
            cost += trade.cost
        self._total(ts, 0, proceeds - cost, fee)
        n, closed = self.fills, tuple(trades)
        return Booking(n, ts, symbol, asset, proceeds - fee, -cost, cost - proceeds, fee, closed)

    def _close(self, fill: FillMessage, qty: int, proceeds: int, ts: int) -> list[Trade]:
        """Take a quantity off the oldest lots; shares that do not divide stay with the rest."""
        lots = self._lots[fill.symbol]
        trades: list[Trade] = []
        while qty:
            lot = lots[0]
            taken = qty if qty < lot.qty else lot.qty
            cost = lot.cost if taken == lot.qty else mul_div_down(lot.cost, taken, lot.qty)
            share = proceeds if taken == qty else mul_div_down(proceeds, taken, qty)
            trades.append(Trade(lot, taken, cost, share, ts, self.fills, fill.order))
            qty, proceeds = qty - taken, proceeds - share
            if taken == lot.qty:
                lots.pop(0)
            else:
                lots[0] = lot.less(taken, cost)
        if not lots:
            del self._lots[fill.symbol]
        return trades

    def _pay(self, asset: str, amount: int) -> None:
        cash = self.cash(asset) + amount
        if cash < 0:
            raise _broken(f"fill {self.fills + 1}: cash {asset} would be {amount_text(cash)}")
        self._cash[asset] = cash

    def _total(self, ts: int, entry_notional: int, realised_pnl: int, fees: int) -> None:
        self.realised_pnl += realised_pnl
        self.fees += fees
        self.bought += entry_notional
        n, day = ts // DAY_MS, self._day
        if n != self._day_n:
            day = self._day = self.days.setdefault(n, DayTotals())
            self._day_n = n
        day.entry_notional += entry_notional
        day.realised_pnl += realised_pnl
        day.fees += fees

    # --- as text ------------------------------------------------------------------------------

    def to_json(self) -> JsonObject:
        """Return the whole portfolio as canonical JSON values; equal portfolios, equal bytes."""
        return {
            "cash": self.opening_cash(),
            "lots": {
                symbol: [lot.to_json() for lot in self._lots[symbol]] for symbol in self.symbols()
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
        portfolio.realised_pnl = parse_amount(data["realised_pnl"])
        portfolio.fees = parse_amount(data["fees"])
        portfolio.days = {
            int(day): DayTotals(**{name: parse_amount(text) for name, text in totals.items()})
            for day, totals in data["days"].items()
        }
        portfolio.bought = sum(day.entry_notional for day in portfolio.days.values())
        return portfolio


def pays_in_base(fill: Fill) -> bool:
    """Return whether a fill's fee was taken in the asset that its symbol trades, not in quote."""
    return FillMessage.read(fill).pays_in_base


def _age(lot: Lot) -> tuple[int, int, str]:
    return lot.ts, lot.fill_n, lot.symbol


def _broken(detail: str) -> InvariantError:
    return InvariantError("portfolio", INVARIANT_BROKEN, detail)
