"""Decision record: the parts of a run that a report reads, recorded while the run decides.

A year of one-minute bars has hundreds of thousands of decisions; a report needs their digest,
counts and the trades. So each decision is encoded once, added to the digest and dropped. Only what
trades are made of becomes events: fills, orders, the BUY signals from which an order followed, and
risk's exits; a SELL of the strategy is only counted, as the exit that risk makes of it is kept.
Figures need still less: the fills, and whether an order had a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minibot.cores.event_id import EventId
from minibot.cores.messages import (
    FILLS,
    QUEUES,
    ActionMessage,
    FillMessage,
    IntentMessage,
    Message,
    ResultMessage,
    SignalMessage,
)
from minibot.engine.decisions import DecisionDigest
from minibot.engine.run_result import BacktestResult, Derived
from minibot.engine.signal_log import UNFILLED, SignalLog
from minibot.events.model import BLOCK, BUY, EXIT, Event, OrderResult, Signal


class DecisionRecord:
    """Record of one pass.

    Args:
        is_for_page: Whether a page is made, which also needs the reasons of trades and the values
            that the strategy named; else only fills and orders with a limit become events.
    """

    def __init__(self, *, is_for_page: bool) -> None:
        self._is_for_page = is_for_page
        self._digest = DecisionDigest()
        self._signals = SignalLog(has_values=is_for_page)
        # By the objects that stand for ids: cores hand them on. A purchase's signal is kept as its
        # message until an order follows from it; without one it is dropped.
        self._kept: dict[EventId, Derived | SignalMessage] = {}

    def take(self, messages: Sequence[Message], event_of: Callable[[Message], Event]) -> None:
        """Take the next messages, whose contents do not change later.

        Each step goes through all of them: switching steps for each message made it a quarter
        slower, as code left the processor's cache.
        """
        for message in messages:
            message.payload()
        self._log(messages)
        self._digest.add_messages(messages)
        if self._is_for_page:
            self._keep(messages, event_of)
            return
        for message in messages:
            if message.place == FILLS or _has_limit(message):
                self._kept[message.ref()] = _written(message, event_of)

    def _log(self, messages: Sequence[Message]) -> None:
        """Log signals, refusals of risk, and orders that ended unfilled."""
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
        """Keep fills and orders, and what gives the reasons of trades."""
        kept = self._kept
        for message in messages:
            if isinstance(message, SignalMessage):
                if message.side == BUY:
                    kept[message.ref()] = message
                continue
            if isinstance(message, IntentMessage):
                for cause in message.causes():
                    former = kept.get(cause)
                    if isinstance(former, SignalMessage):
                        kept[cause] = _written(former, event_of)
            elif isinstance(message, ActionMessage) and message.action == BLOCK:
                for cause in message.causes():
                    if isinstance(kept.get(cause), SignalMessage):
                        del kept[cause]
            if _has_reason(message):
                kept[message.ref()] = _written(message, event_of)

    def give(self, result: BacktestResult, event_of: Callable[[Message], Event]) -> None:
        """Store the recorded events, signals and digest in the result of the pass."""
        result.derived = [
            each for each in self._kept.values() if not isinstance(each, SignalMessage)
        ]
        result.log = self._signals
        result.digest = self._digest.hex


def _has_limit(message: Message) -> bool:
    return isinstance(message, IntentMessage) and message.limit is not None


def _has_reason(message: Message) -> bool:
    """Return whether a trade is made of a message, or was left because of it."""
    if isinstance(message, ActionMessage):
        return message.action == EXIT
    return isinstance(message, FillMessage | IntentMessage)


def _written(message: Message, event_of: Callable[[Message], Event]) -> Derived:
    return Derived(QUEUES[message.place], message.number, event_of(message))
