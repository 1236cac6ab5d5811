"""What is held and owed, exactly: cash by asset, lots first in first out, gains and fees.

A portfolio is a projection: `run_opening` plus the fills in their order give it again, to the same
bytes. Risk and execution each keep their own from the same events, and so do report and the next
run's opening. Amounts are hundred-millionths (`events.money`); docs/accounting.md has the rules.

Invariants, checked at every fill: no cash below zero, no position below zero, the entries of a
fill add up to zero, fills are applied once and in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from minibot.events.lots import Lot, Trade
from minibot.events.model import BUY, SELL, Fill, JsonObject, RunOpening
from minibot.events.money import UNIT, amount_text, cost_up, parse_amount, proceeds_down
from minibot.events.numbers import div_down, div_up
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.kernel.errors import InvariantError

DAY_MS: Final = 86_400_000

CASH: Final = "cash"
POSITION: Final = "position"
REALISED_PNL: Final = "realised_pnl"
FEES: Final = "fees"


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a booking, in quote: positive into the account, negative out of it.

    Accounts: `cash:<asset>`, `position:<symbol>` (at cost), `realised_pnl`, `fees`. A gain stands
    as a negative amount in `realised_pnl`, because every booking adds up to zero.
    """

    fill_n: int
    ts: int
    account: str
    asset: str
    amount: int


@dataclass(frozen=True, slots=True)
class Booking:
    """What one fill did: its entries, which add up to zero, and the trades that it closed."""

    fill_n: int
    ts: int
    entries: tuple[Entry, ...]
    trades: tuple[Trade, ...]


