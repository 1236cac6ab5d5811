"""Order in which a role takes its inputs: chosen live, logged, and read back.

Live, `Inputs` chooses the next event: nothing before `run_opening`, no event before the
`market_ticks` line from which it follows, ticks last. The input log records the events taken as
ranges (`ack` events). `logged_steps` reads them back, so that a restart and a replay take the same
events at the same times. Both number inputs, drop duplicates and compute `now` with the same code:
that makes a replay byte-identical.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from minibot.events.model import Ack, Event, JsonObject, RunOpening
from minibot.events.names import CONTROL, TICKS
from minibot.events.reasons import (
    CURSOR_AHEAD,
    CURSOR_CORRUPT,
    EVENT_ID_CONFLICT,
    NONDETERMINISM,
    SCHEMA_INVALID,
)
from minibot.kernel.errors import ContractError, IntegrityError, InvariantError
from minibot.kernel.journal import ZERO, JournalReader, Line, Position

# Known events of each queue. A restarted role appends only what its queues lack, so repeats are not
# expected; the number bounds memory and snapshots.
KNOWN_IDS_MAX: Final = 4096
DIGEST_BYTES: Final = 32

# Most lines that are decoded before they are taken.
AHEAD_MAX: Final = 256

Decode = Callable[[str, Line], Event]
Skip = Callable[[str, int], bool]
DecodeMany = Callable[[str, Sequence[bytes]], list[Event] | None]
DecodeAll = Callable[[str, Sequence[bytes]], list[Event]]


class Taken(NamedTuple):
    """One input that a role took; a repeated one (`is_known`) is counted, not applied."""

    queue: str
    line: Line
    event: Event
    is_known: bool

    @property
    def seq(self) -> int:
        """Number of its line in the queue."""
        return self.line.seq


class KnownIds:
    """Recent events of each queue, to drop the ones that a restarted writer repeats.

    Args:
        known: A former `state()`, by queue: id and sha256 of each event's JSON, oldest first.
    """

    def __init__(self, known: Mapping[str, Sequence[Sequence[str]]] | None = None) -> None:
        self._order: dict[str, deque[str]] = {}
        # For ticks the JSON itself, so that nothing is hashed before a repeat, which is rare; for
        # other queues and after a snapshot its digest. The other queues take a night to fill their
        # window, and would let memory grow.
        self._known: dict[str, dict[str, bytes]] = {}
        for queue, listed in (known or {}).items():
            self._known[queue] = {event_id: bytes.fromhex(digest) for event_id, digest in listed}
            self._order[queue] = deque(self._known[queue])

    def admit(self, queue: str, event_id: str, json: bytes) -> bool:
        """Return False for an event seen in this queue before; else remember it.

        Raises:
            IntegrityError: EVENT_ID_CONFLICT, the id was seen with different content.
        """
        known = self._known.setdefault(queue, {})
        before = known.get(event_id)
        if before is None:
            order = self._order.setdefault(queue, deque())
            known[event_id] = json if queue == TICKS else sha256(json).digest()
            order.append(event_id)
            if len(order) > KNOWN_IDS_MAX:
                del known[order.popleft()]
            return True
        if before != json and _digest(before) != _digest(json):
            raise IntegrityError(
                "runtime",
                EVENT_ID_CONFLICT,
                f"{queue}: two events with the id {event_id}",
                expected=_digest(before).hex(),
                found=_digest(json).hex(),
            )
        return False

    def state(self) -> dict[str, list[list[str]]]:
        """Return id and sha256 of the known events by queue, oldest first."""
        return {
            queue: [[event_id, _digest(self._known[queue][event_id]).hex()] for event_id in order]
            for queue, order in sorted(self._order.items())
        }


def _digest(known: bytes) -> bytes:
    """Return the sha256 of an event's JSON; JSON is never as short as a digest."""
    return known if len(known) == DIGEST_BYTES else sha256(known).digest()


