"""Trace from fills to the books and back: the lot a fill opened, the trades it belongs to.

Trades and lots have the numbers of `trips`. The part of a lot taken by a sale is in its trade.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from minibot.accounting.bookings import Booking
from minibot.accounting.hourly_accounts import HourlyAccounts, HourlyState
from minibot.accounting.lots import Trade
from minibot.accounting.performance import Performance
from minibot.accounting.portfolio import pays_in_base
from minibot.engine.lookup import last_event
from minibot.engine.recorded_run import Recorded
from minibot.events.decimals import unpadded
from minibot.events.model import BUY, Event, Fill, RunOpening
from minibot.events.money import amount_text, parse_amount
from minibot.kernel.errors import Refusal
from minibot.replay.explain.trips import TradeStory, Trip, trade_story, trips_of
from minibot.replay.partial_run import PartialRun

LOTS_SHOWN: Final = 20


class Trace:
    """The books of a recorded run, by fill.

    Args:
        recorded: The run; its fills are used as recorded, and the books end before a damaged one.

    Attributes:
        held: Quantity of each position that is open after the last fill.

    Raises:
        IntegrityError: The first line of `control` is damaged, or breaks its contract.
        InvariantError: The fills cannot have come from the opening.
    """

    def __init__(self, recorded: Recorded) -> None:
        whole = PartialRun(recorded)
        self.fills = [event for _, event in whole.events("fills")]
        self.closings: list[Trade] = []
        self.trips: list[Trip] = []
        self.held: dict[str, int] = {}
        self._quote_asset = recorded.quote_asset
        self._bookings: list[Booking] = []
        self._performance: Performance | None = None
        self._number = {event.id: n for n, event in enumerate(self.fills, 1)}
        self._states: list[HourlyState] = []
        self._is_whole = not whole.damage
        self._recorded = recorded
        self._book(recorded)

    def _book(self, recorded: Recorded) -> None:
        control = PartialRun(recorded)
        opening = next(control.events("control"), None)
        control.require_whole()
        if opening is None or not isinstance(opening[1].payload, RunOpening):
            return
        self._performance = Performance(opening[1].payload, self._quote_asset)
        books = HourlyAccounts(recorded.manifest.run_id, opening[1].payload, opening[1].ts)
        held = [_held(books)]
        for event in self.fills:
            if isinstance(event.payload, Fill):
                books.on_fill(event.payload, event.ts)
            held.append(_held(books))
        self.held = held[-1]
        last = last_event(recorded, "market_ticks")
        self._states = books.close(opening[1].ts if last is None else last.ts)
        self._bookings = books.bookings
        self.closings = list(books.trades)
        self.trips = trips_of(self.fills, lambda n, symbol: held[n].get(symbol, 0))

    def notes(self, event: Event) -> list[str]:
        """Return the effects of a fill in the books: lot or trades, entries, hourly state."""
        n = self._number.get(event.id)
        if n is None or n > len(self._bookings):
            return []
        booking = self._bookings[n - 1]
        payload = event.payload
        lines = []
        if isinstance(payload, Fill) and payload.side == BUY:
            times = sum(trade.open_fill_n == n for trade in self.closings)
            by = "not sold yet" if not times else "sold" if times == 1 else f"sold in {times} parts"
            by += "" if self._is_whole else ", as far as the fills are not damaged"
            fee = parse_amount(payload.fee) if pays_in_base(payload) else 0
            qty = payload.qty if not fee else short(parse_amount(payload.qty) - fee)
            lines.append(f"opened lot {self.lot_name(n)}: {qty} {payload.symbol}; {by}")
        lines += [self._closed(trade) for trade in self.closings if trade.close_fill_n == n]
        entries = ", ".join(f"{entry.account} {short(entry.amount)}" for entry in booking.entries)
        lines.append(f"booked (debits positive, credits negative, together 0): {entries}")
        state = self.state_of(n)
        if state is not None:
            lines.append(f"in hourly state {state.n}, sha256 {state.sha256[:16]}")
        return lines

    def state_of(self, fill_n: int) -> HourlyState | None:
        """Return the hourly state that holds a fill; none where damaged fills may belong to it."""
        known = [s for s in self._states if self._is_whole or s.fills < len(self.fills)]
        return next((s for s in known if s.fills_before < fill_n <= s.fills), None)

    def _closed(self, trade: Trade) -> str:
        """Return the part of a lot that a sale took; gains are before fees."""
        trip = self.trip_of(trade.close_fill_n)
        name = "?" if trip is None else trip.n
        n = trade.open_fill_n
        opened = f"lot {self.lot_name(n)}" if n else "a lot carried in"
        return (
            f"trade {name}: {short(trade.qty)} {trade.symbol} of {opened}, cost "
            f"{short(trade.cost)}, sold for {short(trade.proceeds)}, gain before fees "
            f"{short(trade.realised_pnl)}"
        )

    def trip_of(self, fill_n: int) -> Trip | None:
        """Return the trade that a fill belongs to."""
        return next((trip for trip in self.trips if fill_n in trip.fills), None)

    def lot_name(self, fill_n: int) -> str:
        """Return the number of a lot, by the fill that opened it."""
        trip = self.trip_of(fill_n)
        return "?" if trip is None else trip.lot_name(fill_n)

    def number_of(self, event_id: str) -> int | None:
        """Return the number of a fill in its queue; None for any other event."""
        return self._number.get(event_id)

    def story(self, trip: Trip, why: Callable[[int], str]) -> TradeStory:
        """Return the story of a trade; `why` gives the reason on record for a fill.

        Raises:
            IntegrityError: Market data are damaged before a carried position's first mark.
        """
        paid = self._carried_value(trip.symbol) if trip.is_carried and trip.is_closed else 0
        opened = {} if self._performance is None else self._performance.carried
        carried = opened.get(trip.symbol) if trip.is_carried else None
        return trade_story(trip, self.fills, self._bookings, why, self._quote_asset, carried, paid)

    def _carried_value(self, symbol: str) -> int:
        """Return the value of a carried position at its first mark."""
        if self._performance is None:
            return 0
        market = (event for _, event in self._recorded.events("market_ticks"))
        self._performance.take_first_mark(symbol, market)
        return self._performance.carried[symbol].value

    def trade(self, text: str) -> Trip:
        """Return a trade by its number.

        Raises:
            Refusal: The run has no such trade.
        """
        found = next((trip for trip in self.trips if str(trip.n) == text), None)
        if found is not None:
            return found
        has = f"trades 1 to {len(self.trips)}" if self.trips else "no trade"
        raise Refusal(
            f"{text!r} is not a trade of this run, which has {has}.", "See: minibot report"
        )

    def lot(self, text: str) -> int:
        """Return the fill that opened a lot, by the lot's number or by that fill's id.

        Raises:
            Refusal: The run opened no such lot.
        """
        lots = [n for trip in self.trips for n in trip.lots]
        found = [n for n in lots if text == self.lot_name(n)]
        if not found and len(text) >= 4:
            found = [n for n in lots if self.fills[n - 1].id.startswith(text)]
        if len(found) != 1:
            known = ", ".join(map(self.lot_name, lots[:LOTS_SHOWN])) or "none"
            more = len(lots) - LOTS_SHOWN
            known += f" and {more} more" if more > 0 else ""
            raise Refusal(f"{text!r} is not a lot of this run.", f"Its lots: {known}.")
        return found[0]


def _held(books: HourlyAccounts) -> dict[str, int]:
    """Return the quantity of each open position."""
    portfolio = books.portfolio
    return {symbol: portfolio.position_qty(symbol) for symbol in portfolio.symbols()}


def short(amount: int) -> str:
    """Return an amount without trailing zeros."""
    return unpadded(amount_text(amount))
