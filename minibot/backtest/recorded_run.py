"""A recorded run as a market: the very events of its night, in rule order.

What the watchdog told the run (its opening, halts, its ending) comes with them at its own time, so
that nothing about it is made up. An event of `control` comes before market events of the same
millisecond, as a role prefers it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from minibot.backtest.sources import MINUTE_MS, NOBODY, Root, Watch
from minibot.events.order import CONTROL, TICKS
from minibot.kernel.errors import Refusal
from minibot.replay.recorded import Recorded


class RunSource:
    """The market and control events of a finished run.

    Raises:
        Refusal: It has no market data.
    """

    def __init__(self, recorded: Recorded, name: str) -> None:
        self.recorded = recorded
        self.name = name
        self.symbols = recorded.manifest.symbols
        self.interval_ms = MINUTE_MS
        self.assumptions: tuple[str, ...] = ()
        # The run itself says when it ends.
        self.end_ms: int | None = None
        first = next((event for _, event in recorded.events(TICKS)), None)
        if first is None:
            raise Refusal(f"{recorded.run_dir}: a run without market data.", "Name another run.")
        self.origin_ms = first.ts

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield its opening, then everything that it was given, by time."""
        return heapq.merge(self._of(CONTROL), self._of(TICKS), key=_time)

    def _of(self, queue: str) -> Iterator[Root]:
        for _, event in self.recorded.events(queue):
            yield Root(event.payload, event.ts, queue)


def _time(root: Root) -> int:
    return root.ts
