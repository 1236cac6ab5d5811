"""Latency of paper orders: the time from an intent to the first tick that may fill its order.

It is fixed, or drawn for each order from a table of measured latencies. The draw is the sha256 of
the profile's seed and the intent's id, so that a replay, a backtest in rows and a restarted role
draw the same latency without any state.
"""

from __future__ import annotations

from hashlib import sha256
from typing import final

from minibot.cores.core_profile import ExecutionSection
from minibot.cores.messages import IntentMessage


@final
class Latency:
    """Latency of each order, in ms of market time.

    Attributes:
        most: The longest that any order can have.
    """

    __slots__ = ("_drawn", "_fixed", "_seed", "most")

    def __init__(self, execution: ExecutionSection, seed: int) -> None:
        """Take the fixed latency of a profile, or its measured latencies, which replace it."""
        self._fixed: int = execution.latency_market_ms
        self._drawn: tuple[int, ...] = execution.latency_drawn_market_ms or ()
        self._seed: int = seed
        self.most: int = max(self._drawn, default=self._fixed)

    def of(self, intent: IntentMessage) -> int:
        """Return the latency of the order that an intent becomes."""
        if not self._drawn:
            return self._fixed
        digest = sha256(f"{self._seed} {intent.ref().text}".encode()).digest()
        return self._drawn[int.from_bytes(digest, "big") % len(self._drawn)]
