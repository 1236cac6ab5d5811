"""Readable part of a run with a damaged queue: everything before the damage.

A damaged line cannot show whether it, or a line after it, belongs to the time in question. The
cores can: an event's `ts` is that of its latest cause. So if every role can process all its inputs
up to that time again and needs no damaged line on the way, neither as an input nor to compare its
own output, then nothing of that time comes after the damage. No core writes `control`, so that no
replay shows what its lost lines were; it is certain that no role had taken one by then, and so that
none had an effect. Lines that a sealed queue lost with its head are damage of an unknown time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from minibot.cores.protocol import Core
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import replay_role
from minibot.events.model import Event
from minibot.events.names import TICKS
from minibot.kernel.codes import QUEUE_TRUNCATED
from minibot.kernel.errors import ContractError, IntegrityError, RunStop
from minibot.kernel.files import hash_file, read_hashed
from minibot.kernel.head import head_path
from minibot.kernel.queue import INBOX, PARTS, open_reader, queue_folder
from minibot.kernel.seal import QUEUES, SEAL_FILE
from minibot.kernel.segments import active_name

LINES: Final = "jsonl"


class BrokenContract(IntegrityError):
    """A line whose bytes are whole, but whose content breaks its contract.

    Args:
        path: Its file.
        line: Its number, from 1.
        error: The refusal of its content.
    """

    def __init__(self, path: Path, line: int, error: ContractError) -> None:
        detail = f"{path}, line {line}: {error.detail}"
        super().__init__(error.component, error.reason_code, detail)
        self.file, self.line = str(path), line


class LostLines(IntegrityError):
    """The end of a sealed queue, which its head no longer names: it reads as if it ended there."""


class PartialRun:
    """The queues of a run, each up to its first damaged line.

    Attributes:
        damage: By queue, the error that ended its reading; empty while all lines read are whole.
    """

    def __init__(self, recorded: Recorded) -> None:
        self.damage: dict[str, IntegrityError] = {}
        self._recorded = recorded
        self._until = -1  # Proven to be before all damage.

    def events(self, queue: str) -> Iterator[tuple[int, Event]]:
        """Yield (seq, event) of a queue; end before a damaged line as if nothing followed."""
        seq = 0
        try:
            for seq, event in self._recorded.events(queue):
                yield seq, event
            self._require_sealed_end(queue)
        except IntegrityError as error:
            self.damage[queue] = error
        except ContractError as error:
            path = _file_of(self._recorded.queues, queue)
            self.damage[queue] = BrokenContract(path, seq + 1, error)

    def merged(self, queue: str) -> list[tuple[str, int, Event]]:
        """Return (queue, seq, event) of a shared queue by time, with what only its parts hold yet.

        The launcher merges the parts; of one that was killed, only the next start does.
        """
        found = {event.id: (queue, seq, event) for seq, event in self.events(queue)}
        for part in self._recorded.parts(queue):
            for seq, event in self.events(part):
                found.setdefault(event.id, (part, seq, event))
        return sorted(found.values(), key=lambda item: item[2].ts)

    def require_whole(self, *queues: str) -> None:
        """Refuse unless the named queues, or all that were read if none is named, are whole.

        Raises:
            IntegrityError: One of them is damaged.
        """
        for queue, error in self.damage.items():
            if not queues or queue in queues:
                raise error

    def require_bytes(self, *queues: str) -> None:
        """Refuse unless the bytes of the named queues, or of all, are whole, whatever a line says.

        Raises:
            IntegrityError: They are not.
        """
        for queue, error in self.damage.items():
            if (not queues or queue in queues) and not isinstance(error, BrokenContract):
                raise error

    def require_until(self, ts: int) -> None:
        """Refuse a time of the run to which a damaged line may belong.

        Args:
            ts: The last millisecond of the time in question, Unix ms.

        Raises:
            IntegrityError: A queue that was read is damaged, and a replay up to then needs the
                damaged line or deviates from the record, so the question cannot be answered. Of
                `LostLines` no time is known, so that every question is refused.
        """
        if not self.damage or ts <= self._until:
            return
        for error in self.damage.values():
            if isinstance(error, LostLines):
                raise error
        for name in self._recorded.roles.cores:
            listener = _UpTo(ts, self._last_inputs(name, ts))
            try:
                differs = (
                    replay_role(self._recorded, name, listener=listener).difference is not None
                )
            except _AllTaken:
                continue
            except ContractError:  # It needs a line that breaks its contract.
                differs = True
            if differs:
                self.require_whole()
        self._until = ts

    @cached_property
    def _sealed(self) -> dict[str, tuple[int, str]]:
        """Size and sha256 of each sealed file by name; empty without a seal that can be read."""
        path = self._recorded.run_dir / SEAL_FILE
        try:
            files = read_hashed(path)["files"] if path.is_file() else {}
            return {name: (entry["size"], entry["sha256"]) for name, entry in files.items()}
        except (RunStop, KeyError, TypeError, AttributeError):
            return {}

    def _require_sealed_end(self, queue: str) -> None:
        """Refuse a sealed queue whose head was changed or removed, and ends before its lines do.

        A shared queue with parts is not judged, as they hold its lines too.

        Raises:
            LostLines: It is one.
        """
        begin = f"{QUEUES}/{queue}/{INBOX}."
        names = [name for name in self._sealed if name.startswith(begin) and name.endswith(LINES)]
        if not names or self._recorded.parts(queue):
            return
        path = head_path(queue_folder(self._recorded.queues, queue), INBOX)
        reader = open_reader(self._recorded.queues, queue)
        found = reader.head()
        reader.close()
        size, _ = self._sealed.get(f"{begin}{LINES}", (0, ""))
        is_short = (found.segment, found.offset) < (len(names), size)
        head = self._sealed.get(f"{begin}head")
        if is_short and not (path.exists() and hash_file(path) == head):
            detail = "the lines end before the sealed ones"
            raise LostLines("replay", QUEUE_TRUNCATED, detail, file=str(path))

    def _last_inputs(self, name: str, ts: int) -> dict[str, int]:
        """Return, by queue, the last undamaged line of a time that a role has processed.

        Market events are left out, and so are lines that the role never reached.
        """
        role = self._recorded.roles.roles[name]
        taken = {ack.queue: ack.to_seq for ack in self._recorded.order_log(role)}
        last = {}
        for queue in sorted(taken.keys() & set(role.inputs) - {TICKS}):
            events = PartialRun(self._recorded).events(queue)
            seqs = (seq for seq, event in events if event.ts <= ts and seq <= taken[queue])
            last[queue] = max(seqs, default=0)
        return last

    def notes(self, consequence: str) -> list[str]:
        """Return a sentence for each damaged queue: the place of the damage and its consequence."""
        return [
            f"{queue} is damaged ({_place(error)}): {consequence}"
            for queue, error in self.damage.items()
        ]


class _AllTaken(Exception):
    """Signal that a role has processed all inputs of a time, and their effects are compared."""


class _UpTo:
    """Hook that ends a replay with `_AllTaken` before the first input after a time.

    Args:
        ts: The last millisecond of the time, Unix ms; market events come in order of `ts`.
        last: For every other queue that the role reads, the last line of that time.
    """

    def __init__(self, ts: int, last: dict[str, int]) -> None:
        self._ts = ts
        self._last = last
        self._left = {queue for queue, seq in last.items() if seq}
        self._is_past = False

    def on_inputs(self, queue: str, first_seq: int, events: Sequence[Event]) -> None:
        """End the replay once these inputs are later than the time and none of the time is left.

        Raises:
            _AllTaken: Market time is past it, and every other queue is past its line in `last`.
        """
        seq = first_seq + len(events) - 1
        if queue == TICKS:
            self._is_past = events[-1].ts > self._ts
            is_past = self._is_past
        else:
            is_past = seq > self._last.get(queue, 0)
        if is_past and self._is_past and not self._left:
            raise _AllTaken
        if seq >= self._last.get(queue, 0):
            self._left.discard(queue)

    def on_made(self, core: Core, events: Sequence[tuple[str, Event]]) -> None:
        """Do nothing: the replay compares what the core derives."""


def _file_of(queues: Path, queue: str) -> Path:
    """Return the file of a queue, or of one part of it, that its writer appends to."""
    return queues / (
        active_name(queue) if f"/{PARTS}/" in queue else f"{queue}/{active_name(INBOX)}"
    )


def _place(error: IntegrityError) -> str:
    name = Path(error.file).name
    return f"{name}, line {error.line}" if error.line else name
