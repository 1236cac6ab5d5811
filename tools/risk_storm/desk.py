"""Desk of a storm: risk and execution, each with its queues, as in a night.

What one role writes the other takes in the order of its queue, but it may take it late: between
queues nothing is promised. A desk that restarts replaces a core by the one that its state gives,
through canonical JSON, at moments that change nothing for anybody else.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from minibot.cores.messages import (
    QUEUES,
    ActionMessage,
    CancelMessage,
    FillMessage,
    IntentMessage,
    Message,
    ResultMessage,
)
from minibot.cores.protocol import Core, Input
from minibot.events.model import JsonObject
from minibot.events.names import (
    CONTROL,
    EXECUTION_ROLE,
    FILLS,
    ORDER_INTENTS,
    ORDER_RESULTS,
    RISK_ROLE,
    SIGNALS,
    TICKS,
)
from minibot.execution import core as execution
from minibot.kernel.canonical import decode, encode
from minibot.risk import core as risk
from tools.risk_storm.nights import Given

READ: Final = {
    RISK_ROLE: (CONTROL, FILLS, ORDER_RESULTS, SIGNALS, TICKS),
    EXECUTION_ROLE: (CONTROL, ORDER_INTENTS, TICKS),
}
MADE_BY: Final = {RISK_ROLE: risk, EXECUTION_ROLE: execution}
RESTART_SHARE: Final = 0.02
NAP_STEPS_MAX: Final = 6

Record = tuple[object, ...]
"""One message in values that can be compared."""


class Watcher(Protocol):
    """Whoever looks on while a desk works."""

    def on_step(
        self, role: str, core: Core, item: Input, said: Sequence[Message], now: int
    ) -> None:
        """Take one step of a role: its core, what it took, what it said, and its market time."""


class Desk:
    """Two cores with their queues.

    Args:
        config: The night's profile.
        late: Chance by which a role is late; the same for two desks that are compared.
        is_late: Whether roles are late at all.
        restarts: Chance by which a core restarts; None for never.
        watcher: Told of each step; None for nobody.

    Attributes:
        records: Everything that was said, in order.
        events: How many inputs and messages there were.
    """

    def __init__(
        self,
        config: JsonObject,
        late: random.Random,
        *,
        is_late: bool,
        restarts: random.Random | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self._config, self._late, self._is_late = config, late, is_late
        self._restarts, self._watcher = restarts, watcher
        self.cores: dict[str, Core] = {
            role: module.core_from_config(config) for role, module in MADE_BY.items()
        }
        self._waiting: dict[str, dict[str, deque[tuple[int, Input]]]] = {
            role: {queue: deque() for queue in queues} for role, queues in READ.items()
        }
        self._now = dict.fromkeys(READ, 0)
        self._naps = dict.fromkeys(READ, 0)
        self._numbers: dict[str, int] = {}
        self.records: list[Record] = []
        self.events = 0

    def take(self, given: Given) -> None:
        """Take an input from outside, and what follows from it as far as nobody is late."""
        self.events += 1
        for role, queues in READ.items():
            if given.queue in queues:
                self._waiting[role][given.queue].append((given.seq, given.item))
        # The opening is taken by all before anything else is there.
        if self._is_late and self.events > 1:
            for role in READ:
                if not self._naps[role] and self._late.random() < 0.05:
                    self._naps[role] = self._late.randint(1, NAP_STEPS_MAX)
        self._work()
        for role, left in self._naps.items():
            self._naps[role] = max(0, left - 1)

    def settle(self) -> None:
        """Let every role take all that waits for it."""
        self._naps = dict.fromkeys(READ, 0)
        self._work()

    def _work(self) -> None:
        """Let the roles work, a step each in turn, until nothing waits for one that is awake."""
        is_busy = True
        while is_busy:
            is_busy = False
            for role, waiting in self._waiting.items():
                queues = [queue for queue, items in waiting.items() if items]
                if queues and not self._naps[role]:
                    is_busy = True
                    # In rule order what was said comes first; a late role takes any queue first.
                    queue = self._late.choice(queues) if self._is_late else queues[0]
                    self._step(role, *waiting[queue].popleft())

    def _step(self, role: str, seq: int, item: Input) -> None:
        now = self._now[role] = max(self._now[role], item.ts)
        core = self.cores[role]
        said = core.process(item, seq, now) or []
        for message in said:
            self.events += 1
            queue = QUEUES[message.place]
            message.number = self._numbers[queue] = self._numbers.get(queue, 0) + 1
            self.records.append(record_of(message))
            for other, queues in READ.items():
                if queue in queues:
                    self._waiting[other][queue].append((message.number, message))
        if self._watcher is not None:
            self._watcher.on_step(role, core, item, said, now)
        if self._restarts is not None and self._restarts.random() < RESTART_SHARE:
            state = decode(encode(core.state()))
            self.cores[role] = MADE_BY[role].core_from_state(self._config, state)


def record_of(message: Message) -> Record:
    """Return a message in values that can be compared; texts are left out, as they cost."""
    head: Record = (message.place, message.ts, message.tick_seq, message.ordinal)
    if isinstance(message, ActionMessage):
        return (*head, message.action, message.reason_code, message.symbol)
    if isinstance(message, IntentMessage):
        return (
            *head,
            *(message.symbol, message.side, message.qty, message.order_type, message.purpose),
            *(message.stop, message.target, message.limit, message.expires_ts),
            *(message.client.text, message.replaces and message.replaces.text),
        )
    if isinstance(message, ResultMessage):
        return (*head, message.client.text, message.result, message.filled, message.trigger)
    if isinstance(message, FillMessage):
        amounts = (message.qty, message.price, message.fee, message.fee_asset)
        return (*head, message.symbol, message.side, *amounts, message.client.text)
    if isinstance(message, CancelMessage):
        return (*head, message.symbol, message.client.text)
    return (*head, encode(message.payload().to_json()))
