"""Player of a source's frames, by the run clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from minibot.events.unit_sizes import NS_PER_MS
from minibot.simulator.faults.injector import Injector
from minibot.simulator.server.hub import Hub
from minibot.simulator.venue.venue import Venue

# Two milliseconds of machine time: twenty of market time at speed 10, less than receive times vary
# by themselves; waking for each frame would cost five times as much.
TURN_S_MIN: Final = 0.002
# Timers of the exchange (pings, faults, grid) need a turn even when no frame is near.
TURN_S_MAX: Final = 0.02
# REST calls and pongs get their turn even while a backlog of late frames is played.
FRAMES_PER_TURN_MAX: Final = 500


class Player:
    """Player of frames, each at its time, in order; late ones at once."""

    def __init__(
        self,
        venue: Venue,
        hub: Hub,
        injector: Injector,
        try_start: Callable[[], bool],
    ) -> None:
        self._venue, self._hub, self._injector = venue, hub, injector
        self._try_start = try_start
        self.ended = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        """Return whether the last frame has been played."""
        return self.ended.is_set()

    async def run(self) -> None:
        """Play to the end of the source, then keep connections alive in silence, without end.

        A bar that still grows at the end is never closed.
        """
        clock = self._venue.clock
        while not clock.is_started:
            if not self._try_start():
                self._hub.keep_alive()
                self._hub.flush()
                await asyncio.sleep(TURN_S_MAX / 4)
        frames = self._venue.source.frames()
        frame = next(frames, None)
        while True:
            now_ns = clock.now_ns()
            played = 0
            while frame is not None and frame.at_ns <= now_ns and played < FRAMES_PER_TURN_MAX:
                self._injector.due(frame.at_ns // NS_PER_MS)
                self._hub.take(frame)
                frame = next(frames, None)
                played += 1
            if played < FRAMES_PER_TURN_MAX:
                self._injector.due(now_ns // NS_PER_MS)
                if not self.has_ended:
                    self._hub.advance(now_ns)
            if frame is None:
                self.ended.set()
            self._hub.keep_alive()
            self._hub.flush()
            await asyncio.sleep(self._pause_s(frame.at_ns - now_ns if frame else None, played))

    def _pause_s(self, wait_ns: int | None, played: int) -> float:
        if played >= FRAMES_PER_TURN_MAX:
            return 0.0
        if wait_ns is None:
            return TURN_S_MAX
        return min(TURN_S_MAX, max(TURN_S_MIN, self._venue.clock.machine_s(wait_ns)))
