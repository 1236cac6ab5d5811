"""Numbers on the command line, each within its bounds, as a `type` for argparse."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Final

PORT_MAX: Final = 65_535

_WHOLE: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_PLAIN: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


def between(first: int, last: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `first` to `last`, both included."""
    return _within(f"{first} to {last}", lambda number: first <= number <= last)


def at_least(first: int) -> Callable[[str], int]:
    """Return a parser of whole numbers that are not below `first`."""
    return _within(f"a whole number from {first} on", lambda number: number >= first)


def whole_number(text: str) -> int:
    """Return the whole number that a text is, as `int` for a flag without bounds.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    if not _WHOLE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text[:40]}")
    return int(text)


def _within(allowed: str, is_allowed: Callable[[int], bool]) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not is_allowed(int(text)):
            raise argparse.ArgumentTypeError(f"expected {allowed}, found {text[:40]}")
        return int(text)

    return whole


def seconds_between(first: float, last: float) -> Callable[[str], float]:
    """Return a parser of seconds, as 0.5, from `first` to `last`, both included."""

    def seconds(text: str) -> float:
        if not _PLAIN.fullmatch(text) or not first <= float(text) <= last:
            raise argparse.ArgumentTypeError(
                f"expected seconds from {first:g} to {last:g}, found {text[:40]}"
            )
        return float(text)

    return seconds
