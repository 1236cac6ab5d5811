"""Processor: takes the inputs of one role one by one and makes the events that follow.

Live shell, restart, role replay and joint replay all use this class, so that they drop the same
repeats, count the same inputs and derive the same ids. Three ways reach a core without it: plain
rows of market events in a role replay (`engine.replay_rows`), the lockstep of backtests and of
`replay --set` (`engine.lockstep`), and the trial of a strategy (`strategies.trial`). It names no
role. The AI, which has no core, uses `Progress`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from minibot.cores.finalize import finalize_drafts
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
        taken: Number of inputs, including repeats. Only `logged` counts them; live the input log
            does, and its number is copied here for a snapshot.
        tick_seq: Number of the last line of `market_ticks` that was taken.
        is_opened: True after the first admitted input. Live, `Inputs` ensures that it is
            `run_opening`; `logged` relies on the log for that.
        dup_dropped: Number of repeats that this object dropped; no snapshot keeps or resets it.
        order: Position in the input log; None before the first input.
        inputs: Position in each queue.
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
        """Return whether to process an input: it is no repeat, and from a queue in `reads`.

        A repeat of any queue is counted in `dup_dropped`, and the line of a tick is noted; `taken`
        stays.

        Raises:
            IntegrityError: A second `run_opening`, which would erase the role's state.
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
        """Yield the inputs after this position in logged order, and whether each is admitted.

        A range is counted once all its inputs were yielded, including lines that `skip` omits.

        Raises:
            IntegrityError: A range does not follow the one before, or names a missing line.
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
        """Yield ranges; count their lines as taken, including skipped ones."""
        for ack in ranges:
            yield ack
            self.taken = ack.n + ack.to_seq - ack.from_seq
            if ack.queue == TICKS:
                self.tick_seq = ack.to_seq

    def state(self, order: Position, inputs: Mapping[str, Position]) -> JsonObject:
        """Return the position as canonical JSON values, for a snapshot.

        Args:
            order: Position up to which the input log is written.
            inputs: Position up to which each queue is read.
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
        """Take over the position of a snapshot; change nothing if it cannot be read.

        The numbers in it are not checked: the file has a hash.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: A part is missing, or cannot be read.
        """
        known, now = KnownIds(data["known"]), Now(data["now"])
        order = position_from_json(data["order"])
        inputs = {queue: position_from_json(at) for queue, at in data["inputs"].items()}
        taken, tick_seq = data["taken"], data["tick_seq"]
        self.known, self.now, self.order, self.inputs = known, now, order, inputs
        self.taken, self.tick_seq = taken, tick_seq
        self.is_opened = any(at.seq for at in inputs.values())


def second_opening(queue: str, seq: int) -> IntegrityError:
    """Return the error for a line that opens a run again."""
    return IntegrityError("runtime", SCHEMA_INVALID, f"{queue}:{seq} is a second run_opening")


class Processor(Progress):
    """Processor of one role: its core, and its position in its inputs.

    Args:
        core: The core of the role.
        reads: The queues that the role reads.
        run_id, role, cmdline_hash: Fields of every event that it makes.
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
        """Pass an admitted input to the core; return the events that follow, with their queues."""
        messages = self.core.process(taken.event, taken.seq, now)
        return self.finalize(messages, taken.event) if messages else []

    def finalize(self, messages: Sequence[Message], cause: Event) -> list[tuple[str, Event]]:
        """Return the events of the core's messages for one input, with ids and causes.

        Raises:
            InvariantError: A message names itself or a later one as its cause.
        """
        return finalize_drafts(
            drafts_of(messages),
            cause,
            run_id=self._run_id,
            role=self._role,
            cmdline_hash=self._cmdline_hash,
        )
