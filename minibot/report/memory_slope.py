"""Growth of a role's memory: the slope of its resident size by least squares."""

from __future__ import annotations

from collections.abc import Sequence

from minibot.events.unit_sizes import HOUR_MS

# Caches fill and libraries load; memory that still grows after half an hour is a leak.
WARM_UP_MS = 1_800_000
SPAN_MS_MIN = HOUR_MS
SAMPLES_MIN = 30


def slope_bytes_per_hour(samples: Sequence[tuple[int, int]]) -> float | None:
    """Return the growth of resident memory in bytes an hour, None for too short a run.

    Args:
        samples: (market time in ms, resident bytes), oldest first; the first half hour is left out.

    Source:
        Ordinary least squares: covariance of time and size over the variance of time.
    """
    if not samples:
        return None
    begin = samples[0][0] + WARM_UP_MS
    kept = [(ts, size) for ts, size in samples if ts >= begin]
    if len(kept) < SAMPLES_MIN or kept[-1][0] - kept[0][0] < SPAN_MS_MIN:
        return None
    hours = [(ts - begin) / HOUR_MS for ts, _ in kept]
    sizes = [size for _, size in kept]
    hours_mean, sizes_mean = sum(hours) / len(hours), sum(sizes) / len(sizes)
    covariance = sum(
        (hour - hours_mean) * (size - sizes_mean) for hour, size in zip(hours, sizes, strict=True)
    )
    return covariance / sum((hour - hours_mean) ** 2 for hour in hours)
