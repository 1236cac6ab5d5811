"""A run's market events, folded once: how many, when, and what its equity is along them.

The live metrics, the report, a replay, a comparison of runs and the backtest of a night all go
through this fold, so a figure cannot differ between them. A fill counts right after the tick that
it names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Final

from minibot.accounting.performance import Look, Performance
from minibot.events.model import (
    Event,
    Fill,
    JsonObject,
    MarketTick,
    Payload,
    PriceMark,
    Universe,
)

NextFill = Callable[[], Event | None]
"""Gives the next recorded fill, in the order of their queue; None while there is none.

A fill that comes once the event that it names was folded counts before the next event.
"""
AfterMarks = Callable[[Sequence[int], Sequence[Payload], Sequence[Look]], None]
"""Called with ticks or price marks in a row: times, payloads, and equity from each place on."""
AfterFill = Callable[[Event], None]
"""Called with a fill once equity contains it."""
MARKS: Final = frozenset({MarketTick, PriceMark})


def no_fill() -> None:
    """Return no recorded fill: the caller passes each fill as it is made."""


def by_tick(events: Iterable[Event]) -> NextFill:
    """Return a function giving the fills among events one by one, by the order of named ticks.

    A fill that names no market event is left out.
    """
    fills = (one for one in events if isinstance(one.payload, Fill) and one.tick_seq)
    in_order = iter(sorted(fills, key=lambda fill: fill.tick_seq or 0))
    return lambda: next(in_order, None)


class MarketProjection:
    """Market events and fills in the order in which they count.

    Attributes:
        performance: Equity, drawdown and round trips so far.
        types: How many market events of each type.
        seq: Number of the last line of `market_ticks`, 0 before the first.
        first_ts: When the first market event was, Unix ms; 0 without any.
        last_ts: When the last one was.
        price_ts: When the last tick or price mark was, 0 before the first.
        traded: The symbols that the last universe trades; None before the first.
    """

    __slots__ = (
        "_after_fill",
        "_after_marks",
        "_next_fill",
        "_waiting",
        "first_ts",
        "last_ts",
        "performance",
        "price_ts",
        "seq",
        "traded",
        "types",
    )

    def __init__(
        self,
        performance: Performance,
        next_fill: NextFill = no_fill,
        after_marks: AfterMarks | None = None,
        after_fill: AfterFill | None = None,
    ) -> None:
        """Begin before the first market event.

        Args:
            performance: As the run opens.
            next_fill: The recorded fills, each of which waits for its tick.
            after_marks: Called with each tick and price mark once equity contains it; one at a time
                where they are taken so.
            after_fill: Called with each fill once equity contains it.
        """
        self.performance = performance
        self.types: Counter[str] = Counter()
        self.seq = self.first_ts = self.last_ts = self.price_ts = 0
        self.traded: tuple[str, ...] | None = None
        self._next_fill = next_fill
        self._waiting: Event | None = None
        self._after_marks = after_marks
        self._after_fill = after_fill

    def take(self, seq: int, event: Event) -> None:
        """Fold the next market event, after the recorded fills that name an earlier one."""
        self.take_all(seq, (event.ts,), (event.payload,))

    def take_all(self, first_seq: int, times: Sequence[int], payloads: Sequence[Payload]) -> None:
        """Fold market events in a row, each after the recorded fills that name an earlier one.

        Args:
            first_seq: Number of the first one's line.
            times: When each was, Unix ms.
            payloads: Of each.
        """
        begin, count = 0, len(payloads)
        while begin < count:
            seq = first_seq + begin
            self.book_before(seq)
            fill = self._waiting
            end = count if fill is None else min(count, (fill.tick_seq or 0) - first_seq + 1)
            self._fold(seq, times[begin:end], payloads[begin:end])
            begin = end

    def _fold(self, first_seq: int, times: Sequence[int], payloads: Sequence[Payload]) -> None:
        """Fold market events with no fill between them."""
        classes: Counter[type[Payload]] = Counter(map(type, payloads))
        if self._after_marks is not None and len(classes) > 1:
            begin = 0
            for _, same in groupby(payloads, type):
                end = begin + len(list(same))
                self._fold(first_seq + begin, times[begin:end], payloads[begin:end])
                begin = end
            return
        for each, count in classes.items():
            self.types[each.TYPE] += count
        self.seq = first_seq + len(payloads) - 1
        self.first_ts = self.first_ts or times[0]
        self.last_ts = times[-1]
        if not MARKS.isdisjoint(classes):
            newest_first = zip(reversed(times), reversed(payloads), strict=True)
            self.price_ts = next(ts for ts, payload in newest_first if type(payload) in MARKS)
        if Universe in classes:
            self.traded = next(
                payload.traded for payload in reversed(payloads) if isinstance(payload, Universe)
            )
        looks = self.performance.on_market(payloads)
        if self._after_marks is not None and classes.keys() <= MARKS:
            self._after_marks(times, payloads, looks)

    def on_fill(self, event: Event) -> None:
        """Book a fill after everything that was folded so far."""
        if isinstance(event.payload, Fill):
            self.performance.on_fill(event.payload, event.ts)
            if self._after_fill is not None:
                self._after_fill(event)

    def book_before(self, seq: int | None) -> None:
        """Book the recorded fills that name an earlier market event than `seq`; all without one."""
        while True:
            if self._waiting is None:
                self._waiting = self._next_fill()
            fill = self._waiting
            if fill is None or (seq is not None and (fill.tick_seq or 0) >= seq):
                return
            self._waiting = None
            self.on_fill(fill)

    def figures(self) -> JsonObject:
        """Return counts and performance, as `metrics.json` names them."""
        return {
            "market_ticks": dict(sorted(self.types.items())),
            "performance": self.performance.to_json(),
        }
