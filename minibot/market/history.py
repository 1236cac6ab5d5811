"""Bars from closed klines: for the warm-up, and for holes that trades cannot fill."""

from __future__ import annotations

from collections.abc import Iterable

from minibot.events.intervals import INTERVAL_MS, align
from minibot.events.model import Bar
from minibot.exchanges.base import Candle
from minibot.exchanges.venue_facts import SETTLE_MS as SETTLE_MS
from minibot.market.bars import Hole


def history_bar(symbol: str, interval: str, candle: Candle) -> Bar:
    """Return one closed kline as a bar, with the venue's own close time even if it is odd."""
    return Bar(
        symbol=symbol,
        interval=interval,
        open_ts=candle.open_ts,
        close_ts=candle.close_ts,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        is_history=True,
        quote_volume=candle.quote_volume,
        taker_buy_volume=candle.taker_buy_volume,
        trades=candle.trades,
    )


def closed_candles(
    candles: Iterable[Candle], interval: str, *, settled_ts: int, count: int
) -> list[Candle]:
    """Return the last `count` klines that are final, oldest first, without duplicates.

    REST has no flag for a closed kline: the newest row is normally still open, so only klines of
    intervals that ended by `settled_ts` on the exchange's clock count.
    """
    now_open = align(settled_ts, INTERVAL_MS[interval])
    return _ordered(candle for candle in candles if candle.open_ts < now_open)[-count:]


def candles_of(candles: Iterable[Candle], hole: Hole) -> list[Candle]:
    """Return the klines that open inside a hole, oldest first, without duplicates."""
    return _ordered(c for c in candles if hole.from_ts <= c.open_ts < hole.to_ts)


def _ordered(candles: Iterable[Candle]) -> list[Candle]:
    by_open = {candle.open_ts: candle for candle in candles}
    return [by_open[open_ts] for open_ts in sorted(by_open)]
