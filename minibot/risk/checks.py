"""A list of checks as it grows: what was judged, in which order, and the first reason to refuse."""

from __future__ import annotations

from minibot.events.model import Check
from minibot.events.numbers import format_fixed

NONE = "none"
YES = "yes"
NO = "no"


class Checklist:
    """Checks of one decision; `reason` is the code of the first that failed, empty if none did."""

    def __init__(self) -> None:
        """Start without checks."""
        self.items: list[Check] = []
        self.reason: str = ""

    def add(self, name: str, value: str, threshold: str, passed: bool, reason: str) -> bool:
        """Add a check; return whether it passed."""
        self.items.append(Check(name, value, threshold, passed))
        if not passed and not self.reason:
            self.reason = reason
        return passed

    def at_most(self, name: str, value: int, most: int, reason: str, places: int = 0) -> bool:
        """Add a check of a value that may be as large as `most`; return whether it passed."""
        return self.add(
            name, scaled_text(value, places), scaled_text(most, places), value <= most, reason
        )

    def at_least(self, name: str, value: int, least: int, reason: str, places: int = 0) -> bool:
        """Add a check of a value that may be as small as `least`; return whether it passed."""
        return self.add(
            name, scaled_text(value, places), scaled_text(least, places), value >= least, reason
        )

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