class LineSource:
    """The published lines of one journal, one after another."""

    def __init__(self, reader: JournalReader) -> None:
        self.reader = reader

    @property
    def position(self) -> Position:
        """Position behind the last line returned."""
        return self.reader.position

    def next(self) -> Line | None:
        """Return the next published line, or None."""
        lines = self.reader.read(1)
        return lines[0] if lines else None


class _Ahead:
    """Look-ahead on one journal: lines are decoded in batches if possible, and taken one by one."""

    def __init__(
        self,
        queue: str,
        reader: JournalReader,
        decode: Decode,
        decode_many: DecodeMany,
        skip: Skip = lambda queue, seq: False,
    ) -> None:
        self._queue = queue
        self._reader = reader
        self._decode = decode
        self._decode_many = decode_many
        self._skip = skip
        self._waiting: deque[tuple[Line, Event | None]] = deque()
        self._prepared: dict[bytes, Event] = {}  # Events by the bytes from which they were decoded.

    def look(self) -> bool:
        """Return whether a line is waiting."""
        return bool(self._waiting) or self._fill()

    def _fill(self) -> bool:
        lines = self._reader.look(AHEAD_MAX)
        if not lines:
            return False
        jsons = [line.json for line in lines]
        events: Sequence[Event | None] | None = self._recall(jsons)
        if events is None and lines[1:]:
            events = self._decode_many(self._queue, jsons)
        if events is None:
            line = lines[0]
            is_left_out = self._skip(self._queue, line.seq)
            events = [None if is_left_out else self._decode(self._queue, line)]
        self._waiting.extend(zip(lines, events, strict=False))
        return True

    def prepare(self, decode_all: DecodeAll) -> bool:
        """Decode the lines after the last one, published or not; return whether any is new.

        No event is taken. `look` uses an event from here only for exactly the same bytes, and
        drops those that it cannot use at once.
        """
        jsons = self._reader.preview()
        if not jsons or jsons[-1] in self._prepared:
            return False
        try:
            events = decode_all(self._queue, jsons)
        except ContractError:
            return False  # The error is reported, with its place, once the line is published.
        self._prepared = dict(zip(jsons, events, strict=True))
        return True

    def _recall(self, jsons: Sequence[bytes]) -> list[Event] | None:
        """Return the prepared events of the first lines; None if the first was not prepared."""
        prepared, self._prepared = self._prepared, {}
        events: list[Event] = []
        for json in jsons:
            event = prepared.get(json)
            if event is None:
                break
            events.append(event)
        return events or None

    @property
    def waits(self) -> bool:
        """True if the last look has left a line."""
        return bool(self._waiting)

    @property
    def first(self) -> Event | None:
        """The waiting event; None for a line that is skipped. Only after `look`."""
        return self._waiting[0][1]

    def take(self) -> tuple[Line, Event | None]:
        """Return the waiting line and event, and advance. Only after `look`."""
        self._reader.take(1)
        return self._waiting.popleft()


