"""Sizes of units: times in nanoseconds and milliseconds, a whole in basis points.

Sizes are plain literals, so that mypyc compiles them in as numbers.
"""

from __future__ import annotations

from typing import Final

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
WEEK_MS: Final = 604_800_000

NEVER: Final = 1 << 62
"""A time or line number later than any other."""

BPS: Final = 10_000
"""Basis points of a whole."""
BPS_UNITS: Final = 1_000_000
"""Hundredths of a basis point of a whole, in which modelled spreads count."""
