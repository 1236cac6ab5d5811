"""Probabilities as three integers in millionths that add up to one million exactly."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from typing import Final, overload

from minibot.ai.vector import SCALE

Probabilities = tuple[int, int, int]
"""(sell, hold, buy) in millionths."""

_EACH: Final = 3
_TEXT: Final = re.compile(r"0\.[0-9]{6}|1\.000000", re.ASCII)


class Answers(Sequence[Probabilities]):
    """Probabilities of many rows, in a sixth of the memory of tuples.

    Raises:
        OverflowError: A number is beyond 64 bits.
    """

    def __init__(self, listed: Iterable[Probabilities]) -> None:
        self._cells = array("q")
        for each in listed:
            self._cells.extend(each)

    def __len__(self) -> int:
        return len(self._cells) // _EACH

    @overload
    def __getitem__(self, index: int) -> Probabilities: ...

    @overload
    def __getitem__(self, index: slice) -> list[Probabilities]: ...

    def __getitem__(self, index: int | slice) -> Probabilities | list[Probabilities]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        at = range(len(self))[index] * _EACH
        sell, hold, buy = self._cells[at : at + _EACH]
        return sell, hold, buy


def probabilities_of(sell: float, hold: float, buy: float) -> Probabilities:
    """Return rounded probabilities; the rounding remainder goes to HOLD.

    Raises:
        ValueError: One is not a number from 0 to 1, or they do not add up to one.
    """
    if not (0.0 <= sell <= 1.0 and 0.0 <= hold <= 1.0 and 0.0 <= buy <= 1.0):
        raise ValueError(f"no probabilities: {sell!r} {hold!r} {buy!r}")
    if not abs(sell + hold + buy - 1.0) < 1e-6:
        raise ValueError(f"probabilities add up to {sell + hold + buy!r}")
    sell_scaled = round(sell * SCALE)
    buy_scaled = min(round(buy * SCALE), SCALE - sell_scaled)
    return sell_scaled, SCALE - sell_scaled - buy_scaled, buy_scaled


def probability_text(scaled: int) -> str:
    """Return millionths as decimal text with six places."""
    return f"{scaled // SCALE}.{scaled % SCALE:06d}"


def millionths_text(scaled: int) -> str:
    """Return signed millionths as decimal text with six places."""
    return ("-" if scaled < 0 else "") + probability_text(abs(scaled))


def parse_probability(text: object) -> int:
    """Return the millionths of decimal text with six places.

    Raises:
        ValueError: It is anything else.
    """
    if not isinstance(text, str) or _TEXT.fullmatch(text) is None:
        raise ValueError(f"not a probability with six places: {str(text)[:40]!r}")
    return int(text.replace(".", ""))
