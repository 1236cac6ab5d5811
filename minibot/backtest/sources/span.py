"""Span of a market's history: data before it feeds indicators, data after it is left out.

Market events before the span are read but not passed on. Then come, as at the start of a night,
the rules, the last universe, the last closed bars of each interval as history, the last book and
references and the last value of each feed; after that the market as it is. Control events of a
recorded run are passed on at their own time, also before the span.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from minibot.engine.market_source import NOBODY, MarketSource, Root, Watch
from minibot.engine.row_span import Item, RowSpan, Striding
from minibot.events.intervals import WarmupBars, warmup_of
from minibot.events.model import (
    AveragePrice,
    Bar,
    Book,
    FeedValue,
    Instrument,
    PriceMark,
    Universe,
)
from minibot.events.names import CONTROL
from minibot.kernel.errors import ConfigError, Refusal
from minibot.report.figures import date_clock

_FORMS: Final = ((8, "%Y%m%d"), (12, "%Y%m%d%H%M"), (14, "%Y%m%d%H%M%S"))
_DIGITS: Final = re.compile(r"[0-9]{8,14}")
SECONDS_DIGITS: Final = 10
MILLISECONDS_DIGITS: Final = 13


class Span(NamedTuple):
    """Span from a moment (included) to a moment (excluded), Unix ms; None for no bound."""

    from_ms: int | None = None
    to_ms: int | None = None


ALL: Final = Span()


def parse_span(text: str) -> Span:
    """Return the span of `FROM-TO`; one of the two may be left out.

    Args:
        text: Each bound is a date `20250131`, a time `202501311200` or `20250131120000`, Unix
            seconds (10 digits) or milliseconds (13 digits), in UTC; the two may differ in form. A
            date means its midnight, so the day of TO is left out.

    Raises:
        ConfigError: Wrong form, or an end that is not after the beginning.
    """
    first, dash, last = text.partition("-")
    if not dash or not (first or last):
        raise _refused(text)
    span = Span(_moment(text, first), _moment(text, last))
    if span.from_ms is not None and span.to_ms is not None and span.from_ms >= span.to_ms:
        raise ConfigError(f"--timerange: {text}: ends before it begins.", ["FROM before TO"])
    return span


def _moment(whole: str, text: str) -> int | None:
    if not text:
        return None
    if not _DIGITS.fullmatch(text):
        raise _refused(whole)
    if len(text) == SECONDS_DIGITS:
        return int(text) * 1000
    if len(text) == MILLISECONDS_DIGITS:
        return int(text)
    for length, form in _FORMS:
        if len(text) == length:
            try:
                return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()) * 1000
            except ValueError as error:
                raise _refused(whole) from error
    raise _refused(whole)


def _refused(text: str) -> ConfigError:
    return ConfigError(
        f"--timerange: {text!r} is not a time range.",
        ["allowed: FROM-TO, FROM- or -TO; 20250131, 202501311200, Unix seconds or milliseconds"],
    )


class Part:
    """Part of another source.

    Raises:
        Refusal: Nothing of the source lies in the span; `roots` raises it where only reading the
            source shows this.
    """

    def __init__(self, source: MarketSource, span: Span, warmup_bars: WarmupBars) -> None:
        self.name = source.name
        self.symbols = source.symbols
        self.interval_ms = source.interval_ms
        self.assumptions = source.assumptions
        self.origin_ms = max(source.origin_ms, span.from_ms or source.origin_ms)
        ends = [ms for ms in (source.end_ms, span.to_ms) if ms is not None]
        self.end_ms = min(ends, default=None)
        self.source = source
        self._warmup_bars = warmup_bars
        if self.end_ms is not None and self.end_ms <= self.origin_ms:
            raise self._nothing()

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield the events of the span, and control events also from before it.

        Rules, universe, history, books, references and feed values from before the span come just
        before its first market event, after the earlier control events.
        """
        start = self.origin_ms
        before = _Before(self._warmup_bars)
        is_open = False
        for root in self.source.roots(watch):
            if root.ts < start and root.queue != CONTROL:
                before.take(root)
                continue
            if self.end_ms is not None and root.ts >= self.end_ms:
                break
            if not is_open and root.queue != CONTROL:
                is_open = True
                yield from before.opening(start)
            yield root
        if not is_open:
            raise self._nothing()

    def stretches(self) -> Iterator[Item] | None:
        """Return the items of `roots` with the ticks as rows, None if the source cannot do so."""
        items = self.source.stretches() if isinstance(self.source, Striding) else None
        return None if items is None else self._within(items)

    def _within(self, items: Iterator[Item]) -> Iterator[Item]:
        start, end = self.origin_ms, self.end_ms
        before = _Before(self._warmup_bars)
        is_open = False
        for item in items:
            part = item
            if isinstance(item, RowSpan):
                table, first, last = item
                first = bisect_left(table.ts, start, first, last)
                last = last if end is None else bisect_left(table.ts, end, first, last)
                if first == item.last:
                    continue
                part = RowSpan(table, first, last)
            elif item.ts < start:
                before.take(item)
                continue
            is_behind = end is not None and isinstance(part, Root) and part.ts >= end
            if is_behind or (isinstance(part, RowSpan) and part.last <= part.first):
                break
            if not is_open:
                is_open = True
                yield from before.opening(start)
            yield part
            if isinstance(part, RowSpan) and part.last < item.last:  # type: ignore[union-attr]
                break
        if not is_open:
            raise self._nothing()

    def _nothing(self) -> Refusal:
        return nothing_in(self.name, self.source.origin_ms, self.source.end_ms)


