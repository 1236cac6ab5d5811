"""The places of a lockstep's cores: when each takes something, and how another core is told.

The three cores are told messages as they are; a core of another class, which has `step` alone,
takes events and answers in drafts, as in a night.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from minibot.cores.event_id import EventId, named
from minibot.cores.input_order import Core
from minibot.cores.messages import (
    ACTIONS,
    FILLS,
    INTENTS,
    QUEUES,
    RESULTS,
    SIGNALS,
    ActionMessage,
    FillMessage,
    IntentMessage,
    Message,
    ResultMessage,
    SignalMessage,
)
from minibot.events.model import Draft, Event, Payload
from minibot.events.names import EXECUTION_ROLE, RISK_ROLE, STRATEGY_ROLE
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.risk.core import RiskCore
from minibot.strategies.core import StrategyCore


@final
class Table:
    """State that all ports share.

    Attributes:
        ts: The highest `ts` of what came from outside. What the cores say to each other does not
            move it: a message is no later than its causes.
        hashes: `cmdline_hash` by role, for who takes a message as an event.
    """

    __slots__ = ("hashes", "ts")

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self.ts: int = 0
        self.hashes: Mapping[str, str] = hashes


class Port:
    """One core at the table, and what it is told.

    Args:
        delay_ms: How much later than its own `ts` it takes an event at the earliest.
        table: Where it stands.

    Attributes:
        ROLE: Whose core it is, where that is one of the three.
        TAKES: Which kinds of message it understands, by place; None for all of them.
    """

    ROLE: ClassVar[str] = ""
    TAKES: ClassVar[frozenset[int] | None] = None
    __slots__ = ("delay_ms", "table")

    def __init__(self, delay_ms: int, table: Table) -> None:
        self.delay_ms: int = delay_ms
        self.table: Table = table

    def at(self, ts: int) -> int:
        """Return its market time, which never goes back, when it takes something of `ts`."""
        table = self.table
        if ts > table.ts:
            table.ts = ts
        return table.ts + self.delay_ms

    def hear(self, queue: str, seq: int, event: Event, now: int) -> list[Message]:
        """Let it take an event."""
        raise NotImplementedError

    def take(self, message: Message) -> list[Message] | None:
        """Let it take what another core said, and return its answer; None or nothing for none."""
        raise NotImplementedError


@final
class StrategyPort(Port):
    """The strategy's."""

    ROLE: ClassVar[str] = STRATEGY_ROLE
    TAKES: ClassVar[frozenset[int] | None] = frozenset({FILLS, ACTIONS})
    __slots__ = ("core",)

    def __init__(self, core: StrategyCore, delay_ms: int, table: Table) -> None:
        super().__init__(delay_ms, table)
        self.core: StrategyCore = core

    def hear(self, queue: str, seq: int, event: Event, now: int) -> list[Message]:
        """Let it take an event."""
        return self.core.hear(queue, seq, event, now)

    def take(self, message: Message) -> list[Message] | None:
        """Let it take a fill, or what risk made of a signal."""
        if isinstance(message, FillMessage):
            self.core.on_fill(message, self.table.ts + self.delay_ms)
        elif isinstance(message, ActionMessage):
            self.core.on_action(message)
        return None


@final
class RiskPort(Port):
    """Risk's."""

    ROLE: ClassVar[str] = RISK_ROLE
    TAKES: ClassVar[frozenset[int] | None] = frozenset({FILLS, RESULTS, SIGNALS})
    __slots__ = ("core",)

    def __init__(self, core: RiskCore, delay_ms: int, table: Table) -> None:
        super().__init__(delay_ms, table)
        self.core: RiskCore = core

    def hear(self, queue: str, seq: int, event: Event, now: int) -> list[Message]:
        """Let it take an event."""
        return self.core.hear(queue, seq, event, now)

    def take(self, message: Message) -> list[Message] | None:
        """Let it take a signal, or what became of an order."""
        now = self.table.ts + self.delay_ms
        if isinstance(message, ResultMessage):
            self.core.on_result(message, now)
            return None
        if isinstance(message, SignalMessage):
            return self.core.on_signal(message, now)
        return self.core.on_fill(message, now) if isinstance(message, FillMessage) else None


