"""Klines as a source: each bar turned into plausible trades and quotes.

The model, the same for the same file every time:

* A bar that closes at or above its open goes open, low, high, close; another one open, high, low,
  close. Between these four the price wanders: a random bridge, never past low or high. Trades
  lie evenly in time.
* Open, high, low and close are met exactly, each by a trade of at least one step. The quantities
  add up to the bar's volume exactly, or to four steps where it is less. Quote volume, the number of
  trades and the taker's share are those of the trades made, not of the file.
* A taker sells where the price falls and buys where it rises; the touch is one tick wide.
* The rate of messages is the configured one, half quotes and half trades, but no more trades than
  the bar had or `TRADES_MAX`. Its four prices need `TRADES_MIN` trades, even if it had fewer. A
  bar without volume has a quote a second and no trade. Where the file has no bar at all there is
  silence.

No depth: a bar says nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isqrt
from random import Random
from typing import Final

from minibot.events.money import UNIT
from minibot.exchanges.tapes.decimals import to_text
from minibot.exchanges.tapes.frames import BOOK_TICKER, TRADE, Frame, SourceFacts
from minibot.exchanges.tapes.kline_bars import Bar
from minibot.simulator.sources.kline_files import KlineFile

TRADES_MIN: Final = 4
# An hour's at the default rate of 20; a bar's trades are made at once, while no client is served.
TRADES_MAX: Final = 36_000
QUIET_QUOTE_MS: Final = 1000


class Klines:
    """A file of klines, played."""

    def __init__(self, file: KlineFile, rate_per_s: int, name: str) -> None:
        self._file = file
        self._rate_per_s = rate_per_s
        stem = file.symbol.lower()
        self._streams = {kind: f"{stem}@{kind}" for kind in (TRADE, BOOK_TICKER)}
        first = next(file.bars())
        self.facts = SourceFacts(
            name=name,
            origin_ms=file.first_ms,
            end_ms=file.end_ms,
            symbols=(file.symbol,),
            has_depth=False,
            streams=frozenset(self._streams.values()),
            samples={
                file.symbol: {
                    "p": _sample(first.open, file.price_places),
                    "q": _sample(UNIT, file.qty_places),
                }
            },
            notes=[f"{file.path.name}: no depth in klines: bookTicker and trades only"],
        )

    def past_bars(self, symbol: str, interval: str) -> list[Bar]:
        """Return nothing: the file is played from its first bar."""
        return []

    def frames(self) -> Iterator[Frame]:
        """Yield trades and quotes, bar by bar."""
        writer = _Writer(self._file.symbol, self._streams)
        tick = 10 ** (8 - self._file.price_places)
        step = 10 ** (8 - self._file.qty_places)
        for bar in self._file.bars():
            if not bar.volume:
                yield from _quiet(writer, bar, tick, step)
                continue
            usual_qty = max(step, bar.volume // self._count(bar) // step * step)
            before = bar.open
            for at_ms, price, qty in trades_of(bar, self._count(bar), tick, step):
                is_sell = price < before or (price == before and (at_ms // 7) % 2 == 0)
                bid = price if is_sell else price - tick
                # The size at the touch is larger than the trade.
                yield writer.quote(at_ms, bid, qty + 9 * usual_qty, tick)
                yield writer.trade(at_ms, price, qty, is_sell)
                before = price

    def _count(self, bar: Bar) -> int:
        """Return how many trades to make for a bar."""
        wanted = (bar.end_ms - bar.open_ms) * self._rate_per_s // 2000
        had = bar.trades if bar.trades > 0 else wanted
        return max(TRADES_MIN, min(wanted, had, TRADES_MAX))


def _sample(units: int, places: int) -> str:
    """Return a number with that many places whose last digit is not zero, to derive a step from."""
    smallest: int = 10 ** (8 - places)
    return to_text(units // (10 * smallest) * (10 * smallest) + smallest)


def _quiet(writer: _Writer, bar: Bar, tick: int, step: int) -> Iterator[Frame]:
    for number, at_ms in enumerate(range(bar.open_ms, bar.end_ms, QUIET_QUOTE_MS)):
        yield writer.quote(at_ms, bar.close - tick, step * (1000 + number % 2), tick)


def trades_of(bar: Bar, count: int, tick: int, step: int) -> list[tuple[int, int, int]]:
    """Return the trades of a bar as (time in ms, price, quantity), oldest first.

    Args:
        bar: A bar with volume.
        count: At least four.
        tick: Smallest difference of prices, in units of 10**-8.
        step: Smallest difference of quantities, in the same units.
    """
    random = Random(bar.open_ms ^ bar.open)
    turns = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    corners = dict(
        zip((0, count // 3, 2 * count // 3, count - 1), (bar.open, *turns, bar.close), strict=True)
    )
    prices: list[int] = []
    marks = sorted(corners)
    for former, later in pairwise(marks):
        prices += _bridge(random, bar, corners[former], corners[later], later - former, tick)
    prices.append(bar.close)
    quantities = _shares(random, bar.volume, count, step, set(corners))
    length_ms = bar.end_ms - bar.open_ms
    return [
        (bar.open_ms + length_ms * (2 * index + 1) // (2 * count), price, qty)
        for index, (price, qty) in enumerate(zip(prices, quantities, strict=True))
        if qty
    ]


def _bridge(random: Random, bar: Bar, start: int, end: int, count: int, tick: int) -> list[int]:
    """Return `count` prices from `start`, included, to `end`, excluded."""
    # Steps of a walk that covers about a third of the bar's range.
    stride = max(1, (bar.high - bar.low) // (tick * 3 * (isqrt(count) or 1)))
    walk = [0]
    for _ in range(count):
        walk.append(walk[-1] + random.randint(-stride, stride))
    prices = [start]
    for index in range(1, count):
        noise = (walk[index] - walk[-1] * index // count) * tick
        price = start + (end - start) * index // count // tick * tick + noise
        prices.append(min(bar.high, max(bar.low, price)))
    return prices


def _shares(random: Random, volume: int, count: int, step: int, needed: set[int]) -> list[int]:
    """Return the volume split over the trades; the needed ones get at least one step each."""
    spare = max(0, volume - step * len(needed))
    weights = [random.randrange(1, 100) for _ in range(count)]
    total = sum(weights)
    shares: list[int] = []
    given = summed = 0
    for index, weight in enumerate(weights):
        summed += weight
        upto = spare * summed // total // step * step
        shares.append(upto - given + (step if index in needed else 0))
        given = upto
    # A remainder finer than the file's own step goes to the last trade.
    shares[-1] += spare - given
    return shares


class _Writer:
    """Writer of trades and quotes as the venue's messages, with running ids."""

    def __init__(self, symbol: str, streams: dict[str, str]) -> None:
        self._symbol, self._streams = symbol, streams
        self._trade_id = 0
        self._update_id = 0

    def _frame(self, kind: str, at_ms: int, data: str) -> Frame:
        return Frame(at_ms * 1_000_000, self._symbol, kind, self._streams[kind], data.encode())

    def quote(self, at_ms: int, bid: int, qty: int, tick: int) -> Frame:
        self._update_id += 1
        size = to_text(qty)
        return self._frame(
            BOOK_TICKER,
            at_ms,
            f'{{"u":{self._update_id},"s":"{self._symbol}","b":"{to_text(max(tick, bid))}",'
            f'"B":"{size}","a":"{to_text(max(tick, bid) + tick)}","A":"{size}"}}',
        )

    def trade(self, at_ms: int, price: int, qty: int, is_sell: bool) -> Frame:
        self._trade_id += 1
        return self._frame(
            TRADE,
            at_ms,
            f'{{"e":"trade","E":{at_ms},"s":"{self._symbol}","t":{self._trade_id},'
            f'"p":"{to_text(price)}","q":"{to_text(qty)}","T":{at_ms},'
            f'"m":{"true" if is_sell else "false"},"M":true}}',
        )
