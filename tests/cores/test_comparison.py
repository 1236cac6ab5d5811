"""Comparison of derived lines with recorded ones."""

from __future__ import annotations

from collections.abc import Sequence

from minibot.cores.comparison import Comparison
from minibot.cores.input_order import LineSource
from minibot.events.model import Event, Halt
from minibot.kernel import canonical
from minibot.kernel.journal import Line

QUEUE, OTHER = "signals", "risk_actions"


class Lines(LineSource):
    """Lines in memory."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = list(events)
        self._taken = 0

    def next(self) -> Line | None:
        """Return the next line."""
        if self._taken == len(self.events):
            return None
        self._taken += 1
        return Line(self._taken, 0, encode(QUEUE, self.events[self._taken - 1]))


def encode(queue: str, event: Event) -> bytes:
    """Return an event as it is written."""
    return canonical.encode(event.to_json())


def said(n: int, why: str = "why") -> Event:
    """Return the event with a number."""
    return Event(1, f"id-{n}", "a_role", "run", "0" * 64, Halt("who", why))


def test_event_that_stands_is_equal_and_another_one_is_a_difference_with_its_place() -> None:
    """An equal line matches; another content under the same id is a difference with its place."""
    comparison = Comparison(encode, {QUEUE: Lines([said(1), said(2, "other")])})

    first, second = (comparison.take(QUEUE, said(n)) for n in (1, 2))

    assert first.is_equal
    assert not second.is_equal
    assert not second.is_missing
    difference = second.difference("a_role", QUEUE, 7, "cause", {"held": 1})
    assert (difference.seq, difference.n, difference.state) == (2, 7, {"held": 1})
    assert difference.expected == encode(QUEUE, said(2))
    assert difference.found == encode(QUEUE, said(2, "other"))


def test_line_behind_a_missing_event_is_a_difference_in_any_queue() -> None:
    """A missing event with a later line is a difference; only the last lines may be missing."""
    comparison = Comparison(encode, {QUEUE: Lines([said(1)]), OTHER: Lines([said(3)])})
    comparison.take(QUEUE, said(1))

    missing, behind = comparison.take(QUEUE, said(2)), comparison.take(OTHER, said(3))

    assert missing.is_missing
    assert (missing.seq, comparison.missing) == (2, 1)
    assert not behind.is_equal
    assert behind.found == behind.expected


def test_lines_that_nothing_was_derived_for_are_left() -> None:
    """Recorded lines without a derived event are reported with queue and number."""
    comparison = Comparison(encode, {QUEUE: Lines([said(1), said(2)]), OTHER: Lines([said(3)])})
    comparison.take(QUEUE, said(1))

    assert [(queue, line.seq) for queue, line in comparison.rest()] == [(QUEUE, 2), (OTHER, 1)]


def test_id_is_enough_where_nobody_asks_for_more() -> None:
    """Before the window only the id is compared, not the content."""
    comparison = Comparison(encode, {QUEUE: Lines([said(1, "other"), said(3)])})

    assert comparison.take(QUEUE, said(1), is_id_enough=True).is_equal
    assert not comparison.take(QUEUE, said(2), is_id_enough=True).is_equal


def test_line_that_names_the_id_only_as_its_cause_is_another_line() -> None:
    """Before the window a line that follows from the missing event is not taken for it."""
    followed = Event(1, "id-2", "a_role", "run", "0" * 64, Halt("who", "why"), ("id-1",))
    comparison = Comparison(encode, {QUEUE: Lines([followed])})

    assert not comparison.take(QUEUE, said(1), is_id_enough=True).is_equal


def test_line_that_a_restarted_writer_repeated_is_skipped_on_demand() -> None:
    """A line that a restarted writer repeated is skipped if asked for, else it is a difference."""
    lines = [said(1), said(1), said(2)]
    for skips in (True, False):
        comparison = Comparison(encode, {QUEUE: Lines(lines)}, skips_repeats=skips)
        comparison.take(QUEUE, said(1))

        found = comparison.take(QUEUE, said(2))

        assert found.is_equal is skips
        assert found.seq == (3 if skips else 2)


def test_repeat_at_the_end_is_skipped_like_any_other() -> None:
    """A repeat of a line that was compared is not left over, unless repeats are differences."""
    for skips, left in ((True, []), (False, [2])):
        comparison = Comparison(encode, {QUEUE: Lines([said(1), said(1)])}, skips_repeats=skips)
        comparison.take(QUEUE, said(1))

        assert [line.seq for _, line in comparison.rest()] == left


def test_missing_event_that_is_appended_is_compared_as_it_then_stands() -> None:
    """A missing event is compared again after a restart appends it."""
    source = Lines([said(1)])
    comparison = Comparison(
        encode, {QUEUE: source}, on_missing=lambda queue, event, json: source.events.append(event)
    )

    found = [comparison.take(QUEUE, said(n)) for n in (1, 2)]

    assert [one.is_equal for one in found] == [True, True]
    assert comparison.missing == 0
    assert list(comparison.rest()) == []
