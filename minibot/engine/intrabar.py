"""Path of prices inside a bar: as few ticks as an honest result allows, without look-ahead.

A file of bars has four prices per bar. Each bar becomes up to four ticks and then the closed `bar`
event; a low or high that equals the price before it gets no tick of its own:

* Open, just after the bar begins: delayed by the time that an order decided on the last close
  needs to arrive (`execution.latency_market_ms`). Such an order is filled here, not at that close.
* Low, then high: the worse comes first. If a stop and a target lie in one bar, the stop is hit; the
  bot is long or flat, so the low is worse for its positions. While nothing is held and a purchase
  rests, the high comes before the low, whether or not the low will reach the purchase: so the order
  of ticks reveals no future price. A position opened at the low may lose in its bar, but reaches no
  target at the high, which may have come before; a target between low and close is reached on
  either path.
* Close, just before the bar ends. Only then comes the `bar` event: high, low, close and volume are
  unknown before. Displayed sizes come from the bar before.

Between these ticks the price moves through every price. If a stop or a target of an open position
lies between, a tick is put exactly there; and while an order is pending, the touch stays for its
latency. So a stop or a target is filled at its own price, or at the open if the market opened
beyond it.

Before the price rises, a target that falls with time is compared with the price before the rise; a
stop that the high raises acts only on later ticks.

The price is the mid; bid and ask stand half a spread from it, rounded outwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

from minibot.accounting.order_rules import OrderRules
from minibot.engine.market_source import Watch
from minibot.events.model import MarketTick
from minibot.events.native import mypyc_attr
from minibot.events.unit_sizes import BPS_UNITS, MINUTE_MS, NS_PER_MS
from minibot.exchanges.tapes.decimals import to_text

# Longest latency of an order as a share of the bar's length. The open is delayed by the latency and
# the close comes early by it. The open stays for it once more: a slower order would meet the low.
LATENCY_SHARE = 8
PERCENT = 100


class Candle(NamedTuple):
    """One bar in whole numbers: times in Unix ms, amounts in hundred-millionths."""

    open_ts: int
    end_ts: int
    open: int
    high: int
    low: int
    close: int
    volume: int


@mypyc_attr(acyclic=True)
@final
class Shown:
    """A tick inside a bar: touch, size at either side, and time; amounts in hundred-millionths."""

    __slots__ = ("ask", "at", "bid", "qty")

    def __init__(self, bid: int, ask: int, qty: int, at: int) -> None:
        self.bid: int = bid
        self.ask: int = ask
        self.qty: int = qty
        self.at: int = at

    def payload(self, symbol: str) -> MarketTick:
        """Return the tick as the payload of an event."""
        bid, ask, qty = to_text(self.bid), to_text(self.ask), to_text(self.qty)
        at = self.at
        return MarketTick(
            symbol=symbol,
            price=bid,
            kind="trade",
            bid=bid,
            bid_qty=qty,
            ask=ask,
            ask_qty=qty,
            recv_mono_ns=at * NS_PER_MS,
            exchange_ts=at,
        )


@dataclass(frozen=True, slots=True)
class TouchModel:
    """Model of the touch: its assumed spread and displayed sizes, and the latency of orders.

    Attributes:
        spread_bps: Ask less bid in hundredths of a basis point of the price; at least one price
            increment.
        size_percent: Size at either side, in percent of the volume per minute in the bar before.
        latency_ms: Latency of an order.
    """

    spread_bps: int
    size_percent: int
    latency_ms: int


class Intrabar:
    """Turns the bars of one symbol into ticks.

    Attributes:
        is_high_first: True when the last bar has its high before its low; known after its open.
    """

    def __init__(self, symbol: str, rules: OrderRules, model: TouchModel) -> None:
        self._symbol = symbol
        self._step = rules.price_step
        self._qty_step = rules.qty_step
        self._qty_min = max(rules.qty_step, rules.qty_min)
        self._model = model
        self._qty = self._qty_min
        self._at = 0
        self.is_high_first = False

    def resume(self, at: int, qty: int) -> None:
        """Continue after skipped bars, given the time of their last tick and the next size."""
        self._at = at
        self._qty = qty

    def ticks(self, bar: Candle, watch: Watch) -> Iterator[Shown]:
        """Yield the ticks of a bar, querying the watch meanwhile.

        It is queried after the open for a resting purchase, before low, high and close for exit
        levels if the touch moves, and after each tick for a pending order. It is notified of a
        position opened at the low.
        """
        length = bar.end_ts - bar.open_ts
        lag = max(1, min(self._model.latency_ms, length // LATENCY_SHARE))
        opened, closed = bar.open_ts + lag, bar.end_ts - 1 - lag
        before, symbol = self._touch(bar.open), self._symbol
        is_buying = watch.is_waiting(symbol) or watch.is_bidding(symbol)
        is_buying = is_buying and not watch.is_due(symbol, before[0])
        yield from self._shown(before, opened, lag, watch)
        if is_buying and watch.is_due(symbol, before[0]):
            # Bought at an open beyond a level that the strategy wanted: the price does not have to
            # come back to that level.
            yield from self._shown(before, self._at + lag, lag, watch)
        price = bar.open
        first, second = bar.low, bar.high
        opens = watch.is_bidding(self._symbol) and not watch.is_held(self._symbol)
        self.is_high_first = opens
        if opens:
            first, second = second, first
        for following, at in (
            (first, bar.open_ts + length // 4),
            (second, bar.open_ts + length // 2),
            (bar.close, closed),
        ):
            if following == price and at < closed:
                continue
            touch = self._touch(following)
            change = watch.until(self._symbol)
            while following > price and self._at < change < at:
                # The worse path to a target that falls with time: the price has not risen yet.
                yield from self._shown(before, change, lag, watch)
                last, change = change, watch.until(self._symbol)
                if change == last:
                    break
            for level in self._passed(before[0], touch[0], watch) if touch != before else ():
                # Half way in time, wherever the level lies between the two prices, so that the time
                # of the tick does not reveal how far the price will move.
                halfway = self._at + (at - self._at) // 2
                yield from self._shown((level, level + self._spread(level)), halfway, lag, watch)
            opens = opens and not watch.is_held(self._symbol)
            for shown in self._shown(touch, at, lag, watch):
                yield shown
                if opens and following == bar.low and watch.is_held(self._symbol):
                    opens = False
                    watch.on_entry_at_low()
            before, price = touch, following

    def on_closed(self, bar: Candle) -> None:
        """Take the volume of a closed bar, which gives the size of the next touch."""
        minutes_ms = max(MINUTE_MS, bar.end_ts - bar.open_ts)
        size = bar.volume * MINUTE_MS * self._model.size_percent // (minutes_ms * PERCENT)
        step = self._qty_step
        self._qty = max(self._qty_min, size // step * step)

    def _touch(self, price: int) -> tuple[int, int]:
        """Return bid and ask around a price."""
        step, spread = self._step, self._spread(price)
        bid = max(step, (price - spread // 2) // step * step)
        return bid, bid + spread

    def _spread(self, price: int) -> int:
        step = self._step
        spread = -(-price * self._model.spread_bps // BPS_UNITS)
        return max(step, -(-spread // step) * step)

    def _passed(self, start: int, end: int, watch: Watch) -> Iterator[int]:
        """Yield the levels between two bids, in the order in which the price meets them.

        The watch is queried again after each, which may set the next one, such as the second row of
        a recovery.
        """
        bid, nearest = start, max if end < start else min
        while levels := watch.levels(self._symbol):
            low, high = min(bid, end), max(bid, end)
            passed = [level for level in levels if low < level < high]
            if not passed:
                return
            bid = nearest(passed)
            yield bid

    def _shown(self, touch: tuple[int, int], at: int, lag: int, watch: Watch) -> Iterator[Shown]:
        """Yield a tick, and its touch again `lag` later if an order of the symbol is pending."""
        yield self._tick(touch, at)
        if watch.is_waiting(self._symbol):
            yield self._tick(touch, self._at + lag)

    def _tick(self, touch: tuple[int, int], at: int) -> Shown:
        self._at = at = max(at, self._at + 1)
        return Shown(touch[0], touch[1], self._qty, at)
