"""Kline in exact integers: parsing of rows, bars within a hole, and price increments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import gcd
from typing import NamedTuple

from minibot.data.columns import LARGEST
from minibot.events.decimals import POWERS, format_fixed
from minibot.events.money import PLACES
from minibot.exchanges.tapes.decimals import to_units
from minibot.exchanges.tapes.kline_bars import INTERVALS, next_open, open_of
from minibot.simulator.sources.kline_rows import BadRow, Cells, time_of


class Kline(NamedTuple):
    """One kline: two times in Unix ms, `trades` a count, the other eight in units of 10**-8."""

    open_ts: int
    close_ts: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    trades: int
    taker_volume: int
    taker_quote: int


def kline_of(cells: Cells | BadRow) -> tuple[Kline, str] | BadRow:
    """Return the kline of twelve cells with the unit of its times, or the error of a bad row.

    A missing close time is 0 here: `mending.treat`, which knows the interval, sets it to a
    millisecond before the next bar opens. A row without a price or the volume is bad; other
    missing cells count as zero.
    """
    if isinstance(cells, BadRow):
        return cells
    opened = time_of(cells[0])
    if opened is None:
        return BadRow(f"has no open time but {cells[0][:40]!r}")
    closed = time_of(cells[6]) if cells[6] not in ("", "0") else (0, opened[1])
    if closed is None or closed[1] != opened[1]:
        return BadRow(f"has no close time but {cells[6][:40]!r}")
    try:
        open_, high, low, close, volume = map(units_of, cells[1:6])
        quote, taker, taker_quote = (units_of(cells[index] or "0") for index in (7, 9, 10))
        trades = _count(cells[8] or "0")
    except ValueError as error:
        return BadRow(f"has no number ({error})")
    return (
        Kline(
            *(opened[0], closed[0], open_, high, low, close, volume),
            *(quote, trades, taker, taker_quote),
        ),
        opened[1],
    )


def units_of(text: str) -> int:
    """Return a decimal string in units of 10**-8; a minus is accepted, and judged later."""
    whole, point, places = text.partition(".")
    count = len(places)
    if whole.isdigit() and count <= PLACES and (places.isdigit() or not point) and text.isascii():
        return int(whole + places) * POWERS[PLACES - count]
    if text[:1] == "-" and text[1:2] != "-":
        return -units_of(text[1:])
    if not whole.isdigit() or not places.isdigit() or not text.isascii():
        raise ValueError(f"{text[:40]!r}")
    return to_units(text)  # More than eight places, if only by zeros.


def _count(text: str) -> int:
    """Return an integer that a column can hold; a minus is accepted, and judged later."""
    digits = text.removeprefix("-")
    if not digits.isdigit() or not digits.isascii() or int(digits) > LARGEST:
        raise ValueError(f"{text[:40]!r}")
    return int(text)


def bars_between(interval: str, from_ts: int, to_ts: int) -> int:
    """Return the number of bars that open from `from_ts` on and before `to_ts`."""
    at = open_of(interval, from_ts)
    if at < from_ts:
        at = next_open(interval, at)
    length_ms = INTERVALS[interval]
    if length_ms:
        return max(0, -(-(to_ts - at) // length_ms))
    count = 0
    while at < to_ts:
        at, count = next_open(interval, at), count + 1
    return count


def flat_bars(price: int, interval: str, from_ts: int, to_ts: int) -> Iterator[Kline]:
    """Yield bars without volume at a fixed price, to fill a hole."""
    while from_ts < to_ts:
        until = next_open(interval, from_ts)
        yield Kline(from_ts, until - 1, price, price, price, price, 0, 0, 0, 0, 0)
        from_ts = until


def increment(amounts: Iterable[int]) -> str:
    """Return the finest power of ten that the amounts need, as decimal text: `0.01`."""
    common = 0
    for amount in amounts:
        common = gcd(common, amount)
        if common == 1:
            break
    places = PLACES
    while places and common and common % 10 == 0:
        common, places = common // 10, places - 1
    return format_fixed(1, places)