class Inputs:
    """Inputs of a live role, in the order in which it may take them.

    Args:
        readers: By queue, in order of priority; `market_ticks` comes last whatever its place.
        decode: Returns the event of a queue's name and line; raises `ContractError`.
        decode_many: Returns the events of the first lines of several, if that is faster; None if
            each line has to be decoded separately.
    """

    def __init__(
        self,
        readers: Mapping[str, JournalReader],
        decode: Decode,
        known: KnownIds,
        *,
        is_opened: bool,
        tick_seq: int,
        decode_many: DecodeMany = lambda queue, jsons: None,
    ) -> None:
        self.readers = dict(readers)
        self.is_opened = is_opened
        self.tick_seq = tick_seq
        self._ticks_published = 0  # As of the last read of the head for a waiting event.
        self._known = known
        self._ahead = {
            name: _Ahead(name, reader, decode, decode_many) for name, reader in readers.items()
        }
        self._priority = [name for name in readers if name != TICKS]

    @property
    def positions(self) -> dict[str, Position]:
        """Positions by queue: behind the last event that was taken."""
        return {name: reader.position for name, reader in self.readers.items()}

    def poll(self) -> bool:
        """Look for the next event of each queue; return whether any is waiting.

        Raises:
            ContractError: The next line of a queue cannot be decoded.
        """
        return any([ahead.look() for ahead in self._ahead.values()])

    def prepare(self, name: str, decode_all: DecodeAll) -> bool:
        """Decode lines that a queue's writer is still syncing; return whether any is new.

        This only saves time later: `next` sees no event before it is published.

        Args:
            name: The queue.
            decode_all: Returns the events of a queue's name and lines; a refusal leaves no trace.
        """
        return self._ahead[name].prepare(decode_all)

    def has_news(self, name: str) -> bool:
        """Return whether a queue has published lines that were not taken; reads only its head."""
        return self.readers[name].backlog() > 0

    def next(self) -> Taken | None:
        """Return the next event in the order of the module's rule, or None if none may be taken.

        It sees the lines of the last `poll`, and later lines of the queue from which it takes.

        Raises:
            IntegrityError: The first event is no `run_opening`, an id has two contents, or a
                waiting event follows from a tick that is not published.
            ContractError: The line after the event cannot be decoded. This object has then passed
                the event without returning it, so no input log holds it; the run has to stop.
        """
        for name in self._priority:
            ahead = self._ahead[name]
            if ahead.waits and self._may_take(name, ahead.first):
                return self._take(name, ahead)
        ticks = self._ahead.get(TICKS)
        if self.is_opened and ticks is not None and ticks.waits:
            return self._take(TICKS, ticks)
        return None

    def _may_take(self, name: str, event: Event | None) -> bool:
        if not self.is_opened:
            return name == CONTROL
        if event is None or event.tick_seq is None or event.tick_seq <= self.tick_seq:
            return True
        self._check_tick(name, event.tick_seq)
        return False

    def _check_tick(self, name: str, tick_seq: int) -> None:
        """Refuse a waiting event whose tick is not published: it would wait forever.

        Roles take only published ticks, so a tick is published before any event follows from it.
        The head of the ticks is read here, after that event, so it must cover the tick.
        """
        if tick_seq <= self._ticks_published or TICKS not in self.readers:
            return
        self._ticks_published = self.readers[TICKS].head().lines
        if tick_seq > self._ticks_published:
            seq = self.readers[name].position.seq + 1
            found = f"{tick_seq}, with {self._ticks_published} published"
            detail = f"{name}:{seq}: tick_seq: expected a published tick, found {found}"
            raise IntegrityError("runtime", SCHEMA_INVALID, detail)

    def _take(self, name: str, ahead: _Ahead) -> Taken:
        line, event = ahead.take()
        ahead.look()
        if event is None:
            raise InvariantError("runtime", NONDETERMINISM, f"{name}:{line.seq} has no event")
        if name == TICKS:
            self.tick_seq = line.seq
        elif not self.is_opened:
            if not isinstance(event.payload, RunOpening):
                detail = f"control:1: expected run_opening, found {event.type}"
                raise IntegrityError("runtime", SCHEMA_INVALID, detail)
            self.is_opened = True
        return Taken(name, line, event, not self._known.admit(name, event.id, line.json))

    @property
    def waits(self) -> bool:
        """True if an event was waiting at the last look; reads no file."""
        return any([ahead.waits for ahead in self._ahead.values()])

    def backlog(self) -> int:
        """Return how many published lines have not been taken."""
        return sum(reader.backlog() for reader in self.readers.values())


class Now:
    """Market time of one role's inputs; it never goes back, live or in replay."""

    def __init__(self, now: int = 0) -> None:
        self.value = now

    def of(self, taken_ts: int, event: Event) -> int:
        """Return `now` for an event: the largest of the last one, `taken_ts` and its `ts`.

        Args:
            taken_ts: When the range of the input log that holds it began.
            event: The event.
        """
        self.value = max(self.value, taken_ts, event.ts)
        return self.value


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """One input in the input log: its running number, and the market time when it was taken."""

    n: int
    taken: Taken
    now: int


