"""Plots of a strategy: values to draw as lines, kept only for the page of a backtest.

They are not part of a decision: no event, state or digest holds them, and a night keeps none.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, final

from minibot.events.names import STRATEGY_ROLE
from minibot.events.reasons import CONFIG_INVALID
from minibot.kernel.errors import InvariantError

LINES_MAX: Final = 8
NAME_CHARS_MAX: Final = 40
# Most values of one line; beyond that, its stretches get longer, until about half of them remain.
POINTS_MAX: Final = 20_000


@final
class PlottedLine:
    """Values of one line over market time: the last one of each stretch, at its beginning.

    A stretch is a millisecond at first, and longer in a line of more than `POINTS_MAX` values.
    """

    __slots__ = ("_width_ms", "times", "values")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.values: list[float] = []
        self._width_ms: int = 1

    def add(self, ts: int, value: float) -> None:
        """Take a value at a market time, which never goes back."""
        start = ts - ts % self._width_ms
        if self.times and start <= self.times[-1]:
            self.values[-1] = value
            return
        self.times.append(start)
        self.values.append(value)
        if len(self.times) > POINTS_MAX:
            self._join()

    def _join(self) -> None:
        """Lengthen the stretches so that about half of the values remain."""
        times, values = self.times, self.values
        span = times[-1] - times[0]
        self._width_ms = max(2 * self._width_ms, 2 * span // POINTS_MAX + 1)
        self.times, self.values = [], []
        for at in range(len(times)):
            self.add(times[at], values[at])

    def points(self) -> list[tuple[int, float]]:
        """Return the values with their times, oldest first."""
        return list(zip(self.times, self.values, strict=True))


@final
class Plots:
    """Lines of every symbol in the order in which the strategy first named them."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: dict[str, dict[str, PlottedLine]] = {}

    def add(self, symbol: str, ts: int, name: object, value: object) -> None:
        """Add a value to a line; None is an unknown value.

        Raises:
            InvariantError: The value cannot be drawn, or there is one line too many.
        """
        if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARS_MAX:
            what = f"a text of 1 to {NAME_CHARS_MAX} characters"
            raise _refused(f"view.plot({name!r:.60}, ...): expected {what} as the name")
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            kind = type(value).__name__
            raise _refused(f"view.plot({name!r}, ...): expected a number, found {kind}")
        drawn = _float(value)
        if drawn - drawn != 0.0:  # NaN and infinity.
            raise _refused(f"view.plot({name!r}, ...): expected a finite number, found {value}")
        lines = self._lines.get(symbol)
        if lines is None:
            lines = self._lines[symbol] = {}
        line = lines.get(name)
        if line is None:
            if len(lines) == LINES_MAX:
                known = ", ".join(lines)
                what = f"at most {LINES_MAX} lines of a symbol, which are {known}"
                raise _refused(f"view.plot({name!r}, ...): expected {what}")
            line = lines[name] = PlottedLine()
        line.add(ts, drawn)

    def lines(self) -> dict[str, dict[str, Sequence[tuple[int, float]]]]:
        """Return the values of each line with their times, by symbol and name."""
        return {
            symbol: {name: line.points() for name, line in lines.items()}
            for symbol, lines in self._lines.items()
        }


def _float(value: int | float | Decimal) -> float:
    """Return a number as a float; infinity for one that is too large."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")
    except ValueError:  # A signalling NaN of `decimal`.
        return float("nan")


def _refused(what: str) -> InvariantError:
    return InvariantError(STRATEGY_ROLE, CONFIG_INVALID, what)
