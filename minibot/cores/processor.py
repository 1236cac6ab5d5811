"""Processor: one role, one input after another, from the line to the events that follow from it.

Live shell, restart, role replay and joint replay keep a role's place and make its events with this
class, so that all of them drop the same repeats, count the same and derive the same ids. Only plain
rows of market events in a role replay reach the core without it (`engine.replay_rows`), and
backtests (`engine.lockstep`). It knows no role by name. The AI, which has no core, uses `Progress`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from minibot.cores.finalize import finish
from minibot.cores.input_order import (
    Decode,
    DecodeMany,
    KnownIds,
    LineSource,
    LoggedStep,
    Now,
    Skip,
    Taken,
    logged_steps,
    position_from_json,
    position_to_json,
)
from minibot.cores.messages import Message, drafts_of
from minibot.cores.protocol import Core
from minibot.events.model import Ack, Event, JsonObject, RunOpening
from minibot.events.names import TICKS
from minibot.events.reasons import SCHEMA_INVALID
from minibot.kernel.errors import IntegrityError
from minibot.kernel.journal import Position


class Progress:
    """Position of a role in its inputs.

    Args:
        reads: The queues whose events are processed; other lines of an input log are only counted.

    Attributes:
        known: Ids of the last events of each queue.
        now: Market time of the last input.
        taken: Number of inputs, repeats included.
        tick_seq: Number of the last line of `market_ticks` that was taken.
        is_opened: True once an input of a queue read was taken; the first one is `run_opening`.
        dup_dropped: Number of repeats that this object dropped; no snapshot keeps or resets it.
        order: Position in the input log; None before the first input.
        inputs: How far each queue is read.
    """

    def __init__(self, reads: Collection[str]) -> None:
        self.known = KnownIds()
        self.now = Now()
        self.taken = 0
        self.tick_seq = 0
        self.is_opened = False
        self.dup_dropped = 0
        self.order: Position | None = None
        self.inputs: Mapping[str, Position] = {}
        self._reads = frozenset(reads)

    def admit(self, taken: Taken) -> bool:
        """Note an input; return whether it is to be processed: no repeat, and of a queue read.

        Raises:
            IntegrityError: A second `run_opening`; taken, it would forget what the role holds.
        """
        if taken.queue == TICKS:
            self.tick_seq = taken.seq
        if taken.is_known:
            self.dup_dropped += 1
            return False
        if taken.queue not in self._reads:
            return False
        if self.is_opened and isinstance(taken.event.payload, RunOpening):
            raise second_opening(taken.queue, taken.seq)
        self.is_opened = True
        return True

    def logged(
        self,
        ranges: Iterator[Ack],
        open_source: Callable[[str], LineSource],
        decode: Decode,
        *,
        skip: Skip,
        decode_many: DecodeMany,
    ) -> Iterator[tuple[LoggedStep, bool]]:
        """Yield the inputs behind this place in logged order, and whether each is admitted.

        The place counts a range once all its inputs were yielded, lines that `skip` leaves out
        included.

        Raises:
            IntegrityError: A range does not follow the one before, or names a line that is missing.
        """
        for step in logged_steps(
            self._counted(ranges),
            open_source,
            decode,
            self.known,
            self.now,
            taken_before=self.taken,
            skip=skip,
            decode_many=decode_many,
        ):
            yield step, self.admit(step.taken)

    def _counted(self, ranges: Iterator[Ack]) -> Iterator[Ack]:
        """Yield ranges; count their lines as taken, also those that are left out."""
        for ack in ranges:
            yield ack
            self.taken = ack.n + ack.to_seq - ack.from_seq
            if ack.queue == TICKS:
                self.tick_seq = ack.to_seq

    def state(self, order: Position, inputs: Mapping[str, Position]) -> JsonObject:
        """Return the place as canonical JSON values, for a snapshot.

        Args:
            order: How far the input log is written.
            inputs: How far each queue is read.
        """
        return {
            "taken": self.taken,
            "tick_seq": self.tick_seq,
            "now": self.now.value,
            "known": self.known.state(),
            "order": position_to_json(order),
            "inputs": {queue: position_to_json(at) for queue, at in inputs.items()},
        }

    def restore(self, data: JsonObject) -> None:
        """Take over the place of a snapshot; nothing is changed where it cannot be read.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        known, now = KnownIds(data["known"]), Now(data["now"])
        order = position_from_json(data["order"])
        inputs = {queue: position_from_json(at) for queue, at in data["inputs"].items()}
        taken, tick_seq = data["taken"], data["tick_seq"]
        self.known, self.now, self.order, self.inputs = known, now, order, inputs
        self.taken, self.tick_seq = taken, tick_seq
        self.is_opened = any(at.seq for at in inputs.values())


def second_opening(queue: str, seq: int) -> IntegrityError:
    """Return the error of a line that opens a run again."""
    return IntegrityError("runtime", SCHEMA_INVALID, f"{queue}:{seq} is a second run_opening")


class Processor(Progress):
    """One role's core on its way through its inputs.

    Args:
        core: Decides.
        reads: The queues that the role reads.
        run_id, role, cmdline_hash: Stand in every event that follows.
    """

    def __init__(
        self, core: Core, reads: Collection[str], *, run_id: str, role: str, cmdline_hash: str
    ) -> None:
        super().__init__(reads)
        self.core = core
        self._run_id = run_id
        self._role = role
        self._cmdline_hash = cmdline_hash

    def process(self, taken: Taken, now: int) -> list[tuple[str, Event]]:
        """Give an admitted input to the core; return the events that follow, with their queues."""
        messages = self.core.process(taken.event, taken.seq, now)
        return self.finalize(messages, taken.event) if messages else []

    def finalize(self, messages: Sequence[Message], cause: Event) -> list[tuple[str, Event]]:
        """Return the events of what the core said because of one input: ids and causes resolved.

        Raises:
            InvariantError: A message names a later one as its cause, or has none.
        """
        return finish(
            drafts_of(messages),
            cause,
            run_id=self._run_id,
            role=self._role,
            cmdline_hash=self._cmdline_hash,
        )
