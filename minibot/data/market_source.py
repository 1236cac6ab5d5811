"""Ticks and trades of column files, as the sources of backtests read them.

The sources themselves are in `minibot.backtest.sources`. Columns of ticks give back the same
`market_tick` payloads that they were made of, except `recv_mono_ns`: it belongs to the machine that
recorded them and is replaced by the tick's own time. A trade without an id or a taker's side, which
no market role writes, comes back with id 0 and as a buy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from minibot.data.columns import SUFFIX, Columns
from minibot.data.store import data_files
from minibot.data.ticks import (
    HAS_EXCHANGE_TS,
    IS_TAKER_SELL,
    IS_TRADE,
    TICK_COLUMNS,
    TICKS,
    TRADE_COLUMNS,
    TRADES,
)
from minibot.events.model import BUY, SELL, MarketTick
from minibot.events.unit_sizes import NS_PER_MS
from minibot.exchanges.tapes.decimals import to_text
from minibot.kernel.errors import Refusal

# Prices and sizes repeat; this many of their texts are cached.
TEXTS_MAX: Final = 65_536


class Texts(dict[int, str]):
    """Cache of amounts in units of 10**-8 as the venue writes them."""

    def __missing__(self, units: int) -> str:
        """Return the text of an amount that is not in the cache yet."""
        if len(self) >= TEXTS_MAX:
            self.clear()
        text = self[units] = to_text(units)
        return text


def column_files(path: Path) -> list[Columns]:
    """Return the column files of a path, open: one file, or all of a folder.

    Raises:
        Refusal: There is none, or one is damaged.
    """
    paths = [each for each in data_files(path) if each.name.endswith(SUFFIX)]
    if not paths and not os.path.exists(path):
        raise Refusal(f"{path}: there is no such file or folder.", "Name one that exists.")
    if not paths:
        raise Refusal(f"{path}: no file of columns.", "Make some: minibot data convert.")
    return [Columns(each) for each in paths]


def ticks_of(columns: Columns) -> Iterator[MarketTick]:
    """Yield the market ticks of all rows; the run clock's times are in the column `ts`.

    Raises:
        Refusal: The file holds no market ticks: mere trades have no touch.
    """
    if columns.kind != TICKS:
        what = f"holds {columns.kind}, not ticks with their touch"
        raise Refusal(f"{columns.path}: {what}.", "Convert a run or a tape.")
    texts, symbol = Texts(), columns.symbol
    for row in columns.walk(TICK_COLUMNS):
        ts, price, qty, trade_id, flags, bid, bid_qty, ask, ask_qty, exchange_ts = row
        is_trade = flags & IS_TRADE
        yield MarketTick(
            symbol=symbol,
            price=texts[price],
            kind="trade" if is_trade else "quote",
            bid=texts[bid],
            bid_qty=texts[bid_qty],
            ask=texts[ask],
            ask_qty=texts[ask_qty],
            recv_mono_ns=ts * NS_PER_MS,
            exchange_ts=exchange_ts if flags & HAS_EXCHANGE_TS else None,
            qty=texts[qty] if is_trade else None,
            taker_side=(SELL if flags & IS_TAKER_SELL else BUY) if is_trade else None,
            trade_id=trade_id if is_trade else None,
        )


def trade_rows(columns: Columns) -> Iterator[tuple[int, ...]]:
    """Yield (ts, price, qty, trade_id, flags) of a trade file, or of the trades among ticks.

    Raises:
        Refusal: The file holds klines.
    """
    if columns.kind not in (TICKS, TRADES):
        raise Refusal(f"{columns.path}: holds {columns.kind}, not trades.", "Name another one.")
    for row in columns.walk(TRADE_COLUMNS):
        if row[4] & IS_TRADE:
            yield row
