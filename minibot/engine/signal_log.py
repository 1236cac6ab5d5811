"""Signal log: what a report reads of a run's signals, in columns instead of events."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from minibot.events.model import HOLD, Signal

NUMBER_STARTS: Final = frozenset("+-.0123456789")
LARGEST: Final = 1e15


class Named(NamedTuple):
    """One named value of the strategy at a signal, with the signal's side."""

    ts: int
    value: float
    side: str


class NamedValues:
    """The values of one name at the signals of one symbol, in order."""

    __slots__ = ("_sides", "_text", "_ts", "_value", "_values")

    def __init__(self) -> None:
        """Start without a value."""
        self._ts = array("q")
        self._values = array("d")
        self._sides: list[str] = []
        # Most texts are those of the signal before.
        self._text = ""
        self._value: float | None = None

    def add(self, ts: int, text: str, side: str) -> bool:
        """Take the text of a value, left out if it is no number; tell whether it is the first."""
        if text != self._text:
            self._text, self._value = text, _number(text)
        if self._value is None:
            return False
        self._ts.append(ts)
        self._values.append(self._value)
        self._sides.append(side)
        return len(self._sides) == 1

    @property
    def values(self) -> array[float]:
        """The values alone."""
        return self._values

    def chosen(self, places: range | list[int]) -> Iterator[Named]:
        """Yield the values at some places."""
        for place in places:
            yield Named(self._ts[place], self._values[place], self._sides[place])

    def places(self, *, is_hold: bool) -> list[int]:
        """Return the places of the values of holds, or of all other signals."""
        return [place for place, side in enumerate(self._sides) if (side == HOLD) is is_hold]


class SignalLog:
    """Counts of a run's signals, and the values that the strategy named in them.

    Args:
        has_values: Whether the values are kept too, for pictures.

    Attributes:
        sides: Number of signals by side.
        holds: Number of holds by reason code.
        blocks: Number of signals that risk refused, by reason code.
        named: By symbol the values by name, in the strategy's own order.
    """

    def __init__(self, *, has_values: bool) -> None:
        self._has_values = has_values
        self.sides: Counter[str] = Counter()
        self.holds: Counter[str] = Counter()
        self.blocks: Counter[str] = Counter()
        self.named: dict[str, dict[str, NamedValues]] = {}
        # With those that had no number yet.
        self._told: dict[str, dict[str, NamedValues]] = {}

    def add(self, signal: Signal, ts: int) -> None:
        """Take the next signal."""
        side = signal.side
        self.sides[side] += 1
        if side == HOLD:
            self.holds[signal.reason_code] += 1
        if not self._has_values:
            return
        symbol = signal.symbol
        told = self._told.setdefault(symbol, {})
        for check in signal.checks:
            found = told.get(check.name)
            if found is None:
                found = told[check.name] = NamedValues()
            if found.add(ts, check.value, side):
                self.named.setdefault(symbol, {})[check.name] = found

    def add_block(self, reason_code: str) -> None:
        """Take the next refusal of risk."""
        self.blocks[reason_code] += 1


def _number(text: str) -> float | None:
    # Most textual values show by their first letter, which is cheaper than a failed conversion.
    if text[:1] not in NUMBER_STARTS:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < LARGEST else None
