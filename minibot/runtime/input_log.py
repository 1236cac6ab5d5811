"""Input log of one role (`order_log` on disk): its inputs in order, with times, as ranges.

A range is one `ack` event: consecutive lines of one queue with one `taken_ts`. It ends before a
line that does not follow in its queue, before the first output of its events, behind a line that
was left out, and once market time is more than 100 ms past its `taken_ts`. Ended ranges are written
together: before the first output, or at the end of the turn. The primary input's `acks.jsonl` holds
all ranges; the file of any other input repeats the ranges of its queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from minibot.cores.input_order import refuse_lost_place
from minibot.events.codec import Codec
from minibot.events.ids import position_id
from minibot.events.model import Ack, Event
from minibot.kernel.errors import IntegrityError
from minibot.kernel.journal import JournalWriter
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


class InputLog:
    """Input log: numbers the inputs of a role and writes their ranges.

    Args:
        writer: The log's journal; synced only by `sync`.
        copies: By queue, the acks file that repeats the ranges of that queue.
        taken: Number of inputs logged before.
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
        self._ended: list[tuple[str, bytes]] = []  # Ranges to write: queue and ack.
        self._uncopied: list[tuple[str, bytes]] = []

    @property
    def position_writer(self) -> JournalWriter:
        """The journal of the log, whose position a snapshot holds."""
        return self._writer

    def take(self, queue: str, seq: int) -> int:
        """Log that a line is taken now; return its range's `taken_ts`.

        The line continues the open range if it is the next one of the same queue and within 100 ms
        of market time. Else, and after each `close`, it begins a new one.
        """
        current = self._range
        if current is not None:
            follows = current.queue == queue and current.to_seq + 1 == seq
            if follows and self._clock.now_ms() - current.taken_ts <= RANGE_MARKET_MS_MAX:
                current.to_seq = seq
                self.taken += 1
                return current.taken_ts
            self._end_range()
        self.taken += 1
        taken_ts = self._clock.now_ms()
        self._range = _Range(queue, seq, seq, self.taken, taken_ts, machine_ns())
        return taken_ts

    def close_when_due(self) -> None:
        """End the range once market time is 100 ms past its `taken_ts`; write ended ranges."""
        current = self._range
        if current is not None and self._clock.now_ms() - current.taken_ts > RANGE_MARKET_MS_MAX:
            self._end_range()
        self._write()
        self.copy()

    def close(self) -> None:
        """Write all ranges, also the open one; called before the first output of their events."""
        self._end_range()
        self._write()

    def _end_range(self) -> None:
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
            id=position_id(
                self._run_id,
                self._role,
                log_name,
                self._writer.position.seq + len(self._ended) + 1,
            ),
            source=self._role,
            run_id=self._run_id,
            cmdline_hash=self._cmdline_hash,
            payload=ack,
        )
        self._ended.append((current.queue, self._codec.encode(log_name, event)))

    def _write(self) -> None:
        if not self._ended:
            return
        ended, self._ended = self._ended, []
        self._writer.append_json([ack for _, ack in ended])
        self._uncopied += [each for each in ended if each[0] in self._copies]

    def copy(self) -> None:
        """Write the acks that repeat ranges of the log; no output waits for them."""
        uncopied, self._uncopied = self._uncopied, []
        by_queue: dict[str, list[bytes]] = {}
        for queue, ack in uncopied:
            by_queue.setdefault(queue, []).append(ack)
        for queue, acks in by_queue.items():
            self._copies[queue].append_json(acks)

    def sync(self) -> None:
        """Make ended ranges durable."""
        self._write()
        self._writer.sync()

    def sync_copies(self) -> None:
        """Make the acks that repeat the log durable; they could be rebuilt from it."""
        self.copy()
        for copy in self._copies.values():
            copy.sync()

    def end(self) -> None:
        """Write the open range, then sync and close the files, even if one of them fails."""
        with ExitStack() as stack:
            for writer in (self._writer, *self._copies.values()):
                stack.callback(writer.close)
            self.close()
            self.sync()
            self.sync_copies()


def open_input_log(context: RoleContext, folders: Mapping[str, Path]) -> InputLog:
    """Return the input log of a role, with the acks that repeat it, open for writing.

    Open it before its ranges are read: a whole range above the head, of a role killed before it
    could publish it, is published by this. The reader of the ranges then sets `taken`.

    Args:
        context: The role.
        folders: By input queue, this reader's folder.

    Raises:
        IntegrityError: Acks are damaged; CURSOR_CORRUPT if their cursor is missing too.
    """
    order_queue = context.spec.order_log or ""
    writers = {}
    for queue, folder in folders.items():
        try:
            writers[queue] = open_side_writer(folder, "acks", sync=False)
        except IntegrityError as error:
            refuse_lost_place(folder, error)
            raise
    return InputLog(
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
