"""Comparison of derived events with the recorded lines of their queues, line by line.

Restart, role replay and joint replay all use it. Each derived event is compared with the next line
of its queue: the bytes are equal, no line is left, or there is a difference, reported with its
place. Once an event is missing from any queue, no later line counts as equal, because lines may be
missing only at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from minibot.cores.input_order import KnownIds, LineSource
from minibot.events.model import Event, JsonObject
from minibot.kernel.journal import Line

Encode = Callable[[str, Event], bytes]
OnMissing = Callable[[str, Event, bytes], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first event that replay derives differently, and the core's state before it."""

    role: str
    queue: str
    seq: int
    n: int
    cause_id: str
    expected: bytes | None  # what replay derives
    found: bytes | None  # what the run recorded
    state: JsonObject


class Compared(NamedTuple):
    """One derived event and the line that should hold it.

    Attributes:
        seq: Number of that line, or the number that a missing line would have.
        expected: The event as it is written.
        found: The line's JSON; None if no line is left.
        is_equal: Whether the line holds the event, and no event was missing before it.
    """

    seq: int
    expected: bytes
    found: bytes | None
    is_equal: bool

    @property
    def is_missing(self) -> bool:
        """True if no line is left for the event."""
        return self.found is None

    def difference(
        self, role: str, queue: str, n: int, cause_id: str, state: JsonObject
    ) -> Difference:
        """Return the difference, derived from input `n` of a role whose core is in `state`."""
        return Difference(role, queue, self.seq, n, cause_id, self.expected, self.found, state)


class Comparison:
    """Comparison of the events of one writer with the lines of its queues.

    Args:
        encode: Writes an event of a queue, like `Codec.encode`.
        sources: The recorded lines of each queue.
        skips_repeats: Whether to skip lines that a restarted writer wrote twice.
        on_missing: Appends a missing event to its queue; its line is then read like any other.

    Attributes:
        missing: Number of events without a line; not those that `on_missing` appended.
    """

    def __init__(
        self,
        encode: Encode,
        sources: Mapping[str, LineSource],
        *,
        skips_repeats: bool = False,
        on_missing: OnMissing | None = None,
    ) -> None:
        self.missing = 0
        self._encode = encode
        self._sources = sources
        self._seqs = dict.fromkeys(sources, 0)
        self._known = KnownIds() if skips_repeats else None
        self._on_missing = on_missing

    def take(self, queue: str, event: Event, *, is_id_enough: bool = False) -> Compared:
        """Compare the next derived event of a queue with the next line of it.

        Args:
            queue: One of the sources.
            event: The derived event.
            is_id_enough: Whether a line with the event's id is accepted, whatever else it says.

        Raises:
            IntegrityError: EVENT_ID_CONFLICT, repeats are skipped and a line has a known id but
                other content.
        """
        expected = self._encode(queue, event)
        line = self._next(queue)
        if line is None and self._on_missing is not None:
            self._on_missing(queue, event, expected)
            line = self._next(queue)
        self._seqs[queue] = seq = self._seqs[queue] + 1 if line is None else line.seq
        if line is None:
            self.missing += 1
            return Compared(seq, expected, None, is_equal=False)
        id_key = b'"id":"%b"' % event.id.encode()
        is_same = id_key in line.json if is_id_enough else line.json == expected
        return Compared(seq, expected, line.json, is_equal=is_same and not self.missing)

    def rest(self) -> Iterator[tuple[str, Line]]:
        """Yield each line without a derived event, with its queue; a skipped repeat is none."""
        for queue in self._sources:
            while (line := self._next(queue)) is not None:
                yield queue, line

    def _next(self, queue: str) -> Line | None:
        source, known = self._sources[queue], self._known
        while (line := source.next()) is not None:
            if known is None or known.admit(queue, _id_of(line.json), line.json):
                break
        return line


def _id_of(json: bytes) -> str:
    """Return the id in an event's canonical JSON, whose keys are sorted."""
    start = json.index(b'"id":"') + 6
    return json[start : json.index(b'"', start)].decode()
