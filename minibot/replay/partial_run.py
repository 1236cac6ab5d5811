"""What can be said about a run of which a queue is damaged: everything before the damage.

Whether a damaged line, or one behind it, belongs to the time that somebody asks about, it cannot
say itself. The cores can: an event is as old as the youngest of its causes, so where every role
takes all its inputs up to that time again and needs no damaged line on the way, neither as input
nor to compare what it wrote, there is nothing of that time behind the damage. Of `control`, which
no core writes, it is certain that no role had come to the damaged line by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from minibot.cores.protocol import Core
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import replay_role
from minibot.events.model import Event
from minibot.events.names import TICKS
from minibot.kernel.errors import IntegrityError


class PartialRun:
    """The queues of a run, each up to its first damaged line.

    Attributes:
        damage: By queue what ended its reading; empty as long as all that was read is whole.
    """

    def __init__(self, recorded: Recorded) -> None:
        self.damage: dict[str, IntegrityError] = {}
        self._recorded = recorded
        self._until = -1  # Proven to be before all damage.

    def events(self, queue: str) -> Iterator[tuple[int, Event]]:
        """Yield (seq, event) of a queue; ends before a damaged line as if nothing followed."""
        try:
            yield from self._recorded.events(queue)
        except IntegrityError as error:
            self.damage[queue] = error

    def require_whole(self, *queues: str) -> None:
        """Refuse what can only be said of whole queues; of all that were read where none is named.

        Raises:
            IntegrityError: One of them is damaged.
        """
        for queue, error in self.damage.items():
            if not queues or queue in queues:
                raise error

    def require_until(self, ts: int) -> None:
        """Refuse a time of the run that a damaged line may belong to.

        Args:
            ts: The last millisecond that is asked about, Unix ms.

        Raises:
            IntegrityError: A queue that was read is damaged, and a replay up to then needs that
                line, or decides otherwise than was recorded, so that nobody knows.
        """
        if not self.damage or ts <= self._until:
            return
        for name in self._recorded.roles.cores:
            listener = _UpTo(ts, self._last_inputs(name, ts))
            try:
                found = replay_role(self._recorded, name, listener=listener)
            except _AllTaken:
                continue
            if found.difference is not None:
                self.require_whole()
        self._until = ts

    def _last_inputs(self, name: str, ts: int) -> dict[str, int]:
        """Return by queue the last line of a time, before its damage, that a role has taken.

        Market events are left out; and of a queue what the role never came to.
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
        """Return a sentence for each damaged queue: where it is damaged, and so what."""
        return [
            f"{queue} is damaged ({_place(error)}): {consequence}"
            for queue, error in self.damage.items()
        ]


class _AllTaken(Exception):
    """A role has taken all its inputs of a time, and what follows from them is compared."""


class _UpTo:
    """Ends a replay by `_AllTaken` before the first input that is not of a time any more.

    Args:
        ts: The last millisecond of the time, Unix ms; market events come in its order.
        last: By every other queue that the role reads the last line of that time.
    """

    def __init__(self, ts: int, last: dict[str, int]) -> None:
        self._ts = ts
        self._last = last
        self._left = {queue for queue, seq in last.items() if seq}
        self._is_past = False

    def on_inputs(self, queue: str, first_seq: int, events: Sequence[Event]) -> None:
        """Look whether the last of these inputs, from which something may follow, is of the time.

        Raises:
            _AllTaken: It is not, and none is left that would be.
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
        """What follows is compared by the replay."""


def _place(error: IntegrityError) -> str:
    name = Path(error.file).name
    return f"{name}, line {error.line}" if error.line else name
