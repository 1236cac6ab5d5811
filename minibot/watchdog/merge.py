"""Merge of queues with several writers: parts into one inbox, in the order of the watchdog's acks.

Lines are copied unchanged; the input log (`health/acks.jsonl`) names every range before it is
copied, so the process that ends the run can complete an interrupted merge. Parts, inboxes and input
log are synced one by one, so after a power loss an inbox may hold published lines that its part or
the input log has lost: `restore_parts` puts them back into the part, `Merger` into the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from minibot.cores.input_order import LineSource, read_ranges
from minibot.events.codec import Codec
from minibot.events.model import Ack
from minibot.events.names import HEALTH, WATCHDOG_ROLE
from minibot.events.reasons import QUEUE_CHAIN
from minibot.events.roles import Roles
from minibot.kernel.errors import ContractError, IntegrityError
from minibot.kernel.journal import JournalReader, JournalWriter, Line
from minibot.kernel.line import encode_line
from minibot.kernel.queue import ACKS, open_reader, open_side_writer, open_writer, queue_folder
from minibot.runtime.clock import RunClock
from minibot.runtime.deadletters import DeadLetters
from minibot.runtime.input_log import InputLog

BATCH = 512


class Merger:
    """Merger of parts into their inboxes; opened once, by the holder of the run's lock."""

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
        self._parts: dict[tuple[str, str], JournalReader] = {}
        self._letters = self._dead_letters(clock, run_id, cmdline_hash)
        self._refused: ContractError | None = None
        self.is_torn = False  # A pass was broken off: lines read may not have been copied.
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

    def _dead_letters(self, clock: RunClock, run_id: str, cmdline_hash: str) -> DeadLetters:
        return DeadLetters(
            role=WATCHDOG_ROLE,
            run_id=run_id,
            cmdline_hash=cmdline_hash,
            codec=self._codec,
            clock=clock,
            folders={
                f"{queue}/parts/{role}": queue_folder(self._root, queue)
                for queue in self.queues
                for role in self._roles.writers(queue)
            },
        )

    def _open_order(
        self, opened: ExitStack, clock: RunClock, run_id: str, cmdline_hash: str
    ) -> None:
        """Continue the input log at its end, and complete the merge that it names."""
        root, roles, codec = self._root, self._roles, self._codec
        held = {queue: list(self._step_over(queue)) for queue in self.queues}
        # Opened before they are read: this publishes a range left unpublished.
        acks = {
            queue: opened.enter_context(
                closing(open_side_writer(queue_folder(root, queue), ACKS, sync=False))
            )
            for queue in self.queues
        }
        logged, ranges = self._logged()
        self._restore_copies(ranges, acks)
        copies = {
            f"{queue}/parts/{role}": acks[queue]
            for queue in self.queues
            if queue != HEALTH
            for role in roles.writers(queue)
        }
        self._order = InputLog(
            role=WATCHDOG_ROLE,
            run_id=run_id,
            cmdline_hash=cmdline_hash,
            order_queue=HEALTH,
            codec=codec,
            clock=clock,
            writer=acks[HEALTH],
            copies=copies,
            taken=logged,
        )
        self._complete(ranges, held)
        self._log_unlogged(ranges, held)

    def _step_over(self, queue: str) -> Iterator[str]:
        """Step over the lines of each part in the inbox; yield the writer of each line."""
        with closing(open_reader(self._root, queue)) as inbox:
            while lines := inbox.read(BATCH):
                for line in lines:
                    yield self._step_over_line(queue, line)

    def _step_over_line(self, queue: str, line: Line) -> str:
        for role in self._roles.writers(queue):
            part = self._part(queue, role)
            if part is not None and any(one.json == line.json for one in part.look(1)):
                part.take(1)
                return role
        detail = f"{queue}:{line.seq} is the next line of none of its parts"
        raise IntegrityError(WATCHDOG_ROLE, QUEUE_CHAIN, detail)

    def _logged(self) -> tuple[int, list[Ack]]:
        """Return the number of inputs in the input log, and its ranges."""
        folder = queue_folder(self._root, HEALTH)
        ranges: list[Ack] = []
        if (folder / "acks.head").exists():
            ranges += read_ranges(folder, HEALTH, self._codec.decode)
        last = ranges[-1] if ranges else None
        return (0 if last is None else last.n + last.to_seq - last.from_seq), ranges

    def _restore_copies(self, ranges: list[Ack], acks: Mapping[str, JournalWriter]) -> None:
        """Repeat ranges of the input log that the acks of the other queues lack after a kill."""
        if not ranges:
            return
        held = {queue: _jsons(self._root, queue) for queue in self.queues}
        logged = held.pop(HEALTH)
        for queue, jsons in held.items():
            known = set(jsons)
            lost = [
                json
                for ack, json in zip(ranges, logged, strict=True)
                if ack.queue.startswith(f"{queue}/") and json not in known
            ]
            if lost:
                acks[queue].append_json(lost)

    def _complete(self, ranges: list[Ack], held: Mapping[str, list[str]]) -> None:
        """Copy lines that were logged but not copied; only the last range can have some."""
        merged = {queue: Counter(roles) for queue, roles in held.items()}
        for ack in ranges:
            queue, _, role = ack.queue.split("/")
            missing = ack.to_seq - merged[queue][role]
            part = self._part(queue, role) if missing > 0 else None
            if part is not None:
                lines = part.read(missing)
                self._copy(queue, lines)
                merged[queue][role] += len(lines)
                held[queue].extend(role for _ in lines)

    def _log_unlogged(self, ranges: list[Ack], held: Mapping[str, list[str]]) -> None:
        """Log again lines in the inboxes that the input log has lost."""
        logged = {ack.queue: ack.to_seq for ack in ranges}
        for queue, roles in held.items():
            seen: Counter[str] = Counter()
            for role in roles:
                seen[role] += 1
                part = f"{queue}/parts/{role}"
                if seen[role] > logged.get(part, 0):
                    self._order.take(part, seen[role])
        self._order.close()

    def _part(self, queue: str, role: str) -> JournalReader | None:
        key = (queue, role)
        if key not in self._parts:
            folder = queue_folder(self._root, queue) / "parts"
            if not (folder / f"{role}.head").exists():
                return None
            self._parts[key] = open_reader(self._root, queue, part=role)
        return self._parts[key]

    def _copy(self, queue: str, lines: list[Line]) -> None:
        self._inboxes[queue].append([encode_line(line.json) for line in lines])

    def merge(self, is_ended: Callable[[], bool] = lambda: False) -> int:
        """Copy new lines of the parts into the inboxes; return how many.

        Args:
            is_ended: True from when on the rest of the parts is left to a later call.

        Raises:
            ContractError: For the first line that breaks its contract. It is copied like all
                others, so that the inbox stays the merge of its parts, and also set aside.
        """
        copied, self.is_torn = 0, True
        for queue in self.queues:
            for role in self._roles.writers(queue):
                if not is_ended():
                    copied += self._merge_part(queue, role)
        self._order.copy()
        self.is_torn = False
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused
        return copied

    def _merge_part(self, queue: str, role: str) -> int:
        name, part = f"{queue}/parts/{role}", self._part(queue, role)
        copied = 0
        while part is not None and (lines := part.read(BATCH)):
            for line in lines:
                try:
                    self._letters.decode(name, line)
                except ContractError as error:
                    self._refused = self._refused or error
                self._order.take(name, line.seq)
            self._order.close()  # The range; the log stays open.
            self._copy(queue, lines)
            copied += len(lines)
        return copied

    def sync(self) -> None:
        """Make inboxes and input log durable."""
        self._order.sync()
        for inbox in self._inboxes.values():
            inbox.sync()

    def close(self) -> None:
        """Copy the rest, sync and close; a failed copy does not keep files open.

        A torn merge copies nothing more: the next one to open it continues from the disk.
        """
        with ExitStack() as stack:
            for inbox in self._inboxes.values():
                stack.callback(inbox.close)
            stack.callback(self._order.end)
            for part in self._parts.values():
                stack.callback(part.close)
            if not self.is_torn:
                self.merge()


def _jsons(root: Path, queue: str) -> list[bytes]:
    """Return the acks of a queue's primary reader."""
    found: list[bytes] = []
    with closing(JournalReader(queue_folder(root, queue), ACKS)) as reader:
        while lines := reader.read(BATCH):
            found += [line.json for line in lines]
    return found


def restore_parts(root: Path, codec: Codec) -> list[str]:
    """Restore lines of the parts from their inboxes; there may be no writer.

    Returns:
        The restored lines, one sentence for each part.

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
