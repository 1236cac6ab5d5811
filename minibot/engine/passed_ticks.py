"""Skipped ticks of one step: the symbols that have one at each of its four times.

The rows of a step have their open, low, high and close at the same times; ticks of one time are
ordered by symbol. A tick's key, its time and the number of its symbol, gives its place.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, final

from minibot.engine.bar_block import HIGH, LOW
from minibot.engine.bar_rows import BarRows

Key = tuple[int, int]
"""Time of a tick, and the number of its symbol."""
NO_SYMBOLS: Final[list[int]] = []


@final
class PassedTicks:
    """Skipped ticks of one step.

    Args:
        times: Times of the four ticks of the rows, in rising order.
        rows: The rows of each symbol.
        numbers: The symbols whose next row is skipped, in rising order.

    Attributes:
        count: Number of ticks.
    """

    __slots__ = ("_numbers", "_times", "count")

    def __init__(self, times: Sequence[int], rows: Sequence[BarRows], numbers: list[int]) -> None:
        lows: list[int] = []
        highs: list[int] = []
        for number in numbers:
            ticks = rows[number].ticks_in_row()
            if LOW in ticks:
                lows.append(number)
            if HIGH in ticks:
                highs.append(number)
        self._times: list[int] = list(times)
        # For each time the symbols with a tick, in rising order.
        self._numbers: list[list[int]] = [numbers, lows, highs, numbers]
        self.count: int = 2 * len(numbers) + len(lows) + len(highs)

    def before(self, key: Key) -> int:
        """Return the number of skipped ticks before a tick."""
        ts, symbol = key
        count = 0
        for place, at in enumerate(self._times):
            if at > ts:
                break
            numbers = self._numbers[place]
            count += len(numbers) if at < ts else bisect_left(numbers, symbol)
        return count

    def before_of(self, number: int, key: Key) -> int:
        """Return the number of skipped ticks of one symbol before a tick."""
        shown = [at for place, at in enumerate(self._times) if number in self._numbers[place]]
        return len([at for at in shown if (at, number) < key])

    def opened(self, key: Key) -> int:
        """Return the number of skipped opens before a tick."""
        ts, symbol = key
        at, numbers = self._times[0], self._numbers[0]
        if at == ts:
            return bisect_left(numbers, symbol)
        return len(numbers) if at < ts else 0

    def join(self, others: PassedTicks, from_ts: int) -> None:
        """Add the ticks of other symbols from a time on."""
        for place, at in enumerate(self._times):
            numbers, joined = self._numbers[place], others._numbers[place]
            if at >= from_ts and joined:
                self._numbers[place] = sorted(numbers + joined)
                self.count += len(joined)


NO_TICKS: Final = PassedTicks((0, 0, 0, 0), (), NO_SYMBOLS)
"""Skipped ticks of a step after whose ticks everything is delivered."""
