"""Trades of a run as a trader counts them: from flat to flat in one symbol, numbered from 1.

Flat is nothing. It is also dust, once any earlier purchase of the symbol, in this run or before it,
may have paid its fee in the coin.
A trade has one lot for each fill that bought. A lot has the number of its trade, and where the
trade has several, a second number: `3.2` is the second lot of trade 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from minibot.accounting.bookings import Booking
from minibot.accounting.lots import is_dust_before, is_dust_left
from minibot.accounting.performance import Carried
from minibot.accounting.portfolio import pays_in_base
from minibot.events.model import BUY, Event, Fill, JsonObject
from minibot.events.money import UNIT, amount_text, parse_amount, proceeds_down


@dataclass(slots=True)
class Trip:
    """Trade from flat to flat: its number, and the numbers of its fills in their queue.

    Attributes:
        is_carried: The run started with a part of it.
        lots: The fills that bought, each of which opened a lot.
    """

    n: int
    symbol: str
    is_carried: bool
    fills: list[int] = field(default_factory=list)
    lots: list[int] = field(default_factory=list)
    is_closed: bool = False

    def lot_name(self, fill_n: int) -> str:
        """Return the number of a lot, by the fill that opened it."""
        if len(self.lots) == 1:
            return str(self.n)
        return f"{self.n}.{self.lots.index(fill_n) + 1}"


def trips_of(fills: Sequence[Event], held: Callable[[int, str], int]) -> list[Trip]:
    """Return the trades of a run in the order of their first fills.

    Args:
        fills: The run's fills, in order; the first has number 1.
        held: The quantity of a symbol after a number of fills.
    """
    found: list[Trip] = []
    unclosed: dict[str, Trip] = {}
    paid_in_base: set[str] = set()
    dusty: set[str] = set()
    for n, event in enumerate(fills, 1):
        fill = event.payload
        if not isinstance(fill, Fill):
            continue
        trip = unclosed.get(fill.symbol)
        if trip is None:
            is_carried = fill.symbol not in dusty and held(n - 1, fill.symbol) > 0
            trip = Trip(len(found) + 1, fill.symbol, is_carried)
            unclosed[fill.symbol] = trip
            found.append(trip)
            if is_carried:  # The run before may have paid so.
                paid_in_base.add(fill.symbol)
        trip.fills.append(n)
        if fill.side == BUY:
            trip.lots.append(n)
            if pays_in_base(fill):
                paid_in_base.add(fill.symbol)
        left = held(n, fill.symbol)
        is_dust = fill.symbol in paid_in_base and is_dust_left(fill, left)
        if is_dust or not left:
            trip.is_closed = True
            if is_dust:
                dusty.add(fill.symbol)
            del unclosed[fill.symbol]
    return found


@dataclass(frozen=True, slots=True)
class TradeStory:
    """Story of a trade in figures; prices are averages, amounts decimal strings, None for none.

    Attributes:
        n: The number of the trade.
        bought_qty, entry_price: None where the run bought nothing of it itself.
        why_bought, why_sold: The reasons on record; empty where there are none.
        opened_ts, closed_ts: Times of its first purchase, before the run where it was carried in,
            and of the fill that left it flat.
        fees: All fees of its fills.
        net: P&L after fees, of a carried position since its first mark; None while it is open.
        campaign_id: The campaign that its orders name; None for none.
    """

    n: int
    symbol: str
    quote_asset: str
    is_carried: bool
    bought_qty: str | None
    entry_price: str | None
    why_bought: str
    opened_ts: int
    sold_qty: str | None
    exit_price: str | None
    why_sold: str
    closed_ts: int | None
    fees: str
    net: str | None
    campaign_id: str | None = None

    def to_json(self) -> JsonObject:
        """Return the story as one JSON object; a campaign only where there is one."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        if self.campaign_id is None:
            del fields["campaign_id"]
        return fields


def trade_story(
    trip: Trip,
    fills: Sequence[Event],
    bookings: Sequence[Booking],
    why: Callable[[int], str],
    quote_asset: str,
    carried: Carried | None,
    paid_before: int,
) -> TradeStory:
    """Return the story of a trade.

    Args:
        trip: The trade.
        fills: The run's fills, in order.
        bookings: The booking of each.
        why: The reason on record for a fill, by its number.
        quote_asset: The asset in which P&L is counted.
        carried: The position that the run started with, if it is part of the trade.
        paid_before: Value of a carried position at its first mark, with which its trade begins.
    """
    own = [(n, fills[n - 1]) for n in trip.fills]
    bought = [n for n, event in own if _side(event) == BUY]
    sold = [n for n, event in own if _side(event) != BUY]
    booked = [bookings[n - 1] for n in trip.fills]
    fees = sum(booking.fee for booking in booked)
    # Not the gain of its lots: dust of the trade before may be among them.
    net = sum(booking.cash for booking in booked) - paid_before
    return TradeStory(
        n=trip.n,
        symbol=trip.symbol,
        quote_asset=quote_asset,
        is_carried=trip.is_carried,
        bought_qty=_qty(fills, bought),
        entry_price=_price(fills, bought),
        why_bought=why(bought[0]) if bought else "",
        opened_ts=_opened_ts(own[0][1], carried),
        sold_qty=_qty(fills, sold),
        exit_price=_price(fills, sold),
        why_sold=why(sold[-1]) if sold else "",
        closed_ts=own[-1][1].ts if trip.is_closed else None,
        fees=amount_text(fees),
        net=amount_text(net) if trip.is_closed else None,
    )


def _opened_ts(first: Event, carried: Carried | None) -> int:
    """Return when a trade was opened: where no more than dust was carried, by its first fill."""
    fill = first.payload
    if carried is None or not isinstance(fill, Fill):
        return first.ts
    is_dust = pays_in_base(fill) and is_dust_before(fill, carried.qty)
    return first.ts if is_dust else carried.ts


def _side(event: Event) -> str:
    return event.payload.side if isinstance(event.payload, Fill) else ""


def _parts(fills: Sequence[Event], numbers: Iterable[int]) -> list[tuple[int, int]]:
    payloads = [fills[n - 1].payload for n in numbers]
    return [
        (parse_amount(fill.qty), parse_amount(fill.price))
        for fill in payloads
        if isinstance(fill, Fill)
    ]


def _qty(fills: Sequence[Event], numbers: Sequence[int]) -> str | None:
    return amount_text(sum(qty for qty, _ in _parts(fills, numbers))) if numbers else None


def _price(fills: Sequence[Event], numbers: Sequence[int]) -> str | None:
    """Return the average price of fills, rounded down; None without any."""
    parts = _parts(fills, numbers)
    qty = sum(qty for qty, _ in parts)
    if not qty:
        return None
    return amount_text(sum(proceeds_down(qty, price) for qty, price in parts) * UNIT // qty)
