"""Ticks of one step that are passed over: which symbols have one at each of its four times.

A step's rows show their open, low, high and close at the same times, of one time in the order of
the symbols. A tick's key says where it stands: its time and the number of its symbol.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, final

from minibot.engine.bar_block import HIGH, LOW
from minibot.engine.bar_rows import BarRows

Key = tuple[int, int]
"""When a tick comes, and of which symbol by its number."""
NO_SYMBOLS: Final[list[int]] = []


@final
class PassedTicks:
    """Passed ticks of one step.

    Args:
        times: When rows show their four ticks, in rising order.
        rows: Of each symbol.
        numbers: The symbols whose next row is passed over, in rising order.

    Attributes:
        count: How many ticks there are.
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
        # Of each time the symbols with a tick then, in rising order.
        self._numbers: list[list[int]] = [numbers, lows, highs, numbers]
        self.count: int = 2 * len(numbers) + len(lows) + len(highs)

    def before(self, key: Key) -> int:
        """Return how many come before a tick."""
        ts, symbol = key
        count = 0
        for place, at in enumerate(self._times):
            if at > ts:
                break
            numbers = self._numbers[place]
            count += len(numbers) if at < ts else bisect_left(numbers, symbol)
        return count

    def before_of(self, number: int, key: Key) -> int:
        """Return how many of one symbol come before a tick."""
        shown = [at for place, at in enumerate(self._times) if number in self._numbers[place]]
        return len([at for at in shown if (at, number) < key])

    def opened(self, key: Key) -> int:
        """Return how many opens come before a tick."""
        ts, symbol = key
        at, numbers = self._times[0], self._numbers[0]
        if at == ts:
            return bisect_left(numbers, symbol)
        return len(numbers) if at < ts else 0

    def join(self, others: PassedTicks, from_ts: int) -> None:
        """Take the ticks of other symbols from a time on."""
        for place, at in enumerate(self._times):
            numbers, joined = self._numbers[place], others._numbers[place]
            if at >= from_ts and joined:
                self._numbers[place] = sorted(numbers + joined)
                self.count += len(joined)


NO_TICKS: Final = PassedTicks((0, 0, 0, 0), (), NO_SYMBOLS)
"""Of a step behind whose ticks everything is told."""
