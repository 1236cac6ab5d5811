"""Words that name a source of history, the event orders of a run, and a made market's rate.

A separate module lets a command line name sources without loading one.
"""

from __future__ import annotations

from typing import Final

COLUMNS: Final = "columns"
RUN: Final = "run"
LOGGED: Final = "logged"
RULE: Final = "rule"
# Messages per second of market time of a synthetic market, if the profile names no rate.
RATE_PER_S: Final = 20
