"""Checks as they are judged: what was found, in which order, and the first reason to refuse.

A check is kept in numbers and written out when somebody reads the action that it stands in. A
decision names its gates in the order in which it asks them, writes its numbers down in rows, as
many at a time as it knows, and has them judged at once.
"""

from __future__ import annotations

from operator import le
from typing import Final, final

from minibot.events.model import Check
from minibot.events.native import mypyc_attr
from minibot.events.numbers import IS_INTERPRETED, format_fixed

NONE: Final = "none"
NOT_ASKED: Final[int] = -(1 << 60)
"""The low of a row that is not asked here: it passes, and is not written."""
IS_NOT: Final = ("no", "yes")
"""Words of a gate that is passed while something is not so."""
IS_SO: Final = ("yes", "no")
"""Words of a gate that is passed while something is so."""


@mypyc_attr(acyclic=True)
@final
class Gate:
    """What a check is called, what it means when it fails, and how its numbers are written.

    Args:
        name: Of the check.
        reason: A reason code; empty where a failed check alone refuses nothing.
        places: Its numbers are scaled by 10**places.
        cuts: Why an order that does not pass is made smaller, a reason code; empty where none is.
        is_least: Whether the value has to reach the threshold rather than to stay within it.
        words: Of a check that is no number: what 0 says, which passes and is the threshold, and
            what 1 says.
    """

    __slots__ = ("cuts", "is_least", "name", "places", "reason", "words")

    def __init__(
        self,
        name: str,
        reason: str = "",
        places: int = 0,
        *,
        cuts: str = "",
        is_least: bool = False,
        words: tuple[str, str] | None = None,
    ) -> None:
        self.name: str = name
        self.reason: str = reason
        self.places: int = places
        self.cuts: str = cuts
        self.is_least: bool = is_least
        self.words: tuple[str, str] | None = words

    def text(self, number: int) -> str:
        """Return a value or a threshold as it is written."""
        if self.words is None:
            return scaled_text(number, self.places)
        return self.words[1] if number else self.words[0]


@mypyc_attr(acyclic=True)
@final
class Checklist:
    """Checks of one decision, in rows of three columns.

    A row passes while its low is not above its high: a value and what it may be at most; where the
    gate says so, what is asked at least and the value. A low of `NOT_ASKED` keeps the place of one
    that does not apply.

    Attributes:
        gates: What is asked, in this order; the last may never be.
        lows, highs: The numbers; who adds rows adds to both, and then has them judged.
        reason: The code of the first that failed, empty if none did.
        all_passed: Whether none failed.
    """

    __slots__ = ("_failed", "all_passed", "gates", "highs", "lows", "reason")

    gates: tuple[Gate, ...]
    lows: list[int]
    highs: list[int]
    reason: str
    all_passed: bool
    _failed: int  # A bit for each that failed, by its row.

    def judge(self, start: int = 0) -> bool:
        """Judge the rows from `start` on; return whether all of them passed."""
        lows, highs = self.lows, self.highs
        if start:
            lows, highs = lows[start:], highs[start:]
        if IS_INTERPRETED and all(map(le, lows, highs)):  # As almost always: no step a row.
            return True
        row, passed = start, True
        for low, high in zip(lows, highs, strict=True):
            if low > high:
                self.fail(row)
                passed = False
            row += 1
        return passed

    def judged(self, low: int, high: int, passed: bool) -> None:
        """Add a row that its numbers alone do not decide."""
        self.lows.append(low)
        self.highs.append(high)
        if not passed:
            self.fail(len(self.lows) - 1)

    def breached(self, gate: Gate, value: int, most: int) -> None:
        """Add a check that failed, behind all others."""
        self.gates += (gate,)
        self.judged(value, most, False)

    def refuse(self, reason: str) -> None:
        """Take a reason that no check of its own shows; one that came before stands."""
        if not self.reason:
            self.reason = reason

    def fail_last(self, reason: str) -> None:
        """Let the row added last fail for a reason that its numbers do not show."""
        self.fail(len(self.lows) - 1)
        self.refuse(reason)

    def fail(self, row: int) -> None:
        """Let a row fail, whatever its numbers say."""
        self._failed |= 1 << row
        self.all_passed = False
        if not self.reason:
            self.reason = self.gates[row].reason

    def failed(self, start: int) -> list[int]:
        """Return which rows from `start` on failed."""
        return [row for row in range(start, len(self.lows)) if self._failed >> row & 1]

    def written(self) -> tuple[Check, ...]:
        """Return the checks as they are written, in the order in which they were judged."""
        checks: list[Check] = []
        columns = zip(self.gates, self.lows, self.highs, strict=False)
        for row, (gate, value, threshold) in enumerate(columns):
            if value == NOT_ASKED:
                continue
            if gate.is_least:
                value, threshold = threshold, value
            passed = not self._failed >> row & 1
            checks.append(Check(gate.name, gate.text(value), gate.text(threshold), passed))
        return tuple(checks)


def rows_of(gates: tuple[Gate, ...], lows: list[int], highs: list[int]) -> Checklist:
    """Return the checks of a decision, not yet judged.

    What each decision makes is made by functions: constructors take an interpreter twice the time.
    """
    checks = Checklist()
    checks.gates = gates
    checks.lows = lows
    checks.highs = highs
    checks.reason = ""
    checks.all_passed = True
    checks._failed = 0
    return checks


def scaled_text(value: int, places: int) -> str:
    """Return a value that is an integer times 10**-places as a decimal string."""
    return format_fixed(value, places)
