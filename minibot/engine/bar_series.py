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
        name: The word that a person used.
        interval: Of the venue, such as `1m`.
        first_ts, end_ts: When the first bar opens and the last one ends, Unix ms.
        price_increment, qty_increment: As the numbers show it, for a symbol without known rules.
        candles: Gives them from the beginning, oldest first.
        settled: Sentence on what was wrong with the data and how it was treated; empty for nothing.
        columns: Gives them as arrays by the names of `Candle`, where they stand as such; None
            where they do not.
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
