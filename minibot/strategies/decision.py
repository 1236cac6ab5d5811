"""What a strategy answers: a side with its reason, or that it holds and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minibot.events.model import BUY, HOLD, SELL, Check
from minibot.events.reasons import OWN_HOLD, OWN_RULE

SCORE: int = 70
CONFIDENCE: int = 70


@dataclass(frozen=True, slots=True)
class Decision:
    """The strategy's answer about one symbol at one moment."""

    side: str
    score: int
    confidence: int
    reason_code: str
    reason: str
    checks: tuple[Check, ...]


def buy(
    reason: str,
    checks: Sequence[Check] = (),
    *,
    score: int = SCORE,
    confidence: int = CONFIDENCE,
    code: str = OWN_RULE,
) -> Decision:
    """Return the wish to be long; risk decides how much, and whether at all.

    Args:
        reason: Why, in words a person reads in the morning.
        checks: Values against thresholds that speak for it; see `check`.
        score: 0 to 110.
        confidence: 0 to 100.
        code: A code of docs/reference/reasons.md.
    """
    return Decision(BUY, score, confidence, code, f"BUY: {reason}", tuple(checks))


def sell(
    reason: str,
    checks: Sequence[Check] = (),
    *,
    score: int = SCORE,
    confidence: int = CONFIDENCE,
    code: str = OWN_RULE,
) -> Decision:
    """Return the wish to be flat; see `buy`."""
    return Decision(SELL, score, confidence, code, f"SELL: {reason}", tuple(checks))


def hold(reason: str, checks: Sequence[Check] = (), *, code: str = OWN_HOLD) -> Decision:
    """Return that nothing is to be done, and why; it is journaled when `code` changes."""
    return Decision(HOLD, 0, 0, code, f"HOLD: {reason}", tuple(checks))


def check(name: str, value: str, threshold: str, *, passed: bool = True) -> Check:
    """Return one named value against one named threshold, for the checks of a decision."""
    return Check(name, value, threshold, passed)
