"""Settings of the feed from a profile: one place for a live run and for a backtest."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from minibot.events.intervals import MONTH, REGIME_INTERVAL, longest_first
from minibot.kernel.errors import ConfigError
from minibot.market.symbol import FeedConfig
from minibot.market.watched_bars import WatchedConfig
from minibot.runtime.configuration.config import Config

# A bar that closes by time must outlast this machine's delays, however fast a simulated clock runs;
# at up to ten times the speed the profile's 500 ms are longer.
GRACE_MACHINE_MS_MIN: Final = 50


def feed_config(
    config: Config, symbols: tuple[str, ...], origin_ms: int, speed: Fraction
) -> FeedConfig:
    """Return the feed's part of a profile, for symbols and a clock that began at `origin_ms`.

    Raises:
        ConfigError: It asks for bars of a calendar month.
    """
    exchange, market = config.exchange, config.market
    if MONTH in market.bar_intervals:
        raise ConfigError(
            f"Bars of {MONTH} cannot be built.",
            [f"market.bar_intervals: {MONTH}; allowed: intervals of a fixed length"],
        )
    return FeedConfig(
        symbols=symbols,
        intervals=longest_first(market.bar_intervals),
        origin_ms=origin_ms,
        grace_ms=max(market.bar_grace_market_ms, int(GRACE_MACHINE_MS_MIN * speed)),
        beat_interval_ms=market.beat_interval_market_ms,
        book_interval_ms=market.book_interval_market_ms,
        book_levels=market.book_levels,
        tick_stale_ms=exchange.tick_stale_market_ms,
        book_stale_ms=exchange.book_stale_market_ms,
        band_percent=exchange.price_band_percent,
        writes_order_counts=bool(config.execution.order_counts),
        depth_venue=config.venue if market.book_depth else "",
    )


def watched_config(config: Config) -> WatchedConfig | None:
    """Return the part of a profile for bars of watched symbols; None where it asks for none.

    Those are the bars that the scanner reads: its own, and those of the regime where the profile
    has them.
    """
    scanner, market = config.scanner, config.market
    if scanner is None or not scanner.watched_bars:
        return None
    read = dict.fromkeys((scanner.bar_interval, REGIME_INTERVAL))
    intervals = tuple(name for name in read if name in market.bar_intervals)
    return WatchedConfig(intervals, scanner.every_market_ms, market.warmup_bars)
