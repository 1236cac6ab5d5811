"""Checks as they are judged: what was found, in which order, and the first reason to refuse.

A check is kept in numbers and written out when somebody reads the action that it stands in.
"""

from __future__ import annotations

from typing import Final, final

from minibot.events.model import Check
from minibot.events.native import mypyc_attr
from minibot.events.numbers import format_fixed

NONE: Final = "none"
YES: Final = "yes"
NO: Final = "no"
AS_TEXT: Final = -1


@mypyc_attr(acyclic=True)
@final
class Judged:
    """One named value against one named threshold.

    Args:
        name: Of the check.
        passed: Whether the value is as it should be.
        value, threshold: Scaled by 10**places.
        places: `AS_TEXT` where both are texts.
        value_text, threshold_text: The texts.
    """

    __slots__ = (
        *("_places", "_threshold", "_threshold_text", "_value", "_value_text", "name", "passed"),
    )

    def __init__(
        self,
        name: str,
        passed: bool,
        value: int,
        threshold: int,
        places: int,
        value_text: str = "",
        threshold_text: str = "",
    ) -> None:
        self.name: str = name
        self.passed: bool = passed
        self._value: int = value
        self._threshold: int = threshold
        self._places: int = places
        self._value_text: str = value_text
        self._threshold_text: str = threshold_text

    def check(self) -> Check:
        """Return it as it is written."""
        if self._places == AS_TEXT:
            return Check(self.name, self._value_text, self._threshold_text, self.passed)
        value = scaled_text(self._value, self._places)
        return Check(self.name, value, scaled_text(self._threshold, self._places), self.passed)


@mypyc_attr(acyclic=True)
@final
class Checklist:
    """Checks of one decision; `reason` is the code of the first that failed, empty if none did."""

    __slots__ = ("items", "reason")

    def __init__(self) -> None:
        """Start without checks."""
        self.items: list[Judged] = []
        self.reason: str = ""

    def add(self, name: str, value: str, threshold: str, passed: bool, reason: str) -> bool:
        """Add a check; return whether it passed."""
        self.items.append(Judged(name, passed, 0, 0, AS_TEXT, value, threshold))
        if not passed and not self.reason:
            self.reason = reason
        return passed

    def number(
        self, name: str, value: int, threshold: int, passed: bool, reason: str, places: int
    ) -> bool:
        """Add a check of a value that is judged elsewhere; return whether it passed."""
        self.items.append(Judged(name, passed, value, threshold, places))
        if not passed and not self.reason:
            self.reason = reason
        return passed

    def at_most(self, name: str, value: int, most: int, reason: str, places: int = 0) -> bool:
        """Add a check of a value that may be as large as `most`; return whether it passed."""
        return self.number(name, value, most, value <= most, reason, places)

    def at_least(self, name: str, value: int, least: int, reason: str, places: int = 0) -> bool:
        """Add a check of a value that may be as small as `least`; return whether it passed."""
        return self.number(name, value, least, value >= least, reason, places)

    def fact(self, name: str, is_so: bool, wanted: bool, reason: str) -> bool:
        """Add a check of a yes or no; return whether it passed."""
        return self.add(name, _word(is_so), _word(wanted), is_so is wanted, reason)

    @property
    def passed(self) -> bool:
        """Whether nothing failed so far."""
        return not self.reason


def scaled_text(value: int, places: int) -> str:
    """Return a value that is an integer times 10**-places as a decimal string."""
    return format_fixed(value, places)


def _word(is_so: bool) -> str:
    return YES if is_so else NO
