"""Verdicts of checks from their texts, and the former checks for strategies of older records.

Until 2026-11-22 `compare` and `check` wrote `passed` as the strategy gave it, and True by default.
Nights of that time must replay: their manifests have no `strategy.source.api`, so their strategies
get `former_check` and `former_compare`. These write the same as then, except for a verdict that its
own numbers contradict: such a night replays DIFFERENT.
"""

from __future__ import annotations

from decimal import Decimal
from operator import eq, ge, gt, le, lt
from typing import Final

from minibot.events.model import Check
from minibot.strategies.decision import RELATIONS, Comparison, compare, fixed_text

API_EVALUATED: Final = 2
"""The `strategy.source.api` from which `compare` evaluates and `check` may have no verdict."""

DIGITS_MAX: Final = 100
HOLDS: Final = dict(zip(RELATIONS, (lt, le, gt, ge, eq), strict=True))
HALF: Final = Decimal("0.5")


def verdict_of_texts(value: str, threshold: str) -> bool | None:
    """Return whether a value as text meets a threshold such as `< 61652.60`.

    None means that the texts do not decide: the threshold has no relation, one of them is no
    number, or they are so close that the rounding matters.
    """
    holds, bound = texts_hold(value, threshold), threshold.partition(" ")[2]
    if holds is not None:
        rounded = _rounded_away(value, bound)
        if rounded and abs(Decimal(value) - Decimal(bound)) <= rounded:
            return None
    return holds


def texts_hold(value: str, threshold: str) -> bool | None:
    """Return the verdict like `verdict_of_texts`, for exact numbers."""
    relation, _, bound = threshold.partition(" ")
    if relation not in HOLDS or not is_number(value) or not is_number(bound):
        return None
    return bool(HOLDS[relation](Decimal(value), Decimal(bound)))


def is_number(text: str) -> bool:
    """Return whether a text is a plain decimal number."""
    whole, point, places = text.removeprefix("-").partition(".")
    parts = (whole, places) if point else (whole,)
    return len(text) <= DIGITS_MAX and all(part.isascii() and part.isdigit() for part in parts)


def former_check(name: str, value: str, threshold: str, *, passed: bool | None = None) -> Check:
    """Return a check in the former way: without a verdict of the strategy it counts as passed.

    If the texts contradict that, there is no verdict, as today.
    """
    if passed is None and verdict_of_texts(value, threshold) is not False:
        passed = True
    return Check(name, value, threshold, passed)


def former_compare(
    name: str,
    value: float,
    relation: str,
    threshold: float,
    *,
    places: int = 8,
    passed: bool = True,
) -> Comparison | Check:
    """Return a comparison in the former way: an unknown relation takes the given verdict."""
    if relation in RELATIONS:
        return compare(name, value, relation, threshold, places=places)
    words = f"{relation} {fixed_text(threshold, places)}"
    return Check(name, fixed_text(value, places), words, passed)


def _rounded_away(value: str, bound: str) -> Decimal:
    """Return the most by which two numbers together may differ from their texts.

    A whole number does not differ; a bound with fewer places than the value counts as exact.
    """
    places, finest = _places(value), max(_places(value), _places(bound))
    of_value = HALF.scaleb(-places) if places else Decimal(0)
    return of_value + (HALF.scaleb(-finest) if finest else Decimal(0))


def _places(text: str) -> int:
    return len(text.partition(".")[2])
