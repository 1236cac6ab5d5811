"""Core: the interface of strategy, risk and execution towards every caller.

A core has one entry, `process`. For each symbol it may name a range in which ticks change nothing
(`quiet_range`, or `quiet_ticks` for a caller that passes each bar and beat at its time);
a caller with several such ticks in a row then passes only the last (`skip_to`).
There is no other way in. Events, messages of other cores, ticks without an event (in floats for the
strategy, in whole numbers for the others) and closed bars therefore take the same way live, in
replay and in a backtest.
"""

from __future__ import annotations

from typing import ClassVar

from minibot.cores.closed_bar import BarInput
from minibot.cores.messages import Message
from minibot.cores.scaled_tick import QuietRange, ScaledTick
from minibot.events.model import Event, JsonObject
from minibot.events.native import mypyc_attr
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.kernel.errors import InvariantError


class ShownTick:
    """A tick in the form that the strategy reads; a base class.

    The strategy's core has one for each symbol and keeps it; a source of ticks fills it.

    Attributes:
        ts: Market time at which it was received, ms; -1 before the first tick.
        scaled: The same tick in whole numbers, for the other cores.
    """

    __slots__ = ("scaled", "ts")

    def __init__(self) -> None:
        self.ts: int = -1
        self.scaled: ScaledTick = ScaledTick()


Input = Event | Message | ScaledTick | ShownTick | BarInput
"""Input of a core. The strategy raises TypeError for `ScaledTick`, risk and execution for
`ShownTick`."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Core:
    """State plus one function from an input to messages; the same object live and in replay.

    Attributes:
        TAKES: The kinds of messages that it processes, by place in `cores.messages.QUEUES`. Only a
            lockstep reads it, and refuses a core whose role reads other queues.
        TAKES_BARS: Whether it takes closed bars without events.
        TAKES_MARKS: Whether it values positions. A caller of `quiet_ticks` with several symbols
            may pass it single ticks within the ranges by `process`, as each moves equity; the
            caller chooses which. All cores get the last tick of each symbol by `skip_to`.
    """

    TAKES: ClassVar[frozenset[int]] = frozenset()
    TAKES_BARS: ClassVar[bool] = True
    TAKES_MARKS: ClassVar[bool] = True
    __slots__ = ()

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        """Process one input; return the messages that follow, None or an empty list for none.

        Args:
            item: The input.
            seq: The number of its line in its queue. A message may come with 0, as
                `engine.lockstep` numbers messages only for a listener.
            now: Market time in ms, which never goes back.
        """
        raise NotImplementedError

    def quiet_range(self, symbol: str, now: int) -> QuietRange | None:
        """Return the range of touches in which a symbol's ticks change nothing; None for none.

        For ticks in a row within the range, `skip_to` with the last one leaves the core in the same
        state as `process` with each. The core may refill the returned object at the next call of
        this function or of `quiet_ticks`, for whatever symbol.
        """
        return None

    def quiet_ticks(self, symbol: str, now: int) -> QuietRange | None:
        """Return the same for a caller that passes each bar and each `beat` at its time.

        The core may get ticks of other symbols between the skipped ones. For a held symbol the
        range is valid only while all positions together stay within its `fall` and `rise`, counted
        from their value at this call.
        """
        return self.quiet_range(symbol, now)

    def skip_to(
        self, tick: ScaledTick, seq: int, now: int, is_bid_new: bool, is_ask_new: bool
    ) -> None:
        """Take the last of several ticks in a row within the quiet range.

        Args:
            tick: The last tick.
            seq: The number of its line.
            now: Market time in ms.
            is_bid_new: Whether price or size of the bid changed among these ticks, even briefly.
            is_ask_new: The same for the ask.

        Raises:
            InvariantError: A message followed from the tick.
        """
        if self.process(tick, seq, now):
            detail = f"market_ticks:{seq}: expected no message in the quiet range, found some"
            raise InvariantError(type(self).__name__, INVARIANT_BROKEN, detail)

    def state(self) -> JsonObject:
        """Return the whole state as canonical JSON values."""
        raise NotImplementedError

    def facts(self) -> JsonObject:
        """Return the values shown in health and the live table."""
        raise NotImplementedError
