"""Skipped ticks of one step: the symbols that have one at each of its four times.

The rows of a step have their open, low, high and close at the same times; ticks of one time are
ordered by symbol. A tick's key, its time and the number of its symbol, gives its place.
"""

from __future__ import annotations

from typing import Final, final

from minibot.engine.bar_block import CLOSE, HIGH, LOW, OPEN
from minibot.engine.bar_rows import BarRows

Key = tuple[int, int]
"""Time of a tick, and the number of its symbol."""
Times = tuple[int, int, int, int]
"""Times of the four ticks of a row, in rising order, Unix ms."""
NO_SYMBOLS: Final[list[int]] = []


def count_below(numbers: list[int], number: int) -> int:
    """Return how many of some rising numbers are below one.

    It does what `bisect_left` does, which compares objects and takes about twice the instructions
    of this when compiled.
    """
    first, last = 0, len(numbers)
    while first < last:
        middle = (first + last) // 2
        if numbers[middle] < number:
            first = middle + 1
        else:
            last = middle
    return first


@final
class PassedTicks:
    """Skipped ticks of one step.

    Args:
        times: Times of the four ticks of the rows.
        rows: The rows of each symbol.
        numbers: The symbols whose next row is skipped, in rising order.

    Attributes:
        count: Number of ticks.
    """

    __slots__ = ("_numbers", "_times", "count")

    def __init__(self, times: Times, rows: list[BarRows], numbers: list[int]) -> None:
        lows: list[int] = []
        highs: list[int] = []
        for number in numbers:
            each = rows[number]
            if each.has_tick(LOW):
                lows.append(number)
            if each.has_tick(HIGH):
                highs.append(number)
        self._times: Times = times
        # For each time the symbols with a tick, in rising order.
        self._numbers: list[list[int]] = [numbers, lows, highs, numbers]
        self.count: int = 2 * len(numbers) + len(lows) + len(highs)

    def before(self, key: Key) -> int:
        """Return the number of skipped ticks before a tick."""
        opened, low, high, closed = self._times
        count = self._at(OPEN, opened, key) + self._at(LOW, low, key)
        return count + self._at(HIGH, high, key) + self._at(CLOSE, closed, key)

    def _at(self, tick: int, at: int, key: Key) -> int:
        """Return how many of the ticks at one of the four times come before a tick."""
        ts, symbol = key
        if at > ts:
            return 0
        numbers = self._numbers[tick]
        return len(numbers) if at < ts else count_below(numbers, symbol)

    def before_of(self, number: int, key: Key) -> int:
        """Return the number of skipped ticks of one symbol before a tick."""
        shown = [at for place, at in enumerate(self._times) if number in self._numbers[place]]
        return len([at for at in shown if (at, number) < key])

    def opened(self, key: Key) -> int:
        """Return the number of skipped opens before a tick."""
        return self._at(OPEN, self._times[OPEN], key)

    def join(self, others: PassedTicks, from_ts: int) -> None:
        """Add the ticks of other symbols from a time on."""
        for place, at in enumerate(self._times):
            numbers, joined = self._numbers[place], others._numbers[place]
            if at >= from_ts and joined:
                self._numbers[place] = sorted(numbers + joined)
                self.count += len(joined)


NO_TICKS: Final = PassedTicks((0, 0, 0, 0), [], NO_SYMBOLS)
"""Skipped ticks of a step after whose ticks everything is delivered."""
