"""Synthetic market: the price path, the trades and quotes of a second, the book.

The price is a sum of value noise over periods from 2 s to 4.5 h, each with an amplitude
proportional to the square root of its period: it moves like a random walk up to some hours (about
11 bps in a minute, trends of about 1 % in an hour) and never runs away. Another noise makes calm
and lively phases. The steps of a second are a function of seed, symbol and second alone, so the
market knows its own past, and any span can be made without the one before it. Integers and
`random.Random` only: no float arithmetic decides a price.

Assumptions: spreads of one to a few ticks, trades at the touch, a new touch from second to second;
no hidden orders, no correlation between symbols.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from minibot.events.money import UNIT
from minibot.exchanges.tapes.decimals import to_units
from minibot.exchanges.tapes.kline_bars import Bar
from minibot.simulator.venue.instruments import made_rules

BASE_PRICES: Final = {
    "BTCUSDT": "61000",
    "ETHUSDT": "3300",
    "BNBUSDT": "690",
    "SOLUSDT": "215",
    "XRPUSDT": "2.4",
    "DOGEUSDT": "0.38",
    "BTCUSDC": "61000",
    "ETHUSDC": "3300",
}

LEVELS: Final = 20
DIFFS_PER_S_MAX: Final = 10
TRADE_PERCENT: Final = 45
FIRST_UPDATE_ID: Final = 50_000_000

_OCTAVES: Final = range(1, 15)
# Amplitude of the noise of period 2**k seconds, in millionths: 100 * 2**(k/2), which is 1 bps
# for each square root of a second.
_AMPLITUDES: Final = {
    k: 100 * _root
    for k, _root in zip(_OCTAVES, (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128), strict=True)
}
_LIVELINESS_OCTAVE: Final = 9  # Calm and lively phases of about 500 s.
_MASK: Final = (1 << 64) - 1
_NOISE_ONE: Final = 1 << 20


def mix(value: int) -> int:
    """Return a well-spread 64-bit hash of an integer (the finaliser of splitmix64)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class PricePath:
    """Mid price at every whole second, as deviation in millionths of the base price."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._nodes: dict[int, tuple[int, int, int]] = {}

    def _noise(self, octave: int, second: int) -> int:
        """Return noise of period 2**octave, from -2**20 to 2**20, linear between its nodes."""
        index = second >> octave
        node = self._nodes.get(octave)
        if node is None or node[0] != index:
            node = (index, self._node(octave, index), self._node(octave, index + 1))
            self._nodes[octave] = node
        part = second - (index << octave)
        return node[1] + ((node[2] - node[1]) * part >> octave)

    def _node(self, octave: int, index: int) -> int:
        return (mix(mix(self._seed ^ octave) ^ index) >> 43) - _NOISE_ONE

    def liveliness(self, second: int) -> int:
        """Return how lively the market is in percent, 40 to 220."""
        return 130 + (90 * self._noise(16 + _LIVELINESS_OCTAVE, second << 16) >> 20)

    def at(self, second: int) -> int:
        """Return the deviation from the base price at a second, in millionths."""
        lively = self.liveliness(second)
        total = 0
        for octave in _OCTAVES:
            part = _AMPLITUDES[octave] * self._noise(octave, second)
            # Only fast movements are scaled: a factor on slow ones would itself be a jump.
            total += part * lively // 100 if octave < _LIVELINESS_OCTAVE else part
        return total >> 20


def below(bits: Callable[[int], int], limit: int) -> int:
    """Return a number from 0 to `limit` - 1, the same as `Random.randrange`, but faster.

    Args:
        bits: `getrandbits` of a generator.
        limit: A positive number.
    """
    width = limit.bit_length()
    drawn = bits(width)
    while drawn >= limit:
        drawn = bits(width)
    return drawn


class Step(NamedTuple):
    """One step of the market: a quote, or a trade and the quote after it."""

    at_ms: int
    bid: int
    bid_qty: int
    ask: int
    ask_qty: int
    price: int = 0
    qty: int = 0
    is_taker_sell: bool = False


class RandomSymbol:
    """The market of one symbol; prices in ticks, quantities in steps."""

    def __init__(self, symbol: str, seed: int, rate_per_s: int) -> None:
        rules = made_rules(symbol)
        self.symbol = symbol
        self.rules = rules
        self.tick = to_units(rules["tick"])
        self.step = to_units(rules["step"])
        self.rate_per_s = rate_per_s
        base = to_units(BASE_PRICES.get(symbol, "100"))
        self._base_ticks = base // self.tick
        # A usual order is about 1,000 in quote, the size at the touch some ten of them.
        self._usual_qty = max(1, 1000 * UNIT * UNIT // base // self.step)
        self._seed = mix(seed ^ int.from_bytes(symbol.encode(), "big") & _MASK)
        self._path = PricePath(self._seed)

    def diffs_in(self, second: int) -> int:
        """Return how many depth diffs this second has: a quarter of the messages."""
        count = (second + 1) * self.rate_per_s // 4 - second * self.rate_per_s // 4
        return min(count, DIFFS_PER_S_MAX)

    def steps(self, second: int) -> list[Step]:
        """Return the steps of a second, in order."""
        bits = Random(mix(self._seed ^ second << 8)).getrandbits
        left = self.rate_per_s - self.diffs_in(second)
        kinds: list[bool] = []
        while left > 0:
            is_trade = bool(kinds) and left > 1 and below(bits, 100) < TRADE_PERCENT
            kinds.append(is_trade)
            left -= 2 if is_trade else 1
        here, there = self._mid(second), self._mid(second + 1)
        lively = self._path.liveliness(second)
        count, begin_ms, way = len(kinds), second * 1000, there - here
        steps: list[Step] = []
        for index, is_trade in enumerate(kinds):
            offset_ms = (index * 1000 + below(bits, 1000)) // count
            mid = here + way * offset_ms // 1000
            at_ms = begin_ms + offset_ms
            if is_trade:
                steps.append(self._trade(bits, at_ms, mid, steps[-1]))
            else:
                steps.append(self._quote(bits, at_ms, mid, lively))
        return steps

    def _mid(self, second: int) -> int:
        return self._base_ticks + self._base_ticks * self._path.at(second) // 1_000_000

    def _quote(self, bits: Callable[[int], int], at_ms: int, mid: int, lively: int) -> Step:
        # Mostly one tick; wider when it is lively, up to about 0.3 bps.
        width = 1 if below(bits, 300) > lively else 2 + self._base_ticks // 30_000
        bid = mid - width // 2 - below(bits, 2)
        return Step(at_ms, bid, self._touch_qty(bits), bid + width, self._touch_qty(bits))

    def _touch_qty(self, bits: Callable[[int], int]) -> int:
        return self._usual_qty * (200 + below(bits, 2800)) // 100

    def _trade(self, bits: Callable[[int], int], at_ms: int, mid: int, touch: Step) -> Step:
        # Takers follow the price, as their trades move it.
        leans_down = 2 * mid < touch.bid + touch.ask
        is_sell = leans_down if below(bits, 100) < 75 else not leans_down
        held = touch.bid_qty if is_sell else touch.ask_qty
        wish = 1 + self._usual_qty * (1 + below(bits, 99)) * (1 + below(bits, 99)) // 2500
        qty = max(1, min(wish, held - 1))
        return Step(
            at_ms,
            touch.bid,
            max(1, touch.bid_qty - qty) if is_sell else touch.bid_qty,
            touch.ask,
            touch.ask_qty if is_sell else max(1, touch.ask_qty - qty),
            touch.bid if is_sell else touch.ask,
            qty,
            is_sell,
        )

    def second_bar(self, second: int) -> Bar | None:
        """Return the one-second bar of a second; None if nothing traded."""
        bar: Bar | None = None
        for step in self.steps(second):
            if not step.qty:
                continue
            price = step.price * self.tick
            if bar is None:
                open_ms = second * 1000
                bar = Bar(open_ms, open_ms + 1000, price, price, price, price)
            bar.add(step.at_ms, price, step.qty * self.step, step.is_taker_sell, -1)
        return bar


class RandomBook:
    """Levels beyond the touch, moved by the synthetic quotes."""

    def __init__(self, random: Random, bid: int, ask: int) -> None:
        self._random = random
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.changed_bids: dict[int, int] = {}
        self.changed_asks: dict[int, int] = {}
        self.update_id = FIRST_UPDATE_ID
        self.sent_id = FIRST_UPDATE_ID
        self._touch = (bid, ask)
        self._fill(bid, ask)

    def quote(self, step: Step) -> None:
        """Set the touch; levels that would cross it go, missing ones beyond it are added."""
        before = len(self.changed_bids) + len(self.changed_asks)
        best_bid, best_ask = self._touch
        self._touch = (step.bid, step.ask)
        # No bid lies above the last best one, so only a lower one leaves levels to remove.
        if step.bid < best_bid:
            for price in [price for price in self.bids if price > step.bid]:
                self._set(self.bids, self.changed_bids, price, 0)
        if step.ask > best_ask:
            for price in [price for price in self.asks if price < step.ask]:
                self._set(self.asks, self.changed_asks, price, 0)
        self._set(self.bids, self.changed_bids, step.bid, step.bid_qty)
        self._set(self.asks, self.changed_asks, step.ask, step.ask_qty)
        self._fill(step.bid, step.ask)
        after = len(self.changed_bids) + len(self.changed_asks)
        self.update_id += max(1, after - before)

    def _set(self, side: dict[int, int], changed: dict[int, int], price: int, qty: int) -> None:
        if side.get(price, 0) == qty:
            return
        if qty:
            side[price] = qty
        else:
            del side[price]
        changed[price] = qty

    def _fill(self, bid: int, ask: int) -> None:
        """Keep between LEVELS and twice as many levels on each side."""
        gap_max = 2 + bid // 20_000
        for side, changed, sign, touch in (
            (self.bids, self.changed_bids, -1, bid),
            (self.asks, self.changed_asks, 1, ask),
        ):
            if len(side) < LEVELS:
                worst = max((price * sign for price in side), default=touch * sign)
                while len(side) < LEVELS + LEVELS // 2:
                    worst += self._random.randrange(1, gap_max + 1)
                    if worst * sign <= 0:
                        break
                    self._set(side, changed, worst * sign, self._random.randrange(50, 50_000))
            elif len(side) > 2 * LEVELS:
                for price in sorted(side, key=lambda price: -price * sign)[: LEVELS // 2]:
                    self._set(side, changed, price, 0)
