"""Lines collected into whole files: `000001.jsonl`, `000002.jsonl`, ... each written atomically.

For what the AI keeps beside the queues (patterns, its log of recommendations): nobody waits for
it, nothing is rebuilt from it, and at most the lines since the last file are lost with a process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from minibot.kernel.files import ensure_folder, write_atomic

LINES_PER_FILE: Final = 500


class LineFiles:
    """Numbered files of one folder.

    Args:
        folder: Made with the first file.
        interval_ms: Lines wait at most this long, in market time.
    """

    def __init__(self, folder: Path, interval_ms: int) -> None:
        self.written = 0
        self._folder = folder
        self._interval_ms = interval_ms
        self._lines: list[bytes] = []
        self._written_ts = 0
        self._number = _last_number(folder)

    def add(self, line: bytes) -> None:
        """Take one line, as `kernel.line.encode_line` makes it."""
        self._lines.append(line)

    def write_when_due(self, ts: int) -> None:
        """Write a file once there is one's worth, or lines have waited long enough."""
        is_due = ts - self._written_ts >= self._interval_ms
        if len(self._lines) >= LINES_PER_FILE or (self._lines and is_due):
            self.write(ts)

    def write(self, ts: int) -> None:
        """Write what is there; without lines, nothing."""
        if not self._lines:
            return
        ensure_folder(self._folder)
        self._number += 1
        write_atomic(self._folder / f"{self._number:06d}.jsonl", b"".join(self._lines))
        self.written += len(self._lines)
        self._lines.clear()
        self._written_ts = ts


def _last_number(folder: Path) -> int:
    """Return the number of the last file, so that a restarted clerk writes behind it."""
    if not folder.is_dir():
        return 0
    return max((int(path.stem) for path in folder.glob("[0-9]*.jsonl")), default=0)
