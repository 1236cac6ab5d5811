"""Lines collected into whole files, one an hour of market time, each written atomically.

For what the AI keeps beside the queues (patterns, its log of recommendations): nobody waits for
it, nothing is rebuilt from it, and at most the lines since the last write are lost with a process.
"""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final

from minibot.kernel.files import chunks_of, ensure_below, put_atomic

LINES_PER_WRITE: Final = 500
# An hour with more than this goes on in a further part: every write writes the whole file.
PART_BYTES_MAX: Final = 4_000_000


class LineFiles:
    """The files of one folder: `20261122_20-01.jsonl`, by date and hour (UTC) of the market.

    A clerk that was started again goes on in the file of the hour that it finds.

    Args:
        base: The AI's folder of the run's `var`, which has to stand.
        folder: Made with the first file, below the base.
        interval_ms: Lines wait at most this long, in market time.
    """

    def __init__(self, base: Path, folder: Path, interval_ms: int) -> None:
        self.written = 0
        self._base = base
        self._folder = folder
        self._interval_ms = interval_ms
        self._lines: list[bytes] = []
        self._written_ts = 0

    def add(self, line: bytes) -> None:
        """Take one line, as `kernel.line.encode_line` makes it."""
        self._lines.append(line)

    def write_when_due(self, ts: int) -> None:
        """Write once there are many lines, or they have waited long enough."""
        is_due = ts - self._written_ts >= self._interval_ms
        if len(self._lines) >= LINES_PER_WRITE or (self._lines and is_due):
            self.write(ts)

    def write(self, ts: int) -> None:
        """Write what is there into the file of this hour; without lines, nothing."""
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

        What somebody put in the place of a part is left alone: the AI's notes end no night.
        """
        hour = f"{datetime.fromtimestamp(ts // 1000, UTC):%Y%m%d_%H}"
        parts = sorted(self._folder.glob(f"{hour}-*.jsonl"))
        if parts:
            last = parts[-1].lstat()
            if stat.S_ISREG(last.st_mode) and last.st_size < PART_BYTES_MAX:
                return parts[-1]
        return self._folder / f"{hour}-{len(parts) + 1:02d}.jsonl"
