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
        # Fills of one symbol come in rows: who pays for it, by the asset of the fee.
        self._symbol: str = ""
        self._fee_asset: str = ""
        self._quote_asset: str = ""
        self._pays_in_base: bool = False
        # Fills of one day come in rows: the day booked last.
        self._day_ts: int = -DAY_MS
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
            for symbol, lots in self._lots.items():
                mark_price = marks.get(symbol)
                if mark_price is None:
                    worth += self.position_cost(symbol)
                else:
                    qty = 0
                    for lot in lots:
                        qty += lot.qty
                    worth += proceeds_down(qty, mark_price)
        return worth

    def equity(self, asset: str, marks: dict[str, int]) -> int:
        """Return cash in the quote asset plus what is open at the marks."""
        cash = self._cash.get(asset, 0)
        return cash + self.exposure(marks) if self._lots else cash

    def day(self, day: int) -> DayTotals:
        """Return the totals of a UTC day, counted from 1970-01-01."""
        if day * DAY_MS == self._day_ts:
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
        if fill.symbol != self._symbol or fill.fee_asset != self._fee_asset:
            self._symbol, self._fee_asset = fill.symbol, fill.fee_asset
            self._quote_asset, self._pays_in_base = fill.quote_asset, fill.pays_in_base
        if fill.side == BUY:
            booking = self._buy(fill, ts)
        elif fill.side == SELL:
            booking = self._sell(fill, ts)
        else:
            raise _broken(f"fill {self.fills + 1}: side {fill.side!r}")
        if booking.cash + booking.position + booking.pnl + booking.fee != 0:
            raise _broken(f"fill {self.fills}: its entries do not add up to zero")
        return booking

    def _buy(self, fill: FillMessage, ts: int) -> Booking:
        symbol, qty = fill.symbol, fill.qty
        price, fee = fill.price, fill.fee
        paid = cost_up(qty, price)
        cost = paid
        if self._pays_in_base:
            if fee >= qty:
                took = f"a fee of {amount_text(fee)} takes all of {amount_text(qty)}"
                raise _broken(f"fill {self.fills + 1}: {took}")
            qty -= fee
            fee = cost_up(fee, price)
            cost = paid - fee
        else:
            paid += fee
        asset = self._quote_asset
        cash = self._cash.get(asset, 0) - paid
        if cash < 0:
            raise self._unpaid(asset, cash)
        self._cash[asset] = cash
        self.fills += 1
        lot = Lot(symbol, qty, price, cost, ts, self.fills, fill.order)
        lots = self._lots.get(symbol)
        if lots is None:
            self._lots[symbol] = [lot]
        else:
            lots.append(lot)
        self.bought += cost
        self.fees += fee
        day = self._day_of(ts)
        day.entry_notional += cost
        day.fees += fee
        return Booking(self.fills, ts, symbol, asset, -paid, cost, 0, fee)

    def _sell(self, fill: FillMessage, ts: int) -> Booking:
        symbol, qty, fee = fill.symbol, fill.qty, fill.fee
        if self._pays_in_base:
            raise _broken(f"{symbol}: a sale brings no {fill.fee_asset} to take a fee from")
        lots = self._lots.get(symbol)
        if lots is None or (qty > lots[0].qty and qty > self.position_qty(symbol)):
            held = amount_text(self.position_qty(symbol))
            raise _broken(f"{symbol}: sold {amount_text(qty)}, held {held}")
        proceeds = proceeds_down(qty, fill.price)
        asset = fill.fee_asset
        cash = self._cash.get(asset, 0) + proceeds - fee
        if cash < 0:
            raise self._unpaid(asset, cash)
        self._cash[asset] = cash
        self.fills += 1
        # From the oldest lots; shares that do not divide stay with the rest.
        n, cost = self.fills, 0
        left, brought = qty, proceeds
        trades: list[Trade] = []
        while left:
            lot = lots[0]
            if left < lot.qty:
                taken, share = left, brought
                part = mul_div_down(lot.cost, taken, lot.qty)
                lots[0] = lot.less(taken, part)
            else:
                taken, part = lot.qty, lot.cost
                share = brought if taken == left else mul_div_down(brought, taken, left)
                del lots[0]
            trades.append(Trade(lot, taken, part, share, ts, n, fill.order))
            left, brought, cost = left - taken, brought - share, cost + part
        if not lots:
            del self._lots[symbol]
        gain = proceeds - cost
        self.realised_pnl += gain
        self.fees += fee
        day = self._day_of(ts)
        day.realised_pnl += gain
        day.fees += fee
        return Booking(n, ts, symbol, asset, proceeds - fee, -cost, -gain, fee, tuple(trades))

    def _day_of(self, ts: int) -> DayTotals:
        if not self._day_ts <= ts < self._day_ts + DAY_MS:
            n = ts // DAY_MS
            self._day_ts, self._day = n * DAY_MS, self.days.setdefault(n, DayTotals())
        return self._day

    def _unpaid(self, asset: str, cash: int) -> InvariantError:
        return _broken(f"fill {self.fills + 1}: cash {asset} would be {amount_text(cash)}")

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
