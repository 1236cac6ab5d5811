"""The places of a lockstep's cores: what each takes of what the others say, and when.

The three cores are told messages as they are; any other core that has `step` takes events and
answers in drafts, as in a night.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from minibot.events.messages import (
    QUEUES,
    ActionMessage,
    FillMessage,
    IntentMessage,
    Message,
    ResultMessage,
    SignalMessage,
)
from minibot.events.model import Draft, Event, Payload
from minibot.events.order import Core
from minibot.events.reference import NOBODY
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.risk.core import RiskCore
from minibot.strategies.core import StrategyCore


@final
class Table:
    """What the seats have in common.

    Attributes:
        ts: The highest `ts` of what came from outside. What the cores say to each other does not
            move it: a message is no later than its causes.
        hashes: `cmdline_hash` by role, for who takes a message as an event.
    """

    __slots__ = ("hashes", "ts")

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self.ts: int = 0
        self.hashes: Mapping[str, str] = hashes


class Seat:
    """One core at the table, and what it is told.

    Args:
        delay_ms: How much later than its own `ts` it takes an event at the earliest.
        table: Where it stands.
    """

    def __init__(self, delay_ms: int, table: Table) -> None:
        self.delay_ms: int = delay_ms
        self.table: Table = table

    @property
    def now(self) -> int:
        """Its market time, which never goes back."""
        return self.table.ts + self.delay_ms

    def at(self, ts: int) -> int:
        """Return its market time when it takes something of `ts` from outside."""
        table = self.table
        if ts > table.ts:
            table.ts = ts
        return table.ts + self.delay_ms

    def heard(self, message: Message) -> list[Message]:
        """Let it take what another one said as its queue holds it: as an event."""
        event = message.event(self.table.hashes[message.role])
        return self.hear(QUEUES[message.place], message.number, event, self.now)

    def hear(self, queue: str, seq: int, event: Event, now: int) -> list[Message]:
        """Let it take an event of the world."""
        raise NotImplementedError

    def take(self, message: Message) -> list[Message] | None:
        """Let it take what another one said; None is that nothing follows."""
        raise NotImplementedError


@final
class StrategySeat(Seat):
    """The strategy's: fills and what risk decided."""

    def __init__(self, core: StrategyCore, delay_ms: int, table: Table) -> None:
        super().__init__(delay_ms, table)
        self.core: StrategyCore = core

    def hear(self, queue: str, seq: int, event: Event, now: int) -> list[Message]:
        """Let it take an event of the world."""
        return self.core.hear(queue, seq, event, now)

    def take(self, message: Message) -> list[Message] | None:
        """Let it take what another one said."""
        if isinstance(message, ActionMessage):
            self.core.on_action(message)
        elif isinstance(message, FillMessage):
            self.core.on_fill(message, self.table.ts + self.delay_ms)
        elif isinstance(message, Drafted):
            return self.heard(message)
        return None


@final
class RiskSeat(Seat):
    """Risk's: signals, results and fills."""

    def __init__(self, core: RiskCore, delay_ms: int, table: Table) -> None:
        super().__init__(delay_ms, table)
        self.core: RiskCore = core

    def hear(self, queue: str, seq: int, event: Event, now: int) -> list[Message]:
        """Let it take an event of the world."""
        return self.core.hear(queue, seq, event, now)

    def take(self, message: Message) -> list[Message] | None:
        """Let it take what another one said."""
        if isinstance(message, ResultMessage):
            self.core.on_result(message, self.table.ts + self.delay_ms)
        elif isinstance(message, SignalMessage):
            return self.core.on_signal(message, self.table.ts + self.delay_ms)
        elif isinstance(message, FillMessage):
            return self.core.on_fill(message, self.table.ts + self.delay_ms)
        elif isinstance(message, Drafted):
            return self.heard(message)
        return None


@final
class ExecutionSeat(Seat):
    """The executor's: intents."""

    def __init__(self, core: PaperExecutorNoreV1, delay_ms: int, table: Table) -> None:
        super().__init__(delay_ms, table)
        self.core: PaperExecutorNoreV1 = core

    def hear(self, queue: str, seq: int, event: Event, now: int) -> list[Message]:
        """Let it take an event of the world."""
        return self.core.hear(queue, seq, event, now)

    def take(self, message: Message) -> list[Message] | None:
        """Let it take what another one said; an intent stands behind its `risk_action` here."""
        if isinstance(message, IntentMessage):
            return self.core.on_intent(message, self.table.ts + self.delay_ms)
        if isinstance(message, Drafted):
            return self.heard(message)
        return None


@final
class EventSeat(Seat):
    """Of any other core: it takes events and answers in drafts."""

    def __init__(self, core: Core, delay_ms: int, table: Table) -> None:
        super().__init__(delay_ms, table)
        self.core: Core = core

    def hear(self, queue: str, seq: int, event: Event, now: int) -> list[Message]:
        """Let it take an event of the world."""
        messages: list[Message] = []
        for draft in self.core.step(queue, seq, event, now):
            messages.append(Drafted(draft, messages))
        return messages

    def take(self, message: Message) -> list[Message] | None:
        """Let it take what another one said, as an event."""
        return self.heard(message)


@final
class Drafted(Message):
    """What a core said in a draft: whoever takes it reads its event."""

    def __init__(self, draft: Draft, before: list[Message]) -> None:
        self.place = QUEUES.index(draft.queue)
        self.ts = draft.ts
        self.tick_seq = draft.tick_seq
        self.cause = NOBODY
        self._causes: tuple[str | int, ...] = draft.cause_ids
        self._said: Payload = draft.payload
        self._before: list[Message] = before

    def _written(self) -> Payload:
        return self._said

    def causes(self) -> tuple[str, ...]:
        """Return the ids of the events that it follows from."""
        return tuple(
            [
                named if isinstance(named, str) else self._before[named].ref.text
                for named in self._causes
            ]
        )


def seat_of(core: Core, delay_ms: int, table: Table) -> Seat:
    """Return the place for a core."""
    if isinstance(core, StrategyCore):
        return StrategySeat(core, delay_ms, table)
    if isinstance(core, RiskCore):
        return RiskSeat(core, delay_ms, table)
    if isinstance(core, PaperExecutorNoreV1):
        return ExecutionSeat(core, delay_ms, table)
    return EventSeat(core, delay_ms, table)
