"""Series of bars of one symbol, independent of their storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from minibot.engine.intrabar import Candle


@dataclass(frozen=True, slots=True)
class BarSeries:
    """Series of bars of one symbol, independent of their storage.

    Attributes:
        name: The source word as it was given.
        interval: Interval by its name at the venue, such as `1m`.
        first_ts, end_ts: When the first bar opens and the last one ends, Unix ms.
        price_increment, qty_increment: Derived from the numbers, for a symbol without known rules.
        candles: Yields the bars from the beginning, oldest first.
        settled: Sentence on faults of the data and their treatment; empty for none.
        columns: Returns the bars as arrays by the names of `Candle`, if they are stored so; None
            if not.
    """

    name: str
    symbol: str
    interval: str
    first_ts: int
    end_ts: int
    price_increment: str
    qty_increment: str
    candles: Callable[[], Iterable[Candle]]
    columns: Callable[[], dict[str, Any] | None] = lambda: None
    settled: str = ""
