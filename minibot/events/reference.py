"""An id that is derived only when somebody reads it: most of them nobody does in a backtest.

Two references are the same when their ids are; derived ones are compared by what they derive from,
which decides it without a hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from minibot.events.ids import derive_id
from minibot.events.native import mypyc_attr

TICKS: Final = "market_ticks"


def place_id(seq: int) -> str:
    """Return what a tick without an event is called: its line, were it written."""
    return f"{TICKS}:{seq}"


@mypyc_attr(acyclic=True)
@final
class Ref:
    """The id of an event or of an order.

    Args:
        text: The id where it is known; empty where it is derived.
        run_id, role, of, ordinal: What `events.ids.derive_id` takes, `of` instead of its input's
            id. Without `of` it is the line `ordinal` of `market_ticks`.

    Attributes:
        root: The line of `market_ticks` that it derives from; 0 where it came as a text.
    """

    __slots__ = ("_of", "_ordinal", "_role", "_run_id", "_text", "root")

    def __init__(
        self, text: str, run_id: str = "", role: str = "", of: Ref | None = None, ordinal: int = 0
    ) -> None:
        self._text: str = text
        self._run_id: str = run_id
        self._role: str = role
        self._of: Ref | None = of
        self._ordinal: int = ordinal
        self.root: int = 0
        if of is not None:
            self.root = of.root
        elif not text:
            self.root = ordinal

    @property
    def text(self) -> str:
        """The id itself."""
        if not self._text and self._of is not None:
            self._text = derive_id(self._run_id, self._role, self._of.text, self._ordinal)
        elif not self._text and self._ordinal:
            self._text = place_id(self._ordinal)
        return self._text

    def is_same(self, other: Ref) -> bool:
        """Return whether the other one is the same id."""
        if self is other:
            return True
        mine, theirs = self._of, other._of
        if mine is not None and theirs is not None:
            return (
                self._ordinal == other._ordinal
                and self._role == other._role
                and self._run_id == other._run_id
                and mine.is_same(theirs)
            )
        if mine is None and theirs is None and self._ordinal and other._ordinal:
            return self._ordinal == other._ordinal
        return self.text == other.text


NOBODY: Final = Ref("")
"""Of what has no id yet."""


@final
class Remembered:
    """Ids with a time each, in the order in which they came; for a few at a time."""

    __slots__ = ("_is_rising", "_refs", "_times")

    def __init__(self) -> None:
        """Start with none."""
        self._refs: list[Ref] = []
        self._times: list[int] = []
        # Whether no time is before the one in front of it.
        self._is_rising: bool = True

    def has(self, ref: Ref) -> bool:
        """Return whether an id is remembered."""
        root = ref.root
        for known in self._refs:
            # What derives from another line is another one.
            if (not root or not known.root or known.root == root) and known.is_same(ref):
                return True
        return False

    def add(self, ref: Ref, ts: int) -> None:
        """Remember an id; one that is known keeps its time."""
        if not self.has(ref):
            self.note(ref, ts)

    def note(self, ref: Ref, ts: int) -> None:
        """Remember an id that is not known."""
        times = self._times
        if not times:
            self._is_rising = True
        elif ts < times[-1]:
            self._is_rising = False
        self._refs.append(ref)
        times.append(ts)

    def forget_before(self, ts: int) -> None:
        """Forget ids with an earlier time."""
        times, refs = self._times, self._refs
        if not self._is_rising:
            self._refs = [refs[n] for n in range(len(refs)) if times[n] >= ts]
            self._times = [time for time in times if time >= ts]
            return
        over, count = 0, len(times)
        while over < count and times[over] < ts:
            over += 1
        if over:
            del times[:over]
            del refs[:over]

    def state(self) -> dict[str, int]:
        """Return times by id."""
        return {ref.text: ts for ref, ts in zip(self._refs, self._times, strict=True)}

    @staticmethod
    def from_state(state: Mapping[str, int]) -> Remembered:
        """Return what `state` described."""
        remembered = Remembered()
        remembered._refs = [Ref(text) for text in state]
        remembered._times = list(state.values())
        remembered._is_rising = remembered._times == sorted(remembered._times)
        return remembered
