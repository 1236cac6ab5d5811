"""Carried losses: losses of a run in its UTC day and week, by its record.

Losses are measured as risk measures them, on equity: an open loss counts, and a position carried
into the run counts from the mark that the run before left, which includes the move of the price
between the two runs; without that mark, from its first. Dust counts at its price here, although
risk holds it to be worth nothing.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from minibot.accounting.performance import Performance, mid_of
from minibot.events.codec import Codec
from minibot.events.model import Event, Fill, MarketTick, PriceMark, RunOpening
from minibot.events.names import TICKS
from minibot.kernel.journal import JournalReader, Line

BATCH: Final = 1024
_symbol: Final = re.compile(rb'"symbol":"([^"]*)"').search


class Gains(NamedTuple):
    """Gains of a run, and where its prices ended.

    Attributes:
        gains: Gains of equity, hundred-millionths of the quote asset, one for each start given.
        marks: By symbol of an open position, its last price in the run or before it.
    """

    gains: list[int]
    marks: dict[str, int]


def gains_since(
    starts: Sequence[int],
    opening: RunOpening,
    quote_asset: str,
    fills: Sequence[Event],
    ticks: JournalReader,
    codec: Codec,
) -> Gains:
    """Return the gain of equity from each start to the run's last price; a loss is negative.

    Prices within a batch of lines matter only at its ends, so most of them are never decoded.

    Args:
        starts: Unix ms on the market's clock; for a start before the run, the whole run counts.
        opening: Of the run.
        quote_asset: Asset of equity.
        fills: Of the run.
        ticks: Reads `market_ticks` from their beginning.
        codec: Of the run.
    """
    performance = Performance(opening, quote_asset)
    marks = opening.marks or {}
    performance.begin_at(marks)
    waiting = deque(sorted(fills, key=lambda fill: fill.tick_seq or 0))
    unmarked = performance.carried.keys() - marks.keys()
    gained: dict[int, int] = {}
    if waiting or performance.carried:
        for lines, begun in _parts(ticks, sorted(starts), codec):
            for start in begun:
                gained[start] = performance.equity - performance.equity_start
            # A carried position has its first mark before a fill changes it.
            unmarked -= _mark(performance, unmarked, lines, codec)
            # Each fill names the line that filled it, so that its symbol has a price in this part.
            while waiting and (waiting[0].tick_seq or 0) <= lines[-1].seq:
                _book(performance, waiting.popleft())
            _mark(performance, performance.portfolio.symbols(), lines[::-1], codec)
        for fill in waiting:
            _book(performance, fill)
    end = performance.equity - performance.equity_start
    last = {symbol: performance.mark(symbol) for symbol in performance.portfolio.symbols()}
    return Gains(
        [end - gained.get(start, end) for start in starts],
        {symbol: mark for symbol, mark in last.items() if mark is not None},
    )


def _parts(
    ticks: JournalReader, starts: list[int], codec: Codec
) -> Iterator[tuple[list[Line], list[int]]]:
    """Yield the lines in parts, each with the starts that lie between it and the part before."""
    left = list(starts)
    while lines := ticks.read(BATCH):
        while lines:
            begun = _passed(left, codec.decode(TICKS, lines[0].json).ts)
            end = len(lines)
            if left and codec.decode(TICKS, lines[-1].json).ts >= left[0]:
                times = (codec.decode(TICKS, line.json).ts for line in lines)
                end = next(place for place, ts in enumerate(times) if ts >= left[0])
            yield lines[:end], begun
            lines = lines[end:]


def _passed(left: list[int], ts: int) -> list[int]:
    """Take the starts that a time has reached from those left, in rising order."""
    count = sum(start <= ts for start in left)
    begun, left[:] = left[:count], left[count:]
    return begun


def _mark(
    performance: Performance, symbols: Iterable[str], lines: Sequence[Line], codec: Codec
) -> set[str]:
    """Value each symbol at its first price among lines; return those that have one."""
    left = {symbol.encode() for symbol in symbols}
    priced: set[str] = set()
    for line in lines:
        if not left:
            break
        found = _symbol(line.json)
        if found is None or found[1] not in left:
            continue
        payload = codec.decode(TICKS, line.json).payload
        is_touch = isinstance(payload, MarketTick) and mid_of(payload) is not None
        if is_touch or isinstance(payload, PriceMark):
            performance.on_market((payload,))
            left.remove(found[1])
            priced.add(found[1].decode())
    return priced


def _book(performance: Performance, event: Event) -> None:
    if isinstance(event.payload, Fill):
        performance.on_fill(event.payload, event.ts)
