"""Checklist of named values against named thresholds, which remembers the first failure."""

from __future__ import annotations

from minibot.events.decimals import decimal_text
from minibot.events.model import Check
from minibot.features.lossless import is_finite


class Checklist:
    """The checks of one decision, in the order in which the filters stand.

    Attributes:
        checks: Every check made, passed or not.
        code: Reason code of the first that failed, empty while none has.
        sentence: What a person reads about that failure.
    """

    __slots__ = ("checks", "code", "sentence")

    def __init__(self) -> None:
        """Start without a check."""
        self.checks: list[Check] = []
        self.code: str = ""
        self.sentence: str = ""

    def note(self, name: str, value: str, threshold: str) -> None:
        """Record a value that explains the decision and refuses nothing."""
        self.checks.append(Check(name, value, threshold, True))

    def require(self, passed: bool, check: tuple[str, str, str], code: str, sentence: str) -> bool:
        """Record (name, value, threshold); the first that fails gives the reason to hold."""
        name, value, threshold = check
        self.checks.append(Check(name, value, threshold, passed))
        if not passed and not self.code:
            self.code = code
            self.sentence = sentence
        return passed


def number_text(value: float | None, places: int) -> str:
    """Return a value with a fixed number of places, or `missing` for None, NaN and infinities."""
    if value is None or not is_finite(value):
        return "missing"
    return decimal_text(value, places)
