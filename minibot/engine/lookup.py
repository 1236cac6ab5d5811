"""Lookup of single lines in a recorded queue: by number, skipping whole segments, or by id."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from os import SEEK_END
from pathlib import Path
from typing import Final

from minibot.engine.intact_prefix import open_intact
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Event
from minibot.kernel.errors import ContractError
from minibot.kernel.journal import Line, Position
from minibot.kernel.line import LineError, decode_line
from minibot.kernel.position import ZERO
from minibot.kernel.queue import INBOX, PARTS, open_reader, queue_folder
from minibot.kernel.segments import active_name, load_segments

BATCH = 1024
END_BYTES: Final = 4 << 20
"""Bytes read from the end of a queue: far more than a line of the queues that are read so."""


def lines_from(recorded: Recorded, queue: str, seq: int) -> Iterator[Line]:
    """Yield the lines of a queue from a number on; skip sealed segments before it."""
    reader = open_intact(recorded.queues, queue, start_of(recorded, queue, seq))
    try:
        while lines := reader.read(BATCH):
            for line in lines:
                if line.seq >= seq:
                    yield line
    finally:
        reader.close()


def event_at(recorded: Recorded, queue: str, seq: int) -> Event | None:
    """Return the event with a number, or None if the queue is shorter."""
    line = next(lines_from(recorded, queue, seq), None)
    return None if line is None or line.seq != seq else recorded.decode(queue, line)


def events_with_ids(
    recorded: Recorded, queue: str, ids: Collection[str]
) -> Iterator[tuple[int, Event]]:
    """Yield (seq, event) of the events with these ids; read up to the last, decode few lines."""
    wanted = {event_id.encode() for event_id in ids}
    lines = lines_from(recorded, queue, 1)
    while wanted and (line := next(lines, None)) is not None:
        if any(event_id in line.json for event_id in wanted):
            event = recorded.decode(queue, line)
            if event.id.encode() in wanted:
                wanted.discard(event.id.encode())
                yield line.seq, event


def start_of(recorded: Recorded, queue: str, seq: int) -> Position:
    """Return the beginning of the segment that holds a line, or would hold it.

    The queue may be one part of another, as `<queue>/parts/<role>`.
    """
    name, _, part = queue.partition("/parts/")
    folder = queue_folder(recorded.queues, name)
    lines, number, chain = 0, ZERO.segment, ZERO.chain
    for segment in load_segments(folder / PARTS if part else folder, part or INBOX):
        if lines + segment.lines >= seq:
            break
        lines += segment.lines
        number += 1
        chain = segment.chain_after
    return Position(lines, number, 0, chain)


def last_before(recorded: Recorded, queue: str, seq: int) -> Event | None:
    """Return the event just before a number, or None for the first."""
    return event_at(recorded, queue, seq - 1) if seq > 1 else None


def last_event(recorded: Recorded, queue: str, part: str | None = None) -> Event | None:
    """Return the last whole event of a queue, from the end of its file; None for none.

    Reads at most `END_BYTES` of the active file, and as many of the last sealed segment if the
    active file has no readable event, so that earlier damage does not matter.
    """
    return next(last_events(recorded, queue, part), None)


def last_events(recorded: Recorded, queue: str, part: str | None = None) -> Iterator[Event]:
    """Yield the last whole events of a queue, the newest first.

    They lie in the last `END_BYTES` of the active file and of the last sealed segment. A line that
    is damaged or breaks its contract is skipped.

    Args:
        recorded: The run.
        queue: Name of the queue.
        part: The role whose part is read, for a queue with parts.
    """
    folder, source, name = queue_folder(recorded.queues, queue), queue, INBOX
    if part is not None:
        folder, source, name = folder / PARTS, f"{queue}/parts/{part}", part
    reader = open_reader(recorded.queues, queue, part=part)
    end = reader.head().offset
    reader.close()
    names = [segment.name for segment in load_segments(folder, name)]
    for path, size in ((folder / active_name(name), end), *((folder / n, -1) for n in names[-1:])):
        if not path.exists():
            continue
        for raw in reversed(_tail(path, size)):
            try:
                event = recorded.codec.decode(source, decode_line(raw)[1])
            except (LineError, ContractError):
                continue
            yield event


def _tail(path: Path, end: int) -> list[bytes]:
    """Return the last lines of a file up to an offset, or up to its end if that is negative."""
    with path.open("rb") as file:
        end = file.seek(0, SEEK_END) if end < 0 else end
        file.seek(max(0, end - END_BYTES))
        return file.read(end - file.tell()).splitlines(keepends=True)
