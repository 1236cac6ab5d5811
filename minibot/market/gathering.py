"""When a reader lets messages gather: where they come one by one faster than each is worth a wake.

A thread that wakes for every message costs more than all that is done with it. So where the last
reads came faster than one in an eighth of a millisecond and brought next to nothing each, the
reader pauses before the next one, and goes on doing so while a pause pays. The messages gather in
the socket meanwhile, at most for the pause; below some 8,000 reads a second nothing ever waits.
"""

from __future__ import annotations

from collections import deque
from typing import Final

# Eight reads within a millisecond, of less than eight messages each on average.
READS: Final = 8
WITHIN_NS: Final = 1_000_000
MESSAGES_MAX: Final = 64
# Added to the age of a tick, at such rates alone.
PAUSE_S: Final = 0.002
# Fewer than so many after a pause, 6,000 a second, and the rate is no longer what it was.
WORTH: Final = 12


class Gathering:
    """Says after each read how long to wait before the next one."""

    def __init__(self) -> None:
        self._reads: deque[tuple[int, int]] = deque(maxlen=READS)
        self._is_dense = False

    def pause_s(self, at_ns: int, messages: int) -> float:
        """Return the pause after a read that brought so many messages at that machine time."""
        if self._is_dense:
            self._is_dense = WORTH <= messages <= MESSAGES_MAX
            return PAUSE_S if self._is_dense else 0.0
        reads = self._reads
        reads.append((at_ns, messages))
        if len(reads) == READS and at_ns - reads[0][0] < WITHIN_NS:
            self._is_dense = sum(count for _, count in reads) < MESSAGES_MAX
            reads.clear()
        return PAUSE_S if self._is_dense else 0.0
