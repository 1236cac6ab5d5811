"""Baseline: the AI's answer without a model, from a fixed rule over three features.

Short momentum, taker pressure and pressure at the touch are each cut to -1..1 and averaged. The
average gives up to half of the weight to BUY or SELL alone; the rest goes to all three, half of it
to HOLD, which so gets from a quarter to a half. The baseline claims no edge and is marked as such:
it is the bar that a trained model has to clear.
"""

from __future__ import annotations

from typing import Final

from minibot.ai.vector import FEATURES, SCALE

BASELINE_ID: Final = "baseline-v1"
# At least this much of the weight is shared among all three: the rule is cautious.
HOLD_SHARE: Final = 0.5
_MOMENTUM_BPS_FULL: Final = 10.0  # A return over 15 bars that counts as full momentum.
_AT: Final = {name: index for index, name in enumerate(FEATURES)}


def baseline_probabilities(vector: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (sell, hold, buy) in millionths, which add up to a million."""
    momentum = _bounded(_feature(vector, "return_15_bps") / _MOMENTUM_BPS_FULL)
    takers = _bounded(2.0 * _feature(vector, "taker_buy_share_20") - 1.0)
    touch = _bounded(_feature(vector, "touch_imbalance"))
    lean = (momentum + takers + touch) / 3.0
    moved = round((1.0 - HOLD_SHARE) * abs(lean) * SCALE)
    # The rest is shared 1:2:1, so that no side ever gets a probability of zero.
    rest = SCALE - moved
    quarter = rest // 4
    sell = quarter + (moved if lean < 0.0 else 0)
    buy = quarter + (moved if lean >= 0.0 else 0)
    return sell, SCALE - sell - buy, buy


def _feature(vector: tuple[int, ...], name: str) -> float:
    return vector[_AT[name]] / SCALE


def _bounded(value: float) -> float:
    return max(-1.0, min(1.0, value))
