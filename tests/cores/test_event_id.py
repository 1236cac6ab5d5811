"""Recently seen ids: known and forgotten ones, in whatever order their times come."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from minibot.cores.event_id import EventId, RecentIds, derived, named, of_line

TIMES = st.integers(0, 20)
SAID = st.lists(st.tuples(TIMES, TIMES), max_size=60)


def said_as_text(n: int) -> EventId:
    return named(f"id{n}")


def of_tick(n: int) -> EventId:
    """Return ids of a line's ticks, two of each."""
    return derived("role", of_line(1 + n // 2, "run"), n % 2)


def either(n: int) -> EventId:
    return of_tick(n) if n % 3 else said_as_text(n)


def test_id_is_the_same_whether_it_came_as_a_text_or_is_derived() -> None:
    """An id as text and a derived one are equal, whichever was remembered."""
    for known, asked in (
        (of_tick(4), named(of_tick(4).text)),
        (named(of_tick(4).text), of_tick(4)),
    ):
        remembered = RecentIds()
        remembered.note(of_tick(0), 1, 0)
        remembered.note(known, 1, 0)

        assert remembered.has(asked)
        assert not remembered.admit(asked, 2, 1)


def test_admitted_id_is_new_again_once_it_is_too_old() -> None:
    """An admitted id is known until it is older than the window, then new again."""
    remembered = RecentIds()

    assert remembered.admit(of_tick(1), 5, 0)
    assert not remembered.admit(of_tick(1), 9, 5)
    assert remembered.admit(of_tick(1), 9, 6)
    assert remembered.state() == {of_tick(1).text: 9}


@given(SAID, st.integers(0, 60), st.sampled_from([said_as_text, of_tick, either]))
def test_remembered_ids_are_those_that_a_plain_dict_would_hold(
    said: list[tuple[int, int]], restart: int, made: Callable[[int], EventId]
) -> None:
    """Remembered ids equal a plain dict's, also across a restart, and keep their first time."""
    remembered = RecentIds()
    held: dict[str, int] = {}
    for n, (ts, since) in enumerate(said):
        if n == restart:
            remembered = RecentIds.from_state(remembered.state())
        if not remembered.has(made(n % 7)):
            remembered.note(made(n % 7), ts, since)
            held = {name: at for name, at in held.items() if at >= since}
            held[made(n % 7).text] = ts
        asked = [made((n + k) % 7) for k in range(7)]
        assert [remembered.has(ref) for ref in asked] == [ref.text in held for ref in asked]
        assert n % 2 or remembered.state() == held


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=60))
def test_id_that_nobody_asked_for_is_noted_and_forgotten_all_the_same(
    steps: list[tuple[int, int]],
) -> None:
    """Ids noted without a question are remembered and forgotten like others."""
    remembered = RecentIds()
    held: dict[str, int] = {}
    now = 0
    for n, (step, late) in enumerate(steps):
        now += step
        remembered.note(of_tick(n), now + 5 - late, now)
        held = {name: at for name, at in held.items() if at >= now}
        held[of_tick(n).text] = now + 5 - late
    assert remembered.state() == held
