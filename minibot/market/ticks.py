"""`market_tick` events of one symbol: a trade, or a quote that changed price or size of the touch.

The price of a quote's tick is that of the last trade of this connection, or the bid before one.

A tick always carries a touch, and never one of another time. There is none at the start, after a
lost connection and after a refused quote (a book without asks has no touch): trades then wait for
the next quote. A trade whose quote comes too late, or on another connection, makes no tick.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from minibot.events.model import MarketTick
from minibot.exchanges.base import Quote
from minibot.market.trades import ANEW_MS, Arrival

# A stream without quotes must not fill the memory; dropped trades are counted.
WAITING_MAX: Final = 1000


class PriceBand:
    """Band of plausible prices around the last accepted one.

    Assumes that a real market does not move by the whole band between two messages of one symbol,
    except over a halt: any price is then the first one again. A jump over an outage longer than a
    run survives is out of scope.
    """

    def __init__(self, percent: int) -> None:
        self.percent = percent
        self.reference = 0
        self._is_halted = False

    def halt(self, *, is_halted: bool) -> None:
        """Note by the symbol's rules whether it is halted.

        They show the end up to a minute late, when prices have come for long: any is plausible
        until then, and the next after it, as the last one may be from before.
        """
        if self._is_halted and not is_halted:
            self.reference = 0
        self._is_halted = is_halted

    def accepts(self, price_units: int) -> bool:
        """Return whether the price is plausible; if so, it becomes the reference."""
        if price_units != self.reference:
            if not self.is_plausible(price_units):
                return False
            self.reference = price_units
        return True

    def accepts_quote(self, bid_units: int, ask_units: int) -> bool:
        """Return whether both prices are plausible; if so, the ask becomes the reference.

        Before the first price the ask is checked against the bid: no stub becomes the reference.
        """
        reference = self.reference or bid_units
        reach = self.percent * reference
        if abs(bid_units - reference) * 100 > reach or abs(ask_units - reference) * 100 > reach:
            if not self._is_halted or not self.reference:
                return False
            self.reference = 0
            return self.accepts_quote(bid_units, ask_units)
        self.reference = ask_units
        return True

    def is_plausible(self, price_units: int) -> bool:
        """Return whether the price is within the band; any is in a halt or before the first."""
        reference = self.reference
        if not reference or self._is_halted:
            return True
        return abs(price_units - reference) * 100 <= self.percent * reference


class TickMaker:
    """Maker of ticks from the trades and quotes of one symbol.

    Args:
        symbol: In the venue's own spelling.
        wait_ms: How long a trade waits for its touch at most, in ms of market time.
    """

    def __init__(self, symbol: str, wait_ms: int) -> None:
        self.symbol = symbol
        self._wait_ms = wait_ms
        self.quote: Quote | None = None
        self.outdated = 0
        self.dropped = 0
        self.coalesced = 0
        self.last_price = ""
        # Of the last trade since the connection; an earlier one is no longer the venue's last.
        self._shown_price = ""
        self._last_update_id = -1
        self._outdated_ms: int | None = None
        # Of a held quote: machine time of its read, and market time.
        self._held: tuple[int, int] | None = None
        # Each with the time since when it waits.
        self._waiting: deque[tuple[Arrival, int]] = deque()

    def on_quote(
        self, quote: Quote, recv_mono_ns: int, now_ms: int, *, is_held: bool = False
    ) -> list[MarketTick]:
        """Take a quote; return its tick, if the touch changed, and ticks that waited for it.

        A quote whose id is not above the last one's is outdated: it is counted and leaves `quote`
        as it was, until nothing newer has come for ANEW_MS. A held tick is returned by `held_tick`,
        unless a newer one replaces it first.
        """
        if quote.update_id <= self._last_update_id:
            if not self._begins_anew(quote, now_ms):
                self.outdated += 1
                return []
            self.forget_touch()
        self._outdated_ms = None
        self._last_update_id = quote.update_id
        before, self.quote = self.quote, quote
        if (
            before is not None
            and before.ask_qty == quote.ask_qty
            and before.bid_qty == quote.bid_qty
            and before.bid == quote.bid
            and before.ask == quote.ask
        ):
            return []
        if is_held and before is not None:
            self.coalesced += self._held is not None
            self._held = recv_mono_ns, now_ms
            return []
        ticks = [self._quote_tick(quote, recv_mono_ns)]
        while self._waiting:
            arrival, since_ms = self._waiting.popleft()
            if now_ms - since_ms <= self._wait_ms:
                ticks.append(self._trade_tick(arrival, quote))
            else:
                self.dropped += 1
        return ticks

    def _begins_anew(self, quote: Quote, now_ms: int) -> bool:
        """Return whether a quote that is not newer shows that the venue's ids restarted."""
        if self.quote is not None and quote[:-1] == self.quote[:-1]:
            return False  # The touch has not changed, so it is still the newest.
        if self._outdated_ms is None:
            self._outdated_ms = now_ms
        return now_ms - self._outdated_ms >= ANEW_MS

    def on_trade(self, arrival: Arrival, now_ms: int) -> list[MarketTick]:
        """Take a trade and return its tick; none while it waits for a touch."""
        quote = self.quote
        if quote is not None:
            return [self._trade_tick(arrival, quote)]
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append((arrival, now_ms))
        return []

    def held_tick(self) -> tuple[MarketTick, int] | None:
        """Return the held tick of the newest quote, and when the quote came, ms; None for none."""
        held, self._held = self._held, None
        if held is None or self.quote is None:
            return None
        recv_mono_ns, came_ms = held
        return self._quote_tick(self.quote, recv_mono_ns), came_ms

    def on_disconnected(self) -> None:
        """Forget the touch and the last trade of a lost connection: both have moved on unseen."""
        self.forget_touch()
        self._shown_price = ""
        self.drop_waiting()

    def drop_waiting(self) -> None:
        """Drop the trades that wait for a touch: the next one is of another connection."""
        self.dropped += len(self._waiting)
        self._waiting.clear()

    def forget_touch(self) -> None:
        """Forget the touch: the next tick waits for a new one."""
        self.coalesced += self._held is not None
        self._held = None
        self.quote = None
        self._last_update_id = -1
        self._outdated_ms = None

    def lose_touch(self) -> None:
        """Forget a touch that a refused quote has ended.

        A quote that is newer than that touch brings a new one, also one with an id below that of
        the refused quote.
        """
        last = self._last_update_id
        self.forget_touch()
        self._last_update_id = last

    def _quote_tick(self, quote: Quote, recv_mono_ns: int) -> MarketTick:
        _, _, bid, _, bid_qty, ask, _, ask_qty, exchange_ts = quote
        return MarketTick(
            symbol=self.symbol,
            price=self._shown_price or bid,
            kind="quote",
            bid=bid,
            bid_qty=bid_qty,
            ask=ask,
            ask_qty=ask_qty,
            recv_mono_ns=recv_mono_ns,
            exchange_ts=exchange_ts,
        )

    def _trade_tick(self, arrival: Arrival, quote: Quote) -> MarketTick:
        trade, recv_mono_ns = arrival
        _, trade_id, price, _, qty, _, trade_ts, taker_side = trade
        self.last_price = self._shown_price = price
        return MarketTick(
            symbol=self.symbol,
            price=price,
            kind="trade",
            bid=quote.bid,
            bid_qty=quote.bid_qty,
            ask=quote.ask,
            ask_qty=quote.ask_qty,
            recv_mono_ns=recv_mono_ns,
            exchange_ts=trade_ts,
            qty=qty,
            taker_side=taker_side,
            trade_id=trade_id,
        )
