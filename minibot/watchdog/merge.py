"""Queues with several writers: parts merged into one inbox, in the order of the watchdog's acks.

The parts are the truth. Lines are copied unchanged; the order log (`health/acks.jsonl`) names
every range before it is copied, so a merge that was cut off is completed by whoever ends the run.
Parts, inboxes and order log are synced one by one, so that after a loss of power an inbox may hold
lines that its part or the order log has lost: they are published lines, and are put back from it.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

from minibot.events.codec import Codec
from minibot.events.model import Ack
from minibot.events.order import LineSource, read_ranges
from minibot.events.roles import Roles
from minibot.kernel.errors import IntegrityError
from minibot.kernel.journal import JournalWriter, Line
from minibot.kernel.line import encode_line
from minibot.kernel.queue import open_reader, open_side_writer, open_writer, queue_folder
from minibot.runtime.clock import RunClock
from minibot.runtime.orderlog import OrderLog

WATCHDOG = "watchdog_role"
ORDER_QUEUE = "health"
BATCH = 512


class Merger:
    """Copies parts into their inboxes; opened once, by whoever holds the run's lock."""

    def __init__(
        self,
        *,
        root: Path,
        roles: Roles,
        codec: Codec,
        clock: RunClock,
        run_id: str,
        cmdline_hash: str,
        segment_bytes: int,
        line_bytes_max: int,
    ) -> None:
        self._root = root
        self._roles = roles
        self._codec = codec
        self.queues = [name for name, entry in roles.queues.items() if entry.parts]
        self._sources: dict[tuple[str, str], LineSource] = {}
        with ExitStack() as opened:
            self._inboxes: dict[str, JournalWriter] = {
                queue: opened.enter_context(
                    closing(
                        open_writer(
                            root,
                            queue,
                            sync=False,
                            segment_bytes=segment_bytes,
                            line_bytes_max=line_bytes_max,
                        )
                    )
                )
                for queue in self.queues
            }
            self._open_order(opened, clock, run_id, cmdline_hash)
            opened.pop_all()

    def _open_order(
        self, opened: ExitStack, clock: RunClock, run_id: str, cmdline_hash: str
    ) -> None:
        """Take up the order log where it ends, and complete the merge that it names."""
        root, roles, codec = self._root, self._roles, self._codec
        self._merged = {queue: self._merged_of(queue) for queue in self.queues}
        # Opened before they are read: a range that was not published any more is by this.
        acks = {
            queue: opened.enter_context(
                closing(open_side_writer(queue_folder(root, queue), "acks", sync=False))
            )
            for queue in self.queues
        }
        logged, ranges = self._logged()
        copies = {
            f"{queue}/parts/{role}": acks[queue]
            for queue in self.queues
            if queue != ORDER_QUEUE
            for role in roles.writers(queue)
        }
        self._order = OrderLog(
            role=WATCHDOG,
            run_id=run_id,
            cmdline_hash=cmdline_hash,
            order_queue=ORDER_QUEUE,
            codec=codec,
            clock=clock,
            writer=acks[ORDER_QUEUE],
            copies=copies,
            taken=logged,
        )
        self._complete(ranges)
        self._log_unlogged(ranges)

    def _merged_of(self, queue: str) -> Counter[str]:
        """Return how many lines of each role's part the inbox holds already."""
        merged: Counter[str] = Counter()
        source = LineSource(open_reader(self._root, queue))
        while (line := source.next()) is not None:
            merged[self._codec.decode(queue, line.json).source] += 1
        return merged

    def _logged(self) -> tuple[int, list[Ack]]:
        """Return how many inputs the order log names, and its ranges."""
        folder = queue_folder(self._root, ORDER_QUEUE)
        ranges: list[Ack] = []
        if (folder / "acks.head").exists():
            ranges += read_ranges(folder, ORDER_QUEUE, self._codec.decode)
        last = ranges[-1] if ranges else None
        return (0 if last is None else last.n + last.to_seq - last.from_seq), ranges

    def _complete(self, ranges: list[Ack]) -> None:
        """Copy what was logged and not copied: only the last range can be so."""
        for ack in ranges:
            queue, _, role = ack.queue.split("/")
            missing = ack.to_seq - self._merged[queue][role]
            if missing <= 0:
                continue
            lines = [self._next(queue, role) for _ in range(missing)]
            self._copy(queue, role, [line for line in lines if line is not None])

    def _log_unlogged(self, ranges: list[Ack]) -> None:
        """Log again what the inboxes hold and the order log has lost."""
        logged = {ack.queue: ack.to_seq for ack in ranges}
        for queue in self.queues:
            parts = {role: f"{queue}/parts/{role}" for role in self._merged[queue]}
            if all(logged.get(parts[role], 0) >= n for role, n in self._merged[queue].items()):
                continue
            seen: Counter[str] = Counter()
            source = LineSource(open_reader(self._root, queue))
            while (line := source.next()) is not None:
                role = self._codec.decode(queue, line.json).source
                seen[role] += 1
                if seen[role] > logged.get(parts[role], 0):
                    self._order.take(parts[role], seen[role])
            source.reader.close()
        self._order.close()

    def _source(self, queue: str, role: str) -> LineSource | None:
        key = (queue, role)
        source = self._sources.get(key)
        if source is None:
            folder = queue_folder(self._root, queue) / "parts"
            if not (folder / f"{role}.head").exists():
                return None
            source = self._sources[key] = LineSource(open_reader(self._root, queue, part=role))
            for _ in range(self._merged[queue][role]):
                if source.next() is None:
                    raise IntegrityError(
                        WATCHDOG,
                        "QUEUE_TRUNCATED",
                        f"{queue}/parts/{role} is shorter than the inbox",
                    )
        return source

    def _next(self, queue: str, role: str) -> Line | None:
        source = self._source(queue, role)
        return None if source is None else source.next()

    def _copy(self, queue: str, role: str, lines: list[Line]) -> None:
        self._inboxes[queue].append([encode_line(line.json) for line in lines])
        self._merged[queue][role] += len(lines)

    def merge(self) -> int:
        """Copy what stands in the parts and not yet in the inboxes; return how many lines."""
        copied = 0
        for queue in self.queues:
            for role in self._roles.writers(queue):
                copied += self._merge_part(queue, role)
        return copied

    def _merge_part(self, queue: str, role: str) -> int:
        copied = 0
        while True:
            lines: list[Line] = []
            while len(lines) < BATCH and (line := self._next(queue, role)) is not None:
                self._codec.decode(f"{queue}/parts/{role}", line.json)
                self._order.take(f"{queue}/parts/{role}", line.seq)
                lines.append(line)
            if not lines:
                return copied
            self._order.close()
            self._copy(queue, role, lines)
            copied += len(lines)

    def sync(self) -> None:
        """Make inboxes and order log durable."""
        self._order.sync()
        for inbox in self._inboxes.values():
            inbox.sync()

    def close(self) -> None:
        """Copy the rest, sync and close; what cannot be copied does not keep files open."""
        with ExitStack() as stack:
            for inbox in self._inboxes.values():
                stack.callback(inbox.close)
            stack.callback(self._order.end)
            for source in self._sources.values():
                stack.callback(source.reader.close)
            self.merge()


def restore_parts(root: Path, codec: Codec) -> list[str]:
    """Put back into the parts what their inboxes hold beyond them; nobody may be writing.

    Returns:
        What was put back, one sentence for each part.

    Raises:
        RunStop: A journal cannot be read or written.
    """
    restored: list[str] = []
    for queue in [name for name, entry in codec.roles.queues.items() if entry.parts]:
        held: dict[str, list[bytes]] = {}
        inbox = LineSource(open_reader(root, queue))
        while (line := inbox.next()) is not None:
            role = codec.decode(queue, line.json).source
            held.setdefault(role, []).append(line.json)
        inbox.reader.close()
        for role, jsons in held.items():
            with closing(open_writer(root, queue, role)) as part:
                lost = jsons[part.position.seq :]
                if lost:
                    part.append_json(lost)
                    restored.append(f"{queue}/parts/{role}: {len(lost)} lines put back from inbox")
    return restored
