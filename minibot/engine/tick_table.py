"""Table of ticks in columns for a backtest: whole arrays, memory-mapped and not read.

A source of columns gives the same market as events, one tick at a time, or as rows of this table
(`stretches`). `tick_rows` passes the rows to the cores; a test compares both ways.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from minibot.data.columns import Columns
from minibot.data.ticks import (
    AMOUNTS,
    HAS_EXCHANGE_TS,
    IS_TAKER_SELL,
    TICK_COLUMNS,
    TRADE_COLUMNS,
    TRADES,
)
from minibot.engine.cells import int_cells
from minibot.events.money import PLACES
from minibot.events.unit_sizes import BPS_UNITS

# Bound within which sums and products of amounts fit 64 bits, also a price times a spread in
# hundredths of a basis point.
WIDE_MAX: Final = 2**62

Array = Any  # A one-dimensional array of numpy.


class TickTable:
    """The ticks of one symbol, oldest first.

    Attributes:
        symbol: The market.
        columns: Arrays of equal length by the names of `TICK_COLUMNS`; amounts in units of 10**-8.
            A tick without a time of the exchange has its own time there.
    """

    def __init__(self, symbol: str, columns: dict[str, Array]) -> None:
        """Take the columns."""
        self.symbol = symbol
        self.columns = columns
        self.ts: memoryview[int] = np.ascontiguousarray(columns["ts"]).data

    @property
    def rows(self) -> int:
        """Number of ticks."""
        return len(self.ts)

    def mids(self, first: int, last: int) -> bytes:
        """Return the mids in rows `first` to `last` (excluded), as cells."""
        bid, ask = self.columns["bid"][first:last], self.columns["ask"][first:last]
        return int_cells((bid + ask) // 2)

    @property
    def is_sound(self) -> bool:
        """True if time never goes back and every touch has two sides that do not cross."""
        ts, bid, ask = (self.columns[name] for name in ("ts", "bid", "ask"))
        return bool((ts[1:] >= ts[:-1]).all() and (bid > 0).all() and (ask >= bid).all())


def table_of(columns: Columns, spread_bps: int, price_step: int) -> TickTable | None:
    """Return a file of ticks or trades as a table; None if it has to be delivered as events.

    Args:
        columns: The open file.
        spread_bps: Ask less bid in hundredths of a basis point; only for trades.
        price_step: The price increment, also the least spread; hundred-millionths.
    """
    if any(columns.places(name) != PLACES for name in AMOUNTS & set(columns.names)):
        return None
    is_bare = columns.kind == TRADES
    names = TRADE_COLUMNS if is_bare else TICK_COLUMNS
    arrays: dict[str, Array] = {
        name: np.frombuffer(columns.column(name), dtype=np.uint8 if name == "flags" else np.int64)
        for name in names
    }
    if not columns.rows:
        return None
    if is_bare:
        if int(arrays["price"].max()) * max(1, spread_bps) > WIDE_MAX:
            return None
        _add_touch(arrays, spread_bps, price_step)
    else:
        is_given = (arrays["flags"] & HAS_EXCHANGE_TS) != 0
        if not is_given.all():
            arrays["exchange_ts"] = np.where(is_given, arrays["exchange_ts"], arrays["ts"])
    table = TickTable(columns.symbol, arrays)
    return table if table.is_sound else None


def _add_touch(arrays: dict[str, Array], spread_bps: int, step: int) -> None:
    """Model the touch of trades: the trade's price on the taker's side, one spread wide."""
    price = arrays["price"]
    wide = -(-price * spread_bps // BPS_UNITS)
    wide = np.maximum(step, -(-wide // step) * step)
    is_sell = (arrays["flags"] & IS_TAKER_SELL) != 0
    arrays["bid"] = np.where(is_sell, price, np.maximum(step, price - wide))
    arrays["ask"] = arrays["bid"] + wide
    arrays["bid_qty"] = arrays["ask_qty"] = arrays["qty"]
    arrays["exchange_ts"] = arrays["ts"]
    arrays["flags"] = arrays["flags"] | HAS_EXCHANGE_TS
