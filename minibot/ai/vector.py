"""Feature vector: the model's input for one symbol, from bars, the touch and the book.

The same code computes it in the sandboxed worker (to recommend), in the clerk (to build datasets)
and offline, so training and inference cannot drift apart. A vector is a tuple of integers in
millionths, in the order of `FEATURES`: exact in JSON, equal on every system, free of NaN by
construction. Changing a name, a formula or the order requires a new `FEATURES_VERSION`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from minibot.features.atr import WilderAtr
from minibot.features.ema import Ema
from minibot.features.lossless import is_finite
from minibot.features.rate_of_change import RateOfChange
from minibot.features.rsi import WilderRsi
from minibot.features.touch import mid, spread_bps
from minibot.features.volatility import RealisedVolatility
from minibot.features.window import total

FEATURES_VERSION: Final = "features-v1"
FEATURES: Final = (
    "return_1_bps",
    "return_5_bps",
    "return_15_bps",
    "return_30_bps",
    "rsi_14",
    "ema_gap_bps",
    "atr_bps",
    "volatility_20_bps",
    "range_position_20",
    "volume_ratio_5_20",
    "taker_buy_share_5",
    "taker_buy_share_20",
    "spread_bps",
    "touch_imbalance",
    "book_imbalance_5",
    "mid_to_close_bps",
    "trend_rsi_14",
    "trend_ema_gap_bps",
    "trend_return_5_bps",
)
SCALE: Final = 1_000_000
# Beyond any real value of a feature; keeps a hostile or broken input inside 64 bits.
_VALUE_MAX: Final = 1_000_000_000.0
_BPS: Final = 10_000.0
_WINDOW_BARS: Final = 20
_BOOK_LEVELS: Final = 5


class _BarSeries:
    """Indicators over the closes of one interval."""

    __slots__ = ("atr", "close", "ema_fast", "ema_slow", "returns", "rsi", "volatility")

    def __init__(self, return_periods: tuple[int, ...]) -> None:
        self.rsi = WilderRsi(14)
        self.ema_fast = Ema(9)
        self.ema_slow = Ema(21)
        self.atr = WilderAtr(14)
        self.volatility = RealisedVolatility(_WINDOW_BARS)
        self.returns = [RateOfChange(period) for period in return_periods]
        self.close = 0.0

    def take(self, high: float, low: float, close: float) -> None:
        self.close = close
        self.rsi.update(close)
        self.ema_fast.update(close)
        self.ema_slow.update(close)
        self.atr.update(high, low, close)
        self.volatility.update(close)
        for change in self.returns:
            change.update(close)

    def ema_gap_bps(self) -> float | None:
        fast, slow = self.ema_fast.value, self.ema_slow.value
        if fast is None or slow is None or slow <= 0.0:
            return None
        return (fast - slow) / slow * _BPS


class FeatureWindow:
    """Current window of one symbol; `vector` turns it into the model's input.

    Assumes bars of each interval arrive in order, history first. Bars and touch are required. A
    book that has not come yet, or was lost, counts as balanced. A trend that still lacks bars
    counts as flat. Otherwise a short recording without history could never give a vector.
    """

    def __init__(self) -> None:
        self._bars = _BarSeries((1, 5, 15, 30))
        self._trend = _BarSeries((5,))
        self._highs: deque[float] = deque(maxlen=_WINDOW_BARS)
        self._lows: deque[float] = deque(maxlen=_WINDOW_BARS)
        self._volumes: deque[float] = deque(maxlen=_WINDOW_BARS)
        self._taker_buys: deque[float] = deque(maxlen=_WINDOW_BARS)
        self._touch: tuple[float, float, float, float] | None = None
        self._book_imbalance = 0.0

    @property
    def mid(self) -> float | None:
        """Return the mid of the last touch; None before there is one or while it is unusable."""
        if self._touch is None or spread_bps(self._touch[0], self._touch[2]) is None:
            return None
        return mid(self._touch[0], self._touch[2])

    def take_bar(
        self, high: float, low: float, close: float, volume: float, taker_buy_volume: float
    ) -> None:
        """Take the next closed bar of the bar interval; volumes in base."""
        self._bars.take(high, low, close)
        self._highs.append(high)
        self._lows.append(low)
        self._volumes.append(volume)
        self._taker_buys.append(taker_buy_volume)

    def take_trend_bar(self, high: float, low: float, close: float) -> None:
        """Take the next closed bar of the trend interval."""
        self._trend.take(high, low, close)

    def take_touch(self, bid: float, bid_qty: float, ask: float, ask_qty: float) -> None:
        """Take the newest best bid and ask."""
        self._touch = (bid, bid_qty, ask, ask_qty)

    def take_book(self, bid_qtys: list[float], ask_qtys: list[float]) -> None:
        """Take the newest book as the sizes of its levels, best first."""
        self._book_imbalance = _imbalance(
            total(bid_qtys[:_BOOK_LEVELS]), total(ask_qtys[:_BOOK_LEVELS])
        )

    def vector(self) -> tuple[int, ...] | None:
        """Return the features in millionths; None while one of them lacks its input."""
        values = self._values()
        if values is None:
            return None
        scaled = []
        for value in values:
            if value is None or not is_finite(value):
                return None
            bounded = min(_VALUE_MAX, max(-_VALUE_MAX, value))
            scaled.append(round(bounded * SCALE))
        return tuple(scaled)

    def _values(self) -> list[float | None] | None:
        touch = self._touch
        if touch is None or len(self._volumes) < _WINDOW_BARS or self._bars.close <= 0.0:
            return None
        bid, bid_qty, ask, ask_qty = touch
        spread = spread_bps(bid, ask)
        if spread is None:
            return None
        bars, trend, close = self._bars, self._trend, self._bars.close
        return [
            *(_scaled(change.value, _BPS) for change in bars.returns),
            bars.rsi.value,
            bars.ema_gap_bps(),
            _scaled(bars.atr.value, _BPS / close),
            _scaled(bars.volatility.value, _BPS),
            self._range_position(close),
            self._volume_ratio(),
            self._taker_buy_share(5),
            self._taker_buy_share(_WINDOW_BARS),
            spread,
            _imbalance(bid_qty, ask_qty),
            self._book_imbalance,
            (mid(bid, ask) - close) / close * _BPS,
            _or_neutral(trend.rsi.value, 50.0),
            _or_neutral(trend.ema_gap_bps(), 0.0),
            _or_neutral(_scaled(trend.returns[0].value, _BPS), 0.0),
        ]

    def _range_position(self, close: float) -> float:
        """Return the position of the close in the range of the window, 0 low to 1 high."""
        low, high = min(self._lows), max(self._highs)
        return 0.5 if high <= low else (close - low) / (high - low)

    def _volume_ratio(self) -> float:
        """Return the mean volume of the last 5 bars relative to the window's; 1 if none."""
        window = total(self._volumes) / _WINDOW_BARS
        if window <= 0.0:
            return 1.0
        return total(list(self._volumes)[-5:]) / 5 / window

    def _taker_buy_share(self, bars: int) -> float:
        """Return the share of volume bought by takers; a half if nothing was traded."""
        volume = total(list(self._volumes)[-bars:])
        return 0.5 if volume <= 0.0 else total(list(self._taker_buys)[-bars:]) / volume


def _imbalance(bid_qty: float, ask_qty: float) -> float:
    """Return the balance of two sizes, -1 (all ask) to 1 (all bid)."""
    size = bid_qty + ask_qty
    return 0.0 if size <= 0.0 else (bid_qty - ask_qty) / size


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _or_neutral(value: float | None, neutral: float) -> float:
    return neutral if value is None else value
