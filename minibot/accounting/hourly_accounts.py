"""The accounts of one run: portfolio, ledger, trades and a state for every hour, from its fills.

They depend on the opening and the fills in order and on nothing else, so live, report and replay
reach the same accounts from the same events. Each hour of market time from the opening to the end,
also one without a fill, gives one `HourlyState`: the opening balance, entries and closing balance
of every account, and the lots open at its end. A state names the sha256 of the one before it, the
first that of the run's opening, so that no hour can be changed, left out or moved without breaking
the hash of every later one.

Invariant, checked at every closing: for every account opening plus entries equals closing exactly
and agrees with the portfolio; the entries of an hour add up to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from minibot.accounting.bookings import CASH, FEES, POSITION, REALISED_PNL, Booking
from minibot.accounting.ledger import Ledger
from minibot.accounting.lots import Lot, Trade
from minibot.accounting.portfolio import Portfolio
from minibot.events.model import Fill, JsonObject, RunOpening
from minibot.events.money import amount_text
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.events.unit_sizes import HOUR_MS
from minibot.kernel import canonical
from minibot.kernel.errors import InvariantError
from minibot.kernel.line import encode_line

SCHEMA: Final = "minibot.hourly_state"
HOURLY_STATE_FILE: Final = "hourly_state.jsonl"


@dataclass(frozen=True, slots=True)
class Balance:
    """One account over one hour, in hundred-millionths: `opening + entries = closing`."""

    opening: int
    entries: int
    closing: int


@dataclass(frozen=True, slots=True)
class HourlyState:
    """Accounts of a run over one hour of market time.

    Attributes:
        run_id: The run.
        n: Its number in the run, from 1.
        hour_ts: Start of the hour, Unix ms; `from_ts` and `to_ts` bound the run's share of it.
        fills_before: Fills of the run before this hour.
        fills: Fills of the run at its end; the hour holds fills `fills_before + 1` to `fills`.
        trades: Trades that the run had closed at its end.
        accounts: Balances by account name; a gain is a negative amount in `realised_pnl`.
        lots: Open lots at its end, oldest first, by symbol.
        previous: sha256 of the state before it, hex; the first state names the opening's.
    """

    run_id: str
    n: int
    hour_ts: int
    from_ts: int
    to_ts: int
    fills_before: int
    fills: int
    trades: int
    accounts: dict[str, Balance]
    lots: tuple[Lot, ...]
    previous: str

    def to_json(self) -> JsonObject:
        """Return the state as canonical JSON values."""
        return {
            "schema": SCHEMA,
            "v": 1,
            "run_id": self.run_id,
            "n": self.n,
            "hour_ts": self.hour_ts,
            "from_ts": self.from_ts,
            "to_ts": self.to_ts,
            "fills_before": self.fills_before,
            "fills": self.fills,
            "trades": self.trades,
            "accounts": {
                name: {
                    "opening": amount_text(balance.opening),
                    "entries": amount_text(balance.entries),
                    "closing": amount_text(balance.closing),
                }
                for name, balance in sorted(self.accounts.items())
            },
            "lots": [lot.to_json() for lot in self.lots],
            "previous": self.previous,
        }

    def encoded(self) -> bytes:
        """Return the state's canonical JSON."""
        return canonical.encode(self.to_json())

    @property
    def sha256(self) -> str:
        """The hash that the next state names, hex."""
        return sha256(self.encoded()).hexdigest()


