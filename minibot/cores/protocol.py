"""Core: what strategy, risk and execution are to everybody who feeds one.

A core has one entry, `process`. It may say of a symbol that ticks within a range change nothing
(`quiet_range`); whoever has such ticks in a row then tells it of the last one alone (`skip_to`).
Nothing else feeds a core, so that an event, a message of another core, a tick without an event (in
floats to the strategy, in whole numbers to the others), trades in a row and a closed bar take the
same way live, in replay and in a backtest.
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
    """A tick as the strategy reads it, filled by whoever shows it; a base class.

    Attributes:
        ts: Market time at which it was received, ms; -1 before the first tick.
        scaled: The same tick in whole numbers, as the other cores read it.
    """

    __slots__ = ("scaled", "ts")

    def __init__(self) -> None:
        self.ts: int = -1
        self.scaled: ScaledTick = ScaledTick()


Input = Event | Message | ScaledTick | ShownTick | BarInput
"""Input of a core; it refuses the form that is not its own (`ShownTick` or `ScaledTick`)."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Core:
    """State plus one function from an input to messages; the same object live and in replay.

    Attributes:
        TAKES: Which kinds of message it processes, by place in `cores.messages.QUEUES`.
        TAKES_BARS: Whether closed bars without events are handed to it.
        TAKES_MARKS: Whether it values positions, so that ticks within `quiet_ticks` are of use to
            it one by one where other inputs come between them.
    """

    TAKES: ClassVar[frozenset[int]] = frozenset()
    TAKES_BARS: ClassVar[bool] = True
    TAKES_MARKS: ClassVar[bool] = True
    __slots__ = ()

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        """Process one input; return what follows from it, None or empty for nothing.

        Args:
            item: The input.
            seq: The number of its line.
            now: Market time in ms, never going back.
        """
        raise NotImplementedError

    def quiet_range(self, symbol: str, now: int) -> QuietRange | None:
        """Return within which touches of a symbol ticks change nothing; None for none.

        After ticks in a row that it contains, `skip_to` with the last of them leaves the core as
        `process` of each would. What is returned holds until the next question.
        """
        return None

    def quiet_ticks(self, symbol: str, now: int) -> QuietRange | None:
        """Return the same for one who tells each bar and each beat at its time.

        Ticks of other symbols may be told between those that are passed over. Of a held symbol this
        is so as long as all positions together keep to `fall` and `rise` of the range.
        """
        return self.quiet_range(symbol, now)

    def skip_to(
        self, tick: ScaledTick, seq: int, now: int, is_bid_new: bool, is_ask_new: bool
    ) -> None:
        """Take the last of ticks in a row that lie within the quiet range.

        Args:
            tick: The last one.
            seq: The number of its line.
            now: Market time in ms.
            is_bid_new: Whether price or size of the bid changed in the row, if only for a moment.
            is_ask_new: The same of the ask.

        Raises:
            InvariantError: Something followed from it.
        """
        if self.process(tick, seq, now):
            detail = f"market_ticks:{seq} was said to change nothing"
            raise InvariantError(type(self).__name__, INVARIANT_BROKEN, detail)

    def state(self) -> JsonObject:
        """Return the whole state as canonical JSON values."""
        raise NotImplementedError

    def facts(self) -> JsonObject:
        """Return a few values for health and the live table."""
        raise NotImplementedError
