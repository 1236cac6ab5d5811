"""Decision record: what a report reads of a run, written out while the run decides.

A year of one-minute bars is hundreds of thousands of decisions, of which a report needs the digest,
counts and the trades. So each one is written once, digested and let go: holds, what risk refused,
order results and the account's standing are not kept.
"""

from __future__ import annotations

from collections.abc import Callable

from minibot.cores.messages import QUEUES, RESULTS, Message, SignalMessage
from minibot.engine.decisions import DecisionDigest
from minibot.engine.run_result import BacktestResult, Derived
from minibot.engine.signal_log import SignalLog
from minibot.events.model import BLOCK, HOLD, Event, RiskAction, RiskStanding, Signal


class DecisionRecord:
    """Record of one pass.

    Args:
        has_values: Whether the values that the strategy named are kept too, for pictures.
    """

    def __init__(self, *, has_values: bool) -> None:
        self._digest = DecisionDigest()
        self._signals = SignalLog(has_values=has_values)
        self._kept: dict[str, Derived] = {}
        # Causes of what is kept.
        self._causes: set[str] = set()

    def take(self, message: Message, event_of: Callable[[Message], Event]) -> None:
        """Take the next message; it stands for nothing that changes later."""
        queue, number = QUEUES[message.place], message.number
        if isinstance(message, SignalMessage):
            payload = message.payload()
            if isinstance(payload, Signal):
                self._signals.add(payload, message.ts)
            if message.side == HOLD:
                # Nothing follows from a hold, so that nobody asks for its id.
                self._digest.add_hold(queue, payload, message.tick_seq)
                return
        event = event_of(message)
        self._digest.add(queue, number, event)
        payload = event.payload
        if isinstance(payload, RiskAction) and payload.action == BLOCK:
            self._signals.add_block(payload.reason_code)
            for cause in event.cause_ids or ():
                if cause not in self._causes:
                    self._kept.pop(cause, None)
        elif message.place != RESULTS and not isinstance(payload, RiskStanding):
            self._causes.update(event.cause_ids or ())
            self._kept[event.id] = Derived(queue, number, event)

    def give(self, result: BacktestResult) -> None:
        """Put the recorded events, signals and digest into the result of the pass."""
        result.derived = list(self._kept.values())
        result.log = self._signals
        result.digest = self._digest.hex