class HourlyAccounts:
    """Accounts of a run, hour by hour; feed it the fills in the order of their queue.

    Attributes:
        portfolio: Cash and lots after the last fill.
        ledger: Totals by account after the last fill.
        bookings: The booking of each fill, in order.
        trades: Every lot, or part of one, that a sale closed, in order.
        states: The hours that are over; once closed, the last one too.
        is_closed: Whether `close` was called; a fill after it is booked but stands in no state.
    """

    def __init__(self, run_id: str, opening: RunOpening, opened_ts: int) -> None:
        """Open the accounts.

        Args:
            run_id: The run.
            opening: Cash and lots that it starts with.
            opened_ts: The `ts` of its `run_opening`, Unix ms of market time.
        """
        self.portfolio = Portfolio.from_opening(opening)
        self.ledger = Ledger.from_opening(opening)
        self.bookings: list[Booking] = []
        self.trades: list[Trade] = []
        self.states: list[HourlyState] = []
        self.is_closed = False
        self._run_id = run_id
        self._from_ts = self._last_ts = opened_ts
        self._opening = self._held()
        self._entered: dict[str, int] = {}
        self._fills_before = 0
        self._previous = genesis(run_id, opening)

    @property
    def head(self) -> str:
        """The sha256 of the chain of all states so far, hex; before the first, the opening's."""
        return self._previous

    @property
    def entries(self) -> int:
        """Number of entries in the ledger."""
        return sum(len(booking.entries) for booking in self.bookings)

    def on_fill(self, fill: Fill, ts: int) -> Booking:
        """Close the hours before the one that a fill falls into, then book it in the open one.

        Raises:
            InvariantError: The fill does not fit these accounts, or an hour does not balance.
        """
        self.on_time(ts)
        booking = self.portfolio.apply(fill, ts)
        self.ledger.append(booking, self.portfolio)
        self.bookings.append(booking)
        self.trades += booking.trades
        return booking

    def on_time(self, ts: int) -> None:
        """Close every hour that is over at a market time; a time before the last changes nothing.

        Once the accounts are closed, no time does.

        Raises:
            InvariantError: An hour does not balance.
        """
        while not self.is_closed and ts >= self._hour_end():
            self._close_hour(self._hour_end() - 1)
        self._last_ts = max(self._last_ts, ts)

    def close(self, ts: int) -> list[HourlyState]:
        """Close the accounts at the run's last market time; return a state for each of its hours.

        Raises:
            InvariantError: An hour does not balance.
        """
        if not self.is_closed:
            self.on_time(ts)
            self._close_hour(self._last_ts)
            self.is_closed = True
        return self.states

    # --- one hour -----------------------------------------------------------------------------

    def _hour_end(self) -> int:
        return self._from_ts // HOUR_MS * HOUR_MS + HOUR_MS

    def _close_hour(self, to_ts: int) -> None:
        accounts = self._balances()
        state = HourlyState(
            run_id=self._run_id,
            n=len(self.states) + 1,
            hour_ts=self._from_ts // HOUR_MS * HOUR_MS,
            from_ts=self._from_ts,
            to_ts=to_ts,
            fills_before=self._fills_before,
            fills=self.portfolio.fills,
            trades=len(self.trades),
            accounts=accounts,
            lots=tuple(
                lot for symbol in self.portfolio.symbols() for lot in self.portfolio.lots(symbol)
            ),
            previous=self._previous,
        )
        self.states.append(state)
        self._previous = state.sha256
        self._opening = {name: balance.closing for name, balance in accounts.items()}
        self._entered = self.ledger.totals()
        self._fills_before = state.fills
        self._from_ts = self._last_ts = to_ts + 1

    def _balances(self) -> dict[str, Balance]:
        """Return every account's balance over the hour; opening plus entries must be holdings."""
        totals, held = self.ledger.totals(), self._held()
        balances = {}
        for name in sorted({*totals, *held, *self._opening}):
            opening = self._opening.get(name, 0)
            entries = totals.get(name, 0) - self._entered.get(name, 0)
            balance = Balance(opening, entries, held.get(name, 0))
            if opening + entries != balance.closing:
                raise _broken(f"{name}: {opening} and entries of {entries}, not {balance.closing}")
            balances[name] = balance
        if sum(balance.entries for balance in balances.values()):
            raise _broken(f"the entries of hour {len(self.states) + 1} do not add up to zero")
        return balances

    def _held(self) -> dict[str, int]:
        """Return the balance of each account by the portfolio, in the ledger's signs."""
        portfolio = self.portfolio
        held = {f"{CASH}:{asset}": portfolio.cash(asset) for asset in portfolio.opening_cash()}
        for symbol in portfolio.symbols():
            held[f"{POSITION}:{symbol}"] = portfolio.position_cost(symbol)
        return {**held, REALISED_PNL: -portfolio.realised_pnl, FEES: portfolio.fees}


def genesis(run_id: str, opening: RunOpening) -> str:
    """Return the hash, hex, that the first hourly state of a run names as its predecessor."""
    return sha256(canonical.encode({"run_id": run_id, "opening": opening.to_json()})).hexdigest()


def states_bytes(states: list[HourlyState]) -> bytes:
    """Return the content of `hourly_state.jsonl`: one hashed line for each state."""
    return b"".join(encode_line(state.encoded()) for state in states)


def _broken(detail: str) -> InvariantError:
    return InvariantError("books", INVARIANT_BROKEN, detail)
