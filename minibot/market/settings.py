"""Settings of the feed from a profile: one place for a live run and for a backtest."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from minibot.market.symbol import FeedConfig
from minibot.runtime.configuration.config import Config

# A bar that closes by time must outlast this machine's delays, however fast a simulated clock runs;
# at up to ten times the speed the profile's 500 ms are longer.
GRACE_MACHINE_MS_MIN: Final = 50


def feed_config(
    config: Config, symbols: tuple[str, ...], origin_ms: int, speed: Fraction
) -> FeedConfig:
    """Return the feed's part of a profile, for symbols and a clock that began at `origin_ms`."""
    exchange, market = config.exchange, config.market
    return FeedConfig(
        symbols=symbols,
        intervals=market.bar_intervals,
        origin_ms=origin_ms,
        grace_ms=max(market.bar_grace_market_ms, int(GRACE_MACHINE_MS_MIN * speed)),
        beat_interval_ms=market.beat_interval_market_ms,
        book_interval_ms=market.book_interval_market_ms,
        book_levels=market.book_levels,
        tick_stale_ms=exchange.tick_stale_market_ms,
        book_stale_ms=exchange.book_stale_market_ms,
        band_percent=exchange.price_band_percent,
        tells_order_counts=bool(config.execution.order_counts),
        depth_venue=config.venue if market.book_depth else "",
    )
