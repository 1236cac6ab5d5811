"""The order log of one role: what it took, in which order and when, written as ranges.

A range is one `ack` event: consecutive lines of one queue with one `taken_ts`. It is closed when
the source changes, before the first output of its events, and when market time has moved 100 ms
on. The primary reader's `acks.jsonl` holds all ranges; acks of other inputs repeat their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from minibot.events.codec import Codec
from minibot.events.ids import position_id
from minibot.events.model import Ack, Event
from minibot.events.order import refuse_lost_place
from minibot.kernel.errors import IntegrityError
from minibot.kernel.journal import JournalWriter
from minibot.kernel.line import encode_line
from minibot.kernel.queue import open_side_writer
from minibot.runtime.clock import RunClock, machine_ns
from minibot.runtime.context import RoleContext

RANGE_MARKET_MS_MAX = 100


@dataclass(slots=True)
class _Range:
    queue: str
    from_seq: int
    to_seq: int
    n: int
    taken_ts: int
    opened_ns: int


class OrderLog:
    """Numbers the inputs of a role and writes their ranges.

    Args:
        writer: The order log itself; not synced by itself, see `sync`.
        copies: By queue, the acks file that repeats the ranges of that queue.
        taken: How many inputs were logged before.
    """

    def __init__(
        self,
        *,
        role: str,
        run_id: str,
        cmdline_hash: str,
        order_queue: str,
        codec: Codec,
        clock: RunClock,
        writer: JournalWriter,
        copies: Mapping[str, JournalWriter],
        taken: int,
    ) -> None:
        self.taken = taken
        self._role = role
        self._run_id = run_id
        self._cmdline_hash = cmdline_hash
        self._order_queue = order_queue
        self._codec = codec
        self._clock = clock
        self._writer = writer
        self._copies = copies
        self._range: _Range | None = None
        self._uncopied: list[tuple[str, bytes]] = []

    @property
    def position_writer(self) -> JournalWriter:
        """The journal of the order log."""
        return self._writer

    def take(self, queue: str, seq: int) -> int:
        """Log that a line is taken now; return the `taken_ts` of its range."""
        current = self._range
        if current is not None:
            follows = current.queue == queue and current.to_seq + 1 == seq
            if follows and self._clock.now_ms() - current.taken_ts <= RANGE_MARKET_MS_MAX:
                current.to_seq = seq
                self.taken += 1
                return current.taken_ts
            self.close()
        self.taken += 1
        taken_ts = self._clock.now_ms()
        self._range = _Range(queue, seq, seq, self.taken, taken_ts, machine_ns())
        return taken_ts

    def close_when_due(self) -> None:
        """Close the open range once market time is 100 ms past its `taken_ts`; write the copies."""
        current = self._range
        if current is not None and self._clock.now_ms() - current.taken_ts > RANGE_MARKET_MS_MAX:
            self.close()
        self.copy()

    def close(self) -> None:
        """Write the open range, if any; called before the first output of its events."""
        current = self._range
        if current is None:
            return
        self._range = None
        ack = Ack(
            reader=self._role,
            queue=current.queue,
            from_seq=current.from_seq,
            to_seq=current.to_seq,
            n=current.n,
            taken_ts=current.taken_ts,
            took_us=(machine_ns() - current.opened_ns) // 1000,
        )
        log_name = f"{self._order_queue}/acks"
        event = Event(
            ts=self._clock.now_ms(),
            id=position_id(self._run_id, self._role, log_name, self._writer.position.seq + 1),
            source=self._role,
            run_id=self._run_id,
            cmdline_hash=self._cmdline_hash,
            payload=ack,
        )
        line = encode_line(self._codec.encode(log_name, event))
        self._writer.append([line])
        if current.queue in self._copies:
            self._uncopied.append((current.queue, line))

    def copy(self) -> None:
        """Write the acks that repeat ranges of the log; called after the outputs have left."""
        uncopied, self._uncopied = self._uncopied, []
        for queue, line in uncopied:
            self._copies[queue].append([line])

    def sync(self) -> None:
        """Make the log durable."""
        self._writer.sync()

    def sync_copies(self) -> None:
        """Make the acks that repeat the log durable; they can be made again from it."""
        self.copy()
        for copy in self._copies.values():
            copy.sync()

    def end(self) -> None:
        """Write what is open, sync and close the files, also those beside one that fails."""
        with ExitStack() as stack:
            for writer in (self._writer, *self._copies.values()):
                stack.callback(writer.close)
            self.close()
            self.sync()
            self.sync_copies()


def open_order_log(context: RoleContext, folders: Mapping[str, Path]) -> OrderLog:
    """Return the order log of a role and the acks that repeat it, open for writing.

    To be opened before its ranges are read: a range that stands whole above the head, because the
    role was killed before it could publish it, is published by this. Whoever has read the ranges
    then sets `taken`.

    Args:
        context: The role.
        folders: By input queue, where this reader keeps its files.

    Raises:
        IntegrityError: Acks are damaged; CURSOR_CORRUPT where their cursor is missing too.
    """
    order_queue = context.spec.order_log or ""
    writers = {}
    for queue, folder in folders.items():
        try:
            writers[queue] = open_side_writer(folder, "acks", sync=False)
        except IntegrityError as error:
            refuse_lost_place(folder, error)
            raise
    return OrderLog(
        role=context.name,
        run_id=context.run_id,
        cmdline_hash=context.cmdline_hash,
        order_queue=order_queue,
        codec=context.codec,
        clock=context.clock,
        writer=writers.pop(order_queue),
        copies=writers,
        taken=0,
    )
