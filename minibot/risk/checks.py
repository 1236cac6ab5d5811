"""Checks of a decision: rows of gate, value and limit, judged from top to bottom.

Each row names its gate, its value and its limit. The gate defines the comparison and the reason
code of a failure. Rows stay numbers; they become text only when their action is read.
"""

from __future__ import annotations

from typing import Final, final

from minibot.events.decimals import format_fixed
from minibot.events.model import Check
from minibot.events.native import mypyc_attr

NONE: Final = "none"
SKIPPED: Final[int] = -(1 << 60)
"""Value of a row that does not apply: such a row is neither judged nor written."""
IS_NOT: Final = ("no", "yes")
"""Words of a yes-or-no gate that passes on "no"; its value is the statement in its name."""
IS_SO: Final = ("yes", "no")
"""Words of a yes-or-no gate that passes on "yes"; its value is the negation of its name."""

AT_MOST: Final = "<="
AT_LEAST: Final = ">="
BELOW: Final = "<"
ABOVE: Final = ">"


@mypyc_attr(acyclic=True)
@final
class Gate:
    """A kind of check: name, comparison, reason code, and how value and limit are written.

    Args:
        name: Name of the check in the record.
        reason: The reason code of a failure; empty if a failure alone refuses nothing.
        places: Value and limit are scaled by 10**places.
        passes: The check passes if the value compares so with the limit.
        cuts: For a limit that makes an order smaller: the reason code if the order becomes too
            small and is refused. The smaller order itself is a REDUCE with reason code REDUCED.
        words: For a yes-or-no check: the text of 0, which passes and is the limit, and of 1.
    """

    __slots__ = (
        *("_check", "_limit", "_limit_text", "_value", "cuts", "is_least", "is_most", "is_strict"),
        *("name", "places", "reason", "words"),
    )

    def __init__(
        self,
        name: str,
        reason: str = "",
        places: int = 0,
        *,
        passes: str = AT_MOST,
        cuts: str = "",
        words: tuple[str, str] | None = None,
    ) -> None:
        self.name: str = name
        self.reason: str = reason
        self.places: int = places
        self.is_most: bool = passes == AT_MOST
        self.is_least: bool = passes in (AT_LEAST, ABOVE)
        self.is_strict: bool = passes in (BELOW, ABOVE)
        self.cuts: str = cuts
        self.words: tuple[str, str] | None = words
        # The row written last: limits rarely change, and often the value does not either.
        self._value: int = SKIPPED
        self._limit: int = SKIPPED
        self._limit_text: str = ""
        self._check: Check = Check(name, "", "", False)

    def admits(self, value: int, limit: int) -> bool:
        """Return whether a value passes."""
        if value == limit:
            return not self.is_strict
        return value > limit if self.is_least else value < limit

    def written(self, value: int, limit: int, passed: bool) -> Check:
        """Return a judged row as text."""
        if limit != self._limit:
            self._limit, self._limit_text = limit, self.text(limit)
        elif value == self._value and passed == self._check.passed:
            return self._check
        self._value = value
        self._check = check = Check(self.name, self.text(value), self._limit_text, passed)
        return check

    def text(self, number: int) -> str:
        """Return a value or a limit as it is written."""
        if self.words is None:
            return format_fixed(+number, self.places)  # A bool is 0 or 1.
        return self.words[1] if number else self.words[0]


Row = tuple[Gate, int, int]
"""One check: gate, value, limit."""


@mypyc_attr(acyclic=True)
@final
class Checklist:
    """The judged rows of one decision, and the first reason to refuse.

    Attributes:
        rows: In the order of judging, with those that do not apply.
        failed: The indices of the rows that failed.
        reason: The reason code of the first failure that has one; empty without any.
    """

    __slots__ = ("failed", "reason", "rows")

    def __init__(self) -> None:
        """Start without a check."""
        self.rows: list[Row] = []
        self.failed: list[int] = []
        self.reason: str = ""

    def judge(self, rows: tuple[Row, ...]) -> bool:
        """Append rows and judge each of them; return whether all that apply passed."""
        first, passed = len(self.rows), True
        self.rows.extend(rows)
        # Counted from 0: only then does the compiler make a plain loop.
        for place, (gate, value, limit) in enumerate(rows):
            # Most checks pass here; so does `SKIPPED`, as no value is lower.
            if value <= limit and gate.is_most:
                continue
            if value != SKIPPED and not gate.admits(value, limit):
                self.failed.append(first + place)
                self.refuse(gate.reason)
                passed = False
        return passed

    def add_failed(self, row: Row) -> None:
        """Append a failed check that refuses nothing: the reason of an exit or a STOP."""
        self.failed.append(len(self.rows))
        self.rows.append(row)

    def add_first_of(self, other: Checklist) -> None:
        """Append the first check of another decision with its outcome, which refuses nothing."""
        if 0 in other.failed:
            self.failed.append(len(self.rows))
        self.rows.append(other.rows[0])

    def fail_last(self, reason: str) -> None:
        """Fail the row judged last, for a reason that its numbers do not show."""
        self.failed.append(len(self.rows) - 1)
        self.refuse(reason)

    def refuse(self, reason: str) -> None:
        """Set the reason to refuse, unless there is an earlier one."""
        if not self.reason:
            self.reason = reason

    def written(self) -> tuple[Check, ...]:
        """Return the checks as text, in the order of judging."""
        checks: list[Check] = []
        for place, (gate, value, limit) in enumerate(self.rows):
            if value != SKIPPED:
                checks.append(gate.written(value, limit, place not in self.failed))
        return tuple(checks)


def exceeded(rows: tuple[Row, ...]) -> Checklist | None:
    """Return the rows that fail, each as a failed check; None where all of them pass."""
    found: Checklist | None = None
    for row in rows:
        gate, value, limit = row
        if not gate.admits(value, limit):
            if found is None:
                found = Checklist()
            found.add_failed(row)
    return found


def first_failure(rows: tuple[Row, ...]) -> Row | None:
    """Return the first row that fails; None where all of them pass."""
    for row in rows:
        gate, value, limit = row
        if value != SKIPPED and not gate.admits(value, limit):
            return row
    return None
