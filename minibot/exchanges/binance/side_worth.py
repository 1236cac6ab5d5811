"""Worth of one side of a book near the touch, kept by what changes between two questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from minibot.exchanges.units import units_down

# Share of a bound by which it may move before the line is drawn anew, as a power of a half: 0.1 %.
# Less is drawn more often, more leaves more levels at the bound to look through.
SLACK: Final = 10


class SideWorth:
    """Worth of all levels at a bound or better, for a bound that moves little.

    A line is drawn a little inside the bound. What stands inside of it counts whatever happens, as
    one total; levels outside of it are looked through at each question. All sizes are integers.

    Attributes:
        changes: New size of each level that changed since the last question, 0 for a removed one;
            whoever changes the book writes it.
    """

    __slots__ = ("_bound", "_inner", "_is_bid", "_line", "_outer", "_slack", "_total", "changes")

    def __init__(self, *, is_bid: bool) -> None:
        self.changes: dict[int, int] = {}
        self._is_bid = is_bid
        self._bound = 0
        self._slack = -1
        self._line = 0
        self._inner: dict[int, int] = {}
        # Complete to `_slack` beyond the bound; of what lies further out it has what changed.
        self._outer: dict[int, int] = {}
        self._total = 0

    def of(self, levels: Mapping[int, Sequence[str]], bound: int) -> int:
        """Return the worth of all levels at `bound` or better, see `base.Levels`.

        Args:
            levels: All levels of the side, by price in hundred-millionths.
            bound: Price in hundred-millionths.
        """
        self._settle()
        if abs(bound - self._bound) > self._slack:
            self._draw(levels, bound)
        outer = self._outer.items()
        if self._is_bid:
            return self._total + sum([key * size for key, size in outer if key >= bound])
        return self._total + sum([key * size for key, size in outer if key <= bound])

    def _settle(self) -> None:
        """Take the changes into the total and the sizes."""
        is_bid, line, inner, outer = self._is_bid, self._line, self._inner, self._outer
        total = self._total
        for key, size in self.changes.items():
            if (key < line) is is_bid:
                sizes = outer
            else:
                sizes = inner
                total += key * (size - inner.get(key, 0))
            if size:
                sizes[key] = size
            else:
                sizes.pop(key, None)
        self._total = total
        self.changes.clear()

    def _draw(self, levels: Mapping[int, Sequence[str]], bound: int) -> None:
        """Draw the line for a new bound; only levels that were too far out have to be parsed."""
        known = self._inner | self._outer
        slack, is_bid = bound >> SLACK, self._is_bid
        if is_bid:
            line, last = bound + slack, bound - slack
            near = [key for key in levels if key >= last]
        else:
            line, last = bound - slack, bound + slack
            near = [key for key in levels if key <= last]
        self._bound, self._slack, self._line = bound, slack, line
        self._inner, self._outer = {}, {}
        for key in near:
            sizes = self._outer if (key < line) is is_bid else self._inner
            sizes[key] = known[key] if key in known else units_down(levels[key][1])
        self._total = sum([key * size for key, size in self._inner.items()])
