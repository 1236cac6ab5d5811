"""Batching of socket reads: a reader pauses when messages come too fast to wake for each one.

A thread that wakes for every message costs more than all the work on that message. Where the last
reads came faster than one in an eighth of a millisecond and brought few messages each, the reader
pauses before the next one, for as long as a pause pays. Meanwhile the messages gather in the
socket, at most for the length of the pause; below some 8,000 reads a second nothing ever waits.
"""

from __future__ import annotations

from collections import deque
from typing import Final

# Eight reads within a millisecond, of less than eight messages each on average.
READS: Final = 8
WITHIN_NS: Final = 1_000_000
MESSAGES_MAX: Final = 64
# Added to the age of a tick, only at such rates.
PAUSE_S: Final = 0.002
# With fewer messages after a pause (6,000 a second) the rate has dropped, and pauses end.
WORTH: Final = 12


class Gathering:
    """Pause before the next read of a socket, decided after each read."""

    def __init__(self) -> None:
        self._reads: deque[tuple[int, int]] = deque(maxlen=READS)
        self._is_dense = False

    def pause_s(self, at_ns: int, messages: int) -> float:
        """Return the pause after a read at `at_ns` (machine time) and its number of messages."""
        if self._is_dense:
            self._is_dense = WORTH <= messages <= MESSAGES_MAX
            return PAUSE_S if self._is_dense else 0.0
        reads = self._reads
        reads.append((at_ns, messages))
        if len(reads) == READS and at_ns - reads[0][0] < WITHIN_NS:
            self._is_dense = sum(count for _, count in reads) < MESSAGES_MAX
            reads.clear()
        return PAUSE_S if self._is_dense else 0.0
