"""Scaled tick: one tick in exact numbers for risk and execution; the object is reused.

A core fills its own from each `market_tick` event. A backtest fills one from columns, without
events, and passes it to both cores. No one may keep it. The event of a tick is made only if a
message follows from it, which is rare.
"""

from __future__ import annotations

from typing import Final, Protocol, final

from minibot.cores.event_id import EventId, named, of_line
from minibot.events.model import Event, MarketTick
from minibot.events.money import parse_amount
from minibot.events.native import mypyc_attr


class Maker(Protocol):
    """Source of ticks without events: what a filled tick lacks, and its event when it is needed."""

    def event(self, seq: int) -> Event:
        """Return the event of the tick that was filled last, as line `seq` of its queue."""
        ...

    def last_price(self) -> int:
        """Return the price in that event, in hundred-millionths."""
        ...

    def is_trade(self) -> bool:
        """Return whether that event is a trade."""
        ...


@final
class ScaledTick:
    """A touch, amounts in hundred-millionths.

    Attributes:
        symbol: The exchange's name of the market, such as BTCUSDT.
        ts: Market time at which it was received, ms.
        bid, bid_qty, ask, ask_qty: The touch.
        id: Id of its event; empty without an event, as its line then gives the id.
        run_id: Run of its event.
    """

    __slots__ = (
        *("_event", "_maker", "_named", "_ref", "ask", "ask_qty", "bid", "bid_qty", "id"),
        *("run_id", "symbol", "ts"),
    )

    def __init__(self, symbol: str = "", maker: Maker | None = None, run_id: str = "") -> None:
        """Start at nothing."""
        self.symbol: str = symbol
        self.ts: int = 0
        self.bid: int = 0
        self.bid_qty: int = 0
        self.ask: int = 0
        self.ask_qty: int = 0
        self.id: str = ""
        self.run_id: str = run_id
        self._event: Event | None = None
        # The id returned last, and its line.
        self._ref: EventId | None = None
        self._named: int = 0
        self._maker: Maker | None = maker

    def fill(self, payload: MarketTick, event: Event) -> None:
        """Take an event and its touch."""
        self._event = event
        self._ref = None
        self.id = event.id
        self.run_id = event.run_id
        self.symbol = payload.symbol
        self.ts = event.ts
        self.bid = parse_amount(payload.bid)
        self.bid_qty = parse_amount(payload.bid_qty)
        self.ask = parse_amount(payload.ask)
        self.ask_qty = parse_amount(payload.ask_qty)

    def ref(self, seq: int) -> EventId:
        """Return the id of its event."""
        ref = self._ref
        if ref is None or self._named != seq:
            ref = self._ref = named(self.id, self.run_id) if self.id else of_line(seq, self.run_id)
            self._named = seq
        return ref

    def event(self, seq: int) -> Event:
        """Return the event from which it was filled, or else its source's event for it.

        Raises:
            ValueError: It has neither an event nor a source.
        """
        if self._event is not None:
            return self._event
        if self._maker is None:
            raise ValueError("scaled tick: expected a filled one, found an empty one")
        return self._maker.event(seq)

    def last(self) -> int:
        """Return the price of the last trade as its event has it; the bid before any trade.

        Raises:
            ValueError: It has neither an event nor a source.
        """
        if self._event is None and self._maker is not None:
            return self._maker.last_price()  # An event would be written out and parsed again.
        payload = self.event(0).payload
        return parse_amount(payload.price) if isinstance(payload, MarketTick) else 0

    def is_trade(self) -> bool:
        """Return whether its event is a trade.

        Raises:
            ValueError: It has neither an event nor a source.
        """
        if self._event is None and self._maker is not None:
            return self._maker.is_trade()
        payload = self.event(0).payload
        return isinstance(payload, MarketTick) and payload.kind == "trade"


NO_BOUND: Final = 1 << 60
Extremes = tuple[int, int, int, int, int]
"""Extremes of some ticks: the arguments of `QuietRange.contains_all`."""


@mypyc_attr(acyclic=True)
@final
class QuietRange:
    """Range of touches and time in which a tick changes nothing; filled by the cores.

    Of several ticks in a row within it, risk and execution need only the last.

    Attributes:
        above, below: Bounds on the bid, both excluded.
        least, most: Bounds on bid plus ask, both included.
        until: Market time at which it ends.
        is_lasting: Whether it stays valid after a closed bar.
        qty: Quantity held in hundred-millionths; 0 if the ticks do not move equity.
        value: Present value of the quantity in hundred-millionths of the quote asset.
        fall, rise: How much all positions together may lose or gain in value since the range was
            returned; 0 allows only ticks that keep it, and a negative number no tick at all.
            Only `Core.quiet_ticks` sets qty, value, fall and rise.
    """

    __slots__ = (
        *("above", "below", "fall", "is_lasting", "least", "most", "qty", "rise", "until", "value"),
    )

    def __init__(self) -> None:
        """Start with any touch whose bid is above zero; sum and time are bounded by `NO_BOUND`."""
        self.above: int = 0
        self.below: int = NO_BOUND
        self.least: int = 0
        self.most: int = NO_BOUND
        self.until: int = NO_BOUND
        self.is_lasting: bool = True
        self.qty: int = 0
        self.value: int = 0
        self.fall: int = 0
        self.rise: int = 0

    def contains(self, bid: int, ask: int, ts: int) -> bool:
        """Return whether a tick with this touch, at market time `ts`, changes nothing."""
        return (
            self.above < bid < self.below
            and bid <= ask
            and self.least <= bid + ask <= self.most
            and ts < self.until
        )

    def contains_all(
        self, bid_least: int, bid_most: int, sum_least: int, sum_most: int, ts: int
    ) -> bool:
        """Return whether several ticks, none of them crossed, all change nothing.

        Args:
            bid_least: The lowest bid.
            bid_most: The highest bid.
            sum_least: The lowest sum of bid and ask.
            sum_most: The highest sum of bid and ask.
            ts: Market time of the last tick, or later.
        """
        return (
            self.above < bid_least
            and bid_most < self.below
            and self.least <= sum_least
            and sum_most <= self.most
            and ts < self.until
        )


ANY_TOUCH: Final = QuietRange()
"""Range of a core that no tick of a symbol can change; it must not be narrowed.

It contains every touch that is not crossed, has a bid above zero, and sums to `NO_BOUND` at most.
"""