class _Before:
    """Market data kept from before a span: the last of each kind, and the last bars."""

    def __init__(self, warmup_bars: WarmupBars) -> None:
        self._warmup = warmup_bars
        self._rules: dict[str, Instrument] = {}
        self._universe: Universe | None = None
        self._marks: dict[str, PriceMark] = {}
        self._averages: dict[str, AveragePrice] = {}
        self._books: dict[str, Book] = {}
        self._values: dict[str, FeedValue] = {}
        self._bars: dict[tuple[str, str], deque[Bar]] = {}

    def take(self, root: Root) -> None:
        payload = root.payload
        if isinstance(payload, Bar):
            key = (payload.symbol, payload.interval)
            kept = self._bars.get(key)
            if kept is None:
                kept = self._bars[key] = deque(maxlen=warmup_of(self._warmup, payload.interval))
            kept.append(payload)
        elif isinstance(payload, Instrument):
            self._rules[payload.symbol] = payload
        elif isinstance(payload, Universe):
            self._universe = payload
        elif isinstance(payload, PriceMark):
            self._marks[payload.symbol] = payload
        elif isinstance(payload, AveragePrice):
            self._averages[payload.symbol] = payload
        elif isinstance(payload, Book):
            self._books[payload.symbol] = payload
        elif isinstance(payload, FeedValue):
            self._values[payload.feed] = payload

    def opening(self, ts: int) -> Iterator[Root]:
        for rules in self._rules.values():
            yield Root(rules, ts)
        if self._universe is not None:
            yield Root(self._universe, ts)
        for bars in self._bars.values():
            for bar in bars:
                yield Root(as_history(bar), ts)
        for book in self._books.values():
            yield Root(book, ts)
        for mark in self._marks.values():
            yield Root(mark, ts)
        for average in self._averages.values():
            yield Root(average, ts)
        for value in self._values.values():
            yield Root(value, ts)


def as_history(bar: Bar) -> Bar:
    """Return a bar marked as history."""
    if bar.is_history:
        return bar
    return Bar.from_json(bar.to_json() | {"is_history": True})


def nothing_in(
    name: str, origin_ms: int, end_ms: int | None, what: str = "nothing in the time range"
) -> Refusal:
    """Return the refusal of a span without data, which names the span of the source."""
    first = date_clock(origin_ms)
    has = f"begins {first}" if end_ms is None else f"has {first} to {date_clock(end_ms)}"
    return Refusal(f"{name}: {what}; it {has} UTC.", "Choose a range within it.")
