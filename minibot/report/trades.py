"""Round trips for people to read: each from flat to flat in one symbol, with its P&L.

The figures of a run come from `accounting.performance`; this module keeps the columns of a table
beside them. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from minibot.accounting.lots import is_dust_before, is_dust_left
from minibot.accounting.performance import Carried
from minibot.accounting.portfolio import pays_in_base
from minibot.events.model import BUY, Event, Fill, JsonObject
from minibot.events.money import amount_text, cost_up, parse_amount

# Reason of a position that the run started with, which has no entry in the run.
CARRIED: Final = "carried_in"


class Step(NamedTuple):
    """Step of a round trip: the fills of one order; amounts in hundred-millionths."""

    ts: int
    side: str
    order: str
    qty: int
    notional: int

    def to_json(self) -> JsonObject:
        """Return the step with decimal strings; the price is an average."""
        return {
            "ts": self.ts,
            "side": self.side,
            "qty": amount_text(self.qty),
            "price": _average(self.notional, self.qty),
        }


@dataclass(slots=True)
class RoundTrip:
    """Round trip: purchases and sales between flat and flat; amounts in hundred-millionths.

    `entry_order` and `exit_order` are the client's ids of the orders that bought first and sold
    last.
    """

    symbol: str
    opened_ts: int
    closed_ts: int = 0
    bought_qty: int = 0
    sold_qty: int = 0
    paid: int = 0
    received: int = 0
    fees: int = 0
    fills: list[str] = field(default_factory=list)
    exit_order: str = ""
    entry_order: str = ""
    steps: list[Step] = field(default_factory=list)

    @property
    def is_in_parts(self) -> bool:
        """True when more than one order bought, or more than one sold: a campaign in steps."""
        sides = [step.side for step in self.steps]
        return len(sides) > len(set(sides))

    @property
    def net(self) -> int:
        """Net P&L of the round trip, after fees."""
        return self.received - self.paid - self.fees

    @property
    def is_closed(self) -> bool:
        """True when all of it was sold, but for dust where fees were taken in coins."""
        return self.closed_ts > 0

    def to_json(self) -> JsonObject:
        """Return the round trip with decimal strings; prices are averages."""
        return {
            "symbol": self.symbol,
            "opened_ts": self.opened_ts,
            "closed_ts": self.closed_ts if self.is_closed else None,
            "qty": amount_text(self.bought_qty),
            "entry_price": _average(self.paid, self.bought_qty),
            "exit_price": _average(self.received, self.sold_qty),
            "fees": amount_text(self.fees),
            "net": amount_text(self.net) if self.is_closed else None,
            "fills": list(self.fills),
        }


class TradeLog:
    """Log of the round trips of a run, fed with its fills in order.

    Carried-in positions count as bought before: a sale that leaves the symbol flat ends its trip.
    Such a trip paid their value in `carried` and opened when their oldest lot was bought. Where
    fees are taken in coins, carried dust is of the trip of the next purchase and opens with it.

    Args:
        carried: The run's opening positions, from its `Performance`, which takes each fill first.
            Their value is that at their first mark, or their cost where none came before the sale.
    """

    def __init__(self, carried: Mapping[str, Carried]) -> None:
        self._carried = carried
        self._held = {symbol: each.qty for symbol, each in carried.items()}
        self._begun: set[str] = set()
        self._paid_in_base = set(carried)  # As far as is known: the run before may have paid so.
        self._open: dict[str, RoundTrip] = {}
        self.trips: list[RoundTrip] = []

    def on_fill(self, event: Event) -> None:
        """Process one fill."""
        fill = event.payload
        if not isinstance(fill, Fill):
            return
        trip = self._open.get(fill.symbol)
        if trip is None:
            trip = self._open[fill.symbol] = RoundTrip(fill.symbol, event.ts)
            self.trips.append(trip)
            if fill.symbol in self._carried and fill.symbol not in self._begun:
                trip.bought_qty, trip.paid, carried_ts = self._carried[fill.symbol]
                if not (pays_in_base(fill) and is_dust_before(fill, trip.bought_qty)):
                    trip.opened_ts = carried_ts
            self._begun.add(fill.symbol)
        qty, price = parse_amount(fill.qty), parse_amount(fill.price)
        notional, fee = qty * price // 10**8, parse_amount(fill.fee)
        if pays_in_base(fill):
            qty, fee = qty - fee, cost_up(fee, price)
            notional -= fee
            self._paid_in_base.add(fill.symbol)
        trip.fees += fee
        trip.fills.append(event.id)
        step = Step(event.ts, fill.side, fill.client_order_id, qty, notional)
        if trip.steps and trip.steps[-1].order == step.order:
            former = trip.steps.pop()
            step = former._replace(qty=former.qty + qty, notional=former.notional + notional)
        trip.steps.append(step)
        sign = 1 if fill.side == BUY else -1
        if sign > 0:
            trip.entry_order = trip.entry_order or fill.client_order_id
            trip.bought_qty += qty
            trip.paid += notional
        else:
            trip.sold_qty += qty
            trip.received += notional
            trip.exit_order = fill.client_order_id
        left = self._held[fill.symbol] = self._held.get(fill.symbol, 0) + sign * qty
        if not left or (fill.symbol in self._paid_in_base and is_dust_left(fill, left)):
            trip.closed_ts = event.ts
            del self._open[fill.symbol]


def _average(notional: int, qty: int) -> str | None:
    """Return the mean price, rounded down, or None where nothing changed hands."""
    return None if not qty else amount_text(notional * 10**8 // qty)
