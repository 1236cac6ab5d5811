"""Remembered ids: what is known and what is forgotten, in whichever order the times come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minibot.events.reference import Ref, Remembered

TIMES = st.integers(0, 20)
SAID = st.lists(st.tuples(st.sampled_from(["add", "forget"]), TIMES), max_size=40)


@given(SAID, st.integers(0, 40))
def test_remembered_ids_are_those_that_a_plain_dict_would_hold(
    said: list[tuple[str, int]], restart: int
) -> None:
    """Also behind a restart in the middle: an id keeps its first time until that is too old."""
    remembered = Remembered()
    held: dict[str, int] = {}
    for n, (what, ts) in enumerate(said):
        if n == restart:
            remembered = Remembered.from_state(remembered.state())
        if what == "add":
            name = f"id{n % 7}"
            remembered.add(Ref(name), ts)
            held.setdefault(name, ts)
        else:
            remembered.forget_before(ts)
            held = {name: at for name, at in held.items() if at >= ts}
        assert remembered.state() == held
        assert [remembered.has(Ref(f"id{k}")) for k in range(7)] == [
            f"id{k}" in held for k in range(7)
        ]
