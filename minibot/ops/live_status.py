"""Live status of a run, as its launcher writes it once a second to `var/ops/status.json`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from minibot.events.model import JsonObject
from minibot.kernel import canonical
from minibot.runtime.clock import wall_ms

LOOK_S: Final = 0.25


class LiveStatus:
    """Newest status of a file, which is read again only after a replacement.

    Attributes:
        latest: The status as `SupervisionLoop.status` makes it, with `written_ms`, its wall-clock
            time; None before the first one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self.latest: JsonObject | None = None

    def look(self) -> bool:
        """Read the file if it is another one than before; return whether there is a new status."""
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                seen = found.st_mtime_ns, found.st_ino
                if seen == self._seen:
                    return False
                latest = canonical.decode(file.read().rstrip(b"\r\n"))
        except (OSError, ValueError):
            return False  # Not there yet, or damaged: the next second replaces it.
        self._seen, self.latest = seen, latest
        return True

    def age_ms(self) -> int | None:
        """Return the age of the newest status in wall-clock milliseconds; None without one."""
        return None if self.latest is None else max(0, wall_ms() - int(self.latest["written_ms"]))
