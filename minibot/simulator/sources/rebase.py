"""Rebased source: all times moved to another day, for clients that only know the wall clock.

Receive times move by whole seconds, event and trade times by as much less the recorder's clock
skew: exchange time is the new origin's. Intervals stay aligned: past bars are moved by whole
lengths of themselves, which may leave a hole of less than one length before the origin, and the
bars of played data are made from its trades.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import orjson

from minibot.events.unit_sizes import NS_PER_MS
from minibot.exchanges.tapes.frames import SNAPSHOT, Frame, Source
from minibot.exchanges.tapes.kline_bars import INTERVALS, Bar, copy_bar, divides, gather
from minibot.simulator.server import wire

# Past bars of these intervals are moved, and longer ones gathered from them; where the source knows
# neither, its own of the interval asked for are moved, unless months, which have no length.
_BASES: Final = ("1s", "1m")


class Rebased:
    """A source that begins at `origin_ms`, with all its times moved."""

    def __init__(self, source: Source, origin_ms: int) -> None:
        self._source = source
        facts = source.facts
        # Whole seconds, so that one-second bars stay whole.
        self.shift_ms = (origin_ms - facts.origin_ms) // 1000 * 1000
        self._event_shift_ms = self.shift_ms - facts.skew_ms
        end_ms = None if facts.end_ms is None else facts.end_ms + self.shift_ms
        self.facts = replace(
            facts, origin_ms=facts.origin_ms + self.shift_ms, end_ms=end_ms, skew_ms=0
        )

    def frames(self) -> Iterator[Frame]:
        """Yield the frames of the source, moved."""
        by_ns = self.shift_ms * NS_PER_MS
        for frame in self._source.frames():
            data = frame.data if frame.kind == SNAPSHOT else self._moved(frame.data)
            yield Frame(frame.at_ns + by_ns, frame.symbol, frame.kind, frame.stream, data)

    def _moved(self, data: bytes) -> bytes:
        by_ms = self._event_shift_ms
        try:
            moved = wire.with_times(orjson.loads(data), lambda time_ms: time_ms + by_ms)
            return orjson.dumps(moved)
        except (ValueError, TypeError):
            return data  # No message of the venue; a client refuses it as recorded.

    def past_bars(self, symbol: str, interval: str) -> list[Bar]:
        """Return the source's own past, moved and gathered again into bars of `interval`."""
        for base in (*_BASES, interval):
            is_fit = INTERVALS[base] and divides(base, interval)
            bars = self._source.past_bars(symbol, base) if is_fit else []
            if bars:
                # The first one may lack its beginning: it holds only the known part.
                return gather([_moved_bar(bar, self._whole(base)) for bar in bars], interval)
        return []

    def history(
        self, history: Mapping[str, tuple[str, list[Bar]]]
    ) -> dict[str, tuple[str, list[Bar]]]:
        """Return bars from before the origin, moved by whole lengths of themselves.

        Calendar months have no fixed length to be moved by and are left out.
        """
        return {
            symbol: (base, [_moved_bar(bar, self._whole(base)) for bar in bars])
            for symbol, (base, bars) in history.items()
            if INTERVALS[base]
        }

    def _whole(self, interval: str) -> int:
        """Return the shift, rounded down to whole bars."""
        length_ms = INTERVALS[interval]
        return self._event_shift_ms // length_ms * length_ms


def _moved_bar(bar: Bar, by_ms: int) -> Bar:
    moved = copy_bar(bar, bar.open_ms + by_ms, bar.end_ms + by_ms)
    moved.last_ms = bar.last_ms + by_ms
    return moved
