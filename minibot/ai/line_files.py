"""Hourly files of lines, by market time, each written atomically.

For the AI's notes outside the queues (patterns, its log of recommendations): nothing waits for them
or is rebuilt from them, and a crash loses at most the lines since the last write.
"""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final

from minibot.kernel.files import chunks_of, ensure_below, put_atomic

LINES_PER_WRITE: Final = 500
# An hour with more than this continues in a further part: every write writes the whole file.
PART_BYTES_MAX: Final = 4_000_000


class LineFiles:
    """Files of one folder: `20261122_20-01.jsonl`, by date and hour (UTC) of the market.

    A restarted clerk continues the file of the current hour.

    Args:
        base: The AI's folder in the run's `var`, which has to exist.
        folder: Created with the first file, below the base.
        interval_ms: Longest wait of a line, in market time.
    """

    def __init__(self, base: Path, folder: Path, interval_ms: int) -> None:
        self.written = 0
        self._base = base
        self._folder = folder
        self._interval_ms = interval_ms
        self._lines: list[bytes] = []
        self._written_ts = 0

    def add(self, line: bytes) -> None:
        """Add one line, encoded by `kernel.line.encode_line`."""
        self._lines.append(line)

    def write_when_due(self, ts: int) -> None:
        """Write once there are many lines, or they have waited long enough."""
        is_due = ts - self._written_ts >= self._interval_ms
        if len(self._lines) >= LINES_PER_WRITE or (self._lines and is_due):
            self.write(ts)

    def write(self, ts: int) -> None:
        """Write the waiting lines into the file of the hour of `ts`; no effect without lines.

        Raises:
            RunStop: The disk refuses.
        """
        if not self._lines:
            return
        ensure_below(self._base, self._folder)
        path = self._path(ts)
        before = chunks_of(path) if path.exists() else ()
        put_atomic(path, chain(before, (b"".join(self._lines),)))
        self.written += len(self._lines)
        self._lines.clear()
        self._written_ts = ts

    def _path(self, ts: int) -> Path:
        """Return the last part of the hour that has room, else the next one.

        Anything in a part's place that is not a regular file is left alone, and ends no run.
        """
        hour = f"{datetime.fromtimestamp(ts // 1000, UTC):%Y%m%d_%H}"
        parts = sorted(self._folder.glob(f"{hour}-*.jsonl"))
        if parts:
            last = parts[-1].lstat()
            if stat.S_ISREG(last.st_mode) and last.st_size < PART_BYTES_MAX:
                return parts[-1]
        number = len(parts) + 1
        while (path := self._folder / f"{hour}-{number:02d}.jsonl") in parts:
            number += 1
        return path
