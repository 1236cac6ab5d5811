"""Batches of a role's logged inputs: many lines of a queue at once, decoded once for all roles.

`input_order.logged_steps` yields one input at a time, as a restarting role needs it. A replay takes
millions: here lines are read, verified and decoded by the hundred, and lines that several roles
read in one process are decoded only once. Numbers, times and skipped lines are the same; a test
compares them with `logged_steps`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from minibot.cores.input_order import (
    KNOWN_IDS_MAX,
    KnownIds,
    LoggedStep,
    Now,
    Taken,
    refuse_lost_place,
)
from minibot.engine.intact_prefix import IntactReader
from minibot.events.codec import Codec
from minibot.events.model import Ack, Event
from minibot.events.money import parse_amount
from minibot.events.parse_cache import ParseCache
from minibot.events.reasons import CURSOR_AHEAD
from minibot.events.unit_sizes import NEVER
from minibot.kernel.errors import ContractError, IntegrityError
from minibot.kernel.journal import JournalReader, Line
from minibot.kernel.queue import ACKS

LINES_MAX: Final = 1024
# Number of last bytes of a line that show its type, the last but one field.
TAIL_BYTES: Final = 20


class Piece(NamedTuple):
    """Consecutive lines of one queue with their events; None for a line that cannot be decoded."""

    first_seq: int
    lines: list[Line]
    events: list[Event | None]


class Run(NamedTuple):
    """Consecutive inputs of one logged range.

    Attributes:
        n: The running number of the first input.
        taken_ts: Market time at which the range was taken.
    """

    n: int
    queue: str
    taken_ts: int
    lines: list[Line]
    events: list[Event | None]


class Reading:
    """One queue read piece by piece; pieces are kept until every one of its readers has them.

    Args:
        queue: Name of the queue.
        reader: Reader of the queue from its beginning.
        codec: Codec of the run.
        readers: Number of roles that read it in this process.
    """

    def __init__(self, queue: str, reader: JournalReader, codec: Codec, readers: int) -> None:
        self._queue = queue
        self._reader = reader
        self._codec = codec
        self._pieces: deque[Piece] = deque()
        self._dropped = 0
        self._at = [0] * readers

    def leave(self, reader: int) -> None:
        """Stop keeping pieces for a reader."""
        self._at[reader] = NEVER

    def piece(self, number: int, reader: int) -> Piece | None:
        """Return a piece, counted from 0; None if nothing more is published.

        Args:
            number: Never less than in this reader's last call.
            reader: Number of the reader; pieces that all readers have passed are dropped.

        Raises:
            IntegrityError: The journal is damaged here.
        """
        self._at[reader] = number
        while self._pieces and self._dropped < min(self._at):
            self._pieces.popleft()
            self._dropped += 1
        while number >= self._dropped + len(self._pieces):
            lines = self._reader.look(LINES_MAX)
            if not lines:
                return None
            events = events_of(self._codec, whole_queue(self._queue), lines)
            piece = Piece(lines[0].seq, lines, events)
            self._reader.take(len(lines))
            self._pieces.append(piece)
        return self._pieces[number - self._dropped]


def whole_queue(name: str) -> str:
    """Return the queue of a name: a part is judged like its whole queue."""
    return name.partition("/")[0]


def events_of(codec: Codec, queue: str, lines: Sequence[Line]) -> list[Event | None]:
    """Return the events of lines; None for a line that the codec refuses.

    Decoding such a line alone raises the reason.
    """
    found: list[Event | None] = [None] * len(lines)
    by_tail: dict[bytes, list[int]] = {}
    for place, line in enumerate(lines):
        by_tail.setdefault(line.json[-TAIL_BYTES:], []).append(place)
    for places in by_tail.values():
        jsons = [lines[place].json for place in places]
        done = 0
        while done < len(places):
            events = codec.decode_many(queue, jsons[done:]) if len(places) > done + 1 else None
            if events is None:
                # The list is only read, so that the invariance of `list` does no harm.
                events = [_decoded(codec, queue, jsons[done])]  # type: ignore[list-item]
            for event in events:
                found[places[done]] = event
                done += 1
    return found


def _decoded(codec: Codec, queue: str, json: bytes) -> Event | None:
    try:
        return codec.decode(queue, json)
    except ContractError:
        return None


class Desk:
    """Desk: the queues of a run, shared by several roles of one process.

    Attributes:
        amounts: Amounts by their text, read once for all roles.

    Args:
        codec: Codec of the run.
        open_queue: Returns a reader of a queue from its beginning.
        readers: Number of roles that read here.
    """

    def __init__(
        self, codec: Codec, open_queue: Callable[[str], JournalReader], readers: int = 1
    ) -> None:
        self.codec = codec
        self.amounts = ParseCache(parse_amount)
        self._open = open_queue
        self._readers = readers
        self._readings: dict[str, Reading] = {}
        self._left: set[int] = set()

    def reading(self, queue: str, *, is_shared: bool) -> Reading:
        """Return the reading of a queue: shared by all roles, or separate for one."""
        if not is_shared:
            return Reading(queue, self._open(queue), self.codec, 1)
        reading = self._readings.get(queue)
        if reading is None:
            reading = Reading(queue, self._open(queue), self.codec, self._readers)
            self._readings[queue] = reading
            for reader in self._left:
                reading.leave(reader)
        return reading

    def leave(self, reader: int) -> None:
        """Note that a role has stopped reading, also queues whose reading has not begun."""
        self._left.add(reader)
        for reading in self._readings.values():
            reading.leave(reader)


class _Place:
    """Position of one role in one queue."""

    def __init__(self, reading: Reading, reader: int) -> None:
        self._reading = reading
        self._reader = reader
        self._number = 0
        self._piece: Piece | None = None
        self._next = 0

    def take(self, seq: int, count: int) -> tuple[list[Line], list[Event | None]] | None:
        """Return at most `count` lines from `seq` on, in one piece; None if there are none."""
        while self._piece is None or self._next >= len(self._piece.lines):
            if self._piece is not None:
                self._number += 1
            self._piece = self._reading.piece(self._number, self._reader)
            self._next = 0
            if self._piece is None:
                return None
        piece, first = self._piece, self._next
        if piece.first_seq + first != seq:
            return None
        last = min(first + count, len(piece.lines))
        self._next = last
        if first == 0 and last == len(piece.lines):
            return piece.lines, piece.events
        return piece.lines[first:last], piece.events[first:last]

    def waits(self) -> int:
        """Return the number of the line that waits here, if known; 0 for none."""
        piece = self._piece
        return (
            0 if piece is None or self._next >= len(piece.lines) else piece.first_seq + self._next
        )


class ManyIds(KnownIds):
    """Known ids, to which many new ids can be added at once."""

    def admit_all(self, queue: str, events: Sequence[Event], lines: Sequence[Line]) -> bool:
        """Remember new events; if any needs a separate check, remember none and return False."""
        known = self._known.setdefault(queue, {})
        ids = [event.id for event in events]
        if len(ids) > KNOWN_IDS_MAX or not known.keys().isdisjoint(ids):
            return False
        if len(set(ids)) != len(ids):
            return False
        order = self._order.setdefault(queue, deque())
        known.update(zip(ids, [line.json for line in lines], strict=True))
        order.extend(ids)
        for _ in range(len(order) - KNOWN_IDS_MAX):
            del known[order.popleft()]
        return True


def ranges_of(folder: Path, queue: str, codec: Codec) -> Iterator[Ack]:
    """Yield the ranges of the input log in a reader's folder, like `read_ranges`.

    Raises:
        IntegrityError: The acks are damaged; CURSOR_CORRUPT if the cursor is missing too.
    """
    reader, name = IntactReader(folder, ACKS), f"{queue}/{ACKS}"
    while True:
        try:
            lines = reader.look(LINES_MAX)
        except IntegrityError as error:
            refuse_lost_place(folder, error)
            raise
        if not lines:
            return
        for line, found in zip(lines, events_of(codec, name, lines), strict=True):
            event = codec.decode(name, line.json) if found is None else found
            if isinstance(event.payload, Ack):
                yield event.payload
        reader.take(len(lines))


def logged_runs(
    ranges: Iterator[Ack], desk: Desk, reader: int, shared: frozenset[str]
) -> Iterator[Run]:
    """Yield the inputs of a role in logged order, in runs of one range or a part of it.

    Args:
        ranges: The input log, in file order.
        desk: The desk that reads the queues.
        reader: The number of this role at the desk.
        shared: Queues that every role at the desk reads.

    Raises:
        IntegrityError: A range does not follow the one before, or names a missing line.
    """
    places: dict[str, _Place] = {}
    n = 0
    for ack in ranges:
        queue = ack.queue
        if ack.n != n + 1:
            raise IntegrityError(
                "runtime", CURSOR_AHEAD, f"input log: expected n {n + 1}, found {ack.n}"
            )
        place = places.get(queue)
        if place is None:
            is_shared = queue in shared
            reading = desk.reading(queue, is_shared=is_shared)
            place = places[queue] = _Place(reading, reader if is_shared else 0)
        seq = ack.from_seq
        while seq <= ack.to_seq:
            taken = place.take(seq, ack.to_seq + 1 - seq)
            if taken is None:
                found = f"line {place.waits()}" if place.waits() else "nothing"
                raise IntegrityError(
                    "runtime", CURSOR_AHEAD, f"{queue}: logged line {seq}, found {found}"
                )
            lines, events = taken
            yield Run(n + 1, queue, ack.taken_ts, lines, events)
            n += len(lines)
            seq += len(lines)


def steps_of(
    run: Run,
    codec: Codec,
    known: KnownIds,
    now: Now,
    named: set[tuple[str, int]],
) -> Iterator[LoggedStep]:
    """Yield the inputs of a run one by one, without lines that dead letters name.

    Raises:
        ContractError: An input cannot be decoded.
    """
    queue = run.queue
    for n, (line, found) in enumerate(zip(run.lines, run.events, strict=True), run.n):
        if (queue, line.seq) in named:
            continue
        event = codec.decode(whole_queue(queue), line.json) if found is None else found
        is_known = not known.admit(queue, event.id, line.json)
        yield LoggedStep(n, Taken(queue, line, event, is_known), now.of(run.taken_ts, event))