def logged_steps(
    ranges: Iterator[Ack],
    open_source: Callable[[str], LineSource],
    decode: Decode,
    known: KnownIds,
    now: Now,
    *,
    taken_before: int = 0,
    skip: Skip = lambda queue, seq: False,
    decode_many: DecodeMany = lambda queue, jsons: None,
) -> Iterator[LoggedStep]:
    """Yield the inputs of a role in logged order.

    Args:
        ranges: The acks of the input log, in file order.
        open_source: Returns the lines of a queue from the starting position.
        decode: Returns the event of a queue's name and line.
        known: The ids known at the start; kept up to date.
        now: Market time at the start; kept up to date.
        taken_before: Running number of the last input before the first range.
        skip: Returns True for a line that a dead letter names; these lie in a file of their own
            beside the acks.
        decode_many: As for `Inputs`.

    Raises:
        IntegrityError: A range does not follow the one before, or names a missing line.
    """
    sources: dict[str, _Ahead] = {}
    n = taken_before
    for ack in ranges:
        if ack.n != n + 1:
            raise IntegrityError(
                "runtime", CURSOR_AHEAD, f"input log: expected n {n + 1}, found {ack.n}"
            )
        source = sources.get(ack.queue)
        if source is None:
            reader = open_source(ack.queue).reader
            source = sources[ack.queue] = _Ahead(ack.queue, reader, decode, decode_many, skip)
        for seq in range(ack.from_seq, ack.to_seq + 1):
            n += 1
            line, event = source.take() if source.look() else (None, None)
            if line is None or line.seq != seq:
                found = "nothing" if line is None else f"line {line.seq}"
                raise IntegrityError(
                    "runtime", CURSOR_AHEAD, f"{ack.queue}: logged line {seq}, found {found}"
                )
            if event is None or skip(ack.queue, seq):
                continue
            is_known = not known.admit(ack.queue, event.id, line.json)
            taken = Taken(ack.queue, line, event, is_known)
            yield LoggedStep(n, taken, now.of(ack.taken_ts, event))


def position_to_json(position: Position) -> JsonObject:
    """Return a journal position as canonical JSON values."""
    return {
        "seq": position.seq,
        "segment": position.segment,
        "offset": position.offset,
        "chain": position.chain.hex(),
    }


def position_from_json(data: JsonObject) -> Position:
    """Return the journal position of `position_to_json`."""
    return Position(data["seq"], data["segment"], data["offset"], bytes.fromhex(data["chain"]))


def read_ranges(
    folder: Path, queue: str, judge: Callable[[str, bytes], Event], start: Position = ZERO
) -> Iterator[Ack]:
    """Yield the ranges of the input log in a reader's folder, starting at a position.

    Args:
        folder: Folder of the reader's `acks.jsonl`. Without their head there are no ranges if
            `start` is `ZERO`; else that is damage, and so is a missing file beside a head.
        queue: The queue whose acks are the input log.
        judge: `Codec.decode`.
        start: Where to begin; the position in a snapshot.

    Raises:
        IntegrityError: The acks are damaged; CURSOR_CORRUPT if the cursor is missing too, so that
            the inputs taken are no longer known.
        ContractError: `judge` refuses a line.
    """
    source = LineSource(JournalReader(folder, "acks", start))
    while (line := _next_range(source, folder)) is not None:
        payload = judge(f"{queue}/acks", line.json).payload
        if isinstance(payload, Ack):
            yield payload


def _next_range(source: LineSource, folder: Path) -> Line | None:
    try:
        return source.next()
    except IntegrityError as error:
        refuse_lost_place(folder, error)
        raise


def refuse_lost_place(folder: Path, error: IntegrityError) -> None:
    """Raise if a reader has damaged acks and no cursor that could replace them; else return.

    Raises:
        IntegrityError: CURSOR_CORRUPT, as the inputs taken are no longer known.
    """
    if not (folder / "cursor.json").exists():
        detail = f"{folder}: the cursor is missing and its acks are damaged: {error.detail}"
        raise IntegrityError("runtime", CURSOR_CORRUPT, detail) from error
