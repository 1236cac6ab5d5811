"""Settings of the scanner: its intervals, and the thresholds of its filters."""

from __future__ import annotations

from typing import Final, NamedTuple

from minibot.strategies.scanner.regime import Bounds

BY_TIME: Final = "time"
BY_EVENT: Final = "event"
"""Values of `scanner.mode`: a scan is reported at each interval, or when the order changes."""

SOCIAL: Final = "social_"
ONCHAIN: Final = "onchain_"
"""Prefixes of the names of feeds; the symbol follows in lower case."""


class ScannerSettings(NamedTuple):
    """Settings of the scanner; thresholds are decimal text.

    Attributes:
        interval: Interval of the bars for the factors.
        mode: `time` or `event`.
        every_ms: Market time between two scans.
        score_min: Lowest score of an opportunity.
        quote_volume_min: Lowest quote volume of 96 bars.
        range_bps_min, range_bps_max: Bounds of the mean range of a bar.
        change_percent_max: Largest rise in 24 hours: beyond it a move is overextended.
        bars_age_max: Age of the newest bar, in bars, beyond which a symbol has no score.
        feed_age_ms_max: Age beyond which a social or on-chain value is ignored.
        bounds: Bounds of the regime's measures.
    """

    interval: str = "15m"
    mode: str = BY_TIME
    every_ms: int = 300_000
    score_min: str = "60"
    quote_volume_min: str = "100000"
    range_bps_min: str = "2"
    range_bps_max: str = "500"
    change_percent_max: str = "12"
    bars_age_max: int = 2
    feed_age_ms_max: int = 86_400_000
    bounds: Bounds = Bounds()