@final
class ExecutionPort(Port):
    """The executor's."""

    ROLE: ClassVar[str] = EXECUTION_ROLE
    TAKES: ClassVar[frozenset[int] | None] = frozenset({INTENTS})
    __slots__ = ("core",)

    def __init__(self, core: PaperExecutorNoreV1, delay_ms: int, table: Table) -> None:
        super().__init__(delay_ms, table)
        self.core: PaperExecutorNoreV1 = core

    def hear(self, queue: str, seq: int, event: Event, now: int) -> list[Message]:
        """Let it take an event."""
        return self.core.hear(queue, seq, event, now)

    def take(self, message: Message) -> list[Message] | None:
        """Let it take an order that risk allowed; the action of it stands before it."""
        if isinstance(message, IntentMessage):
            return [self.core.on_intent(message, self.table.ts + self.delay_ms)]
        return None


@final
class EventPort(Port):
    """Port of a lockstep with a core of another class: it takes events and answers in drafts."""

    __slots__ = ("core",)

    def __init__(self, core: Core, delay_ms: int, table: Table) -> None:
        super().__init__(delay_ms, table)
        self.core: Core = core

    def hear(self, queue: str, seq: int, event: Event, now: int) -> list[Message]:
        """Let it take an event."""
        messages: list[Message] = []
        cause = named(event.id, event.run_id)
        for draft in self.core.step(queue, seq, event, now):
            messages.append(Drafted(draft, cause, messages))
        return messages

    def take(self, message: Message) -> list[Message]:
        """Let it take what another one said as its queue holds it."""
        event = message.event(self.table.hashes[message.role])
        return self.hear(
            QUEUES[message.place], message.number, event, self.table.ts + self.delay_ms
        )


@final
class Drafted(Message):
    """Message made of a core's draft; its receiver reads it as an event."""

    def __init__(self, draft: Draft, cause: EventId, before: list[Message]) -> None:
        self.place = QUEUES.index(draft.queue)
        self.ts = draft.ts
        self.tick_seq = draft.tick_seq
        self.cause = cause
        self.ordinal = len(before)
        self._causes: tuple[str | int, ...] = draft.cause_ids
        self._said: Payload = draft.payload
        self._before: list[Message] = before

    def _written(self) -> Payload:
        return self._said

    def causes(self) -> tuple[str, ...]:
        """Return the ids of the events that it follows from."""
        return tuple(
            [
                named if isinstance(named, str) else self._before[named].ref().text
                for named in self._causes
            ]
        )


@final
class OwnPorts:
    """Those of the three cores themselves, which understand each other's messages."""

    __slots__ = ("execution", "risk", "strategy")

    def __init__(self, strategy: StrategyPort, execution: ExecutionPort, risk: RiskPort) -> None:
        self.strategy: StrategyPort = strategy
        self.execution: ExecutionPort = execution
        self.risk: RiskPort = risk

    def by_role(self) -> dict[str, Port]:
        """Return each seat by the role of its core."""
        seats: list[Port] = [self.strategy, self.execution, self.risk]
        return {seat.ROLE: seat for seat in seats}


def own_ports(
    cores: Mapping[str, Core], delays_ms: Mapping[str, int], table: Table
) -> OwnPorts | None:
    """Return the places of the three cores; None where one of them is of another class."""
    strategy, execution, risk = cores[STRATEGY_ROLE], cores[EXECUTION_ROLE], cores[RISK_ROLE]
    if (
        isinstance(strategy, StrategyCore)
        and isinstance(execution, PaperExecutorNoreV1)
        and isinstance(risk, RiskCore)
    ):
        return OwnPorts(
            StrategyPort(strategy, delays_ms.get(STRATEGY_ROLE, 0), table),
            ExecutionPort(execution, delays_ms.get(EXECUTION_ROLE, 0), table),
            RiskPort(risk, delays_ms.get(RISK_ROLE, 0), table),
        )
    return None
