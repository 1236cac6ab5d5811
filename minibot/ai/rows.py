"""Market events as compact rows, and rows applied to feature windows.

The clerk sends rows through a pipe to the worker and feeds the same rows to its own windows when it
builds a dataset. A row is a JSON list whose first element is its kind; decimals keep the exchange's
own digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from minibot.ai.vector import FeatureWindow
from minibot.events.model import Bar, Book, Gap, MarketTick, Payload

TOUCH: Final = "touch"
BAR: Final = "bar"
BOOK: Final = "book"
DEPTH: Final = "depth"
"""Name of the book's stream in the stream of a gap."""
_LEVELS: Final = 5

Row = list[Any]


def row_of(payload: Payload) -> Row | None:
    """Return the row of a market event; None for an event that no feature uses."""
    if isinstance(payload, MarketTick):
        return [
            TOUCH,
            payload.symbol,
            payload.bid,
            payload.bid_qty,
            payload.ask,
            payload.ask_qty,
        ]
    if isinstance(payload, Bar):
        return [
            BAR,
            payload.symbol,
            payload.interval,
            payload.high,
            payload.low,
            payload.close,
            payload.volume,
            payload.taker_buy_volume or "0",
        ]
    if isinstance(payload, Book):
        bids = [level[1] for level in payload.bids[:_LEVELS]]
        asks = [level[1] for level in payload.asks[:_LEVELS]]
        return [BOOK, payload.symbol, bids, asks]
    if isinstance(payload, Gap) and DEPTH in payload.stream:
        # Quotes go on without the book: its last state would count as true all that time.
        return [BOOK, payload.symbol, [], []]
    return None


class Windows:
    """The feature windows of all symbols of a run, fed by rows.

    Args:
        symbols: Rows of any other symbol are ignored.
        bar_interval: The interval of the main bars, such as `1s`.
        trend_interval: The interval of the trend bars, such as `1m`.
    """

    def __init__(self, symbols: list[str], bar_interval: str, trend_interval: str) -> None:
        self.by_symbol: Mapping[str, FeatureWindow] = {name: FeatureWindow() for name in symbols}
        self._bar_interval = bar_interval
        self._trend_interval = trend_interval

    def take(self, row: Row) -> None:
        """Apply one row.

        Raises:
            ValueError: The row does not have the form that `row_of` makes. One of another kind or
                symbol is ignored, whatever else it holds.
        """
        try:
            window = self.by_symbol.get(row[1])
            if window is not None:
                self._apply(window, row)
        except (IndexError, TypeError, OverflowError) as error:
            raise ValueError(f"row: {error}") from error

    def _apply(self, window: FeatureWindow, row: Row) -> None:
        kind = row[0]
        if kind == TOUCH:
            window.take_touch(float(row[2]), float(row[3]), float(row[4]), float(row[5]))
        elif kind == BOOK:
            window.take_book([float(qty) for qty in row[2]], [float(qty) for qty in row[3]])
        elif kind == BAR:
            self._apply_bar(window, row)

    def _apply_bar(self, window: FeatureWindow, row: Row) -> None:
        high, low, close, volume, taker_buy = (float(text) for text in row[3:8])
        if row[2] == self._bar_interval:
            window.take_bar(high, low, close, volume, taker_buy)
        if row[2] == self._trend_interval:
            window.take_trend_bar(high, low, close)