@dataclass(frozen=True, slots=True)
class DayTotals:
    """What was bought, gained and paid on one UTC day, by the time of the fills."""

    entry_notional: int = 0
    realised_pnl: int = 0
    fees: int = 0


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

    def lots(self, symbol: str) -> tuple[Lot, ...]:
        """Return the open lots of a symbol, oldest first."""
        return tuple(self._lots.get(symbol, ()))

    def has_lots(self, symbol: str) -> bool:
        """Return whether anything of a symbol is held."""
        return symbol in self._lots

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
        return div_up(self.position_cost(symbol) * UNIT, qty) if qty else 0

    def position_value(self, symbol: str, mark_price: int | None) -> int:
        """Return what the position is worth at the mark, rounded down; at cost without a mark."""
        if mark_price is None:
            return self.position_cost(symbol)
        return proceeds_down(self.position_qty(symbol), mark_price)

    def exposure(self, marks: Mapping[str, int]) -> int:
        """Return what all open positions are worth at the marks."""
        worth = 0
        for symbol in self._lots:
            worth += self.position_value(symbol, marks.get(symbol))
        return worth

    def equity(self, asset: str, marks: Mapping[str, int]) -> int:
        """Return cash in the quote asset plus what is open at the marks."""
        return self.cash(asset) + self.exposure(marks)

    def day(self, day: int) -> DayTotals:
        """Return the totals of a UTC day, counted from 1970-01-01."""
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
        qty, price, fee = parse_amount(fill.qty), parse_amount(fill.price), parse_amount(fill.fee)
        if qty <= 0 or price <= 0 or fee < 0:
            raise _broken(f"fill {self.fills + 1}: qty {fill.qty}, price {fill.price}, {fill.fee}")
        if fill.side == BUY:
            booking = self._buy(fill, qty, price, fee, ts)
        elif fill.side == SELL:
            booking = self._sell(fill, qty, price, fee, ts)
        else:
            raise _broken(f"fill {self.fills + 1}: side {fill.side!r}")
        if sum(entry.amount for entry in booking.entries):
            raise _broken(f"fill {self.fills}: its entries do not add up to zero")
        return booking

    def _buy(self, fill: Fill, qty: int, price: int, fee: int, ts: int) -> Booking:
        paid = cost_up(qty, price)
        cost = paid
        if pays_in_base(fill):
            if fee >= qty:
                raise _broken(f"fill {self.fills + 1}: a fee of {fill.fee} takes all of {fill.qty}")
            qty -= fee
            fee = cost_up(fee, price)
            cost = paid - fee
        else:
            paid += fee
        self._pay(quote_asset_of(fill), -paid)
        self.fills += 1
        lot = Lot(fill.symbol, qty, price, cost, ts, self.fills, fill.order_id)
        self._lots.setdefault(fill.symbol, []).append(lot)
        self._total(ts, DayTotals(entry_notional=cost, fees=fee))
        return self._booking(fill, ts, cash=-paid, position=cost, pnl=0, fee=fee, trades=())

    def _sell(self, fill: Fill, qty: int, price: int, fee: int, ts: int) -> Booking:
        held = self.position_qty(fill.symbol)
        if pays_in_base(fill):
            raise _broken(f"{fill.symbol}: a sale brings no {fill.fee_asset} to take a fee from")
        if qty > held:
            raise _broken(f"{fill.symbol}: sold {fill.qty}, held {amount_text(held)}")
        proceeds = proceeds_down(qty, price)
        self._pay(fill.fee_asset, proceeds - fee)
        self.fills += 1
        trades = self._close(fill, qty, proceeds, ts)
        cost = sum(trade.cost for trade in trades)
        self._total(ts, DayTotals(realised_pnl=proceeds - cost, fees=fee))
        return self._booking(
            fill,
            ts,
            cash=proceeds - fee,
            position=-cost,
            pnl=cost - proceeds,
            fee=fee,
            trades=tuple(trades),
        )

    def _close(self, fill: Fill, qty: int, proceeds: int, ts: int) -> list[Trade]:
        """Take a quantity off the oldest lots; shares that do not divide stay with the rest."""
        lots = self._lots[fill.symbol]
        trades: list[Trade] = []
        while qty:
            lot = lots[0]
            taken = min(qty, lot.qty)
            cost = div_down(lot.cost * taken, lot.qty)
            share = div_down(proceeds * taken, qty)
            trades.append(
                Trade(
                    symbol=fill.symbol,
                    qty=taken,
                    cost=cost,
                    proceeds=share,
                    opened_ts=lot.ts,
                    closed_ts=ts,
                    open_fill_n=lot.fill_n,
                    close_fill_n=self.fills,
                    open_order_id=lot.order_id,
                    close_order_id=fill.order_id,
                )
            )
            qty, proceeds = qty - taken, proceeds - share
            if taken == lot.qty:
                lots.pop(0)
            else:
                lots[0] = replace(lot, qty=lot.qty - taken, cost=lot.cost - cost)
        if not lots:
            del self._lots[fill.symbol]
        return trades

    def _pay(self, asset: str, amount: int) -> None:
        cash = self.cash(asset) + amount
        if cash < 0:
            raise _broken(f"fill {self.fills + 1}: cash {asset} would be {amount_text(cash)}")
        self._cash[asset] = cash

    def _total(self, ts: int, more: DayTotals) -> None:
        self.realised_pnl += more.realised_pnl
        self.fees += more.fees
        day = self.day(ts // DAY_MS)
        self.days[ts // DAY_MS] = DayTotals(
            entry_notional=day.entry_notional + more.entry_notional,
            realised_pnl=day.realised_pnl + more.realised_pnl,
            fees=day.fees + more.fees,
        )

    def _booking(
        self,
        fill: Fill,
        ts: int,
        *,
        cash: int,
        position: int,
        pnl: int,
        fee: int,
        trades: tuple[Trade, ...],
    ) -> Booking:
        n, asset = self.fills, quote_asset_of(fill)
        entries = (
            Entry(n, ts, f"{CASH}:{asset}", asset, cash),
            Entry(n, ts, f"{POSITION}:{fill.symbol}", asset, position),
            Entry(n, ts, REALISED_PNL, asset, pnl),
            Entry(n, ts, FEES, asset, fee),
        )
        return Booking(n, ts, tuple(entry for entry in entries if entry.amount), trades)

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
        return portfolio


def pays_in_base(fill: Fill) -> bool:
    """Return whether a fill's fee was taken in the asset that its symbol trades, not in quote."""
    return fill.symbol.startswith(fill.fee_asset) and not fill.symbol.endswith(fill.fee_asset)


def quote_asset_of(fill: Fill) -> str:
    """Return the asset that pays: that of the fee, unless the fee was taken in the base asset."""
    return fill.symbol.removeprefix(fill.fee_asset) if pays_in_base(fill) else fill.fee_asset


def _age(lot: Lot) -> tuple[int, int, str]:
    return lot.ts, lot.fill_n, lot.symbol


def _broken(detail: str) -> InvariantError:
    return InvariantError("portfolio", INVARIANT_BROKEN, detail)
