"""Decision record: what a report reads of a run, written out while the run decides.

A year of one-minute bars is hundreds of thousands of decisions, of which a report needs the digest,
counts and the trades. So each one is written once, digested and let go: holds, what risk refused,
order results and the account's standing are not kept, and no event is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minibot.cores.event_id import EventId
from minibot.cores.messages import (
    QUEUES,
    RESULTS,
    ActionMessage,
    Message,
    ResultMessage,
    SignalMessage,
    ToldMessage,
)
from minibot.engine.decisions import DecisionDigest
from minibot.engine.run_result import BacktestResult, Derived
from minibot.engine.signal_log import UNFILLED, SignalLog
from minibot.events.model import BLOCK, HOLD, Event, OrderResult, RiskStanding, Signal


class DecisionRecord:
    """Record of one pass.

    Args:
        has_values: Whether the values that the strategy named are kept too, for pictures.
    """

    def __init__(self, *, has_values: bool) -> None:
        self._digest = DecisionDigest()
        self._signals = SignalLog(has_values=has_values)
        # By the objects that stand for ids: cores hand them on. A signal is kept as its message
        # until something follows from it that is kept: most signals are refused.
        self._kept: dict[EventId, Derived | SignalMessage] = {}
        # Causes of what is kept.
        self._causes: set[EventId] = set()

    def take(self, messages: Sequence[Message], event_of: Callable[[Message], Event]) -> None:
        """Take the next messages; they stand for nothing that changes later.

        Each step takes all of them: from message to message, its code would come from a cold cache,
        which made writing a quarter longer.
        """
        for message in messages:
            message.payload()
        self._log(messages)
        self._digest.add_messages(messages)
        self._keep(messages, event_of)

    def _log(self, messages: Sequence[Message]) -> None:
        """Log signals, what risk refused, and orders that ended unfilled."""
        log = self._signals
        for message in messages:
            if isinstance(message, SignalMessage):
                signal = message.payload()
                if isinstance(signal, Signal):
                    log.add(signal, message.ts)
            elif isinstance(message, ActionMessage) and message.action == BLOCK:
                log.add_block(message.reason_code)
            elif isinstance(message, ResultMessage) and message.result in UNFILLED:
                result = message.payload()
                if isinstance(result, OrderResult):
                    log.add_result(result)

    def _keep(self, messages: Sequence[Message], event_of: Callable[[Message], Event]) -> None:
        """Keep what a report reads, and that from which it follows."""
        kept, causes = self._kept, self._causes
        for message in messages:
            if isinstance(message, SignalMessage):
                if message.side != HOLD:  # Nothing follows from a hold.
                    kept[message.ref()] = message
            elif isinstance(message, ActionMessage) and message.action == BLOCK:
                for cause in message.causes():
                    # A fill may cause one too, as where what it left is too little to protect.
                    if cause not in causes and isinstance(kept.get(cause), SignalMessage):
                        del kept[cause]
            elif message.place != RESULTS and not _is_standing(message):
                for cause in message.causes():
                    causes.add(cause)
                    former = kept.get(cause)
                    if isinstance(former, SignalMessage):
                        kept[cause] = _written(former, event_of)
                kept[message.ref()] = _written(message, event_of)

    def give(self, result: BacktestResult, event_of: Callable[[Message], Event]) -> None:
        """Put the recorded events, signals and digest into the result of the pass."""
        result.derived = [
            _written(each, event_of) if isinstance(each, SignalMessage) else each
            for each in self._kept.values()
        ]
        result.log = self._signals
        result.digest = self._digest.hex


def _is_standing(message: Message) -> bool:
    return isinstance(message, ToldMessage) and isinstance(message.told, RiskStanding)


def _written(message: Message, event_of: Callable[[Message], Event]) -> Derived:
    return Derived(QUEUES[message.place], message.number, event_of(message))
