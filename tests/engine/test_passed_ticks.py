"""Ticks that a step passes over: how many of them stand before another one."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from minibot.engine.bar_block import CLOSE, HIGH, LOW, OPEN
from minibot.engine.passed_ticks import Key, PassedTicks

TIMES = (10, 150, 300, 589)
SHOWN = {
    0: (OPEN, LOW, HIGH, CLOSE),
    1: (OPEN, CLOSE),
    3: (OPEN, HIGH, CLOSE),
    4: (OPEN, LOW, CLOSE),
    6: (OPEN, LOW, HIGH, CLOSE),
}


class Row:
    """A row that shows some of its four ticks."""

    def __init__(self, ticks: tuple[int, ...]) -> None:
        self.ticks = ticks

    def has_tick(self, tick: int) -> bool:
        """Return whether it shows one of them."""
        return tick in self.ticks


def passed(numbers: list[int]) -> PassedTicks:
    """Return the passed ticks of some symbols."""
    rows: Any = [Row(SHOWN.get(number, ())) for number in range(7)]
    return PassedTicks(TIMES, rows, numbers)


def keys(numbers: list[int], from_ts: int = 0) -> list[Key]:
    """Return the keys of their ticks from a time on, in order."""
    found = [(TIMES[tick], number) for number in numbers for tick in SHOWN[number]]
    return sorted(key for key in found if key[0] >= from_ts)


def places() -> list[Key]:
    """Return a key at and beside each time and each symbol."""
    return [(at + step, number) for at in TIMES for step in (-1, 0, 1) for number in range(8)]


def test_before_at_every_place_counts_as_a_sorted_list_of_keys() -> None:
    """Each tick finds as many before it as a bisection of all keys would."""
    ticks, expected = passed(list(SHOWN)), keys(list(SHOWN))

    assert ticks.count == len(expected)
    assert [ticks.before(key) for key in places()] == [
        bisect_left(expected, key) for key in places()
    ]


def test_opened_at_every_place_counts_opens_alone() -> None:
    """Lows, highs and closes are no bars that begin."""
    opens = [(TIMES[OPEN], number) for number in SHOWN]
    ticks = passed(list(SHOWN))

    assert [ticks.opened(key) for key in places()] == [bisect_left(opens, key) for key in places()]


def test_before_of_a_symbol_counts_its_own_ticks() -> None:
    """A STOP cuts each bar where it stood."""
    ticks, expected = passed(list(SHOWN)), keys(list(SHOWN))

    for key in places():
        before = [number for _, number in expected[: bisect_left(expected, key)]]
        assert [ticks.before_of(number, key) for number in range(7)] == [
            before.count(number) for number in range(7)
        ]


def test_join_from_a_time_takes_only_later_ticks_in_order() -> None:
    """Ticks told of a symbol before it was passed over do not count twice."""
    ticks, former = passed([1, 4]), passed([1, 4])
    ticks.join(passed([0, 3, 6]), TIMES[HIGH])
    expected = sorted(keys([1, 4]) + keys([0, 3, 6], TIMES[HIGH]))

    assert ticks.count == len(expected)
    assert [ticks.before(key) for key in places()] == [
        bisect_left(expected, key) for key in places()
    ]
    assert former.before((TIMES[CLOSE], 2)) == bisect_left(keys([1, 4]), (TIMES[CLOSE], 2))
