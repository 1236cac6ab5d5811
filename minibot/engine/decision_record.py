"""Decision record: what a report reads of a run, written out while the run decides.

A year of one-minute bars is hundreds of thousands of decisions, of which a report needs the digest,
counts and the trades. So each one is written once, digested and let go: holds, what risk refused,
order results and the account's standing are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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

    def take(self, messages: Iterable[Message], event_of: Callable[[Message], Event]) -> None:
        """Take the next messages; they stand for nothing that changes later."""
        digest, signals, kept, causes = self._digest, self._signals, self._kept, self._causes
        for message in messages:
            queue, number = QUEUES[message.place], message.number
            if isinstance(message, SignalMessage):
                payload = message.payload()
                if isinstance(payload, Signal):
                    signals.add(payload, message.ts)
                if message.side == HOLD:
                    # Nothing follows from a hold, so that nobody asks for its id.
                    digest.add_hold(queue, payload, message.tick_seq)
                    continue
            event = event_of(message)
            digest.add(queue, number, event)
            payload = event.payload
            if isinstance(payload, RiskAction) and payload.action == BLOCK:
                signals.add_block(payload.reason_code)
                for cause in event.cause_ids or ():
                    if cause not in causes:
                        kept.pop(cause, None)
            elif message.place != RESULTS and not isinstance(payload, RiskStanding):
                causes.update(event.cause_ids or ())
                kept[event.id] = Derived(queue, number, event)

    def give(self, result: BacktestResult) -> None:
        """Put the recorded events, signals and digest into the result of the pass."""
        result.derived = list(self._kept.values())
        result.log = self._signals
        result.digest = self._digest.hex
