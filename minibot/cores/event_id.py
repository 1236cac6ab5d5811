"""Event ids, derived lazily: the hash is computed on first use, and most ids are never used.

Two derived ids are compared by the ids from which they derive. That needs no hash, unless one of
these is itself derived and the other is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from minibot.events.ids import derive_id
from minibot.events.names import TICKS
from minibot.events.native import mypyc_attr


def place_id(seq: int) -> str:
    """Return the id of a tick without an event, made from the line it would have in its queue."""
    return f"{TICKS}:{seq}"


@mypyc_attr(acyclic=True)
@final
class EventId:
    """The id of an event or of an order; `named`, `derived` and `of_line` make one.

    Attributes:
        run_id: The run of its event; empty for an id from which nothing is derived.
        root: The line of `market_ticks` from which it derives; 0 for an id given as text, and for
            ids that derive from one.
    """

    __slots__ = ("_of", "_ordinal", "_role", "_text", "root", "run_id")

    _text: str
    run_id: str
    _role: str
    _of: EventId | None
    _ordinal: int
    root: int

    @property
    def text(self) -> str:
        """The id as text."""
        if not self._text and self._of is not None:
            self._text = derive_id(self.run_id, self._role, self._of.text, self._ordinal)
        elif not self._text and self._ordinal:
            self._text = place_id(self._ordinal)
        return self._text

    @property
    def is_derived(self) -> bool:
        """True for the id of an event that a core derived from another."""
        return self._of is not None

    def is_same(self, other: EventId) -> bool:
        """Return whether the other is the same id."""
        if self is other:
            return True
        mine, theirs = self._of, other._of
        if mine is not None and theirs is not None:
            return (
                self._ordinal == other._ordinal
                and self._role == other._role
                and mine.is_same(theirs)
            )
        if mine is None and theirs is None and self._ordinal and other._ordinal:
            return self._ordinal == other._ordinal and self.run_id == other.run_id
        return self.text == other.text


def named(text: str, run_id: str = "") -> EventId:
    """Return an id given as text; its run is needed if other ids derive from it."""
    ref = EventId()
    ref._text = text
    ref.run_id = run_id
    ref._role = ""
    ref._of = None
    ref._ordinal = ref.root = 0
    return ref


def of_line(seq: int, run_id: str) -> EventId:
    """Return the id of a tick without an event, by its line in `market_ticks`."""
    ref = EventId()
    ref._text = ref._role = ""
    ref.run_id = run_id
    ref._of = None
    ref._ordinal = ref.root = seq
    return ref


def derived(role: str, of: EventId, ordinal: int) -> EventId:
    """Return the id that `events.ids.derive_id` gives for a role, the input's id and an ordinal."""
    ref = EventId()
    ref._text = ""
    ref.run_id = of.run_id
    ref._role = role
    ref._of = of
    ref._ordinal = ordinal
    ref.root = of.root
    return ref


NOBODY: Final = named("")
"""Placeholder where there is no id yet."""

LINE_MAX: Final = 1 << 60
"""Above every line and every time."""

ROOM: Final = 16
"""Number of remembered ids below which expired ones are not looked for."""


@final
class RecentIds:
    """Recent ids, each with a time; `has` searches them one by one.

    Their order decides nothing, and a snapshot does not keep it. Expired ids are removed in bulk:
    before a look-up, or when the list has grown.
    """

    __slots__ = ("_before", "_room", "_root_max", "_times")

    def __init__(self) -> None:
        """Start with none."""
        self._times: dict[EventId, int] = {}
        # Ids that are listed now with an earlier time have expired. One noted later is remembered
        # whatever its time, until another call expires it.
        self._before: int = -LINE_MAX
        # Number of listed ids at which the expired ones are removed.
        self._room: int = ROOM
        # The highest root of the ids noted since the list was last empty, expired ones included;
        # `LINE_MAX` if one of them has no known root, as an id given as text.
        self._root_max: int = 0

    def has(self, ref: EventId) -> bool:
        """Return whether an id is remembered."""
        root = ref.root
        if root > self._root_max:
            return False
        self._take_off()
        for known in self._times:
            # An id that derives from another line is another id.
            if (not root or not known.root or known.root == root) and known.is_same(ref):
                return True
        return False

    def admit(self, ref: EventId, ts: int, since: int) -> bool:
        """Let ids with a time before `since` expire; return whether this id is new, and note it.

        A new id is remembered whatever its time. A known one keeps its first time.
        """
        if ref.root <= self._root_max:
            if since > self._before:
                self._before = since
            if self.has(ref):
                return False
        self.note(ref, ts, since)
        return True

    def note(self, ref: EventId, ts: int, since: int) -> None:
        """Let ids with a time before `since` expire; remember this one, whatever its time."""
        if since > self._before:
            self._before = since
        if ts < self._before or len(self._times) >= self._room:
            self._take_off()
        root = ref.root
        if root > self._root_max:
            self._root_max = root
        elif not root:
            self._root_max = LINE_MAX
        self._times[ref] = ts

    def _take_off(self) -> None:
        """Remove all expired ids."""
        before = self._before
        if before == -LINE_MAX:
            return
        self._times = {ref: ts for ref, ts in self._times.items() if ts >= before}
        self._before = -LINE_MAX
        self._room = ROOM + 2 * len(self._times)
        if not self._times:
            self._root_max = 0

    def state(self) -> dict[str, int]:
        """Return times by id."""
        self._take_off()
        return {ref.text: ts for ref, ts in self._times.items()}

    @staticmethod
    def from_state(state: Mapping[str, int]) -> RecentIds:
        """Return the ids that `state` described.

        They have no roots, so `has` searches the list for any id until it has once been empty.
        """
        remembered = RecentIds()
        remembered._times = {named(text): ts for text, ts in state.items()}
        remembered._room = ROOM + 2 * len(state)
        remembered._root_max = LINE_MAX if state else 0
        return remembered
