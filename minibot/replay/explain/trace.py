"""Trace from fills to the books and back: the lot a fill opened, the trades it closed.

A lot has the number of the fill that opened it, which is its line in `fills`; a trade has its
number in the order of closing, from 1. `0` is a lot that the run started with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from minibot.accounting.hourly_accounts import HourlyAccounts, HourlyState
from minibot.accounting.lots import Trade
from minibot.accounting.portfolio import Booking
from minibot.engine.lookup import last_event
from minibot.engine.recorded_run import Recorded
from minibot.events.model import BUY, Event, Fill, RunOpening
from minibot.events.money import amount_text
from minibot.kernel.errors import Refusal
from minibot.replay.partial_run import PartialRun

LOTS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Numbered:
    """A trade with its number in the run, from 1."""

    n: int
    trade: Trade

    @property
    def text(self) -> str:
        """The trade for people; gains are before fees."""
        trade = self.trade
        opened = f"lot {trade.open_fill_n}" if trade.open_fill_n else "a lot carried in"
        return (
            f"trade {self.n}: {short(trade.qty)} {trade.symbol} of {opened}, cost "
            f"{short(trade.cost)}, sold for {short(trade.proceeds)}, gain before fees "
            f"{short(trade.realised_pnl)}"
        )


class Trace:
    """The books of a recorded run, by fill.

    Args:
        recorded: The run; its fills are used as recorded, and the books end before a damaged one.

    Raises:
        IntegrityError: The first line of `control` is damaged.
        InvariantError: The fills cannot have come from the opening.
    """

    def __init__(self, recorded: Recorded) -> None:
        whole = PartialRun(recorded)
        self.fills = [event for _, event in whole.events("fills")]
        self.trades: list[Numbered] = []
        self._bookings: list[Booking] = []
        self._number = {event.id: n for n, event in enumerate(self.fills, 1)}
        self._states: list[HourlyState] = []
        self._is_whole = not whole.damage
        self._book(recorded)

    def _book(self, recorded: Recorded) -> None:
        opening = next(recorded.events("control"), None)
        if opening is None or not isinstance(opening[1].payload, RunOpening):
            return
        books = HourlyAccounts(recorded.manifest.run_id, opening[1].payload, opening[1].ts)
        for event in self.fills:
            if isinstance(event.payload, Fill):
                books.on_fill(event.payload, event.ts)
        last = last_event(recorded, "market_ticks")
        self._states = books.close(opening[1].ts if last is None else last.ts)
        self._bookings = books.bookings
        self.trades = [Numbered(n, trade) for n, trade in enumerate(books.trades, 1)]

    def notes(self, event: Event) -> list[str]:
        """Return the effects of a fill in the books: lot or trades, entries, hourly state."""
        n = self._number.get(event.id)
        if n is None or n > len(self._bookings):
            return []
        booking = self._bookings[n - 1]
        payload = event.payload
        said = []
        if isinstance(payload, Fill) and payload.side == BUY:
            closed = [item for item in self.trades if item.trade.open_fill_n == n]
            by = ", ".join(f"trade {item.n}" for item in closed) or "nothing yet"
            by += "" if self._is_whole else ", as far as the fills are not damaged"
            said.append(f"opened lot {n}: {payload.qty} {payload.symbol}; closed by {by}")
        said += [item.text for item in self.trades if item.trade.close_fill_n == n]
        entries = ", ".join(f"{entry.account} {short(entry.amount)}" for entry in booking.entries)
        said.append(f"booked (debits positive, credits negative, together 0): {entries}")
        state = self.state_of(n)
        if state is not None:
            said.append(f"in hourly state {state.n}, sha256 {state.sha256[:16]}")
        return said

    def state_of(self, fill_n: int) -> HourlyState | None:
        """Return the hourly state that holds a fill; none where damaged fills may belong to it."""
        known = [s for s in self._states if self._is_whole or s.fills < len(self.fills)]
        return next((s for s in known if s.fills_before < fill_n <= s.fills), None)

    def trade(self, text: str) -> Numbered:
        """Return a trade by its number.

        Raises:
            Refusal: The run has no such trade.
        """
        found = next((item for item in self.trades if str(item.n) == text), None)
        if found is not None:
            return found
        has = f"trades 1 to {len(self.trades)}" if self.trades else "no trade"
        raise Refusal(f"{text!r} is no trade of this run, which has {has}.", "See: minibot report")

    def lot(self, text: str) -> int:
        """Return the number of a lot, by that number or by the id of the fill that opened it.

        Raises:
            Refusal: The run opened no such lot.
        """
        lots = [
            n
            for n, event in enumerate(self.fills, 1)
            if isinstance(event.payload, Fill) and event.payload.side == BUY
        ]
        found = [n for n in lots if text == str(n)]
        if not found and len(text) >= 4:
            found = [n for n in lots if self.fills[n - 1].id.startswith(text)]
        if len(found) != 1:
            known = ", ".join(map(str, lots[:LOTS_SHOWN])) or "none"
            more = len(lots) - LOTS_SHOWN
            known += f" and {more} more" if more > 0 else ""
            raise Refusal(f"{text!r} is no lot of this run.", f"Its lots: {known}.")
        return found[0]


def short(amount: int) -> str:
    """Return an amount without trailing zeros."""
    text = amount_text(amount)
    return text.rstrip("0").rstrip(".") if "." in text else text
