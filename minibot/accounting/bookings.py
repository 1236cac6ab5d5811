"""Bookings: the entries of one fill, which add up to zero, and the totals of a UTC day.

Amounts are hundred-millionths (`events.money`). `accounting.portfolio` makes bookings,
`accounting.ledger` adds them up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from minibot.accounting.lots import Trade
from minibot.events.native import mypyc_attr

CASH: Final = "cash"
POSITION: Final = "position"
REALISED_PNL: Final = "realised_pnl"
FEES: Final = "fees"


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a booking, in quote: positive into the account, negative out of it.

    Accounts: `cash:<asset>`, `position:<symbol>` (at cost), `realised_pnl`, `fees`. A gain is a
    negative amount in `realised_pnl`, because every booking adds up to zero.
    """

    fill_n: int
    ts: int
    account: str
    asset: str
    amount: int


@mypyc_attr(acyclic=True)
@final
class Booking:
    """Booking of one fill: its entries, which add up to zero, and the trades that it closed.

    Attributes:
        fill_n, ts: Number and time of the fill.
        symbol, asset: The symbol traded, and the quote asset that paid.
        cash, position, pnl, fee: Amounts into cash, position, `realised_pnl` and `fees`; negative
            is out of them.
        trades: The trades that a sale closed.
    """

    __slots__ = ("asset", "cash", "fee", "fill_n", "pnl", "position", "symbol", "trades", "ts")

    def __init__(
        self,
        fill_n: int,
        ts: int,
        symbol: str,
        asset: str,
        cash: int,
        position: int,
        pnl: int,
        fee: int,
        trades: tuple[Trade, ...] = (),
    ) -> None:
        self.fill_n: int = fill_n
        self.ts: int = ts
        self.symbol: str = symbol
        self.asset: str = asset
        self.cash: int = cash
        self.position: int = position
        self.pnl: int = pnl
        self.fee: int = fee
        self.trades: tuple[Trade, ...] = trades

    def kept(self, trades: Iterable[Trade]) -> Booking:
        """Return a copy with the trades that it closed, to keep beyond the next fill."""
        return Booking(
            self.fill_n,
            self.ts,
            self.symbol,
            self.asset,
            self.cash,
            self.position,
            self.pnl,
            self.fee,
            tuple(trades),
        )

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries whose amount is not zero."""
        n, ts, asset = self.fill_n, self.ts, self.asset
        entries = (
            Entry(n, ts, f"{CASH}:{asset}", asset, self.cash),
            Entry(n, ts, f"{POSITION}:{self.symbol}", asset, self.position),
            Entry(n, ts, REALISED_PNL, asset, self.pnl),
            Entry(n, ts, FEES, asset, self.fee),
        )
        return tuple(entry for entry in entries if entry.amount)


@final
class DayTotals:
    """Totals of one UTC day, by the time of the fills: purchases, realised P&L and fees.

    The first two are before fees; `entry_notional` is the cost of the lots bought, so that a fee
    paid in coins is not in it either.
    """

    __slots__ = ("entry_notional", "fees", "realised_pnl")

    def __init__(self, entry_notional: int = 0, realised_pnl: int = 0, fees: int = 0) -> None:
        self.entry_notional: int = entry_notional
        self.realised_pnl: int = realised_pnl
        self.fees: int = fees
