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


@mypyc_attr(acyclic=True)
@final
class Gate:
    """What a check is called, what it means when it fails, and how its numbers are written.

    Args:
        name: Of the check.
        reason: A reason code; empty where a failed check alone refuses nothing.
        places: Its numbers are scaled by 10**places.
    """

    __slots__ = ("name", "places", "reason")

    def __init__(self, name: str, reason: str = "", places: int = 0) -> None:
        self.name: str = name
        self.reason: str = reason
        self.places: int = places


@mypyc_attr(acyclic=True)
@final
class Checklist:
    """Checks of one decision; `reason` is the code of the first that failed, empty if none did."""

    __slots__ = ("_failed", "_gates", "_told", "reason")

    def __init__(self) -> None:
        """Start without checks."""
        self.reason: str = ""
        self._gates: list[Gate] = []
        self._told: list[int | str] = []  # Value and threshold of each gate.
        self._failed: int = 0  # A bit for each that failed, by its place.

    def at_most(self, gate: Gate, value: int, most: int) -> bool:
        """Add a check of a value that may be as large as `most`; return whether it passed."""
        self._gates.append(gate)
        self._told.append(value)
        self._told.append(most)
        return value <= most or self._fail(gate)

    def at_least(self, gate: Gate, value: int, least: int) -> bool:
        """Add a check of a value that may be as small as `least`; return whether it passed."""
        self._gates.append(gate)
        self._told.append(value)
        self._told.append(least)
        return value >= least or self._fail(gate)

    def fact(self, gate: Gate, is_so: bool, wanted: bool) -> bool:
        """Add a check of a yes or no; return whether it passed."""
        self._gates.append(gate)
        self._told.append(YES if is_so else NO)
        self._told.append(YES if wanted else NO)
        return is_so is wanted or self._fail(gate)

    def judged(self, gate: Gate, value: int | str, threshold: int | str, passed: bool) -> bool:
        """Add a check that was judged elsewhere; return whether it passed."""
        self._gates.append(gate)
        self._told.append(value)
        self._told.append(threshold)
        return passed or self._fail(gate)

    def refuse(self, reason: str) -> None:
        """Take a reason that no check of its own shows; one that came before stands."""
        if not self.reason:
            self.reason = reason

    def _fail(self, gate: Gate) -> bool:
        """Note that the check added last failed."""
        self._failed |= 1 << (len(self._gates) - 1)
        if not self.reason:
            self.reason = gate.reason
        return False

    def written(self) -> tuple[Check, ...]:
        """Return the checks as they are written, in the order in which they were judged."""
        checks = []
        for n, gate in enumerate(self._gates):
            value = _text(self._told[2 * n], gate.places)
            threshold = _text(self._told[2 * n + 1], gate.places)
            checks.append(Check(gate.name, value, threshold, not self._failed >> n & 1))
        return tuple(checks)


def scaled_text(value: int, places: int) -> str:
    """Return a value that is an integer times 10**-places as a decimal string."""
    return format_fixed(value, places)


def _text(value: int | str, places: int) -> str:
    return value if isinstance(value, str) else scaled_text(value, places)
