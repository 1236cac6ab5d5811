"""The cash ledger: double entry over all fills, append-only, balanced to the last unit.

Every fill is one booking whose entries add up to zero (`accounting.portfolio`). The ledger keeps
the total of each account and the movement of cash in each hour of market time, so that opening plus
entries gives closing for every hour. Only `append` changes it, taking each booking once and in
order; nothing is changed or removed afterwards. As a projection of `run_opening` and `fills` it is
rebuilt rather than repaired.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from minibot.accounting.bookings import CASH, FEES, POSITION, REALISED_PNL, Booking
from minibot.accounting.portfolio import Portfolio
from minibot.events.model import JsonObject, RunOpening
from minibot.events.money import amount_text, parse_amount
from minibot.events.native import mypyc_attr
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.events.unit_sizes import HOUR_MS
from minibot.kernel.errors import InvariantError


@mypyc_attr(acyclic=True)
@final
class Account:
    """The sum of an account's entries so far, and whether it has any."""

    __slots__ = ("has_entries", "total")

    def __init__(self, total: int = 0, has_entries: bool = False) -> None:
        self.total: int = total
        self.has_entries: bool = has_entries


class Ledger:
    """Totals by account and cash movements by hour, from the run's opening on."""

    __slots__ = (
        *("_accounts", "_asset", "_cash", "_closing", "_fees", "_hour", "_hour_end", "_hour_ts"),
        *("_hours", "_is_waiting", "_opening", "_owed", "_pnl", "_position", "_symbol", "fills"),
    )

    def __init__(self, opening: Mapping[str, int]) -> None:
        """Open with the cash of the run's opening, by asset."""
        self._opening: dict[str, int] = dict(opening)
        self._accounts: dict[str, Account] = {}  # By name; some may have no entry yet.
        self._closing: dict[str, int] = dict(opening)  # By asset: opening plus entries.
        self._hours: dict[int, dict[str, int]] = {}
        self._hour_ts: int = 0  # The last hour with a booking.
        self._hour_end: int = 0  # End of that hour.
        self._hour: dict[str, int] = {}  # Cash movements in that hour.
        # Fills of one symbol come in runs, so these cache the last symbol's four accounts, the sum
        # that the other accounts require of these, and whether one of them still lacks its first
        # entry.
        self._asset: str = ""
        self._symbol: str = ""
        self._cash: Account = Account()
        self._position: Account = Account()
        self._pnl: Account = self._account(REALISED_PNL)
        self._fees: Account = self._account(FEES)
        self._owed: int = 0
        self._is_waiting: bool = True
        self.fills: int = 0

    @classmethod
    def from_opening(cls, opening: RunOpening) -> Ledger:
        """Return the empty ledger of a run."""
        return cls({asset: parse_amount(text) for asset, text in opening.cash.items()})

    def append(self, booking: Booking, portfolio: Portfolio) -> None:
        """Add the booking of the next fill, and compare with the portfolio that made it.

        Raises:
            InvariantError: It is not the next booking, or its entries do not add up to zero;
                nothing is changed then. Or, after it, the accounts do not add up to zero or cash
                differs from the portfolio's.
        """
        n = self.fills + 1
        if booking.fill_n != n:
            raise _broken(f"expected the booking of fill {n}, found {booking.fill_n}")
        cash = booking.cash
        if cash + booking.position + booking.pnl + booking.fee != 0:
            raise _broken(f"booking {n} does not add up to zero")
        asset = booking.asset
        if asset != self._asset or booking.symbol != self._symbol:
            self._turn_to(asset, booking.symbol)
        # Once a booking has begun a later hour, it also takes late entries of an earlier one.
        if booking.ts >= self._hour_end:
            self._turn_to_hour(booking.ts)
        if self._is_waiting:
            self._note_entries(booking)
        if cash:
            self._hour[asset] = self._hour.get(asset, 0) + cash
            self._closing[asset] += cash
        self._cash.total += cash
        self._position.total += booking.position
        self._pnl.total += booking.pnl
        self._fees.total += booking.fee
        self.fills = n
        four = self._cash.total + self._position.total + self._pnl.total + self._fees.total
        if four != self._owed:
            raise _broken(f"after fill {n} the accounts do not add up to zero")
        if self._closing != portfolio.balances:
            self._compare(portfolio)

    def _compare(self, portfolio: Portfolio) -> None:
        """Raise for the first asset of either whose cash differs; a missing one counts as zero."""
        for asset in {**portfolio.balances, **self._closing}:
            cash, closing = portfolio.cash(asset), self.closing(asset)
            if closing != cash:
                raise _broken(
                    f"after fill {self.fills}: cash {asset} {amount_text(cash)} in the portfolio,"
                    f" {amount_text(closing)} in the ledger"
                )

    def _turn_to(self, asset: str, symbol: str) -> None:
        """Select the accounts of another symbol or paying asset."""
        self._asset, self._symbol = asset, symbol
        self._closing.setdefault(asset, 0)
        self._cash = self._account(f"{CASH}:{asset}")
        self._position = self._account(f"{POSITION}:{symbol}")
        self._owed = -self._sum_others()
        self._is_waiting = True

    def _turn_to_hour(self, ts: int) -> None:
        """Begin the hour of a market time, unless a later one has begun."""
        self._hour_ts = max(self._hour_ts, ts // HOUR_MS * HOUR_MS)
        self._hour_end = self._hour_ts + HOUR_MS
        self._hour = self._hours.setdefault(self._hour_ts, {})

    def _sum_others(self) -> int:
        """Return the sum of all accounts except the four selected ones."""
        total = 0
        for account in self._accounts.values():  # Compiled, half the work of `sum` over a list.
            total += account.total
        return total - (
            self._cash.total + self._position.total + self._pnl.total + self._fees.total
        )

    def _note_entries(self, booking: Booking) -> None:
        """Note the accounts that get their first entry by a booking."""
        self._cash.has_entries |= booking.cash != 0
        self._position.has_entries |= booking.position != 0
        self._pnl.has_entries |= booking.pnl != 0
        self._fees.has_entries |= booking.fee != 0
        self._is_waiting = not (
            self._cash.has_entries
            and self._position.has_entries
            and self._pnl.has_entries
            and self._fees.has_entries
        )

    def _account(self, name: str) -> Account:
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account()
        return account

    def totals(self) -> dict[str, int]:
        """Return the sum of the entries of every account that has any, by name."""
        return {
            name: account.total
            for name, account in sorted(self._accounts.items())
            if account.has_entries
        }

    def closing(self, asset: str) -> int:
        """Return an asset's opening cash plus all its entries."""
        return self._closing.get(asset, 0)

    def to_json(self) -> JsonObject:
        """Return the ledger as canonical JSON values."""
        return {
            "opening": _texts(self._opening),
            "accounts": _texts(self.totals()),
            "hours": {str(hour): _texts(moved) for hour, moved in sorted(self._hours.items())},
            "fills": self.fills,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Ledger:
        """Return the ledger of `to_json`."""
        ledger = cls(_amounts(data["opening"]))
        totals = _amounts(data["accounts"])
        ledger._accounts = {name: Account(total, True) for name, total in totals.items()}
        ledger._pnl, ledger._fees = ledger._account(REALISED_PNL), ledger._account(FEES)
        ledger._owed = -ledger._sum_others()
        for name, total in totals.items():
            if name.startswith(f"{CASH}:"):
                asset = name.removeprefix(f"{CASH}:")
                ledger._closing[asset] = ledger._closing.get(asset, 0) + total
        ledger._hours = {int(hour): _amounts(moved) for hour, moved in data["hours"].items()}
        ledger._hour_ts = max(ledger._hours, default=0)
        ledger.fills = data["fills"]
        return ledger


def _texts(amounts: Mapping[str, int]) -> dict[str, str]:
    return {name: amount_text(amount) for name, amount in sorted(amounts.items())}


def _amounts(texts: Mapping[str, str]) -> dict[str, int]:
    return {name: parse_amount(text) for name, text in texts.items()}


def _broken(detail: str) -> InvariantError:
    return InvariantError("ledger", INVARIANT_BROKEN, detail)
